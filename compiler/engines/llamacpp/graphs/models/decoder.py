"""Decoders as graphs: dense, mixtures of experts, sliding windows, latent attention, hybrids.

What differs between architectures is read from the tensors of a layer where they tell, and from
`architectures` where they do not (models/*.cpp of llama.cpp, 2026-10-01).
"""

from __future__ import annotations

from compiler.engines.llamacpp.ggml.tensor import Tensor, apply, matmul, new_input, reshape, view
from compiler.engines.llamacpp.graphs.attention import (
    Extras,
    attend,
    expanded_latent,
    latent,
    project,
    project_normed,
)
from compiler.engines.llamacpp.graphs.builder import GraphBuilder, GraphError, linear
from compiler.engines.llamacpp.graphs.feedforward import Gating, Router, feed_forward, mixture
from compiler.engines.llamacpp.graphs.models.kimi import delta_attention, latent_attention
from compiler.engines.llamacpp.graphs.models.sparse import sparse_latent
from compiler.engines.llamacpp.graphs.recurrent import (
    delta_net,
    gated_attention,
    mamba,
    mamba2,
    short_convolution,
)

# llama.h `llama_expert_gating_func_type`.
_SIGMOID = 2
_LAST_NORMS = ("output_norm", "enc.output_norm", "token_embd_norm")
# Experts of Llama 4 Maverick; the smaller Scout normalizes Q and K after the rope.
_MAVERICK_EXPERTS = 128


def decoder(b: GraphBuilder) -> Tensor:
    """The whole decoder; gives the embeddings, and expands the logits."""
    x = b.embed()
    arch = b.job.shape.arch
    if arch.startswith("gemma") or arch == "minicpm3":
        x = apply("scale", x)
    if b.job.shape.encoder:
        norm = b.outer("token_embd_norm.weight")
        x = b.norm(x, norm, at=0, op=_norm_op(b)) if norm is not None else x
    add_inputs(b)
    blocks = b.job.blocks
    for at in range(len(blocks)):
        x = _layer(b, x, at, last=at == len(blocks) - 1)
        if b.layer(at).stacked:
            part = view(b.stacked, (b.job.shape.width, b.job.tokens), b.stacked.nb)
            x = apply("add", x, part)
    return _last_norm(b, x)


def layer_alone(b: GraphBuilder, x: Tensor, *, chooses_rows: bool) -> Tensor:
    """The only layer of a graph, which chooses the rows that give logits, or leaves them all."""
    return _layer(b, x, 0, last=chooses_rows)


def add_inputs(b: GraphBuilder) -> None:
    """Inputs in the order in which each kind of model asks for them."""
    layers = [b.layer(at) for at in range(len(b.job.blocks))]
    stateful = any(layer.recurrent for layer in layers)
    attends = any(layer.attention for layer in layers)
    rows = 4 if b.job.shape.family.four_positions else 1
    if attends:
        b.positions = new_input((b.job.tokens * rows,), "i32")
        b.attention_scale = new_input((1, 1, b.job.tokens))
        b.add_cache_inputs()
    if b.job.shape.family.sparse_latent:
        b.add_indexer_inputs()
    if stateful:
        b.add_state_inputs()
    b.rows = new_input((b.job.rows,), "i32")


def _late_rows(b: GraphBuilder) -> bool:
    arch = b.job.shape.arch
    late = b.job.shape.family.late_rows and b.job.era.keeps_hidden(arch)
    return late and not b.job.shape.heads


def _norm_op(b: GraphBuilder) -> str:
    return "norm" if b.job.shape.family.layer_norm else "rms_norm"


def _layer(b: GraphBuilder, x: Tensor, at: int, *, last: bool) -> Tensor:
    arch = b.job.shape.arch
    op = _norm_op(b)
    weight = b.find(at, "attn_norm")
    # OLMo 2 normalizes what comes out of a layer only.
    post_norm = b.find(at, "post_attention_norm") is not None or arch == "modern-bert"
    pre_norm = weight is not None or not post_norm
    normed = b.norm(x, weight, b.bias(at, "attn_norm"), at=at, op=op) if pre_norm else x
    mixed = _mix(b, normed, at)
    if b.job.shape.family.both_in_each_layer:
        # The state has a norm of its own, of the same weight.
        mixed = apply("add", mixed, mamba2(b, b.norm(x, weight, at=at), at))
    if arch in ("command-r", "cohere2"):
        return _parallel(b, x, normed, mixed, at, last=last)
    residual = x
    if b.job.shape.family.both_in_each_layer:
        residual = apply("add", mixed, residual)
    if last and not _late_rows(b):
        mixed, residual = b.select_rows(mixed), b.select_rows(residual)
    if b.job.shape.family.both_in_each_layer:
        return _forward(b, residual, at, "ffn_norm")
    if _scales_residual(b):
        mixed = apply("scale", mixed)
    after = b.find(at, "post_attention_norm")
    before = b.find(at, "ffn_norm")
    if after is not None and (before is not None or not pre_norm):
        mixed = b.norm(mixed, after, at=at)
    if b.job.shape.family.residual_first:
        joined = Tensor(mixed.ne, "f32", "add", (residual, mixed))
    else:
        joined = apply("add", mixed, residual)
    if b.job.shape.family.recurrent or arch.startswith("nemotron_h"):
        return joined  # There is no feed-forward part, or it is a layer of its own.
    own = before is not None or not pre_norm
    return _forward(b, joined, at, "ffn_norm" if own else "post_attention_norm")


