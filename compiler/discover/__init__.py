"""Discover: the GPUs of this host, and the lines of inventory.yaml that they stand for."""
