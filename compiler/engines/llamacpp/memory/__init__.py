"""The memory law: bytes on each device and on the host."""
