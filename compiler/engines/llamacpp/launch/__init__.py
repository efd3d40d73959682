"""From a request to explicit options, and from options to a command line."""
