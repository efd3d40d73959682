"""The load pass: YAML text to typed inventory and spec, with the place of every key."""
