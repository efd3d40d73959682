"""What llama-server takes: its builds, their flags, their values and variables."""
