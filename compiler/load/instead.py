"""What a value at fault was meant to be: the value to write, where it can be told."""

from __future__ import annotations

import re

from compiler.engines.registry import engine_names, traits_of
from compiler.ir.units import GIB, format_size, parse_size

_SIZES = frozenset({"ram", "ram_reserved", "reserved", "memory", "cuda_total", "bandwidth", "disk"})
_TOKENS = frozenset({"context", "kv_tokens", "typical", "prompt_tokens"})
_COUNTS = frozenset({"replicas", "concurrency", "priority", "count", "max_moves", "build"})
_TRUTHS = frozenset({"optional", "mig", "min", "consolidate"})
_LISTS = frozenset({"kinds", "tensor_parallel", "apart_from", "secrets", "freeze", "gpus", "uuids"})

_SIZE = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([kmgt]?)(?:i?b|bytes?)?\s*", re.IGNORECASE)
_NUMBER = re.compile(
    r"\s*([0-9]{1,3}(?:[,_' ][0-9]{3})+|[0-9]{1,9}(?:\.[0-9]{1,2})?)\s*([km]?)(?:i|b|ib)?"
    r"\s*(?:tokens?|tok|x)?\s*",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*(%?)\s*")
_PORTS = re.compile(r"\s*([0-9]{1,5})\s*(?::|\.\.|,|to|/)\s*([0-9]{1,5})\s*")
_COMPUTE = re.compile(r"\s*(?:sm|compute|cc)?[_ -]?([0-9]{1,2})[._]?([0-9])?\s*", re.IGNORECASE)
_UNITS = {"": "GiB", "k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB"}
# Up to here a bare number is one of GiB, beyond it one of MiB: a card of 24576, a reserve of 512.
_LARGEST_GIB = {"reserved": 64, "ram_reserved": 192, "memory": 512, "cuda_total": 512, "ram": 4096}
_LARGEST_WITHOUT_UNIT = 16_384
_ITEM = re.compile(r"[A-Za-z0-9._-]+")
# No value that has an answer is longer.
_LONGEST = 40
# A smaller number above 1 may be a mistake of another kind.
_LEAST_PERCENT = 5
_TRUTH_WORDS = {
    "yes": "true",
    "on": "true",
    "1": "true",
    "no": "false",
    "off": "false",
    "0": "false",
}

# Words that people write for one of ours, by the key.
_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "task": {
        "generate": (
            *("chat", "completion", "completions", "generation", "text-generation", "llm", "text"),
            *("instruct", "vision", "vlm", "image-text-to-text", "causal-lm", "auto", "code"),
        ),
        "embed": (
            *("embedding", "embeddings", "embedder", "feature-extraction", "encode", "encoder"),
            *("sentence-similarity", "retrieval", "pooling"),
        ),
        "rerank": ("reranker", "reranking", "rank", "ranking", "score", "scoring", "cross-encoder"),
        "classify": (
            *("classification", "classifier", "text-classification", "sequence-classification"),
            *("reward", "moderation"),
        ),
    },
    "spread": {
        "host": ("hosts", "node", "nodes", "machine", "machines", "server", "servers", "true"),
        "gpu": ("gpus", "card", "cards", "device", "devices"),
    },
    "target": {
        "systemd": ("systemctl", "service", "unit", "units", "native", "bare-metal"),
        "compose": ("docker", "docker-compose", "compose.yaml", "docker_compose"),
        "quadlet": ("podman", "quadlets", "container"),
        "script": ("scripts", "shell", "bash", "sh"),
    },
    "engine": {name: traits_of(name).aliases for name in engine_names()},
    "offload": {
        "none": ("gpu", "all", "full", "false", "off", "no", "-1"),
        "auto": ("partial", "fit", "true", "yes", "on"),
        "cpu": ("ram", "host", "0%"),
    },
    "link": {"nvlink": ("nvswitch", "nv-link", "sxm"), "pcie": ("pci", "pci-e", "none")},
}


def written_instead(key: str, value: object) -> str | None:
    """The value to write for one that its key does not take; None where nobody can tell."""
    if isinstance(value, list | dict):
        return None
    text = str(getattr(value, "text", value)).strip()
    if len(text) > _LONGEST:
        return None
    found = _meant(key, text)
    # What is out of bounds is no way out of it; quotes round a number are.
    quoted = isinstance(value, str) and key in _TOKENS | _COUNTS
    return None if found == text and not quoted else found


def _meant(key: str, text: str) -> str | None:
    for word, others in _WORDS.get(key, {}).items():
        if text.lower() in (word.lower(), *others):
            return word
    if key in _SIZES:
        return _size(text, _LARGEST_GIB.get(key, _LARGEST_WITHOUT_UNIT))
    if key in _TOKENS or key in _COUNTS:
        return _number(text)
    if key in _TRUTHS:
        return _TRUTH_WORDS.get(text.lower())
    match key:
        case "utilization":
            return _share(text)
        case "ports":
            found = _PORTS.fullmatch(text)
            return f"{found[1]}-{found[2]}" if found else None
        case "compute" | "min_compute":
            return _compute(text)
    return f"[{text}]" if key in _LISTS and _ITEM.fullmatch(text) else None


def _size(text: str, largest_gib: int) -> str | None:
    """A size in binary units: who writes 64GB of RAM has 64GiB; a bare number means GiB or MiB."""
    found = _SIZE.fullmatch(text)
    if not found:
        return None
    number, unit = found[1], found[2].lower()
    if not unit and float(number) > largest_gib:
        return format_size(int(float(number))) if float(number) >= GIB else f"{number}MiB"
    try:
        return format_size(parse_size(f"{number}{_UNITS[unit]}"))
    except ValueError:
        return None


def _number(text: str) -> str | None:
    """A whole number: 16k tokens are 16,384."""
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    number = (
        float(re.sub(r"[,_' ]", "", found[1]))
        * {"": 1, "k": 1 << 10, "m": 1 << 20}[found[2].lower()]
    )
    return str(int(number)) if number >= 1 else None


def _share(text: str) -> str | None:
    """A share in steps of 0.001, rounded down: 90, 90% and 0.9001 are 0.9."""
    found = _PERCENT.fullmatch(text)
    if not found:
        return None
    number = float(found[1])
    if not found[2] and 1 < number < _LEAST_PERCENT:
        return None
    share = number / 100 if found[2] or number > 1 else number
    steps = int(share * 1000)
    return f"{steps / 1000:g}" if steps and share <= 1 else None


def _compute(text: str) -> str | None:
    found = _COMPUTE.fullmatch(text)
    if not found:
        return None
    digits = found[1] + (found[2] or "")
    # `89` and `sm_120`: the last digit is the minor number; `8` has none.
    major, minor = (digits[:-1], digits[-1]) if len(digits) > 1 else (digits, "0")
    return f"{major}.{minor}"
