# Every model of a hub has its revision in modelc.lock; a file of the hosts has a digest instead.
package plan

import rego.v1

loaded contains source if {
	some replica in input.replicas
	replica.revision == null
	source := replica.source
}

loaded contains source if {
	some replica in input.replicas
	some companion in replica.companions
	companion.revision == null
	source := companion.source
}

deny contains msg if {
	some source in loaded
	not startswith(source, "/")
	not startswith(source, "./")
	not startswith(source, "../")
	msg := sprintf("pinned: %s has no revision in modelc.lock", [source])
}
