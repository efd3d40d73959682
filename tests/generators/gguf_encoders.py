# ruff: noqa: PLR0913, PLR0917 - a shape is a row of numbers
"""Encoders of the BERT family."""

from __future__ import annotations

from tests.generators.gguf_draft import (
    Draft,
    Shape,
    base,
)


def bert(
    layers: int,
    width: int,
    forward: int,
    heads: int,
    vocabulary: int,
    context: int,
    pooling: int,
    *,
    types: int = 1,
    scores: bool = False,
) -> Shape:
    def make(other: str | None) -> Draft:
        model = base(
            "bert",
            other or "f16",
            layers,
            width,
            forward,
            heads,
            heads,
            vocabulary,
            context,
            attention__causal=False,
            pooling_type=pooling,
        )
        model.add("token_embd.weight", width, vocabulary)
        model.add("token_types.weight", width, types)
        model.add("position_embd.weight", width, context)
        model.add("token_embd_norm.weight", width)
        model.add("token_embd_norm.bias", width)
        if scores:
            model.add("cls.weight", width, width)
            model.add("cls.bias", width)
            model.add("cls.output.weight", width, 1)
            model.add("cls.output.bias", 1)
        for index in range(layers):
            for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
                model.block(index, (f"{name}.weight", (width, width)), (f"{name}.bias", (width,)))
            model.block(
                index,
                ("attn_output_norm.weight", (width,)),
                ("attn_output_norm.bias", (width,)),
                ("ffn_up.weight", (width, forward)),
                ("ffn_up.bias", (forward,)),
                ("ffn_down.weight", (forward, width)),
                ("ffn_down.bias", (width,)),
                ("layer_output_norm.weight", (width,)),
                ("layer_output_norm.bias", (width,)),
            )
        return model

    return make


def nomic(
    layers: int, width: int, forward: int, heads: int, vocabulary: int, context: int
) -> Shape:
    def make(other: str | None) -> Draft:
        model = base(
            "nomic-bert",
            other or "f16",
            layers,
            width,
            forward,
            heads,
            heads,
            vocabulary,
            context,
            attention__causal=False,
            pooling_type=1,
        )
        model.add("token_embd.weight", width, vocabulary)
        model.add("token_types.weight", width, 2)
        model.add("token_embd_norm.weight", width)
        model.add("token_embd_norm.bias", width)
        for index in range(layers):
            model.block(
                index,
                ("attn_qkv.weight", (width, 3 * width)),
                ("attn_output.weight", (width, width)),
                ("attn_output_norm.weight", (width,)),
                ("attn_output_norm.bias", (width,)),
                ("ffn_up.weight", (width, forward)),
                ("ffn_gate.weight", (width, forward)),
                ("ffn_down.weight", (forward, width)),
                ("layer_output_norm.weight", (width,)),
                ("layer_output_norm.bias", (width,)),
            )
        return model

    return make
