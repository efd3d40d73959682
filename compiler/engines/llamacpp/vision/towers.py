"""Towers that see, as graphs (tools/mtmd/models/*.cpp of llama.cpp, 2026-10-01)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from compiler.engines.llamacpp.ggml.tensor import (
    Graph,
    Tensor,
    apply,
    cast,
    concat,
    cont,
    get_rows,
    matmul,
    new_input,
    permute,
    reshape,
    transpose,
    view,
)
from compiler.engines.llamacpp.graphs.builder import GraphError
from compiler.engines.llamacpp.model.projector import Picture, Tower
from compiler.engines.llamacpp.model.quants import block
from compiler.engines.llamacpp.vision.sight import (
    Sight,
    attend,
    convolve,
    forward_names,
    merged,
    patches_of,
    pixels,
    positions_of,
    vit,
)

_F32 = 4  # bytes
# models/internvl.cpp: the tower of 6 billion weights normalizes without a mean.
_INTERNVL_LARGE = (3200, 45)


def sight_graph(tower: Tower, picture: Picture, *, flash_attention: bool) -> Graph:
    """The graph of one run. Raises GraphError for a tower that is not known or lacks a weight."""
    build = _TOWERS.get(tower.kind)
    if build is None:
        raise GraphError(tower.kind)
    s = Sight(tower, picture, flash_attention=flash_attention)
    s.graph.expand(build(s))
    return s.graph


def _siglip(s: Sight) -> Tensor:
    """Gemma 3, SmolVLM, Janus (models/siglip.cpp)."""
    x = vit(s, patches_of(s), learned=s.get("v.position_embd.weight"))
    if s.tower.kind == "idefics3":
        return matmul(s.get("mm.model.fc.weight"), merged(s, x))
    if s.tower.kind == "janus_pro":
        return s.forward(x, "mm.0", "mm.1")
    across, merge = s.picture.across, s.tower.merge
    x = cont(transpose(x), across, across, s.tower.width, 1)
    side = across // merge
    x = Tensor((side, side, s.tower.width, 1), "f32", "pool_2d", (x,))
    x = cont(transpose(reshape(x, side * side, s.tower.width, 1)))
    x = apply("mul", apply("rms_norm", x), s.get("mm.soft_emb_norm.weight"))
    return matmul(cont(transpose(s.get("mm.input_projection.weight"))), x)


def _resized(s: Sight) -> Tensor:
    """SigLIP 2 of LFM2-VL and Phi 4 (models/siglip.cpp)."""
    x = vit(s, patches_of(s), learned=positions_of(s))
    if s.tower.kind == "phi4":
        return s.forward(x, "mm.0", "mm.2")
    x = merged(s, x)
    if s.find("mm.input_norm.weight") is not None:
        x = s.norm(x, "mm.input_norm")
    return s.forward(x, "mm.1", "mm.2")


def _pixtral(s: Sight) -> Tensor:
    """Pixtral, Mistral Small 3, LightOnOCR (models/pixtral.cpp)."""
    down_ids, across_ids = (new_input((s.picture.patches,), "i32") for _ in range(2))
    x = patches_of(s)
    x = vit(s, x, op="rms_norm", turn=lambda y: _turned(y, down_ids, across_ids))
    merge, width = s.tower.merge, s.tower.width
    across, down = s.picture.across, s.picture.down
    if s.find("mm.patch_merger.weight") is not None:
        x = apply("mul", apply("rms_norm", x), s.get("mm.input_norm.weight"))
        x = cont(permute(reshape(x, width, across, down), 2, 0, 1, 3))
        kernel = view(x, (merge, merge, width), (_F32, 0, 0, 0))
        ne = (width * merge * merge, across // merge, down // merge, 1)
        x = Tensor(ne, "f32", "im2col", (kernel, x))
        x = matmul(s.get("mm.patch_merger.weight"), reshape(x, ne[0], ne[1] * ne[2]))
    x = s.forward(x, "mm.1", "mm.2")
    mark = s.find("v.token_embd.img_break")
    if mark is None:
        return x
    text, rows, columns = x.ne[0], down // merge, across // merge
    ends = apply("add", apply("scale", Tensor((text, 1, rows))), mark)
    x = concat(reshape(x, text, columns, rows), ends, 1)
    return view(x, (text, rows * columns + rows - 1), (_F32, _F32 * text))


def _turned(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Rope in two directions (`build_rope_2d`)."""
    return apply("rope", apply("rope", x, first), second)


