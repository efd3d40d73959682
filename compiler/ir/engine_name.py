"""The names of engines, apart from all else: the command line offers them at no cost."""

from __future__ import annotations

from typing import Literal

EngineName = Literal["vllm", "llama.cpp"]
