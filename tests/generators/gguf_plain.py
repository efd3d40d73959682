"""Decoders and encoders that differ from Llama by a norm, a bias or a router: one line each.

Their dimensions are small; what counts is the graph, which the oracle compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.ir.facts import HeaderValue
from tests.generators.gguf_draft import Draft, Shape, base

_WIDTH, _FORWARD, _HEADS, _KV, _HEAD, _VOCABULARY = 2048, 5632, 16, 4, 128, 64000
_EXPERTS, _USED, _EXPERT = 32, 4, 768


@dataclass(frozen=True, kw_only=True)
class Plain:
    """What a family adds to or takes from the tensors of Llama."""

    arch: str
    name: str = ""
    layers: int = 16
    heads_kv: int = _KV
    tied: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    fused_qkv: bool = False
    norm_bias: bool = False
    first_norm: str = "attn_norm"
    """Empty when nothing is normalized before the attention."""
    query_norm: str = ""
    """`head` or `all`: Q and K are normalized by head or over all."""
    extra_norms: tuple[str, ...] = ()
    gate: bool = True
    halved: bool = False
    """Gate and up are one matrix."""
    forward_bias: bool = False
    forward_norm: str = "ffn_norm"
    experts: bool = False
    leading: int = 0
    """Dense layers before those with experts."""
    shared: int = 0
    shared_gate: bool = False
    probs_bias: bool = False
    head_bias: bool = False
    header: dict[str, HeaderValue] = field(default_factory=dict)
    outside: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def make(self, other: str | None) -> Draft:
        """The draft, in another quantization if asked."""
        model = base(
            self.arch, other or "q4_K", self.layers, _WIDTH, _FORWARD, _HEADS, self.heads_kv,
            _VOCABULARY, 32768, _HEAD, **_experts_header(self) | self.header,
        )  # fmt: skip
        model.add("token_embd.weight", _WIDTH, _VOCABULARY)
        self._norm(model, "output_norm")
        if not self.tied:
            model.add("output.weight", _WIDTH, _VOCABULARY)
        if self.head_bias:
            model.add("output.bias", _VOCABULARY)
        for name, ne in self.outside:
            model.add(name, *ne)
        for index in range(self.layers):
            self._attention(model, index)
            for name in self.extra_norms:
                self._norm(model, f"blk.{index}.{name}")
            if self.forward_norm:
                self._norm(model, f"blk.{index}.{self.forward_norm}")
            if self.experts and index >= self.leading:
                self._sparse(model, index)
            else:
                self._dense(model, index)
        return model

    def _norm(self, model: Draft, name: str, size: int = _WIDTH) -> None:
        model.add(f"{name}.weight", size)
        if self.norm_bias:
            model.add(f"{name}.bias", size)

    def _matrix(self, model: Draft, name: str, ne: tuple[int, int], *, bias: bool) -> None:
        model.add(f"{name}.weight", *ne)
        if bias:
            model.add(f"{name}.bias", ne[1])

    def _attention(self, model: Draft, index: int) -> None:
        query, key = _HEADS * _HEAD, self.heads_kv * _HEAD
        block = f"blk.{index}."
        if self.first_norm:
            self._norm(model, block + self.first_norm)
        parts = [("attn_qkv", query + 2 * key)]
        if not self.fused_qkv:
            parts = [("attn_q", query), ("attn_k", key), ("attn_v", key)]
        for name, size in parts:
            self._matrix(model, block + name, (_WIDTH, size), bias=self.qkv_bias)
        if self.query_norm:
            by_head = self.query_norm == "head"
            model.add(f"{block}attn_q_norm.weight", _HEAD if by_head else query)
            model.add(f"{block}attn_k_norm.weight", _HEAD if by_head else key)
        self._matrix(model, block + "attn_output", (query, _WIDTH), bias=self.output_bias)

    def _dense(self, model: Draft, index: int) -> None:
        block = f"blk.{index}.ffn_"
        if self.gate:
            self._matrix(model, block + "gate", (_WIDTH, _FORWARD), bias=False)
        wide = 2 * _FORWARD if self.halved else _FORWARD
        self._matrix(model, block + "up", (_WIDTH, wide), bias=self.forward_bias)
        self._matrix(model, block + "down", (_FORWARD, _WIDTH), bias=self.forward_bias)

    def _sparse(self, model: Draft, index: int) -> None:
        model.block(index, ("ffn_gate_inp.weight", (_WIDTH, _EXPERTS)))
        if self.probs_bias:
            model.block(index, ("exp_probs_b.bias", (_EXPERTS,)))
        if self.gate:
            model.block(index, ("ffn_gate_exps.weight", (_WIDTH, _EXPERT, _EXPERTS)))
        model.block(
            index,
            ("ffn_up_exps.weight", (_WIDTH, _EXPERT, _EXPERTS)),
            ("ffn_down_exps.weight", (_EXPERT, _WIDTH, _EXPERTS)),
        )
        if self.shared_gate:
            model.block(index, ("ffn_gate_inp_shexp.weight", (_WIDTH,)))
        if self.shared:
            model.block(
                index,
                ("ffn_gate_shexp.weight", (_WIDTH, self.shared)),
                ("ffn_up_shexp.weight", (_WIDTH, self.shared)),
                ("ffn_down_shexp.weight", (self.shared, _WIDTH)),
            )


def _experts_header(plain: Plain) -> dict[str, HeaderValue]:
    if not plain.experts:
        return {}
    return {
        "expert_count": _EXPERTS,
        "expert_used_count": _USED,
        "expert_feed_forward_length": _EXPERT,
        "leading_dense_block_count": plain.leading,
    }


_GRANITE: dict[str, HeaderValue] = {
    "logit_scale": 8.0,
    "embedding_scale": 12.0,
    "residual_scale": 0.22,
    "attention.scale": 0.0078125,
}
# Read as the width of an expert.
_NARROW: dict[str, HeaderValue] = {"feed_forward_length": _EXPERT}
_ENCODES: dict[str, HeaderValue] = {"attention.causal": False, "pooling_type": 1}
_SECTIONS: dict[str, HeaderValue] = {"rope.dimension_sections": [24, 20, 20, 0]}

_PLAIN = (
    Plain(arch="gemma", tied=True),
    Plain(arch="granite", tied=True, header=_GRANITE),
    Plain(
        arch="granitemoe",
        tied=True,
        experts=True,
        shared=1024,
        header=_GRANITE | _NARROW | {"expert_shared_feed_forward_length": 1024},
    ),
    Plain(
        arch="qwen2moe",
        qkv_bias=True,
        experts=True,
        shared=2048,
        shared_gate=True,
        header={"expert_shared_feed_forward_length": 2048},
    ),
    Plain(arch="qwen3vl", query_norm="head", header=_SECTIONS | {"n_deepstack_layers": 3}),
    Plain(
        arch="qwen3vlmoe",
        query_norm="head",
        experts=True,
        header=_SECTIONS | {"n_deepstack_layers": 3},
    ),
    Plain(
        arch="olmo2",
        first_norm="",
        forward_norm="",
        query_norm="all",
        extra_norms=("post_attention_norm", "post_ffw_norm"),
    ),
    Plain(arch="olmoe", query_norm="all", experts=True, heads_kv=_HEADS, header=_NARROW),
    Plain(
        arch="starcoder2",
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        gate=False,
        forward_bias=True,
    ),
    Plain(arch="stablelm", norm_bias=True),
    Plain(arch="internlm2"),
    Plain(arch="baichuan", layers=32, heads_kv=_HEADS),
    Plain(arch="xverse", heads_kv=_HEADS),
    Plain(arch="orion", heads_kv=_HEADS, norm_bias=True),
    Plain(arch="seed_oss", qkv_bias=True, forward_norm="post_attention_norm"),
    Plain(arch="mistral3"),
    Plain(
        arch="mistral3",
        name="ministral3",
        header={"attention.temperature_scale": 0.1, "rope.scaling.original_context_length": 16384},
    ),
    Plain(arch="baichuan", name="baichuan-13b", layers=40, heads_kv=_HEADS),
    Plain(arch="arcee", gate=False),
    Plain(arch="minicpm"),
    Plain(arch="ernie4_5", tied=True),
    Plain(
        arch="ernie4_5-moe",
        tied=True,
        experts=True,
        leading=1,
        shared=1536,
        probs_bias=True,
        header={
            "expert_shared_feed_forward_length": 1536,
            "interleave_moe_layer_step": 1,
            "expert_shared_count": 2,
        },
    ),
    Plain(
        arch="dots1",
        heads_kv=_HEADS,
        query_norm="head",
        experts=True,
        leading=1,
        shared=1536,
        probs_bias=True,
        header={
            "expert_shared_count": 2,
            "expert_weights_scale": 2.5,
            "expert_weights_norm": True,
            "expert_gating_func": 2,
        },
    ),
    Plain(
        arch="bailingmoe2",
        fused_qkv=True,
        query_norm="head",
        experts=True,
        leading=1,
        shared=_EXPERT,
        probs_bias=True,
        header={
            "expert_shared_count": 1,
            "expert_weights_scale": 2.5,
            "expert_weights_norm": True,
            "expert_gating_func": 2,
            "expert_group_count": 8,
            "expert_group_used_count": 4,
            "expert_shared_feed_forward_length": _EXPERT,
        },
    ),
    Plain(arch="hunyuan-dense", tied=True, query_norm="head"),
    Plain(
        arch="hunyuan-moe",
        tied=True,
        query_norm="head",
        experts=True,
        shared=3072,
        header=_NARROW | {"expert_shared_feed_forward_length": 3072},
    ),
    Plain(arch="exaone", tied=True),
    Plain(
        arch="phimoe",
        norm_bias=True,
        qkv_bias=True,
        output_bias=True,
        experts=True,
        head_bias=True,
        header=_NARROW,
    ),
    Plain(arch="eurobert", tied=True, header=_ENCODES),
    Plain(
        arch="gemma-embedding",
        tied=True,
        query_norm="head",
        extra_norms=("post_attention_norm", "post_ffw_norm"),
        header=_ENCODES | {"attention.sliding_window": 512},
    ),
    Plain(arch="llama-embed", header=_ENCODES),
    Plain(arch="dream", qkv_bias=True, header={"attention.causal": False}),
    Plain(arch="llada", header={"attention.causal": False}, heads_kv=_HEADS),
    Plain(
        arch="llada-moe",
        query_norm="head",
        experts=True,
        heads_kv=_HEADS,
        header={"attention.causal": False},
    ),
    Plain(arch="rnd1", query_norm="head", experts=True, header={"attention.causal": False}),
    Plain(arch="maincoder", query_norm="head"),
    Plain(arch="pangu-embedded", qkv_bias=True, output_bias=True, norm_bias=False),
    Plain(arch="nemotron", norm_bias=True, gate=False),
    Plain(
        arch="deepseek",
        experts=True,
        leading=1,
        shared=1536,
        header={"expert_shared_count": 2, "expert_weights_scale": 1.0},
    ),
)

SHAPES: dict[str, Shape] = {f"plain-{each.name or each.arch}": each.make for each in _PLAIN}
