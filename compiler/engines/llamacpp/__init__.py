"""llama.cpp: the memory law of llama-server and its command line; `engine` answers for it."""
