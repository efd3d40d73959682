"""The place pass: ONE placement for the whole fleet, and the reasons when there is none."""
