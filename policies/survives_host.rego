# Of every service a replica is left, whichever host is lost.
package plan

import rego.v1

hosts[service] contains replica.host if {
	some replica in input.replicas
	service := replica.service
}

deny contains msg if {
	some service, on in hosts
	count(on) < 2
	msg := sprintf("survives_host: all replicas of %s stand on one host", [service])
}
