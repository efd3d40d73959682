"""Engines: for each one its memory law and its command line, side by side."""
