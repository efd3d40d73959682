"""Names of a model's modules: what a checkpoint calls them, and which of them its lists mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# What checkpoints and vLLM's classes put in front of the language model (the `hf_to_vllm_mapper` of
# model_executor/models/, 0.32), longest first; `model.` stands for all of them here.
_OUTER = (
    *("model.language_model.model.", "language_model.model.", "model.language_model."),
    *("thinker.model.", "language_model.", "backbone.", "model.model."),
)
_FUSED = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "in_proj_qkvz": ("in_proj_qkv", "in_proj_z"),
    "in_proj_ba": ("in_proj_b", "in_proj_a"),
    "fused_qkv_a_proj": ("q_a_proj", "kv_a_proj_with_mqa"),
    "fused_wqa_wkv": ("wq_a", "wkv"),
}
# Other names of the same matrices.
_SAME = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)$")
# Towers have layers of the same names.
_TOWERS = re.compile(r"(?:^|\.)(?:visual|vision\w*|audio\w*|vpm|mtp)(?:\.|$)")

Role = tuple[int, str]
"""A layer and a matrix of it, whatever its block is called."""


def canonical(name: str) -> str:
    """The name with the language model under `model.`, as most checkpoints write it."""
    for outer in _OUTER:
        if name.startswith(outer):
            rest = name.removeprefix(outer)
            return rest if rest.startswith("lm_head") else f"model.{rest}"
    return name


def shards(name: str) -> Iterator[str]:
    """The name, and those of what a fused module is made of."""
    yield name
    stem, _, last = name.rpartition(".")
    for shard in _FUSED.get(last, ()):
        yield f"{stem}.{shard}"


def role_of(name: str) -> Role | None:
    """Which matrix of which layer a module is; None outside the language model's layers.

    Blocks are called `mlp`, `feed_forward`, `mixer` or `block_sparse_moe` from one class to the
    next, the matrices alike; all experts of a layer are one stack.
    """
    found = _LAYER.search(name)
    if found is None or _TOWERS.search(name):
        return None
    pieces = found[2].split(".")
    last = _SAME.get(pieces[-1], pieces[-1])
    if "experts" in pieces:
        return int(found[1]), "experts"
    shared = any(piece.startswith("shared_expert") or piece == "shared_mlp" for piece in pieces)
    return int(found[1]), f"shared.{last}" if shared else last


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Modules that a list of a checkpoint means: by name, by part of a name, or by pattern."""

    exact: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()

    def cover(self, name: str) -> bool:
        """Whether the list means the module of this full name (or a shard of a fused one)."""
        return any(self._covers_one(candidate) for candidate in shards(name))

    def _covers_one(self, name: str) -> bool:
        pieces = name.split(".")
        if self.exact and any(
            ".".join(pieces[:n]) in self.exact for n in range(1, len(pieces) + 1)
        ):
            return True
        dotted = f".{name}."
        if any(f".{part}." in dotted for part in self.parts):
            return True
        return bool(self.patterns) and any(
            pattern.match(spelt) for spelt in _spellings(name) for pattern in self.patterns
        )


NO_NAMES = Names()


def names_of(listed: Iterable[str]) -> Names:
    """Read a list. Exact names go into a set: some checkpoints list every layer by name."""
    exact: set[str] = set()
    parts: list[str] = []
    patterns: list[re.Pattern[str]] = []
    for text in listed:
        pattern = pattern_text(text)
        bare = canonical(_bare(text))
        if pattern is not None:
            patterns.append(re.compile(pattern))
        elif any(piece.isdigit() for piece in bare.split(".")):
            exact.add(bare)
        elif bare:
            parts.append(bare)
    return Names(exact=frozenset(exact), parts=tuple(parts), patterns=tuple(patterns))


def pattern_text(text: str) -> str | None:
    """The regular expression that an entry of a list stands for; None for a name.

    A name with a star behind it means the module and what is in it, like the name alone.
    """
    if text.startswith("re:"):
        return text[3:]
    bare = canonical(_bare(text))
    if "*" not in bare and "?" not in bare:
        return None
    glob = re.escape(bare).replace(r"\*", ".*").replace(r"\?", ".")
    return rf"(?:.*\.|){glob}(?:\.|$)"


def _bare(text: str) -> str:
    return text.rstrip(".*") if text.endswith("*") else text


def _spellings(name: str) -> Iterator[str]:
    """A regular expression is written for one spelling of the names."""
    yield name
    if name.startswith("model."):
        rest = name.removeprefix("model.")
        yield from (f"{outer}{rest}" for outer in _OUTER[:3])
