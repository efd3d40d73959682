"""From NVML's product name to a GPU kind of the catalog, or to a new kind of the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from compiler.discover.machine import FoundGpu
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB, MIB, budget_mib

# Cards of one kind differ in what their firmware and ECC take, by up to 2.5 % in the catalog; the
# nearest sizes that one product name is sold with (A100 MIG slices aside) differ by 20 %.
_TOLERANCE_PERMILLE = 30
_PERMILLE = 1000

# A word of a name; a dot joins the two halves of a MIG profile such as 1g.10gb.
_WORD = re.compile(r"[a-z0-9]+(?:\.[a-z0-9]+)*")
# Words that tell no card from another one: brands, forms of cooling, kinds of memory. A laptop GPU
# shares the name of a desktop card; it is of that kind if none of laptops has its memory.
_NOISE = frozenset(
    {
        *("nvidia", "geforce", "tesla", "generation", "blackwell", "edition", "ac", "mig"),
        *("workstation", "server", "laptop", "gpu", "with", "max", "q", "design", "me", "active"),
    }
)
# H20-3e is the H20 with HBM3e.
_MEMORY_TYPE = re.compile(r"hbm\w*|gddr\w*|3e")
_SIZE = re.compile(r"[0-9]+gb?")
# NVML writes SXM2 to SXM6 by generation, the catalog one SXM for each card.
_SXM = re.compile(r"sxm[0-9]?")
_FORMS = frozenset({"sxm", "pcie", "nvl"})
_MAX_SLUG = 50
# "Orin (nvgpu)" is the chip and the name of its driver.
_OF_TEGRA = frozenset({"nvgpu", "jetson", "agx", "nx", "nano"})


def kind_of(gpu: FoundGpu, kinds: Mapping[str, GpuKind]) -> str | None:
    """The kind that this GPU is of; None when no kind has its name, memory and compute."""
    words, forms = _words(gpu.name)
    ranked = []
    for name, kind in sorted(kinds.items()):
        kind_words, kind_forms = _words(name)
        by_name = words == kind_words
        if kind.unified and words - _OF_TEGRA and words - _OF_TEGRA <= kind_words:
            # The driver of a Jetson says its chip alone; its memory tells which module it is.
            kind_words = words
        if words != kind_words or not agrees(kind, gpu) or (forms and kind_forms - forms):
            continue
        # The SXM cards of a series are those whose name says no form: "NVIDIA H200".
        form = 0 if forms == kind_forms else 1 if kind_forms in ({"sxm"}, set()) else 2
        other_body = ("laptop" in name) != ("laptop" in gpu.name.lower())
        away_bytes = abs(kind.memory_bytes - gpu.memory_bytes)
        ranked.append((form, other_body, away_bytes, not by_name, name))
    return min(ranked)[-1] if ranked else None


def agrees(kind: GpuKind, gpu: FoundGpu) -> bool:
    """Whether the GPU's memory and compute capability are those of the kind."""
    difference = abs(kind.memory_bytes - gpu.memory_bytes) * _PERMILLE
    near = difference <= kind.memory_bytes * _TOLERANCE_PERMILLE
    # A driver that says the RAM for the memory of such a GPU makes it no memory of its own.
    pooled = kind.unified or not gpu.unified
    return near and pooled and gpu.compute in {None, kind.compute} and kind.mig == gpu.mig


def new_kind(gpu: FoundGpu, kinds: Mapping[str, GpuKind]) -> str:
    """The name of this GPU's kind among the user's own; it is there already if its GPU agrees."""
    base = _slug(gpu.name)
    sizes = (f"{round(gpu.memory_bytes / GIB)}gb", f"{budget_mib(gpu.memory_bytes)}mib")
    for name in (base, *(f"{base[: _MAX_SLUG - 1 - len(size)]}-{size}" for size in sizes)):
        if name not in kinds or agrees(kinds[name], gpu):
            return name
    return "-".join(("gpu", sizes[1], *map(str, gpu.compute or ())))


def whole_mib(size_bytes: int) -> str:
    """A size as the inventory writes it, rounded down: what is there is a budget."""
    return f"{size_bytes // MIB}MiB"


def _words(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """What names the card, and what names its form; its memory is compared as a number."""
    found = {_SXM.sub("sxm", word) for word in _WORD.findall(name.lower())}
    forms = frozenset(found & _FORMS)
    plain = {w for w in found if not (_SIZE.fullmatch(w) or _MEMORY_TYPE.fullmatch(w))}
    return frozenset(plain - forms - _NOISE), forms


def _slug(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", name.lower())
    kept = [word for word in words if word not in {"nvidia", "geforce", "tesla"}]
    return "-".join(kept)[:_MAX_SLUG].strip("-") or "gpu"
