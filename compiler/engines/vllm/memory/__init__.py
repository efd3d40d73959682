"""The memory law: bytes of one launch on one GPU."""
