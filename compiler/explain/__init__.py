"""Why a fleet cannot be placed, and what would help: tried, not guessed."""
