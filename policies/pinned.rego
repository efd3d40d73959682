# Every model of a hub has its revision in modelc.lock; a file of the hosts, and what Ollama has
# pulled, has a digest instead.
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
	not local(source)
	msg := sprintf("pinned: %s has no revision in modelc.lock", [source])
}

# A path, a file by its name, or a name of Ollama's, which is one word.
local(source) if {
	some start in ["/", "./", "../", "~"]
	startswith(source, start)
}

local(source) if {
	endswith(lower(source), ".gguf")
	not contains(source, ":")
}

local(source) if not contains(source, "/")
