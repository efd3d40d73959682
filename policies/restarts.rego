# At most so many running replicas start again.
package change

import rego.v1

most := 2

started contains each.replica if {
	some each in input.changes
	each.effect in {"restart", "stop-first"}
}

deny contains msg if {
	count(started) > most
	msg := sprintf("restarts: %d replicas start again, %d may", [count(started), most])
}
