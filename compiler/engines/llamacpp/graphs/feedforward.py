"""Feed-forward layers and mixtures of experts, as nodes (llama-graph.cpp)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compiler.engines.llamacpp.ggml.tensor import (
    Fusion,
    Tensor,
    apply,
    cont,
    get_rows,
    matmul_id,
    reshape,
    set_rows,
    view,
)
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, linear

Gating = Literal["softmax", "sigmoid", "softmax_weight"]

# Expert counts for which ggml-cuda fuses the router (ggml-cuda.cu, topk-moe.cu).
_FUSED_ROUTER_LARGEST = 512
_FUSED_ROUTER_SIZES = (288, 576)
# The weighted sum of this many experts is fused at most (ggml-cuda.cu).
_FUSED_SUM_LARGEST = 15
_F32 = 4  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """How an architecture chooses its experts."""

    gating: Gating
    normalize: bool
    scale: bool
    groups: int = 0
    groups_used: int = 1
    weight_first: bool = False
    """Weights scale what goes into the experts, not what comes out (Llama 4)."""

    def fuses(self, experts: int) -> bool:
        """Whether ggml-cuda runs this router as one kernel (`ggml_cuda_topk_moe_fusion`)."""
        if self.weight_first:
            return False  # The choice is by logits, and the kernel's is by what comes of them.
        power = experts & (experts - 1) == 0 and experts <= _FUSED_ROUTER_LARGEST
        sizes = power or experts in _FUSED_ROUTER_SIZES
        return self.gating != "softmax_weight" and self.groups <= 1 and sizes


def feed_forward(
    b: GraphBuilder, x: Tensor, at: int, suffix: str = "", *, prefix: str = "", halved: bool = False
) -> Tensor:
    """Gated or plain feed-forward; `halved`: gate and up are one matrix (`build_ffn`)."""
    name = prefix + "ffn_{}" + suffix
    up = linear(x, b.get(at, name.format("up")), b.bias(at, name.format("up")))
    gate = b.find(at, name.format("gate"))
    if gate is not None:
        y = gated(b, linear(x, gate, b.bias(at, name.format("gate"))), up)
    elif halved:
        y = Tensor((up.ne[0] // 2, up.ne[1]), "f32", "glu", (up,))
    else:
        y = _activated(b, up)
    return linear(y, b.get(at, name.format("down")), b.bias(at, name.format("down")))


def _activated(b: GraphBuilder, x: Tensor) -> Tensor:
    y = apply("unary", x)
    return apply("sqr", y) if b.job.shape.family.squared else y


def gated(b: GraphBuilder, gate: Tensor, up: Tensor) -> Tensor:
    """The activated gate times the other half."""
    if b.job.era.fused_glu:
        return Tensor(gate.ne, gate.dtype, "glu", (gate, up))
    return apply("mul", apply("unary", gate), up)


def mixture(
    b: GraphBuilder, x: Tensor, at: int, router: Router, logits: Tensor | None = None
) -> Tensor:
    """Routed experts and their weighted sum (`build_moe_ffn`); `logits` if not from x."""
    used = b.layer(at).experts_used
    count = b.job.shape.experts.count
    width, tokens = x.ne[0], x.ne[1]
    start = len(b.graph.nodes)
    if logits is None:
        logits = linear(x, b.get(at, "ffn_gate_inp"), b.bias(at, "ffn_gate_inp"))
    probs, ids, weights = _route(b, logits, at, router)
    b.graph.expand(weights)
    end = len(b.graph.nodes)
    rows = reshape(x, width, 1, tokens)
    if router.weight_first:
        wide = Tensor((width, used, tokens), "f32", "repeat", (rows,))
        rows = apply("mul", wide, weights)
    hidden = _expert_hidden(b, rows, ids, at, used)
    raw = _expert_product(b, "ffn_down_exps", hidden, ids, at)
    experts = raw if router.weight_first else apply("mul", raw, weights)
    b.graph.expand(experts)
    if router.fuses(count):
        nodes = b.graph.nodes
        first = nodes.index(probs, start)
        chain = nodes[first:end]
        b.graph.fusions.append(Fusion(weights, chain, nodes[end], reduces=False))
    return _sum(b, experts, None if router.weight_first else [raw, weights], used)


def _route(
    b: GraphBuilder, logits: Tensor, at: int, router: Router
) -> tuple[Tensor, Tensor, Tensor]:
    used = b.layer(at).experts_used
    count = b.job.shape.experts.count
    tokens = logits.ne[1]
    probs = logits
    if router.gating != "softmax_weight":
        probs = apply("unary" if router.gating == "sigmoid" else "soft_max", logits)
    chosen_by = logits if router.weight_first else probs
    bias = b.bias(at, "exp_probs_b") or b.find(at, "exp_probs_b")
    if bias is not None:
        chosen_by = apply("add", probs, bias)
    if router.groups > 1:
        chosen_by = _limit_groups(b, chosen_by, router, count)
    ids = top(chosen_by, used)
    weights = get_rows(reshape(probs, 1, count, tokens), ids)
    if router.gating == "softmax_weight":
        weights = apply("soft_max", reshape(weights, used, tokens))
        weights = reshape(weights, 1, used, tokens)
    if router.normalize:
        weights = reshape(weights, used, tokens)
        total = apply("clamp", Tensor((1, tokens), "f32", "sum_rows", (weights,)))
        weights = reshape(apply("div", weights, total), 1, used, tokens)
    if router.scale:
        weights = apply("scale", weights)
    return probs, ids, weights


def _limit_groups(b: GraphBuilder, scores: Tensor, router: Router, count: int) -> Tensor:
    """Only experts of the best groups stay in the choice (DeepSeek 3)."""
    tokens = b.job.tokens
    size = count // router.groups
    grouped = reshape(scores, size, router.groups, tokens)
    best = get_rows(reshape(grouped, 1, size, router.groups, tokens), top(grouped, 2))
    best = reshape(best, best.ne[1], best.ne[2], best.ne[3])
    total = Tensor((1, router.groups, tokens), "f32", "sum_rows", (best,))
    groups = top(reshape(total, router.groups, tokens), router.groups_used)
    taken = get_rows(grouped, groups)
    return reshape(set_rows(apply("fill", grouped), taken, groups), count, tokens)


def _expert_hidden(b: GraphBuilder, x: Tensor, ids: Tensor, at: int, used: int) -> Tensor:
    tokens = x.ne[2]
    if b.find(at, "ffn_gate_up_exps") is not None:
        both = _expert_product(b, "ffn_gate_up_exps", x, ids, at)
        half = both.ne[0] // 2
        gate, up = (view(both, (half, both.ne[1], both.ne[2]), both.nb) for _ in range(2))
        return Tensor((half, used, tokens), "f32", "glu", (gate, up))
    up = _expert_product(b, "ffn_up_exps", x, ids, at)
    if b.find(at, "ffn_gate_exps") is None:
        return _activated(b, up)
    return gated(b, _expert_product(b, "ffn_gate_exps", x, ids, at), up)


def _expert_product(b: GraphBuilder, name: str, x: Tensor, ids: Tensor, at: int) -> Tensor:
    y = matmul_id(b.get(at, name), x, ids)
    scales = b.find(at, f"{name}.scale")
    if scales is not None:
        # A number for each expert (`build_lora_mm_id`).
        wide = Tensor(
            (1, scales.ne[0], x.ne[2]), "f32", "repeat", (reshape(scales, 1, scales.ne[0], 1),)
        )
        y = apply("mul", y, get_rows(wide, ids))
    bias = b.bias(at, name)
    return apply("add_id", y, bias, ids) if bias is not None else y


def _sum(b: GraphBuilder, experts: Tensor, fused: list[Tensor] | None, used: int) -> Tensor:
    width, tokens = experts.ne[0], experts.ne[2]
    end = experts.nb[2] * tokens
    parts = []
    for _ in range(used):
        part = view(experts, (width, tokens), (_F32, experts.nb[2], end, end))
        b.graph.expand(part)
        parts.append(part)
    total = parts[0]
    for part in parts[1:]:
        total = Tensor((width, tokens), "f32", "add", (total, part))
        b.graph.expand(total)
    if used == 1:
        return cont(total)
    if used <= _FUSED_SUM_LARGEST and fused is not None:
        b.graph.fusions.append(Fusion(experts, fused, total, reduces=True))
    return total


def top(x: Tensor, count: int) -> Tensor:
    """The indices of the largest values (`ggml_argsort_top_k`)."""
    order = Tensor(x.ne, "i32", "argsort", (x,))
    return view(order, (count, *x.ne[1:]), order.nb)