def _mix(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """Attention, or what stands in its place."""
    shape, layer = b.job.shape, b.layer(at)
    if not layer.attention and not layer.recurrent:
        return _alone(b, x, at)
    if shape.family.delta_net:
        if not shape.heads:
            b.graph.expand(x)
        return delta_net(b, x, at) if layer.recurrent else gated_attention(b, x, at)
    if shape.family.sparse_latent:
        return sparse_latent(b, x, at)
    if shape.arch == "kimi-linear":
        b.graph.expand(x)
        return delta_attention(b, x, at) if layer.recurrent else latent_attention(b, x, at)
    if layer.recurrent and not layer.attention:
        return _recurrent(b, x, at)
    if shape.latent.absorbed:
        return latent(b, x, at)
    if b.find(at, "attn_kv_b") is not None:
        return expanded_latent(b, x, at)
    return _attention(b, x, at)


def _recurrent(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    if b.job.shape.state.short_conv:
        return short_convolution(b, x, at)
    return mamba(b, x, at) if b.find(at, "ssm_x") is not None else mamba2(b, x, at)


def _alone(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """A layer that is feed-forward only (models/nemotron-h.cpp)."""
    if not b.job.shape.arch.startswith("nemotron_h"):
        raise GraphError("attention")
    return _experts(b, x, at) if b.find(at, "ffn_gate_inp") is not None else feed_forward(b, x, at)


def _attention(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    arch = b.job.shape.arch
    if arch == "llama4":
        return _llama4_attention(b, x, at)
    q_norm, k_norm = b.find(at, "attn_q_norm"), b.find(at, "attn_k_norm")
    freqs = () if arch == "step35" and b.layer(at).sliding else b.freqs(at)
    if q_norm is not None and q_norm.ne[1] == 1 and q_norm.ne[0] > b.layer(at).head_k:
        # One norm over all heads (olmo2, olmoe, minimax-m2).
        q, k, v = project_normed(b, x, at, (q_norm, k_norm))
        q_norm = k_norm = None
    else:
        q, k, v = project(b, x, at)
    turns = (b.positions, *freqs) if b.layer(at).rope else ()
    q, k = (
        _normed_and_turned(b, part, norm, at, turns) for part, norm in ((q, q_norm), (k, k_norm))
    )
    if b.job.shape.temperature:
        q = apply("mul", q, b.attention_scale)
    if arch.startswith(("gemma", "phi")):
        q = apply("scale", q)
    extras = Extras(softcap=arch == "gemma2", sinks=b.find(at, "attn_sinks"))
    y = attend(b, (q, k, v), at, extras)
    if arch == "step35":
        y = _gated_by_head(b, x, y, at)
    return linear(y, b.get(at, "attn_output"), b.bias(at, "attn_output"))


def _gated_by_head(b: GraphBuilder, x: Tensor, y: Tensor, at: int) -> Tensor:
    """What attention gives, times a gate for each head (models/step35.cpp)."""
    weight, layer = b.find(at, "attn_gate"), b.layer(at)
    if weight is None:
        return y
    gate = apply("unary", matmul(weight, x))
    heads = reshape(y, layer.head_v, layer.heads, b.job.tokens)
    gated = apply("mul", heads, reshape(gate, 1, layer.heads, b.job.tokens))
    return reshape(gated, layer.head_v * layer.heads, b.job.tokens)


def _normed_and_turned(
    b: GraphBuilder, x: Tensor, norm: Tensor | None, at: int, turns: tuple[Tensor, ...]
) -> Tensor:
    """Q or K normalized by head and turned by position, or the other way round."""
    turns_first = b.job.shape.family.norm_behind_rope
    if turns and turns_first:
        x = apply("rope", x, *turns)
    if norm is not None:
        x = b.norm(x, norm, at=at, op=_norm_op(b))
    return apply("rope", x, *turns) if turns and not turns_first else x


def _llama4_attention(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    """Rope and a norm in chunked layers, a scale by position in the others (llama4.cpp)."""
    q, k, v = project(b, x, at)
    if b.layer(at).sliding:
        freqs = b.freqs(at)
        q, k = apply("rope", q, b.positions, *freqs), apply("rope", k, b.positions, *freqs)
        if b.job.shape.experts.count != _MAVERICK_EXPERTS:
            q, k = apply("rms_norm", q), apply("rms_norm", k)
    else:
        q = apply("mul", q, b.attention_scale)
    x = attend(b, (q, k, v), at)
    return linear(x, b.get(at, "attn_output"), b.bias(at, "attn_output"))


def _scales_residual(b: GraphBuilder) -> bool:
    arch = b.job.shape.arch
    return arch == "minicpm3" or (b.job.shape.residual_scale and b.job.shape.family.scaled_residual)


def _parallel(
    b: GraphBuilder, x: Tensor, normed: Tensor, mixed: Tensor, at: int, *, last: bool
) -> Tensor:
    """Attention and feed-forward side by side (models/command-r.cpp)."""
    if last:
        mixed, x, normed = (b.select_rows(part) for part in (mixed, x, normed))
    forward = feed_forward(b, normed, at)
    return apply("add", apply("add", forward, x), mixed)


def _forward(b: GraphBuilder, x: Tensor, at: int, name: str) -> Tensor:
    """The feed-forward part; `name` is that of the norm before it, if it has one."""
    after, norm = b.find(at, "post_ffw_norm"), b.find(at, name)
    normed = x
    if norm is not None or after is None:
        normed = b.norm(x, norm, b.bias(at, name), at=at, op=_norm_op(b))
    if b.find(at, "ffn_gate_inp") is not None:
        y = _experts(b, normed, at)
    else:
        halved = b.find(at, "ffn_gate") is None and _halved(b, at)
        y = feed_forward(b, normed, at, halved=halved)
    if after is not None:
        y = b.norm(y, after)
    if _scales_residual(b):
        y = apply("scale", y)
    if b.job.shape.family.last_residual_first:
        return Tensor(y.ne, "f32", "add", (x, y))
    return apply("add", y, x)


def _halved(b: GraphBuilder, at: int) -> bool:
    """Gate and up are one matrix when up is twice as wide as down is deep."""
    return b.get(at, "ffn_up").ne[1] == 2 * b.get(at, "ffn_down").ne[0]


def _experts(b: GraphBuilder, x: Tensor, at: int) -> Tensor:
    logits, inner = None, x
    narrow = b.find(at, "ffn_latent_down")
    if b.job.shape.arch == "nemotron_h_moe":
        # Its experts may work in a narrower space than its router (`moe_latent_size`).
        logits = matmul(b.get(at, "ffn_gate_inp"), x)
    if narrow is not None:
        inner = matmul(narrow, x)
    y = mixture(b, inner, at, _router(b), logits)
    if narrow is not None:
        y = matmul(b.get(at, "ffn_latent_up"), y)
    if b.find(at, "ffn_up_shexp") is None:
        return y
    shared = feed_forward(b, x, at, "_shexp")
    gate = b.find(at, "ffn_gate_inp_shexp")
    if gate is not None:
        shared = apply("mul", shared, apply("unary", matmul(gate, x)))
    return apply("add", y, shared)


def _router(b: GraphBuilder) -> Router:
    arch, experts = b.job.shape.arch, b.job.shape.experts
    gating: Gating = "softmax"
    if arch == "gpt-oss":
        gating = "softmax_weight"
    elif (experts.gating or b.job.shape.family.gating) == _SIGMOID:
        gating = "sigmoid"
    named = b.job.shape.family.header_normalizes
    return Router(
        gating=gating,
        normalize=experts.normalize if named else not b.job.shape.family.raw_weights,
        scale=experts.scaled,
        groups=experts.groups,
        groups_used=experts.groups_used,
        weight_first=arch == "llama4",
    )


def _last_norm(b: GraphBuilder, x: Tensor) -> Tensor:
    late, hidden = _late_rows(b), x
    if late and b.job.shape.family.kept_before_norm:
        x = b.select_rows(x)
    found = (b.outer(f"{name}.weight") for name in _LAST_NORMS)
    norm = next((weight for weight in found if weight is not None), None)
    if late and b.job.shape.family.kept_before_norm:
        hidden.is_output = True
    x = b.norm(x, norm, b.outer("output_norm.bias"), op=_norm_op(b))
    if late and not b.job.shape.family.kept_before_norm:
        x.is_output = True
        x = b.select_rows(x)
    return finish(b, x)


def finish(b: GraphBuilder, x: Tensor) -> Tensor:
    """Mark the embeddings and add the logits."""
    x.is_output = True
    if b.job.shape.arch == "minicpm3":
        _logits(b, apply("scale", x))
    elif b.job.shape.arch in ("lfm2", "lfm2moe") and b.job.embeds:
        b.graph.expand(x)
    else:
        _logits(b, x)
    return x


def _logits(b: GraphBuilder, x: Tensor) -> None:
    shape = b.job.shape
    weight = b.outer("output.weight")
    if weight is None or shape.family.encoder or shape.arch == "llama-embed":
        b.graph.expand(x)
        return
    y = linear(x, weight, b.outer("output.bias"))
    if shape.logit_scale and shape.family.scaled_logits:
        y = apply("scale", y)
    if shape.family.capped_logits or (shape.arch == "gemma3" and shape.final_softcap):
        y = apply("scale", apply("unary", apply("scale", y)))
    y.is_output = True
    b.graph.expand(y)
