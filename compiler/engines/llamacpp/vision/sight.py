"""Building blocks of towers that see, as nodes (tools/mtmd/clip.cpp of 2026-10-01)."""

from __future__ import annotations

from collections.abc import Callable

from compiler.engines.llamacpp.ggml.tensor import (
    Graph,
    Tensor,
    apply,
    cast,
    cont,
    matmul,
    new_input,
    permute,
    reshape,
    resident,
    transpose,
    view,
)
from compiler.engines.llamacpp.graphs.builder import GraphError
from compiler.engines.llamacpp.model.projector import Picture, Tower

_F32 = 4  # bytes
_CHANNELS = 3


class Sight:
    """A graph being built for one tower and picture. Mutable, as a graph is."""

    __slots__ = ("_resident", "flash_attention", "graph", "picture", "tower")

    def __init__(self, tower: Tower, picture: Picture, *, flash_attention: bool) -> None:
        self.tower = tower
        self.picture = picture
        self.flash_attention = flash_attention
        self.graph = Graph()
        self._resident: dict[str, Tensor] = {}

    def find(self, name: str) -> Tensor | None:
        """A weight by its full name, if the file has it."""
        weight = self.tower.weights.get(name)
        if weight is None:
            return None
        if name not in self._resident:
            self._resident[name] = resident(weight.ne, weight.dtype, 0, weight=True)
        return self._resident[name]

    def get(self, name: str) -> Tensor:
        """A weight that the graph cannot do without."""
        found = self.find(name)
        if found is None:
            raise GraphError(name)
        return found

    def norm(self, x: Tensor, name: str, op: str = "norm") -> Tensor:
        """A norm with what weight and bias the file has."""
        x = apply(op, x)
        for part, step in (("weight", "mul"), ("bias", "add")):
            factor = self.find(f"{name}.{part}")
            if factor is not None:
                x = apply(step, x, factor)
        return x

    def linear(self, x: Tensor, name: str) -> Tensor:
        """A product and its bias, clamped where the file has limits (models/gemma4v.cpp)."""
        clamped = f"{name}.input_min" in self.tower.weights
        y = matmul(self.get(f"{name}.weight"), apply("clamp", x) if clamped else x)
        y = apply("clamp", y) if clamped else y
        bias = self.find(f"{name}.bias")
        return apply("add", y, bias) if bias is not None else y

    def forward(self, x: Tensor, up: str, down: str, gate: str = "") -> Tensor:
        """A feed-forward layer (`build_ffn`)."""
        wide = self.linear(x, up)
        if gate and self.find(f"{gate}.weight") is not None:
            gated = self.linear(x, gate)
            return self.linear(Tensor(gated.ne, "f32", "glu", (gated, wide)), down)
        return self.linear(apply("unary", wide), down)


def pixels(s: Sight) -> Tensor:
    """The input of a run."""
    patch, picture = s.tower.patch, s.picture
    return new_input((picture.across * patch, picture.down * patch, _CHANNELS, picture.count))


def convolve(s: Sight, kernel: Tensor, seen: Tensor) -> Tensor:
    """Patches as channels (ggml.c `ggml_conv_2d`)."""
    picture = s.picture
    taps = kernel.ne[0] * kernel.ne[1] * kernel.ne[2]
    dtype = "f32" if kernel.dtype == "bf16" else "f16"
    columns = Tensor(
        (taps, picture.across, picture.down, picture.count), dtype, "im2col", (kernel, seen)
    )
    flat = reshape(columns, taps, picture.patches * picture.count)
    y = matmul(flat, reshape(kernel, taps, kernel.ne[3]))
    y = reshape(y, picture.across, picture.down, picture.count, kernel.ne[3])
    return cont(permute(y, 0, 1, 3, 2))


def patches_of(s: Sight) -> Tensor:
    """The picture as embeddings of its patches (`build_inp`)."""
    y = convolve(s, s.get("v.patch_embd.weight"), pixels(s))
    y = reshape(y, s.picture.patches, s.tower.width, s.picture.count)
    y = cont(transpose(y))
    bias = s.find("v.patch_embd.bias")
    return apply("add", y, bias) if bias is not None else y


def attend(s: Sight, qkv: tuple[Tensor, ...], at: int, mask: Tensor | None = None) -> Tensor:
    """Attention and its output layer (`build_attn`)."""
    for part in qkv:
        s.graph.expand(part)
    q, k, v = qkv
    q, k = permute(q, 0, 2, 1, 3), permute(k, 0, 2, 1, 3)
    if s.flash_attention:
        key, value = cast(k, "f16"), cast(permute(v, 0, 2, 1, 3), "f16")
        more = () if mask is None else (cast(mask, "f16"),)
        ne = (value.ne[0], q.ne[2], q.ne[1], q.ne[3])
        x = Tensor(ne, "f32", "flash_attn", (q, key, value, *more))
        x = reshape(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])
    else:
        value = cont(permute(v, 1, 2, 0, 3))
        scores = matmul(k, q)
        scores = apply("soft_max", scores, *(() if mask is None else (mask,)))
        x = permute(matmul(value, scores), 0, 2, 1, 3)
        x = cont(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])
    return s.linear(x, f"v.blk.{at}.attn_out")


