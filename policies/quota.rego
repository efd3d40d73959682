# The services of a team take at most so much GPU memory together. A service without a team, or of
# one without a limit, breaks the rule.
package plan

import rego.v1

limits_mib := {"search": 81920, "chat": 163840}

deny contains msg if {
	some team, limit in limits_mib
	taken_mib := sum([ceil(share.share_bytes / 1048576) |
		some replica in input.replicas
		replica.labels.team == team
		some share in replica.shares
	])
	taken_mib > limit
	msg := sprintf("quota: team %s takes %d of %d MiB", [team, taken_mib, limit])
}

deny contains msg if {
	some replica in input.replicas
	not limits_mib[object.get(replica.labels, "team", "")]
	msg := sprintf("quota: service %s has no label `team` with a limit", [replica.service])
}
