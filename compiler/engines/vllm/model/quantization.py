"""How quantized weights lie in vLLM's memory, and which modules a scheme leaves alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from compiler.engines.vllm.model.modules import NO_NAMES, Names, Role, names_of, role_of, shards
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
    "mxfp8",
    "mixed",
    "bnb4",
    "bnb8",
    "gguf",
    "unknown",
]

_BYTE_BITS = 8
_MXFP4_GROUP = 32
_NVFP4_BITS = 4
_FP8_COMPUTE = (8, 9)
_MACHETE_COMPUTE = (9, 0)


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
    ignored: Names = NO_NAMES
    of_roles: Mapping[Role, Scheme] = field(default_factory=dict, compare=False, hash=False)
    """Mixed precision: the schemes of modules that the checkpoint names one by one."""
    of_names: tuple[tuple[Names, Scheme], ...] = field(default=(), compare=False, hash=False)
    """Mixed precision: the schemes of modules that it means by patterns, first match first."""
    of_output: Scheme | None = None
    """Mixed precision: the scheme of the output."""

    def sizes(self, rows: int, columns: int, dtype_bytes: int) -> list[int]:
        """Bytes of each tensor that holds a weight of `rows` outputs and `columns` inputs."""
        count = rows * columns
        match self.kind:
            case "none" | "unknown" | "mixed":
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
            case "mxfp8":
                return [count, count // 32]
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
        if self.kind == "none" or self.ignored.cover(name):
            return PLAIN
        return self if self.kind != "mixed" else self._own_of(name)

    def _own_of(self, name: str) -> Scheme:
        """The scheme that mixed precision gives a module: that of its first shard with one."""
        roles = (role for spelt in shards(name) if (role := role_of(spelt)))
        found = next((self.of_roles[role] for role in roles if role in self.of_roles), None)
        if found is None:
            found = next((own for names, own in self.of_names if names.cover(name)), PLAIN)
        return replace(found, compute=self.compute)

    def kinds(self) -> frozenset[SchemeKind]:
        """Every kind that a module can have."""
        if self.kind != "mixed":
            return frozenset({self.kind})
        named = (own.kind for _, own in self.of_names)
        return frozenset({*(own.kind for own in self.of_roles.values()), *named})


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
            return _fp8(config, ignored)
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
    if algorithm == "MIXED_PRECISION":
        return _mixed_modelopt(config, ignored)
    if method.startswith("modelopt") or algorithm:
        return replace(_modelopt(algorithm), ignored=ignored)
    return Scheme(kind="unknown", ignored=ignored)


def _fp8(config: Mapping[str, HeaderValue], ignored: Names) -> Scheme:
    """FP8 by tensor, row or block; experts may be in four bits beside it."""
    own = Scheme(kind="fp8", bits=8, block=pair(config.get("weight_block_size")))
    if config.get("expert_dtype") != "fp4":
        return replace(own, ignored=ignored)
    experts = Scheme(kind="mxfp4", bits=4, group=_MXFP4_GROUP)
    named = ((names_of([r"re:.*\.experts\."]), experts), (names_of(["re:.*"]), own))
    return Scheme(kind="mixed", ignored=ignored, of_names=named)


# modelopt.py, 0.33: algorithms whose weights lie as named; FP8's are in blocks, a row or a tensor.
_MODELOPT: dict[str, Scheme] = {
    "FP8": Scheme(kind="fp8", bits=8),
    "FP8_PER_CHANNEL_PER_TOKEN": Scheme(kind="fp8", bits=8),
    "FP8_PB_WO": Scheme(kind="fp8", bits=8, block=(128, 128)),
    "FP8_PB": Scheme(kind="fp8", bits=8, block=(128, 128)),
    "FP8_BLOCK": Scheme(kind="fp8", bits=8, block=(128, 128)),
    "NVFP4": Scheme(kind="nvfp4", bits=4, group=16),
    "NVFP4_AWQ": Scheme(kind="nvfp4", bits=4, group=16),
    "W4A16_NVFP4": Scheme(kind="nvfp4", bits=4, group=16),
    "MXFP8": Scheme(kind="mxfp8", bits=8, group=32),
    "MXFP4": Scheme(kind="mxfp4", bits=4, group=32),
}


def _modelopt(algorithm: str) -> Scheme:
    return _MODELOPT.get(algorithm, Scheme(kind="unknown"))


def _mixed_modelopt(config: Mapping[str, HeaderValue], ignored: Names) -> Scheme:
    """ModelOpt names the algorithm of every quantized module (modelopt.py, 0.24 to 0.33)."""
    listed = config.get("quantized_layers")
    modules = listed if isinstance(listed, dict) else {}
    roles: dict[Role, Scheme] = {}
    output: Scheme | None = None
    for name, recipe in modules.items():
        algorithm = recipe.get("quant_algo") if isinstance(recipe, dict) else None
        own = _modelopt(str(algorithm or "").upper())
        role = role_of(name)
        if role is not None:
            roles.setdefault(role, own)
        elif name.endswith("lm_head"):
            output = own
    if not roles:
        return Scheme(kind="unknown", ignored=ignored)
    return Scheme(kind="mixed", ignored=ignored, of_roles=roles, of_output=output)


def _online(requested: str | None) -> Scheme:
    """Quantizing 16-bit weights while loading: fp8 per tensor, or bitsandbytes in four bits."""
    if requested in {"fp8", "fp8_per_tensor", "ptpc_fp8"}:
        return Scheme(kind="fp8", bits=8)
    if requested == "bitsandbytes":
        return Scheme(kind="bnb4", bits=4)
    return PLAIN


# Bits of a weight that vLLM has kernels for (awq.py, gptq.py, gptq_marlin.py, 0.8 to 0.33).
_INTEGER_BITS: dict[SchemeKind, frozenset[int]] = {
    "awq": frozenset({4}),
    "gptq": frozenset({2, 3, 4, 8}),
    "wna16": frozenset({2, 3, 4, 8}),
}
_LEAST_GROUP = 16


def _is_group(size: int) -> bool:
    """Whether inputs share a scale in groups as kernels have them; one a row is 0 or -1."""
    return size <= 0 or (size >= _LEAST_GROUP and size & (size - 1) == 0)


def _integer(
    kind: SchemeKind, config: Mapping[str, HeaderValue], ignored: Names, *, zero_points: bool
) -> Scheme:
    bits = first_int(config, ("bits", "w_bit"), 4)
    group = first_int(config, ("group_size", "q_group_size"), 128)
    if bits not in _INTEGER_BITS[kind] or not _is_group(group):
        return Scheme(kind="unknown", ignored=ignored)
    return Scheme(
        kind=kind,
        bits=bits,
        group=max(0, group),
        zero_points=zero_points,
        reorders=kind == "gptq" and bool(config.get("desc_act")),
        ignored=ignored,
    )


def _compressed(config: Mapping[str, HeaderValue], ignored: Names) -> Scheme:
    """compressed-tensors: groups of modules, each with a scheme of its own.

    Modules are matched by name or pattern before their class (compressed_tensors/utils.py
    `find_matched_target`); a group of the class `Linear` has all that no other group names.
    """
    found = config.get("config_groups")
    groups = [group for group in found.values() if isinstance(group, dict)] if isinstance(
        found, dict
    ) else []  # fmt: skip
    schemes = [(_targets(group), _group_scheme(group, config)) for group in groups]
    if not schemes:
        return Scheme(kind="unknown", ignored=ignored)
    everywhere = [own for targets, own in schemes if not targets]
    named = [(names_of(targets), own) for targets, own in schemes if targets]
    if not named:
        return replace(everywhere[0], ignored=ignored)
    rest = [(names_of(["re:.*"]), everywhere[0])] if everywhere else []
    output = next((own for names, own in named if names.cover("lm_head")), None)
    return Scheme(
        kind="mixed", ignored=ignored, of_names=(*named, *rest), of_output=output
    )  # fmt: skip


def _targets(group: Mapping[str, HeaderValue]) -> list[str]:
    """The names and patterns of a group; none where it means a class of modules."""
    targets = group.get("targets")
    listed = (
        [item for item in targets if isinstance(item, str)] if isinstance(targets, list) else []
    )
    return [] if any(item in _CLASSES for item in listed) else listed


# Classes that a group may mean.
_CLASSES = frozenset({"Linear", "LinearBase", "FusedMoE"})


def _group_scheme(group: Mapping[str, HeaderValue], config: Mapping[str, HeaderValue]) -> Scheme:
    weights = group.get("weights")
    if not isinstance(weights, dict):
        return Scheme(kind="unknown")
    bits = first_int(weights, ("num_bits",), 8)
    layout = str(group.get("format") or config.get("format") or "")
    if weights.get("type") == "float":
        return _compressed_float(weights, bits)
    if bits == _BYTE_BITS and layout.startswith("int"):
        return Scheme(kind="int8", bits=8)
    inputs = max(0, first_int(weights, ("group_size",), 0))
    if bits not in _INTEGER_BITS["wna16"] or not _is_group(inputs):
        return Scheme(kind="unknown")
    return Scheme(
        kind="wna16",
        bits=bits,
        group=inputs,
        zero_points=not weights.get("symmetric", True),
    )


def _compressed_float(weights: Mapping[str, HeaderValue], bits: int) -> Scheme:
    if bits == _BYTE_BITS:
        if weights.get("group_size") == _MXFP4_GROUP:
            return Scheme(kind="mxfp8", bits=8, group=_MXFP4_GROUP)
        return Scheme(kind="fp8", bits=8, block=pair(weights.get("block_structure")))
    if weights.get("group_size") == _MXFP4_GROUP:
        return Scheme(kind="mxfp4", bits=4, group=_MXFP4_GROUP)
    return Scheme(kind="nvfp4" if bits == _NVFP4_BITS else "unknown", bits=4, group=16)


def _ignored(config: Mapping[str, HeaderValue]) -> Names:
    return names_of(ignore_list(config))


def ignore_list(config: Mapping[str, HeaderValue]) -> Iterable[str]:
    """The modules that stay in 16 bits, under the name of the list that the method has."""
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


def pair(value: HeaderValue) -> tuple[int, int] | None:
    """Two whole numbers of a list; None for anything else."""
    match value:
        case [int(first), int(second)]:
            return first, second
    return None


def first_int(config: Mapping[str, HeaderValue], keys: tuple[str, ...], default: int) -> int:
    """The first of several names that holds a whole number."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, int):
            return value
    return default
