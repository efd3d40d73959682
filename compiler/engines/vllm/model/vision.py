"""Vision towers: read from config.json, weighed on one GPU."""

from __future__ import annotations

from collections.abc import Callable

from compiler.engines.vllm.model.pictures import Picture
from compiler.engines.vllm.model.sections import Header, section
from compiler.engines.vllm.model.shape import Vision
from compiler.engines.vllm.model.vision_grids import (
    dots_vision,
    ernie_vision,
    gemma4_vision,
    glm_ocr_vision,
    glm_vision,
    kimi_k3_vision,
    kimi_vision,
    mistral3_vision,
    paddle_vision,
    qwen2_5_vision,
    qwen2_vision,
    qwen3_vision,
)
from compiler.engines.vllm.model.vision_squares import (
    aria_vision,
    cohere_vision,
    deepseek_vision,
    gemma3_vision,
    idefics3_vision,
    intern_vision,
    lfm2_vision,
    llama4_vision,
    llava_vision,
    minicpm_vision,
    paligemma_vision,
    phi3_vision,
    step3_vision,
    unknown_vision,
)

_DEFAULTS: dict[str, dict[str, int]] = {
    "clip_vision_model": {"image_size": 224, "patch_size": 32, "num_attention_heads": 12},
    "pixtral": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 1024,
        "patch_size": 16,
    },
    "siglip_vision_model": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
    },
    "siglip2_vision_model": {"num_patches": 256, "patch_size": 16},
}
"""What transformers fills into vision sections that leave it out (5.19)."""

_Family = Callable[[Picture], Vision]
_UNKNOWN: _Family = unknown_vision
_FAMILIES: dict[str, _Family] = {
    **dict.fromkeys(("qwen2_vl",), qwen2_vision),
    **dict.fromkeys(("qwen2_5_vl", "qwen2_5_omni"), qwen2_5_vision),
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe", "qwen3_omni_moe"), qwen3_vision),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe"), qwen3_vision),
    **dict.fromkeys(("glm4v", "glm4v_moe"), glm_vision),
    **dict.fromkeys(("llava", "llava_next", "llava_onevision"), llava_vision),
    **dict.fromkeys(("mistral3", "pixtral"), mistral3_vision),
    **dict.fromkeys(("internvl_chat", "internvl"), intern_vision),
    **dict.fromkeys(("idefics3", "smolvlm"), idefics3_vision),
    "aria": aria_vision,
    "cohere2_vision": cohere_vision,
    "deepseek_vl_v2": deepseek_vision,
    "dots_ocr": dots_vision,
    "ernie4_5_moe_vl": ernie_vision,
    "gemma3": gemma3_vision,
    "gemma4": gemma4_vision,
    "glm_ocr": glm_ocr_vision,
    **dict.fromkeys(("kimi_vl", "kimi_k25"), kimi_vision),
    "kimi_k3": kimi_k3_vision,
    "lfm2_vl": lfm2_vision,
    "llama4": llama4_vision,
    "minicpmv": minicpm_vision,
    "paddleocr_vl": paddle_vision,
    "paligemma": paligemma_vision,
    "phi3_v": phi3_vision,
    "step3_vl": step3_vision,
}
"""Towers by the outer model_type."""


def vision_of(header: Header, hidden: int) -> Vision | None:
    """The vision tower that a config.json describes; None without one."""
    inner = section(header, "thinker_config") or header
    found = section(inner, "vision_config") or section(inner, "img_processor")
    if not found:
        return None
    model_type = str(header.get("model_type") or "")
    defaults = _DEFAULTS.get(str(found.get("model_type")), {})
    picture = Picture(
        header=inner, section={**defaults, **found}, model_type=model_type, hidden=hidden
    )
    return _FAMILIES.get(model_type, _UNKNOWN)(picture)
