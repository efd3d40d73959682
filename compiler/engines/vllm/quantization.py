"""How quantized weights lie in vLLM's memory, and which modules a scheme leaves alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from compiler.ir.facts import HeaderValue

SchemeKind = Literal[
    "none",
    "awq",
    "gptq",
    "wna16",
    "fp8",
    "int8",
    "nvfp4",
    "mxfp4",
    "bnb4",
    "bnb8",
    "gguf",
    "unknown",
]

_BYTE_BITS = 8
_MXFP4_GROUP = 32
_FP8_COMPUTE = (8, 9)
_MACHETE_COMPUTE = (9, 0)
# Weights are at most 16 bits wide; packed ones take whole bytes at least.
_MOST_BITS = 16
_REPEATED_GROUP = re.compile(r"\)[*+?]?[*+{]")
_REPETITION = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\d*\})")
_NAME_LETTERS = 100
_MOST_STEPS = 4 * _NAME_LETTERS**3
_FUSED = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "in_proj_qkvz": ("in_proj_qkv", "in_proj_z"),
    "in_proj_ba": ("in_proj_b", "in_proj_a"),
    "fused_qkv_a_proj": ("q_a_proj", "kv_a_proj_with_mqa"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Modules that stay in the model's dtype, as the checkpoint lists them."""

    exact: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()

    def covers(self, name: str) -> bool:
        """Whether the module of this full name is left alone (all shards of a fused one count)."""
        names = (name, *_shards(name))
        return any(self._covers_one(candidate) for candidate in names)

    def _covers_one(self, name: str) -> bool:
        pieces = name.split(".")
        if self.exact and any(
            ".".join(pieces[:n]) in self.exact for n in range(1, len(pieces) + 1)
        ):
            return True
        dotted = f".{name}."
        if any(f".{part}." in dotted for part in self.parts):
            return True
        return any(pattern.match(name) for pattern in self.patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How one linear weight is stored after vLLM has processed it.

    Layouts: model_executor/layers/quantization/ of vLLM 0.33 (awq_marlin.py, gptq_marlin.py,
    fp8.py, compressed_tensors/, modelopt.py, mxfp4.py, bitsandbytes.py); same sizes since 0.8.
    """

    kind: SchemeKind = "none"
    bits: int = 16
    group: int = 0
    """Inputs that share a scale; 0 for one scale a row."""
    zero_points: bool = False
    block: tuple[int, int] | None = None
    reorders: bool = False
    """GPTQ with act order: inputs are permuted."""
    compute: tuple[int, int] | None = None
    """Compute capability of the GPU, which decides about the kernel."""
    ignored: Ignored = Ignored()

    def sizes(self, rows: int, columns: int, dtype_bytes: int) -> list[int]:
        """Bytes of each tensor that holds a weight of `rows` outputs and `columns` inputs."""
        count = rows * columns
        match self.kind:
            case "none" | "unknown":
                return [count * dtype_bytes]
            case "awq" | "gptq" | "wna16":
                groups = -(-columns // (self.group or columns or 1))
                sizes = [count * self.bits // 8, groups * rows * 2]
                if self.zero_points or self.keeps_zeros:
                    sizes.append(groups * rows * self.bits // 8)
                return [*sizes, columns * 4, columns * 4] if self.reorders else sizes
            case "fp8":
                return [count, self._fp8_scales(rows, columns)]
            case "int8":
                return [count, rows * 4]
            case "nvfp4":
                return [count // 2, count // 16]
            case "mxfp4":
                return [count // 2, count // 32]
            case "bnb4":
                # 4 bits and one fp32 absmax a block of 64 weights.
                return [count // 2, count // 16]
            case "bnb8":
                return [count, rows * 4]
            case "gguf":
                # About the size of Q4_K; a GGUF with tensors is weighed from its header instead.
                return [count * 9 // 16]

    def _fp8_scales(self, rows: int, columns: int) -> int:
        if self.block is None:
            return rows * 4
        groups = -(-columns // self.block[1])
        if self.repeats_scales:
            return groups * rows * 2
        return -(-rows // self.block[0]) * groups * 4

    @property
    def repeats_scales(self) -> bool:
        """Marlin repeats the scale of a block for each of its rows (utils/marlin_utils_fp8.py)."""
        return self.block is not None and self.compute is not None and self.compute < _FP8_COMPUTE

    @property
    def keeps_zeros(self) -> bool:
        """Machete, which Hopper takes, leaves GPTQ's unused zero points where they are."""
        return self.kind == "gptq" and self.compute == _MACHETE_COMPUTE

    def for_module(self, name: str) -> Scheme:
        """The scheme of one module: none when the checkpoint leaves it alone."""
        return PLAIN if self.kind == "none" or self.ignored.covers(name) else self


PLAIN = Scheme()


def scheme_of(config: Mapping[str, HeaderValue] | None, requested: str | None) -> Scheme:
    """The scheme of a checkpoint's quantization_config or, without one, of --quantization."""
    if not config:
        return _online(requested)
    method = str(config.get("quant_method") or "").lower()
    ignored = _ignored(config)
    match method:
        case "awq":
            return _integer(
                "awq", config, ignored, zero_points=bool(config.get("zero_point", True))
            )
        case "gptq" | "gptq_marlin" | "auto-round" | "auto_round":
            return _integer("gptq", config, ignored, zero_points=not config.get("sym", True))
        case "fp8" | "fbgemm_fp8":
            return Scheme(
                kind="fp8", bits=8, block=_pair(config.get("weight_block_size")), ignored=ignored
            )
        case "mxfp4":
            return Scheme(kind="mxfp4", bits=4, group=32, ignored=ignored)
        case "bitsandbytes":
            kind: SchemeKind = "bnb8" if config.get("load_in_8bit") else "bnb4"
            return Scheme(kind=kind, bits=8 if kind == "bnb8" else 4, ignored=ignored)
        case "gguf":
            return Scheme(kind="gguf", bits=4, ignored=ignored)
        case "compressed-tensors":
            return _compressed(config, ignored)
    algorithm = str(config.get("quant_algo") or "").upper()
    if method.startswith("modelopt") or algorithm:
        if "FP4" in algorithm:
            return Scheme(kind="nvfp4", bits=4, group=16, ignored=ignored)
        return Scheme(kind="fp8", bits=8, ignored=ignored)
    return Scheme(kind="unknown", ignored=ignored)


def quantization_fault(config: Mapping[str, HeaderValue] | None) -> str | None:
    """What no checkpoint can mean in its quantization_config, as the end of a sentence."""
    if not config:
        return None
    parts = [config, *_weight_groups(config)]
    for part in parts:
        for key in ("weight_block_size", "block_structure"):
            pair = _pair(part.get(key))
            if pair is not None and min(pair) < 1:
                return f"a `{key}` of {list(pair)}"
        bits = _first_int(part, ("bits", "w_bit", "num_bits"), _BYTE_BITS)
        if not 0 < bits <= _MOST_BITS:
            return f"weights of {bits} bits"
    return _pattern_fault(config)


def _weight_groups(config: Mapping[str, HeaderValue]) -> list[Mapping[str, HeaderValue]]:
    """What compressed-tensors says of the weights of each group."""
    groups = config.get("config_groups")
    listed = list(groups.values()) if isinstance(groups, dict) else []
    weights = [each.get("weights") for each in listed if isinstance(each, dict)]
    return [each for each in weights if isinstance(each, dict)]


def _pattern_fault(config: Mapping[str, HeaderValue]) -> str | None:
    """Patterns of module names are the checkpoint's own: one can be wrong, or never end.

    A repeated group can take time that doubles with each letter of a name, and each repetition
    multiplies it by the name's length, some hundred letters.
    """
    steps = 0
    for text in _ignore_list(config):
        pattern = _pattern_text(text)
        if pattern is None:
            continue
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError):
            return f"a pattern of module names that is none, `{text[:60]}`"
        if _REPEATED_GROUP.search(pattern):
            return f"a pattern of module names that could take forever, `{text[:60]}`"
        steps += _NAME_LETTERS ** len(_REPETITION.findall(pattern))
        if steps > _MOST_STEPS:
            return f"patterns of module names that could take forever, `{text[:60]}`"
    return None


