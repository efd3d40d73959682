"""Projectors: towers that see or hear, and what they take."""
