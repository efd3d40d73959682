"""Counts in words."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 GPU`, `1,200 GPUs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