def _online(requested: str | None) -> Scheme:
    """Quantizing 16-bit weights while loading: fp8 per tensor, or bitsandbytes in four bits."""
    if requested in {"fp8", "fp8_per_tensor", "ptpc_fp8"}:
        return Scheme(kind="fp8", bits=8)
    if requested == "bitsandbytes":
        return Scheme(kind="bnb4", bits=4)
    return PLAIN


def _integer(
    kind: SchemeKind, config: Mapping[str, HeaderValue], ignored: Ignored, *, zero_points: bool
) -> Scheme:
    bits = _first_int(config, ("bits", "w_bit"), 4)
    group = _first_int(config, ("group_size", "q_group_size"), 128)
    return Scheme(
        kind=kind,
        bits=bits,
        group=max(0, group),
        zero_points=zero_points,
        reorders=kind == "gptq" and bool(config.get("desc_act")),
        ignored=ignored,
    )


def _compressed(config: Mapping[str, HeaderValue], ignored: Ignored) -> Scheme:
    """compressed-tensors: the first group of weights decides; checkpoints in use have one."""
    groups = config.get("config_groups")
    first = next(iter(groups.values()), {}) if isinstance(groups, dict) else {}
    weights = first.get("weights") if isinstance(first, dict) else None
    if not isinstance(weights, dict):
        return Scheme(kind="unknown", ignored=ignored)
    bits = _first_int(weights, ("num_bits",), 8)
    if weights.get("type") == "float":
        return _compressed_float(weights, bits, ignored)
    if bits == _BYTE_BITS and str(config.get("format", "")).startswith("int"):
        return Scheme(kind="int8", bits=8, ignored=ignored)
    return Scheme(
        kind="wna16",
        bits=bits,
        group=max(0, _first_int(weights, ("group_size",), 0)),
        zero_points=not weights.get("symmetric", True),
        ignored=ignored,
    )