def _heads(s: Sight, x: Tensor, at: int, positions: int, op: str) -> tuple[Tensor, ...]:
    """Q, K and V of a layer by head, of one matrix or of three (`build_vit`)."""
    tower, count = s.tower, s.picture.count
    name = f"v.blk.{at}"
    if s.find(f"{name}.attn_qkv.weight") is not None:
        y = s.linear(x, f"{name}.attn_qkv")
        row = y.nb[1]
        steps = (_F32, _F32 * tower.head, row, row * positions)
        ne = (tower.head, tower.heads, positions, count)
        parts = [view(y, ne, steps) for _ in range(3)]
        return tuple(
            s.norm(part, f"{name}.attn_{letter}_norm", op)
            if s.find(f"{name}.attn_{letter}_norm.weight") is not None
            else part
            for letter, part in zip("qkv", parts, strict=True)
        )
    found = []
    for letter, heads in (("q", tower.heads), ("k", tower.heads_kv), ("v", tower.heads_kv)):
        y = s.linear(x, f"{name}.attn_{letter}")
        norm = s.find(f"{name}.attn_{letter}_norm.weight")
        by_head = norm is not None and norm.ne[0] == tower.head
        if norm is not None and not by_head:
            y = s.norm(y, f"{name}.attn_{letter}_norm", op)
        y = reshape(y, tower.head, heads, positions, count)
        found.append(s.norm(y, f"{name}.attn_{letter}_norm", op) if by_head else y)
    return tuple(found)


def vit(
    s: Sight,
    x: Tensor,
    *,
    op: str = "norm",
    learned: Tensor | None = None,
    turn: Callable[[Tensor], Tensor] | None = None,
    norm_v: bool = False,
) -> Tensor:
    """A vision transformer (`build_vit`)."""
    positions, count, width = x.ne[1], s.picture.count, s.tower.width
    if learned is not None:
        x = apply("add", x, learned)
    x = reshape(x, width, positions * count)
    if s.find("v.pre_ln.weight") is not None:
        x = s.norm(x, "v.pre_ln", op)
    for at in range(s.tower.layers):
        x = _vit_layer(s, x, at, positions, op, turn, norm_v=norm_v)
    if s.find("v.post_ln.weight") is not None:
        x = s.norm(x, "v.post_ln", op)
    return reshape(x, width, positions, count)


def _vit_layer(  # noqa: PLR0913 - the choices of one kind of tower
    s: Sight,
    x: Tensor,
    at: int,
    positions: int,
    op: str,
    turn: Callable[[Tensor], Tensor] | None,
    *,
    norm_v: bool,
) -> Tensor:
    name = f"v.blk.{at}"
    q, k, v = _heads(s, s.norm(x, f"{name}.ln1", op), at, positions, op)
    if turn is not None:
        q, k = turn(q), turn(k)
    if norm_v:
        v = apply("rms_norm", v)
    y = _scaled(s, attend(s, (q, k, v), at), f"{name}.ls1")
    if s.find(f"{name}.attn_post_norm.weight") is not None:
        y = s.norm(y, f"{name}.attn_post_norm", op)
    x = apply("add", y, x)
    y = s.norm(x, f"{name}.ln2", op)
    y = s.forward(y, *forward_names(s, name))
    if s.find(f"{name}.ffn_post_norm.weight") is not None:
        y = s.norm(y, f"{name}.ffn_post_norm", op)
    y = _scaled(s, y, f"{name}.ls2")
    return _scaled(s, apply("add", x, y), f"{name}.out_scale")


def forward_names(s: Sight, name: str) -> tuple[str, str, str]:
    """Old files name up and down the other way round (clip.cpp, `is_ffn_swapped`)."""
    up, down = f"{name}.ffn_up", f"{name}.ffn_down"
    if s.get(f"{up}.weight").ne[0] != s.tower.width:
        up, down = down, up
    return up, down, f"{name}.ffn_gate"


def _scaled(s: Sight, x: Tensor, name: str) -> Tensor:
    factor = s.find(f"{name}.weight")
    return apply("mul", x, factor) if factor is not None else x


def positions_of(s: Sight) -> Tensor:
    """Learned positions, stretched to the picture (`resize_position_embeddings`)."""
    table, picture, width = s.get("v.position_embd.weight"), s.picture, s.tower.width
    side = int(table.ne[1] ** 0.5)
    if picture.across == picture.down == side:
        return table
    y = permute(reshape(table, width, side, side), 2, 0, 1, 3)
    y = Tensor((picture.across, picture.down, width, 1), "f32", "upscale", (y,))
    return cont(permute(y, 1, 2, 0, 3), width, picture.patches)


def merged(s: Sight, x: Tensor) -> Tensor:
    """Neighbouring patches joined (`build_patch_merge_permute`)."""
    merge, width = s.tower.merge, s.tower.width
    across, down = s.picture.across, s.picture.down
    x = reshape(x, width, across, down)
    padded = -(-across // merge) * merge, -(-down // merge) * merge
    if padded != (across, down):
        across, down = padded
        x = Tensor((width, across, down), "f32", "pad", (x,))
    x = permute(reshape(x, width * merge, across // merge, down), 0, 2, 1, 3)
    x = cont(x, width * merge * merge, down // merge, across // merge)
    x = permute(x, 0, 2, 1, 3)
    return cont(x, x.ne[0], x.ne[1] * x.ne[2])
