"""vLLM: the memory law of `vllm serve` and its command line."""

from __future__ import annotations

from compiler.engines.interface import Engine
from compiler.engines.vllm.engine import VllmEngine

ENGINE: Engine = VllmEngine()
