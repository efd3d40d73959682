"""The assemble pass: placements to a plan in which nothing is left to choose."""