def _compressed_float(weights: Mapping[str, HeaderValue], bits: int, ignored: Ignored) -> Scheme:
    if bits == _BYTE_BITS:
        block = _pair(weights.get("block_structure"))
        return Scheme(kind="fp8", bits=8, block=block, ignored=ignored)
    if weights.get("group_size") == _MXFP4_GROUP:
        return Scheme(kind="mxfp4", bits=4, group=_MXFP4_GROUP, ignored=ignored)
    return Scheme(kind="nvfp4", bits=4, group=16, ignored=ignored)


def _ignored(config: Mapping[str, HeaderValue]) -> Ignored:
    """Exact names go into a set: some checkpoints list every layer by name."""
    exact: set[str] = set()
    parts: list[str] = []
    patterns: list[re.Pattern[str]] = []
    for text in _ignore_list(config):
        pattern = _pattern_text(text)
        if pattern is not None:
            patterns.append(re.compile(pattern))
        elif any(piece.isdigit() for piece in text.split(".")):
            exact.add(text)
        else:
            parts.append(text)
    return Ignored(exact=frozenset(exact), parts=tuple(parts), patterns=tuple(patterns))


def _pattern_text(text: str) -> str | None:
    """The pattern that an entry of the list stands for; None for a name."""
    if text.startswith("re:"):
        return text[3:]
    if "*" in text or "?" in text:
        glob = re.escape(text.rstrip(".*")).replace(r"\*", ".*").replace(r"\?", ".")
        return rf"(?:.*\.|){glob}(?:\.|$)"
    return None


def _ignore_list(config: Mapping[str, HeaderValue]) -> Iterable[str]:
    for key in (
        "modules_to_not_convert",
        "ignore",
        "exclude_modules",
        "ignored_layers",
        "llm_int8_skip_modules",
    ):
        found = config.get(key)
        if isinstance(found, list) and found:
            return [item for item in found if isinstance(item, str)]
    return []


def _shards(name: str) -> Iterable[str]:
    stem, _, last = name.rpartition(".")
    return (f"{stem}.{shard}" for shard in _FUSED.get(last, ()))


def _pair(value: HeaderValue) -> tuple[int, int] | None:
    match value:
        case [int(first), int(second)]:
            return first, second
    return None


def _first_int(config: Mapping[str, HeaderValue], keys: tuple[str, ...], default: int) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int):
            return value
    return default
