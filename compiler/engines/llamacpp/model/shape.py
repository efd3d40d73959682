"""A model as the memory law sees it: typed hyper-parameters and weights read from GGUF facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from compiler.engines.llamacpp.model.architectures import architecture
from compiler.engines.llamacpp.model.architectures.record import Architecture
from compiler.engines.llamacpp.model.header import (
    MAX_LAYERS,
    MAX_WIDTH,
    FactsError,
    Header,
    Weight,
    read_weights,
)
from compiler.engines.llamacpp.model.knowledge import Knowledge, knowledge_of
from compiler.engines.llamacpp.model.layer_kinds import Layer, read_layers, read_window
from compiler.engines.llamacpp.model.projector import Projector
from compiler.ir.facts import ModelFacts

MAX_EXPERTS = 4096

# Tensors with which an encoder scores or classifies (llama-model.cpp, LLM_TENSOR_CLS*).
SCORING_TENSORS = ("cls.weight", "cls.output.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The mixture of experts; `count` 0 when the model is dense."""

    count: int
    gating: int
    """0 the architecture's own, 1 softmax, 2 sigmoid, 3 softmax over the chosen weights."""
    normalize: bool
    scale: float
    groups: int
    groups_used: int

    @property
    def scaled(self) -> bool:
        """Whether the weights of the chosen experts are scaled (llama-graph.cpp)."""
        return self.scale not in (0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The recurrent part: convolution and state sizes; all 0 when there is none."""

    conv: int
    inner: int
    size: int
    rank: int
    groups: int
    short_conv: int
    """`shortconv.l_cache` of LFM2."""
    wkv_head: int
    """Size of a head of RWKV."""
    delta_head: int
    """Size of a head of Kimi delta attention, of which there are `delta_heads`."""
    delta_heads: int
    conv_elements: int
    """Elements of the convolution state of one layer and sequence (`n_embd_r`)."""
    state_elements: int
    """Elements of the recurrent state of one layer and sequence (`n_embd_s`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Multi-head latent attention; `rank` 0 when the model has none."""

    rank: int
    key_length: int
    value_length: int
    absorbed: bool
    """The file carries split k_b and v_b matrices: one latent row is cached, and no V."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer:
    """The lightning indexer of sparse attention; all 0 when there is none."""

    heads: int
    size: int
    """Elements of a key."""
    top: int
    """Cells that a token attends to at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """Hyper-parameters and weights. Compared by identity, so that results can be cached by it."""

    arch: str
    layers: tuple[Layer, ...]
    """Layers that run; next-token-prediction layers at the end of the file are not loaded."""
    next_layers: tuple[Layer, ...]
    """Those at the end; some builds give them a cache all the same."""
    layers_in_file: int
    width: int
    width_out: int
    trained_context: int
    original_context: int
    """Tokens before the rope was stretched."""
    vocabulary: int
    causal: bool
    pooling: int
    rotary: int
    window: int
    experts: Experts
    state: State
    latent: Latent
    indexer: Indexer
    embedding_scale: bool
    residual_scale: bool
    temperature: bool
    """Q is scaled by position (`attn_temp_scale`)."""
    deepstack: int
    """Embeddings of an image that are added behind as many layers, and come with the first."""
    scores_mean: bool
    """The scoring head reads the mean of all tokens, not one of them."""
    logit_scale: bool
    final_softcap: bool
    knowledge: Knowledge
    """Which parts are known, and which assumed."""
    weights: tuple[Weight, ...]
    by_name: Mapping[str, Weight]
    draft: Shape | None = None
    """The draft model that is loaded with it."""
    projector: Projector | None = None
    """What turns pictures into tokens for it."""

    heads: bool = False
    """It stands for the layers for next tokens of a model, each of which is one draft."""

    @property
    def drafts_itself(self) -> bool:
        """The file has layers for next tokens, and what joins them to the model."""
        first = len(self.layers)
        return bool(self.next_layers) and f"blk.{first}.nextn.eh_proj.weight" in self.by_name

    @property
    def family(self) -> Architecture:
        """The traits of its architecture."""
        return architecture(self.arch)

    @property
    def encoder(self) -> bool:
        """No KV cache, and every token attends to every other."""
        return self.family.cacheless

    @property
    def attends_batch(self) -> bool:
        """Tokens attend to those of their batch, and to no cache."""
        return self.family.batch_attention

    @property
    def tied(self) -> bool:
        """The output layer uses the token embedding."""
        without = self.family.encoder and not self.family.loads_output
        return "output.weight" not in self.by_name and not without

    @property
    def scores(self) -> bool:
        """The file can score pairs or classify: it has a classification head."""
        return any(name in self.by_name for name in SCORING_TENSORS)

    @property
    def exact(self) -> bool:
        """The law rebuilds this architecture's graph node by node."""
        return self.knowledge.graph


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """Facts by identity: they are frozen, and hashing their dictionaries would cost more."""

    facts: ModelFacts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.facts is other.facts

    def __hash__(self) -> int:
        return id(self.facts)


def read_shape(facts: ModelFacts) -> Shape:
    """The shape of a GGUF model. Raises FactsError when the facts do not describe one."""
    return _read_shape(Identity(facts))


@lru_cache(maxsize=256)
def next_shape(shape: Shape) -> Shape:
    """The layers for next tokens as a model of their own: of several the first runs at a time."""
    first = len(shape.layers)
    layers = tuple(
        replace(layer, cache_of=number if layer.attention else None)
        for number, layer in enumerate(shape.next_layers)
    )
    weights = tuple(
        each
        if each.block is None
        else replace(
            each,
            name=f"blk.{each.block - first}.{each.suffix}",
            block=each.block - first,
        )
        for each in shape.weights
        if each.block is None or each.block >= first
    )
    return replace(
        shape,
        layers=layers,
        next_layers=(),
        layers_in_file=len(layers),
        weights=weights,
        by_name=MappingProxyType({weight.name: weight for weight in weights}),
        heads=True,
        draft=None,
        projector=None,
    )


@lru_cache(maxsize=256)
def _read_shape(identity: Identity) -> Shape:
    facts = identity.facts
    header = Header(facts)
    arch = facts.architecture
    in_file = header.integer("block_count", facts.layers)
    family = architecture(arch)
    if family.no_model:
        what = family.no_model
        raise FactsError(f"`{arch}` is {what}, and llama-server serves it not by itself")
    hidden = header.integer("nextn_predict_layers")
    width = header.integer("embedding_length")
    if not 0 < in_file <= MAX_LAYERS or hidden >= in_file:
        raise FactsError(f"`block_count` {in_file:,} is no usable number of layers")
    if not 0 < width <= MAX_WIDTH:
        raise FactsError(f"`embedding_length` {width:,} is no usable width")
    weights = read_weights(facts)
    by_name = MappingProxyType({weight.name: weight for weight in weights})
    if "token_embd.weight" not in by_name:
        raise FactsError("the file has no `token_embd.weight`")
    latent = _latent(header, by_name)
    window, sliding = read_window(arch, header, in_file, in_file - hidden)
    layers = read_layers(arch, header, in_file, sliding, by_name)
    return Shape(
        arch=arch,
        layers=layers[: in_file - hidden],
        next_layers=layers[in_file - hidden :],
        layers_in_file=in_file,
        width=width,
        width_out=header.integer("embedding_length_out", width),
        trained_context=header.integer("context_length", facts.position_limit),
        original_context=header.integer(
            "rope.scaling.original_context_length",
            header.integer("context_length", facts.position_limit),
        ),
        vocabulary=_vocabulary(facts, by_name),
        causal=header.flag("attention.causal", default=not family.cacheless),
        pooling=_pooling(facts, header),
        rotary=header.integer("rope.dimension_count", layers[0].head_k),
        window=window,
        experts=_experts(header),
        state=_state(arch, header, width),
        latent=latent,
        indexer=Indexer(
            heads=header.integer("attention.indexer.head_count"),
            size=header.integer("attention.indexer.key_length"),
            top=header.integer("attention.indexer.top_k"),
        ),
        embedding_scale=header.has("embedding_scale") or family.scaled,
        residual_scale=header.has("residual_scale") or family.scaled,
        temperature=header.has("attention.temperature_scale"),
        deepstack=header.integer("n_deepstack_layers"),
        scores_mean=_scores_mean(arch, header),
        logit_scale=header.has("logit_scale"),
        final_softcap=header.has("final_logit_softcapping"),
        knowledge=knowledge_of(arch, header),
        weights=weights,
        by_name=by_name,
    )


def _vocabulary(facts: ModelFacts, by_name: Mapping[str, Weight]) -> int:
    embedding = by_name["token_embd.weight"].ne
    return facts.vocabulary or (embedding[1] if len(embedding) > 1 else 1)


_MEAN = 1
_POOLINGS = ("none", "mean", "cls", "last", "rank")  # llama.h `llama_pooling_type`


def _pooling(facts: ModelFacts, header: Header) -> int:
    named = _POOLINGS.index(facts.pooling) if facts.pooling in _POOLINGS else 0
    return header.integer("pooling_type", named)


def _scores_mean(arch: str, header: Header) -> bool:
    default = _MEAN if arch == "modern-bert" else 0
    return header.integer("classifier.pooling_type", default) == _MEAN


def _experts(header: Header) -> Experts:
    count = header.integer("expert_count")
    if count > MAX_EXPERTS:
        raise FactsError(f"`expert_count` {count:,} is no usable number of experts")
    return Experts(
        count=count,
        gating=header.integer("expert_gating_func"),
        normalize=header.flag("expert_weights_norm"),
        scale=header.real("expert_weights_scale"),
        groups=header.integer("expert_group_count"),
        groups_used=header.integer("expert_group_used_count", 1),
    )


def _latent(header: Header, by_name: Mapping[str, Weight]) -> Latent:
    rank = header.integer("attention.kv_lora_rank")
    absorbed = header.has("attention.key_length_mla") and any(
        name.endswith("attn_k_b.weight") for name in by_name
    )
    return Latent(
        rank=rank,
        key_length=header.integer("attention.key_length_mla"),
        value_length=header.integer("attention.value_length_mla"),
        absorbed=bool(rank) and absorbed,
    )


def _state(arch: str, header: Header, width: int) -> State:
    """Recurrent sizes (llama-hparams.cpp `n_embd_r`, `n_embd_s`)."""
    conv = header.integer("ssm.conv_kernel")
    inner = header.integer("ssm.inner_size")
    size = header.integer("ssm.state_size")
    groups = header.integer("ssm.group_count")
    short = header.integer("shortconv.l_cache")
    taps = max(conv - 1, 0)
    conv_elements = taps * (inner + 2 * groups * size)
    state_elements = size * inner
    wkv_head = header.integer("wkv.head_size")
    if "rwkv" in arch and not wkv_head:
        raise FactsError(f"`{arch}` has heads of a size, and the header has no `wkv.head_size`")
    kda_head = header.integer("kda.head_dim")
    if short:
        conv_elements, state_elements = width * (short - 1), 0
    elif wkv_head:
        # RWKV keeps token shifts instead of a convolution; version 7 and 6 keep two.
        shifts = header.integer("token_shift_count", 1 if arch.startswith("arwkv") else 2)
        conv_elements, state_elements = shifts * width, width * wkv_head
    elif kda_head:
        heads = header.integer("attention.head_count")
        conv_elements = 3 * taps * heads * kda_head
        state_elements = kda_head * kda_head * heads
    elif arch == "minimax-01":
        head = header.integer("attention.key_length")
        conv_elements, state_elements = 0, head * head * header.integer("attention.head_count")
    return State(
        conv=conv,
        inner=inner,
        size=size,
        rank=header.integer("ssm.time_step_rank"),
        groups=groups,
        short_conv=short,
        wkv_head=wkv_head,
        delta_head=kda_head,
        delta_heads=header.integer("attention.head_count") if kda_head else 0,
        conv_elements=conv_elements,
        state_elements=state_elements,
    )
