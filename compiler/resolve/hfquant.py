"""How a Hugging Face model is quantized: its name, and weights counted through packing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from compiler.ir.facts import Tensor

_DTYPES = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float32": "fp32",
    "float": "fp32",
    "float8_e4m3fn": "fp8",
    "BF16": "bf16",
    "F16": "fp16",
    "F32": "fp32",
    "F8_E4M3": "fp8",
    "F8_E5M2": "fp8",
    "I8": "int8",
    "U8": "int8",
}

# Tensors that are no weights but say how to read others.
_ASIDE_ENDINGS = (
    ".scales",
    ".qzeros",
    ".g_idx",
    "_scale",
    "_scale_2",
    "_scale_inv",
    "_scales",
    "_zero_point",
    ".weight_g_idx",
    ".weight_shape",
    ".SCB",
    ".weight_format",
    ".absmax",
    ".quant_map",
    ".nested_absmax",
    ".nested_quant_map",
    ".bitsandbytes__nf4",
    ".bitsandbytes__fp4",
)
_HEX_FLOAT_BITS = 4
_PACKED_BITS = (1, 2, 3, 4, 5, 6, 8, 16)
_NVFP4_GROUP = 16


def quantization_section(documents: Mapping[str, Any]) -> dict[str, Any]:
    """The quantization of a model wherever its files keep it; empty when it is not quantized.

    config.json first; then the files that ModelOpt, AutoGPTQ and AutoAWQ wrote beside it.
    """
    config = documents.get("config.json", {})
    for section in (config, config.get("text_config")):
        if isinstance(section, Mapping):
            found = section.get("quantization_config") or section.get("compression_config")
            if isinstance(found, Mapping):
                return dict(found)
    modelopt = documents.get("hf_quant_config.json")
    if isinstance(modelopt, Mapping) and isinstance(modelopt.get("quantization"), Mapping):
        return {"quant_method": "modelopt", **modelopt["quantization"]}
    for name, method in (("quantize_config.json", "gptq"), ("quant_config.json", "awq")):
        if isinstance(documents.get(name), Mapping):
            return {"quant_method": method, **documents[name]}
    return {}


def quantization_name(section: Mapping[str, Any], dtype: object, tensors: Sequence[Tensor]) -> str:
    """`awq-4bit`, `fp8`, `nvfp4`, `bf16`: what people call it."""
    if section:
        return _method_name(section)
    if isinstance(dtype, str) and dtype.removeprefix("torch.") in _DTYPES:
        return _DTYPES[dtype.removeprefix("torch.")]
    weights: Counter[str] = Counter()
    for tensor in tensors:
        weights[tensor.dtype] += tensor.bytes
    common = weights.most_common(1)
    return _DTYPES.get(common[0][0], common[0][0].lower()) if common else "unknown"


def count_parameters(tensors: Sequence[Tensor], section: Mapping[str, Any]) -> int:
    """Number of weights: packed ones counted singly, scales and zero points left out."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    return sum(
        _weights(tensor, shapes, section)
        for tensor in tensors
        if not tensor.name.endswith(_ASIDE_ENDINGS) and "quant_state" not in tensor.name
    )


def _method_name(section: Mapping[str, Any]) -> str:
    method = str(section.get("quant_method") or section.get("quant_algo") or "unknown").lower()
    algorithm = str(section.get("quant_algo") or "").lower()
    match method:
        case "awq" | "gptq" | "auto-round" | "auto_round" | "intel/auto-round":
            # GPTQModel and AutoRound keep exceptions by layer in these two.
            mixed = section.get("dynamic") or section.get("extra_config")
            return f"{method}-{_bits(section)}bit" + ("-mixed" if mixed else "")
        case "compressed-tensors":
            return _compressed_name(section)
        case "bitsandbytes":
            return "bnb-4bit" if section.get("load_in_4bit") else "bnb-8bit"
        case "modelopt" | "modelopt_fp4" | "modelopt_mixed" if algorithm:
            return algorithm.replace("_", "-")
        case "fbgemm_fp8" | "ptpc_fp8":
            return "fp8"
    return method


