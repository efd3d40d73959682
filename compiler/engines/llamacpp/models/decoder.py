"""Decoders as graphs: dense, mixtures of experts, sliding windows, latent attention, hybrids.

What differs between architectures is read from the tensors of a layer where they tell, and from
`families` where they do not (models/*.cpp of llama.cpp, 2026-10-01).
"""

from __future__ import annotations

from compiler.engines.llamacpp import families
from compiler.engines.llamacpp.attention import (
    Extras,
    attend,
    expanded_latent,
    latent,
    project,
)
from compiler.engines.llamacpp.build import Build, GraphError, linear
from compiler.engines.llamacpp.feedforward import Gating, Router, feed_forward, mixture
from compiler.engines.llamacpp.recurrent import (
    delta_net,
    gated_attention,
    mamba,
    mamba2,
    short_convolution,
)
from compiler.engines.llamacpp.tensor import Tensor, apply, matmul, new_input

# llama.h `llama_expert_gating_func_type`.
_SIGMOID = 2
# Routers of architectures whose header may not say.
_OWN_GATING = {"glm4moe": _SIGMOID, "llama4": _SIGMOID, "nemotron_h_moe": _SIGMOID}
# Output rows are selected behind the last layer instead of inside it.
_LATE_ROWS = families.DELTA_NET | {"gpt-oss"}
_SCALED_LOGITS = frozenset(
    {"command-r", "cohere2", "granite", "granitemoe", "granitehybrid", "minicpm"}
)
_CAPPED_LOGITS = frozenset({"gemma2", "gemma3n", "gemma4"})
_RESIDUAL_FIRST = frozenset({"phi3", "lfm2", "lfm2moe"})
# Attention without rope.
_NO_ROPE = frozenset({"nemotron_h", "nemotron_h_moe", "jamba"})
# Experts of Llama 4 Maverick; the smaller Scout normalizes Q and K after the rope.
_MAVERICK_EXPERTS = 128


def decoder(b: Build) -> Tensor:
    """The whole decoder; gives the embeddings, and expands the logits."""
    arch = b.job.shape.arch
    x = b.embed()
    if arch.startswith("gemma") or b.job.shape.embedding_scale:
        x = apply("scale", x)
    _add_inputs(b)
    blocks = b.job.blocks
    for at in range(len(blocks)):
        x = _layer(b, x, at, last=at == len(blocks) - 1)
    return _last_norm(b, x)


def _add_inputs(b: Build) -> None:
    """Inputs in the order in which each kind of model asks for them."""
    layers = [b.layer(at) for at in range(len(b.job.blocks))]
    stateful = any(layer.recurrent for layer in layers)
    attends = any(layer.attention for layer in layers)
    rows = 4 if b.job.shape.arch in families.FOUR_POSITIONS else 1
    if attends:
        b.positions = new_input((b.job.tokens * rows,), "i32")
        b.attention_scale = new_input((1, 1, b.job.tokens))
        b.add_cache_inputs()
    if stateful:
        b.add_state_inputs()
    b.rows = new_input((b.job.rows,), "i32")


def _late_rows(b: Build) -> bool:
    arch = b.job.shape.arch
    return arch in _LATE_ROWS and (b.job.graph.late_rows or arch == "gpt-oss")


def _norm_op(b: Build) -> str:
    return "norm" if b.job.shape.arch in families.LAYER_NORM else "rms_norm"


def _layer(b: Build, x: Tensor, at: int, *, last: bool) -> Tensor:
    arch = b.job.shape.arch
    op = _norm_op(b)
    weight = b.find(at, "attn_norm")
    # OLMo 2 normalizes what comes out of a layer only.
    pre_norm = weight is not None or b.find(at, "post_attention_norm") is None
    normed = b.norm(x, weight, b.bias(at, "attn_norm"), at=at, op=op) if pre_norm else x
    mixed = _mix(b, normed, at)
    if arch in ("command-r", "cohere2"):
        return _parallel(b, x, normed, mixed, at, last=last)
    residual = x
    if last and not _late_rows(b):
        mixed, residual = b.select_rows(mixed), b.select_rows(residual)
    after = b.find(at, "post_attention_norm")
    before = b.find(at, "ffn_norm")
    if after is not None and (before is not None or not pre_norm):
        mixed = b.norm(mixed, after, at=at)
    if arch in ("lfm2", "lfm2moe"):
        joined = Tensor(mixed.ne, "f32", "add", (residual, mixed))
    else:
        joined = apply("add", mixed, residual)
    if arch in families.RECURRENT or arch.startswith("nemotron_h"):
        return joined  # There is no feed-forward part, or it is a layer of its own.
    return _forward(b, joined, at, before if before is not None or not pre_norm else after)


def _mix(b: Build, x: Tensor, at: int) -> Tensor:
    """Attention, or what stands in its place."""
    shape, layer = b.job.shape, b.layer(at)
    if not layer.attention and not layer.recurrent:
        return _alone(b, x, at)
    if shape.arch in families.DELTA_NET:
        b.graph.expand(x)
        return delta_net(b, x, at) if layer.recurrent else gated_attention(b, x, at)
    if layer.recurrent and layer.attention:
        state = mamba2(b, x, at)
        return apply("add", _attention(b, x, at), state)
    if layer.recurrent:
        return _recurrent(b, x, at)
    if shape.latent.absorbed:
        return latent(b, x, at)
    if b.find(at, "attn_kv_b") is not None:
        return expanded_latent(b, x, at)
    return _attention(b, x, at)


def _recurrent(b: Build, x: Tensor, at: int) -> Tensor:
    if b.job.shape.state.short_conv:
        return short_convolution(b, x, at)
    return mamba(b, x, at) if b.find(at, "ssm_x") is not None else mamba2(b, x, at)


