# Every GPU in use keeps a part of its budget free.
package plan

import rego.v1

least_free_permille := 50

deny contains msg if {
	some gpu in input.gpus
	gpu.granted_bytes > 0
	free := gpu.budget_bytes - gpu.granted_bytes
	free * 1000 < gpu.budget_bytes * least_free_permille
	mib := floor(free / 1048576)
	msg := sprintf("headroom: %s/%d keeps only %d MiB free", [gpu.host, gpu.gpu, mib])
}