def _compressed_name(section: Mapping[str, Any]) -> str:
    """One name a distinct weight scheme of the groups (compressed_tensors QuantizationArgs)."""
    names = sorted({_scheme_name(group) for group in _groups(section)})
    return "+".join(names) or "compressed-tensors"


def _groups(section: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    groups = section.get("config_groups")
    found = groups.values() if isinstance(groups, Mapping) else ()
    return [group for group in found if isinstance(group, Mapping)]


def _scheme_name(group: Mapping[str, Any]) -> str:
    weights = group.get("weights")
    arguments = weights if isinstance(weights, Mapping) else {}
    bits, kind = arguments.get("num_bits", 8), arguments.get("type", "int")
    if kind == "float" and bits == _HEX_FLOAT_BITS:
        return "nvfp4" if arguments.get("group_size", _NVFP4_GROUP) == _NVFP4_GROUP else "mxfp4"
    if kind == "float":
        return f"fp{bits}"
    return f"w{bits}a{8 if group.get('input_activations') else 16}"


def _bits(section: Mapping[str, Any]) -> int:
    for key in ("bits", "w_bit", "num_bits"):
        if section.get(key) in _PACKED_BITS:
            return int(section[key])
    for group in _groups(section):
        weights = group.get("weights")
        if isinstance(weights, Mapping) and weights.get("num_bits") in _PACKED_BITS:
            return int(weights["num_bits"])
    return 8 if section.get("load_in_8bit") else 4


def _weights(
    tensor: Tensor, shapes: Mapping[str, Sequence[int]], section: Mapping[str, Any]
) -> int:
    """Weights in a tensor of the file, packed ones counted singly."""
    elements = prod(tensor.shape)
    if tensor.dtype == "I32" and tensor.name.endswith(".qweight"):
        return elements * 32 // _layer_bits(tensor.name.removesuffix("qweight"), shapes, section)
    if tensor.dtype == "I32" and tensor.name.endswith(".weight_packed"):
        return _unpacked(tensor, shapes.get(f"{tensor.name.removesuffix('packed')}scale"), section)
    if tensor.dtype == "U8":  # NVFP4, MXFP4 and bitsandbytes keep two weights in a byte.
        return elements * 2
    return elements


def _layer_bits(stem: str, shapes: Mapping[str, Sequence[int]], section: Mapping[str, Any]) -> int:
    """Bits of one layer of AWQ or GPTQ: a row has a scale and a packed zero point a column.

    GPTQModel `dynamic` and AutoRound `extra_config` give layers bits of their own.
    """
    zeros, scales = shapes.get(f"{stem}qzeros"), shapes.get(f"{stem}scales")
    if zeros and scales and scales[-1]:
        bits = 32 * zeros[-1] // scales[-1]
        if bits in _PACKED_BITS:
            return bits
    return _bits(section)


def _unpacked(tensor: Tensor, scale: Sequence[int] | None, section: Mapping[str, Any]) -> int:
    """Weights of a compressed-tensors layer: of the group whose scales the layer has.

    pack_to_int32 puts 32 // bits weights into an element and leaves the rest of it unused.
    """
    rows, columns = prod(tensor.shape[:-1]), tensor.shape[-1] if tensor.shape else 0
    fits: list[tuple[int, int]] = []
    for group in _groups(section):
        weights = group.get("weights")
        arguments = weights if isinstance(weights, Mapping) else {}
        bits, size = arguments.get("num_bits"), arguments.get("group_size")
        if bits in _PACKED_BITS and scale:
            room = columns * (32 // bits)
            scaled = scale[-1] * (size if isinstance(size, int) and size > 0 else room)
            fits.append((abs(room - scaled), min(room, scaled)))
    width = min(fits)[1] if fits else columns * (32 // _bits(section))
    return rows * width