def _internvl(s: Sight) -> Tensor:
    """InternVL (models/internvl.cpp)."""
    token, count, width = s.get("v.class_embd"), s.picture.count, s.tower.width
    x = concat(patches_of(s), Tensor((width, 1, count), token.dtype, "repeat", (token,)), 1)
    large = (width, s.tower.layers) == _INTERNVL_LARGE
    learned = s.get("v.position_embd.weight")
    x = vit(s, x, op="rms_norm" if large else "norm", learned=learned)
    x = cont(view(x, (width, s.picture.patches, count), x.nb))
    merge, across, down = s.tower.merge, s.picture.across, s.picture.down
    x = permute(reshape(x, width * merge, down // merge, across, count), 0, 2, 1, 3)
    x = cont(x, width * merge * merge, down // merge, across // merge, count)
    x = permute(x, 0, 2, 1, 3)
    x = cont(x, width * merge * merge, x.ne[1] * x.ne[2], x.ne[3])
    x = s.norm(x, "mm.model.mlp.0")
    return s.forward(x, "mm.model.mlp.1", "mm.model.mlp.3")


def _qwen2(s: Sight) -> Tensor:
    """Qwen2-VL and Qwen2.5-VL (models/qwen2vl.cpp)."""
    op = "rms_norm" if s.tower.kind != "qwen2vl_merger" else "norm"
    patches, width = s.picture.patches, s.tower.width
    x = _two_by_two(s, _two_frames(s))
    ids = new_input((patches * 4,), "i32")
    if s.find("v.pre_ln.weight") is not None:
        x = s.norm(x, "v.pre_ln", op)
    mask = None
    if s.tower.window_pattern:
        order, mask = new_input((patches // 4,), "i32"), new_input((patches, patches))
        if s.flash_attention:
            mask = cast(mask, "f16")
        x = get_rows(reshape(x, width * 4, patches // 4), order)
        x = reshape(x, width, patches, 1)
    for at in range(s.tower.layers):
        pattern = s.tower.window_pattern
        full = not pattern or (at + 1) % pattern == 0
        x = _qwen_layer(s, x, at, op, ids, None if full else mask)
    if s.find("v.post_ln.weight") is not None:
        x = s.norm(x, "v.post_ln", op)
    x = s.forward(reshape(x, width * 4, patches // 4, 1), "mm.0", "mm.2")
    if s.tower.window_pattern:
        back = new_input((patches // 4,), "i32")
        text = x.ne[0]
        x = get_rows(reshape(x, text, patches // 4), back)
        x = reshape(x, text, patches // 4, 1)
    return x


def _qwen_layer(s: Sight, x: Tensor, at: int, op: str, ids: Tensor, mask: Tensor | None) -> Tensor:
    name, tower, patches = f"v.blk.{at}", s.tower, s.picture.patches
    y = s.norm(x, f"{name}.ln1", op)
    parts = [s.linear(y, f"{name}.attn_{letter}") for letter in "qkv"]
    q, k, v = (reshape(part, tower.head, tower.heads, patches) for part in parts)
    q, k = apply("rope", q, ids), apply("rope", k, ids)
    x = apply("add", attend(s, (q, k, v), at, mask), x)
    y = s.forward(s.norm(x, f"{name}.ln2", op), *forward_names(s, name))
    return apply("add", x, y)


def _two_frames(s: Sight) -> Tensor:
    """A still picture is seen twice (`build_inp_with_temporal_merge`)."""
    seen = pixels(s)
    first = convolve(s, s.get("v.patch_embd.weight"), seen)
    return apply("add", first, convolve(s, s.get("v.patch_embd.weight.1"), seen))


def _two_by_two(s: Sight, x: Tensor) -> Tensor:
    """Patches in the order in which four are merged."""
    return _paired(s, permute(x, 1, 2, 0, 3))


def _paired(s: Sight, x: Tensor) -> Tensor:
    width, across, down = s.tower.width, s.picture.across, s.picture.down
    x = cont(x, width * 2, across // 2, down, 1)
    x = permute(reshape(x, width * 2, across // 2, 2, down // 2), 0, 2, 1, 3)
    return cont(x, width, across * down, 1)


def _qwen3(s: Sight) -> Tensor:
    """Qwen3-VL (models/qwen3vl.cpp)."""
    patches, width, merge = s.picture.patches, s.tower.width, s.tower.merge**2
    x = apply("add", _two_by_two(s, _two_frames(s)), s.get("v.patch_embd.bias"))
    x = apply("add", x, _paired(s, positions_of(s)))
    ids = new_input((patches * 4,), "i32")
    if s.find("v.pre_ln.weight") is not None:
        x = s.norm(x, "v.pre_ln")
    deep: Tensor | None = None
    for at in range(s.tower.layers):
        x = _qwen3_layer(s, x, at, ids)
        if s.find(f"v.deepstack.{at}.fc1.weight") is not None:
            feature = reshape(x, width * merge, patches // merge, 1)
            feature = s.norm(feature, f"v.deepstack.{at}.norm")
            feature = s.forward(feature, f"v.deepstack.{at}.fc1", f"v.deepstack.{at}.fc2")
            deep = feature if deep is None else concat(deep, feature, 0)
    if s.find("v.post_ln.weight") is not None:
        x = s.norm(x, "v.post_ln")
    x = s.forward(reshape(x, width * 4, patches // 4, 1), "mm.0", "mm.2")
    return concat(x, deep, 0) if deep is not None else x


def _qwen3_layer(s: Sight, x: Tensor, at: int, ids: Tensor) -> Tensor:
    name, tower, patches = f"v.blk.{at}", s.tower, s.picture.patches
    y = s.linear(s.norm(x, f"{name}.ln1"), f"{name}.attn_qkv")
    row = y.nb[1]
    steps = (_F32, _F32 * tower.head, row, row * patches)
    q, k, v = (view(y, (tower.head, tower.heads, patches), steps) for _ in range(3))
    q, k = apply("rope", q, ids), apply("rope", k, ids)
    x = apply("add", attend(s, (q, k, v), at), x)
    y = s.forward(s.norm(x, f"{name}.ln2"), *forward_names(s, name))
    return apply("add", x, y)


def _llava(s: Sight) -> Tensor:
    """LLaVA with a perceptron for projector (models/llava.cpp, `mlp`)."""
    token = s.find("v.class_embd")
    x = patches_of(s)
    if token is not None:
        x = concat(x, token, 1)
    positions = new_input((x.ne[1],), "i32")
    x = apply("add", x, get_rows(s.get("v.position_embd.weight"), positions))
    if s.find("v.pre_ln.weight") is not None:
        x = s.norm(x, "v.pre_ln")
    for at in range(s.tower.layers - 1):
        name = f"v.blk.{at}"
        y = s.norm(x, f"{name}.ln1")
        parts = [s.linear(y, f"{name}.attn_{letter}") for letter in "qkv"]
        shape = (s.tower.head, s.tower.heads, x.ne[1])
        q, k, v = (reshape(part, *shape) for part in parts)
        x = apply("add", attend(s, (q, k, v), at), x)
        y = s.forward(s.norm(x, f"{name}.ln2"), *forward_names(s, name))
        x = apply("add", x, y)
    if s.find("v.post_ln.weight") is not None:
        x = s.norm(x, "v.post_ln")
    chosen = new_input((s.picture.patches,), "i32")
    x = get_rows(reshape(x, x.ne[0], x.ne[1]), chosen)
    if s.find("mm.3.weight") is not None:
        x = s.norm(s.linear(x, "mm.0"), "mm.1")
        return s.norm(s.linear(apply("unary", x), "mm.3"), "mm.4")
    x = apply("unary", s.linear(x, "mm.0"))
    return s.linear(x, "mm.2") if s.find("mm.2.weight") is not None else x


def _gemma4(s: Sight) -> Tensor:
    """Gemma 4 (models/gemma4v.cpp)."""
    tower, picture = s.tower, s.picture
    scaled = apply("scale", pixels(s))
    x = convolve(s, s.get("v.patch_embd.weight"), scaled)
    x = cont(transpose(reshape(x, picture.patches, tower.width, picture.count)))
    across_ids, down_ids = (new_input((picture.patches,), "i32") for _ in range(2))
    table = s.get("v.position_embd.weight")
    for ids in (across_ids, down_ids):
        half = view(table, (tower.width, table.ne[1]), (block(table.dtype)[1], *table.nb[1:]))
        x = apply("add", x, get_rows(half, ids))
    x = vit(s, x, op="rms_norm", turn=lambda y: _turned(y, across_ids, down_ids), norm_v=True)
    x = cont(transpose(x), picture.across, picture.down, tower.width, picture.count)
    across, down = picture.across // tower.merge, picture.down // tower.merge
    x = Tensor((across, down, tower.width, picture.count), "f32", "pool_2d", (x,))
    x = cont(transpose(reshape(x, across * down, tower.width, picture.count)))
    x = apply("scale", x)
    bias, factor = s.find("v.std_bias"), s.find("v.std_scale")
    if bias is not None and factor is not None:
        x = apply("mul", apply("sub", x, bias), factor)
    return matmul(s.get("mm.input_projection.weight"), apply("rms_norm", x))


_TOWERS: Mapping[str, Callable[[Sight], Tensor]] = MappingProxyType(
    {
        **dict.fromkeys(("gemma3", "idefics3", "janus_pro"), _siglip),
        **dict.fromkeys(("lfm2", "phi4"), _resized),
        **dict.fromkeys(("pixtral", "lightonocr"), _pixtral),
        **dict.fromkeys(("qwen2vl_merger", "qwen2.5vl_merger"), _qwen2),
        "gemma4v": _gemma4,
        "internvl": _internvl,
        "mlp": _llava,
        "qwen3vl_merger": _qwen3,
    }
)