def _alone(b: Build, x: Tensor, at: int) -> Tensor:
    """A layer that is feed-forward only (models/nemotron-h.cpp)."""
    if not b.job.shape.arch.startswith("nemotron_h"):
        raise GraphError("attention")
    return _experts(b, x, at) if b.find(at, "ffn_gate_inp") is not None else feed_forward(b, x, at)


def _attention(b: Build, x: Tensor, at: int) -> Tensor:
    arch = b.job.shape.arch
    if arch == "llama4":
        return _llama4_attention(b, x, at)
    op = _norm_op(b)
    q, k, v = project(b, x, at)
    q_norm, k_norm = b.find(at, "attn_q_norm"), b.find(at, "attn_k_norm")
    freqs = b.freqs(at)
    if q_norm is not None:
        q = b.norm(q, q_norm, at=at, op=op)
    turns = arch not in _NO_ROPE and (arch != "cohere2" or b.layer(at).sliding)
    if turns:
        q = apply("rope", q, b.positions, *freqs)
    if k_norm is not None:
        k = b.norm(k, k_norm, at=at, op=op)
    if turns:
        k = apply("rope", k, b.positions, *freqs)
    if arch.startswith("gemma") or arch == "phi3":
        q = apply("scale", q)
    extras = Extras(softcap=arch == "gemma2", sinks=b.find(at, "attn_sinks"))
    x = attend(b, (q, k, v), at, extras)
    return linear(x, b.get(at, "attn_output"), b.bias(at, "attn_output"))


def _llama4_attention(b: Build, x: Tensor, at: int) -> Tensor:
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


def _parallel(b: Build, x: Tensor, normed: Tensor, mixed: Tensor, at: int, *, last: bool) -> Tensor:
    """Attention and feed-forward side by side (models/command-r.cpp)."""
    if last:
        mixed, x, normed = (b.select_rows(part) for part in (mixed, x, normed))
    forward = feed_forward(b, normed, at)
    return apply("add", apply("add", forward, x), mixed)


def _forward(b: Build, x: Tensor, at: int, norm: Tensor | None) -> Tensor:
    arch = b.job.shape.arch
    after = b.find(at, "post_ffw_norm")
    normed = b.norm(x, norm, at=at, op=_norm_op(b)) if norm is not None or after is None else x
    if b.find(at, "ffn_gate_inp") is not None:
        y = _experts(b, normed, at)
    else:
        halved = b.find(at, "ffn_gate") is None and _halved(b, at)
        y = feed_forward(b, normed, at, halved=halved)
    if after is not None:
        y = b.norm(y, after)
    if arch in _RESIDUAL_FIRST:
        return Tensor(y.ne, "f32", "add", (x, y))
    return apply("add", y, x)


def _halved(b: Build, at: int) -> bool:
    """Gate and up are one matrix when up is twice as wide as down is deep."""
    return b.get(at, "ffn_up").ne[1] == 2 * b.get(at, "ffn_down").ne[0]


def _experts(b: Build, x: Tensor, at: int) -> Tensor:
    y = mixture(b, x, at, _router(b))
    if b.find(at, "ffn_up_shexp") is None:
        return y
    shared = feed_forward(b, x, at, "_shexp")
    gate = b.find(at, "ffn_gate_inp_shexp")
    if gate is not None:
        shared = apply("mul", shared, apply("unary", matmul(gate, x)))
    return apply("add", y, shared)


def _router(b: Build) -> Router:
    arch, experts = b.job.shape.arch, b.job.shape.experts
    gating: Gating = "softmax"
    if arch == "gpt-oss":
        gating = "softmax_weight"
    elif (experts.gating or _OWN_GATING.get(arch)) == _SIGMOID:
        gating = "sigmoid"
    named = arch in ("deepseek2", "glm4moe", "nemotron_h_moe")
    plain = arch in ("gpt-oss", "llama4", "jamba")
    return Router(
        gating=gating,
        normalize=experts.normalize if named else not plain,
        scale=experts.scale not in (0.0, 1.0),
        groups=experts.groups if arch == "deepseek2" else 0,
        groups_used=experts.groups_used,
        weight_first=arch == "llama4",
    )


def _last_norm(b: Build, x: Tensor) -> Tensor:
    arch = b.job.shape.arch
    late, hidden = _late_rows(b), x
    if late and arch == "gpt-oss":
        x = b.select_rows(x)
    norm = b.outer("output_norm.weight")
    if norm is None:
        norm = b.outer("token_embd_norm.weight")
    if arch == "gpt-oss" and b.job.graph.hidden_output:
        hidden.is_output = True
    x = b.norm(x, norm, b.outer("output_norm.bias"), op=_norm_op(b))
    if arch in families.DELTA_NET and b.job.graph.hidden_output:
        x.is_output = True
    if late and arch != "gpt-oss":
        x = b.select_rows(x)
    return finish(b, x)


def finish(b: Build, x: Tensor) -> Tensor:
    """Mark the embeddings and add the logits."""
    x.is_output = True
    if b.job.shape.arch == "lfm2" and b.job.embeds:
        b.graph.expand(x)
    else:
        _logits(b, x)
    return x


def _logits(b: Build, x: Tensor) -> None:
    shape = b.job.shape
    weight = b.outer("output.weight")
    if weight is None:
        b.graph.expand(x)
        return
    y = linear(x, weight, b.outer("output.bias"))
    if shape.logit_scale and shape.arch in _SCALED_LOGITS:
        y = apply("scale", y)
    if shape.arch in _CAPPED_LOGITS or (shape.arch == "gemma3" and shape.final_softcap):
        y = apply("scale", apply("unary", apply("scale", y)))
    y.is_output = True
    b.graph.expand(y)
