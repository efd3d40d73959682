# No replica of these services moves, starts again or goes.
package change

import rego.v1

services := {"chat"}

deny contains msg if {
	some each in input.changes
	services[each.service]
	each.effect in {"restart", "stop-first", "gone"}
	msg := sprintf("unmoved: %s would move, start again or go", [each.replica])
}
