"""Projectors (mmproj) of published models as GGUF files: whole headers, and holes for weights.

Names, shapes and header keys as llama.cpp's convert_hf_to_gguf.py --mmproj writes them
(2026-10-01), sizes as the config.json of the models has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.generators.models import GgufTensorSpec, write_gguf

Added = list[GgufTensorSpec]


class _Tower:
    """A vision tower in the making."""

    def __init__(self, kind: str, width: int, heads: int, layers: int, forward: int) -> None:
        self.width = width
        self.layers = layers
        self.forward = forward
        self.tensors: Added = []
        self.values: dict[str, Any] = {
            "general.architecture": "clip",
            "general.type": "mmproj",
            "clip.has_vision_encoder": True,
            "clip.projector_type": kind,
            "clip.vision.embedding_length": width,
            "clip.vision.attention.head_count": heads,
            "clip.vision.feed_forward_length": forward,
            "clip.vision.block_count": layers,
            "clip.vision.attention.layer_norm_epsilon": 1e-6,
            "clip.vision.image_mean": [0.5, 0.5, 0.5],
            "clip.vision.image_std": [0.5, 0.5, 0.5],
            "clip.use_gelu": True,
        }

    def header(self, image: int, patch: int, text: int, **more: object) -> _Tower:
        self.values |= {
            "clip.vision.image_size": image,
            "clip.vision.patch_size": patch,
            "clip.vision.projection_dim": text,
            **{f"clip.vision.{key.replace('__', '.')}": value for key, value in more.items()},
        }
        return self

    def matrix(self, name: str, *shape: int, bias: bool = True) -> None:
        self.tensors.append((f"{name}.weight", "f16", list(shape)))
        if bias:
            self.tensors.append((f"{name}.bias", "f32", [shape[-1]]))

    def vector(self, name: str, size: int, *, bias: bool = True) -> None:
        self.tensors.append((f"{name}.weight", "f32", [size]))
        if bias:
            self.tensors.append((f"{name}.bias", "f32", [size]))

    def patches(self, patch: int, *, bias: bool = True, frames: int = 1) -> None:
        for name in ("v.patch_embd.weight", "v.patch_embd.weight.1")[:frames]:
            self.tensors.append((name, "f16", [patch, patch, 3, self.width]))
        if bias:
            self.tensors.append(("v.patch_embd.bias", "f32", [self.width]))

    def positions(self, count: int) -> None:
        self.tensors.append(("v.position_embd.weight", "f32", [self.width, count]))

    def blocks(  # noqa: PLR0913 - what towers differ in
        self,
        *,
        bias: bool = True,
        norm_bias: bool = True,
        gate: bool = False,
        fused: bool = False,
        scales: bool = False,
        head_norms: int = 0,
        post_norms: bool = False,
    ) -> None:
        width, forward = self.width, self.forward
        for at in range(self.layers):
            name = f"v.blk.{at}"
            self.vector(f"{name}.ln1", width, bias=norm_bias)
            if fused:
                self.matrix(f"{name}.attn_qkv", width, 3 * width, bias=bias)
            else:
                for letter in "qkv":
                    self.matrix(f"{name}.attn_{letter}", width, width, bias=bias)
            for letter in "qk" if head_norms else "":
                self.vector(f"{name}.attn_{letter}_norm", head_norms, bias=False)
            self.matrix(f"{name}.attn_out", width, width, bias=bias)
            self.vector(f"{name}.ln2", width, bias=norm_bias)
            for part in ("up", "gate") if gate else ("up",):
                self.matrix(f"{name}.ffn_{part}", width, forward, bias=bias)
            self.matrix(f"{name}.ffn_down", forward, width, bias=bias)
            for letter in "12" if scales else "":
                self.vector(f"{name}.ls{letter}", width, bias=False)
            for part in ("attn", "ffn") if post_norms else ():
                self.vector(f"{name}.{part}_post_norm", width, bias=False)


def _gemma3() -> _Tower:
    tower = _Tower("gemma3", 1152, 16, 27, 4304).header(896, 14, 2560)
    tower.patches(14)
    tower.positions(4096)
    tower.blocks()
    tower.vector("v.post_ln", 1152)
    tower.tensors.append(("mm.input_projection.weight", "f16", [2560, 1152]))
    tower.vector("mm.soft_emb_norm", 1152, bias=False)
    return tower


def _smolvlm() -> _Tower:
    tower = _Tower("idefics3", 768, 12, 12, 3072)
    tower.header(512, 16, 960, projector__scale_factor=4, preproc_image_size=2048)
    tower.patches(16)
    tower.positions(1024)
    tower.blocks()
    tower.vector("v.post_ln", 768)
    tower.matrix("mm.model.fc", 768 * 16, 960, bias=False)
    return tower


def _lfm2() -> _Tower:
    tower = _Tower("lfm2", 1152, 16, 26, 4304)
    tower.header(256, 16, 2048, projector__scale_factor=2)
    tower.patches(16)
    tower.positions(256)
    tower.blocks()
    tower.vector("v.post_ln", 1152)
    tower.vector("mm.input_norm", 4608)
    tower.matrix("mm.1", 4608, 2560)
    tower.matrix("mm.2", 2560, 2048)
    return tower


def _llava() -> _Tower:
    tower = _Tower("mlp", 1024, 16, 24, 4096).header(336, 14, 768)
    tower.values |= {"clip.use_gelu": False}
    tower.tensors.append(("v.class_embd", "f32", [1024]))
    tower.patches(14, bias=False)
    tower.positions(577)
    tower.vector("v.pre_ln", 1024)
    tower.blocks()
    tower.matrix("mm.0", 1024, 4096)
    tower.matrix("mm.2", 4096, 4096)
    return tower


def _internvl() -> _Tower:
    tower = _Tower("internvl", 1024, 16, 24, 4096)
    tower.header(448, 14, 3584, projector__scale_factor=2)
    tower.tensors.append(("v.class_embd", "f32", [1024]))
    tower.patches(14)
    tower.positions(1025)
    tower.blocks(scales=True)
    tower.vector("mm.model.mlp.0", 4096)
    tower.matrix("mm.model.mlp.1", 4096, 3584)
    tower.matrix("mm.model.mlp.3", 3584, 3584)
    return tower


def _pixtral() -> _Tower:
    tower = _Tower("pixtral", 1024, 16, 24, 4096).header(1024, 16, 5120)
    tower.patches(16, bias=False)
    tower.vector("v.pre_ln", 1024, bias=False)
    tower.blocks(bias=False, norm_bias=False, gate=True)
    tower.matrix("mm.1", 1024, 5120)
    tower.matrix("mm.2", 5120, 5120)
    tower.tensors.append(("v.token_embd.img_break", "f32", [5120]))
    return tower


def _mistral_small() -> _Tower:
    tower = _Tower("pixtral", 1024, 16, 24, 4096)
    tower.header(1540, 14, 5120, spatial_merge_size=2)
    tower.patches(14, bias=False)
    tower.vector("v.pre_ln", 1024, bias=False)
    tower.blocks(bias=False, norm_bias=False, gate=True)
    tower.vector("mm.input_norm", 1024, bias=False)
    tower.matrix("mm.patch_merger", 4096, 1024, bias=False)
    tower.matrix("mm.1", 1024, 5120, bias=False)
    tower.matrix("mm.2", 5120, 5120, bias=False)
    tower.tensors.append(("v.token_embd.img_break", "f32", [5120]))
    return tower


def _qwen2() -> _Tower:
    tower = _Tower("qwen2vl_merger", 1280, 16, 32, 5120).header(560, 14, 3584)
    tower.patches(14, bias=False, frames=2)
    tower.blocks()
    tower.vector("v.post_ln", 1280)
    tower.matrix("mm.0", 5120, 5120)
    tower.matrix("mm.2", 5120, 3584)
    return tower


def _qwen25() -> _Tower:
    tower = _Tower("qwen2.5vl_merger", 1280, 16, 32, 3420)
    tower.header(560, 14, 3584, n_wa_pattern=8)
    tower.values |= {"clip.use_gelu": False, "clip.use_silu": True}
    tower.patches(14, bias=False, frames=2)
    tower.blocks(norm_bias=False, gate=True)
    tower.vector("v.post_ln", 1280, bias=False)
    tower.matrix("mm.0", 5120, 5120)
    tower.matrix("mm.2", 5120, 3584)
    return tower


def _qwen3() -> _Tower:
    tower = _Tower("qwen3vl_merger", 1152, 16, 27, 4304)
    tower.header(768, 16, 4096, spatial_merge_size=2)
    tower.patches(16, frames=2)
    tower.positions(2304)
    tower.blocks(fused=True)
    for at in (8, 16, 24):
        tower.vector(f"v.deepstack.{at}.norm", 4608)
        tower.matrix(f"v.deepstack.{at}.fc1", 4608, 4608)
        tower.matrix(f"v.deepstack.{at}.fc2", 4608, 4096)
    tower.vector("v.post_ln", 1152)
    tower.matrix("mm.0", 4608, 4608)
    tower.matrix("mm.2", 4608, 4096)
    return tower


def _gemma4() -> _Tower:
    tower = _Tower("gemma4v", 1152, 16, 27, 4304)
    tower.header(768, 16, 2816, projector__scale_factor=3)
    tower.patches(16, bias=False)
    tower.tensors.append(("v.position_embd.weight", "f32", [1152, 10240, 2]))
    tower.blocks(bias=False, norm_bias=False, gate=True, head_norms=72, post_norms=True)
    tower.tensors.append(("mm.input_projection.weight", "f16", [1152, 2816]))
    tower.tensors.append(("v.std_bias", "f32", [1152]))
    tower.tensors.append(("v.std_scale", "f32", [1152]))
    return tower


def _tiny() -> _Tower:
    """For a text model of 128 elements a token."""
    tower = _Tower("mlp", 128, 2, 3, 256).header(128, 16, 128)
    tower.patches(16)
    tower.positions(64)
    tower.blocks()
    tower.vector("v.post_ln", 128)
    tower.matrix("mm.0", 128, 128)
    tower.matrix("mm.2", 128, 128)
    return tower


PROJECTORS: Mapping[str, Callable[[], _Tower]] = MappingProxyType(
    {
        "gemma-3-4b": _gemma3,
        "gemma-4-26b": _gemma4,
        "internvl3-8b": _internvl,
        "lfm2-vl-1.6b": _lfm2,
        "llava-1.5-7b": _llava,
        "mistral-small-3.1": _mistral_small,
        "pixtral-12b": _pixtral,
        "qwen2-vl-7b": _qwen2,
        "qwen2.5-vl-7b": _qwen25,
        "qwen3-vl-8b": _qwen3,
        "smolvlm2-500m": _smolvlm,
        "tiny": _tiny,
    }
)


def write_projector(name: str, path: Path) -> Path:
    """The projector of a published model."""
    tower = PROJECTORS[name]()
    return write_gguf(path, tower.values, tower.tensors)
