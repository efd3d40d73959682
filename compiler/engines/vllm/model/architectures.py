"""Which model classes vLLM has in which version, and which of them make pipeline stages.

`architectures.json` was written from the registries (model_executor/models/registry.py) and classes
of 21 releases: for each architecture the spans of releases that have it, as places in the table's
list of releases, and whether its class is one of `SupportsPP`. Under `transformers` are those that
vLLM serves through the Transformers library where it has no class of its own for them, or none any
more: listed in the registry of 0.32 (`_TRANSFORMERS_SUPPORTED_MODELS`), or resolved so by it
(`resolve_model_cls`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pkgutil import get_data

from compiler.engines.vllm.versions import Version, parse_version

# Ends of names, in order, by which one class is turned into another: a decoder into an embedder or
# a classifier (config/model.py `_SUFFIX_TO_DEFAULTS`, registry.py `_normalize_arch`, 0.10 to 0.33).
_ENDS = (
    *("ForCausalLM", "ForConditionalGeneration", "ChatModel", "LMHeadModel", "ForTextEncoding"),
    *("EmbeddingModel", "ForSequenceClassification", "ForTokenClassification"),
    *("ForAudioClassification", "ForImageClassification", "ForVideoClassification"),
    *("ClassificationModel", "ForRewardModeling", "RewardModel", "Model"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architectures:
    """All architectures of all known releases."""

    releases: tuple[Version, ...]
    spans: dict[str, tuple[tuple[int, int, bool], ...]]
    transformers: frozenset[str]

    def has(self, name: str, version: Version) -> bool:
        """Whether a version has the class; between two releases, if either of them has."""
        return any(first <= at <= last for at, first, last, _ in self._found(name, version))

    def makes_stages(self, name: str, version: Version) -> bool:
        """Whether the class can be cut into pipeline stages; True for one that is not known."""
        found = [stages for at, first, last, stages in self._found(name, version)
                 if first <= at <= last]  # fmt: skip
        return any(found) or not found

    def served_as(self, name: str, version: Version) -> str:
        """The class that loads an architecture: its own, or one that is turned into it."""
        if self.has(name, version):
            return name
        end = next((end for end in _ENDS if name.endswith(end)), None)
        if end is None:
            return name
        others = (name.removesuffix(end) + other for other in _ENDS)
        return next((other for other in others if self.has(other, version)), name)

    def is_by_transformers(self, name: str, version: Version) -> bool:
        """Whether vLLM runs it through the Transformers library, for want of a class."""
        return (
            name in self.transformers
            and not self.has(name, version)
            and (name not in self.spans or self.last_release(name) < version)
        )

    def is_known(self, name: str) -> bool:
        """Whether any release has the class."""
        return name in self.spans

    def last_release(self, name: str) -> Version:
        """The newest known release that has the class."""
        return self.releases[self.spans[name][-1][1]]

    def first_release(self, name: str) -> Version:
        """The oldest known release that has the class."""
        return self.releases[self.spans[name][0][0]]

    def _found(self, name: str, version: Version) -> Iterator[tuple[int, int, int, bool]]:
        for at in self._around(version):
            for first, last, stages in self.spans.get(name, ()):
                yield at, first, last, stages

    def _around(self, version: Version) -> tuple[int, ...]:
        """Places of the release, or of those before and after the version."""
        below = [place for place, release in enumerate(self.releases) if release <= version]
        floor = below[-1] if below else 0
        if self.releases[floor] >= version or floor + 1 == len(self.releases):
            return (floor,)
        return floor, floor + 1


def class_stem(name: str) -> str:
    """The name without the end that says what the class is turned into."""
    end = next((end for end in _ENDS if name.endswith(end)), "")
    return name.removesuffix(end)


@cache
def architectures() -> Architectures:
    """The table, read once and only when a model's class is asked for."""
    # Package data comes through the import system: it is part of the program, not of the disk.
    raw = json.loads(get_data("compiler.engines.vllm.model", "architectures.json") or b"{}")
    return Architectures(
        releases=tuple(parse_version(release) or (0, 0, 0) for release in raw["releases"]),
        spans={
            name: tuple((first, last, bool(stages)) for first, last, stages in spans)
            for name, spans in raw["architectures"].items()
        },
        transformers=frozenset(raw["transformers"]),
    )
