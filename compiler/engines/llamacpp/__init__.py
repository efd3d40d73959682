"""llama.cpp: the memory law of llama-server and its command line."""

from __future__ import annotations

from compiler.engines.interface import Engine
from compiler.engines.llamacpp.engine import LlamaCpp

ENGINE: Engine = LlamaCpp()
