"""GGUF files that libllama loads: the shapes of tests/generators with the rest of their headers.

The generators write what decides memory. libllama also asks for values that do not, and refuses a
file without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compiler.resolve.gguf import GgufHeader, read_gguf
from compiler.resolve.ranges import LocalFile
from tests.generators import architectures, gguf_families, gguf_shapes
from tests.generators.models import GgufTensorSpec, write_gguf
from tests.oracle import drawn

MODELS = (*gguf_shapes.SHAPES, *gguf_families.SHAPES, *architectures.GGUF)

# Each loader asks for one of the two (src/models/*.cpp, `load_arch_hparams`).
_ALWAYS: Mapping[str, Any] = {
    "attention.layer_norm_epsilon": 1e-5,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
_BY_ARCHITECTURE: Mapping[str, Mapping[str, Any]] = {
    "cohere2": {"logit_scale": 0.25},
    "command-r": {"logit_scale": 0.0625},
    "qwen2vl": {"rope.dimension_sections": [16, 24, 24, 0]},
}
_BY_MODEL: Mapping[str, Mapping[str, Any]] = {
    "granite-hybrid": {
        "feed_forward_length": 512,  # Read as the width of an expert.
        "expert_shared_feed_forward_length": 1024,
    },
    "minicpm3-4b": {"attention.key_length": 96, "attention.value_length": 64},
    "qwen3-4b-rerank": {"classifier.output_labels": ["yes", "no"]},
}

# Small tensors that the loader wants, as (beside which one, name, shape).
_ADDED: Mapping[str, Sequence[tuple[str, str, list[int]]]] = {
    "exaone-4.0-32b": (
        ("attn_output.weight", "attn_q_norm.weight", [128]),
        ("attn_output.weight", "attn_k_norm.weight", [128]),
        ("attn_output.weight", "post_attention_norm.weight", [5120]),
        ("ffn_down.weight", "post_ffw_norm.weight", [5120]),
    ),
    "gemma-3n-e4b": (
        ("token_embd.weight", "per_layer_proj_norm.weight", [256]),
        ("laurel_r.weight", "laurel_post_norm.weight", [2048]),
        ("altup_router.weight", "altup_router_norm.weight", [2048]),
    ),
    "gemma4-e4b": (("token_embd.weight", "rope_freqs.weight", [256]),),
    "jamba-1.5-mini": (
        ("ssm_dt.weight", "ssm_dt_norm.weight", [256]),
        ("ssm_dt.weight", "ssm_b_norm.weight", [16]),
        ("ssm_dt.weight", "ssm_c_norm.weight", [16]),
    ),
    "jina-embeddings-v2-base-en": tuple(
        (beside, f"{name}.{part}", [768])
        for beside, name in (
            ("token_embd.weight", "token_embd_norm"),
            ("attn_output.weight", "attn_output_norm"),
            ("ffn_down.weight", "layer_output_norm"),
        )
        for part in ("weight", "bias")
    ),
}
# Norms that the architecture has elsewhere or not at all.
_DROPPED: Mapping[str, Sequence[str]] = {
    "command-r7b": ("ffn_norm.weight",),
    "exaone-4.0-32b": ("attn_norm.weight", "ffn_norm.weight"),
}
# src/models/falcon-h1.cpp asks for this one without a suffix.
_RENAMED: Mapping[str, tuple[str, str]] = {
    "falcon-h1": ("ffn_norm.weight", "ffn_norm"),
    "falcon-h1-1.5b": ("ffn_norm.weight", "ffn_norm"),
}


def write_model(model: str, quant: str | None, path: Path) -> None:
    """Write a named model whole: full header, and a hole where the weights would be."""
    if model.startswith(drawn.PREFIX):
        gguf_shapes.write_draft(model, drawn.shape(model)(quant), path)
    elif model in gguf_shapes.SHAPES:
        gguf_shapes.write(model, path, quant)
    elif model in gguf_families.SHAPES:
        gguf_shapes.write_draft(model, gguf_families.SHAPES[model](quant), path)
    else:
        architectures.write_architecture(model, path)
    header = read_gguf(LocalFile(path, path.name))
    arch = str(header.values["general.architecture"])
    more = {**_ALWAYS, **_BY_ARCHITECTURE.get(arch, {}), **_BY_MODEL.get(model, {})}
    tensors = list(_tensors(model, header))
    shapes = {name: shape for name, _, shape in tensors}
    values = {
        "tokenizer.ggml.token_type_count": shapes.get("token_types.weight", [0, 1])[1],
        **header.values,
        **{f"{arch}.{key}": value for key, value in more.items()},
    }
    write_gguf(path, values, tensors)


def _tensors(model: str, header: GgufHeader) -> Iterator[GgufTensorSpec]:
    old, new = _RENAMED.get(model, ("", ""))
    for tensor in header.tensors:
        if tensor.name.endswith(tuple(_DROPPED.get(model, ()))):
            continue
        name = tensor.name
        if old and name.endswith(old):
            name = name.removesuffix(old) + new
        yield name, tensor.dtype, list(tensor.shape)
        for beside, added, shape in _ADDED.get(model, ()):
            if name == beside or name.endswith(f".{beside}"):
                yield name.removesuffix(beside) + added, "f32", shape
