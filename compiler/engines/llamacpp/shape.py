"""A model as the memory law sees it: typed hyper-parameters and weights read from GGUF facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from compiler.engines.llamacpp import families
from compiler.engines.llamacpp.header import (
    MAX_LAYERS,
    FactsError,
    Header,
    Weight,
    read_weights,
)
from compiler.ir.facts import ModelFacts

MAX_EXPERTS = 4096
MAX_WIDTH = 1 << 20
# A graph has nodes for each expert in use; models use 1 to 32.
MAX_EXPERTS_USED = 64

# models/gemma3n.cpp sets `n_layer_kv_from_start` itself.
_GEMMA3N_OWN_CACHES = 20

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
class Layer:
    """The attention of one layer; no heads where a layer has none."""

    heads: int
    heads_kv: int
    head_k: int
    head_v: int
    sliding: bool
    recurrent: bool
    attention: bool
    experts_used: int
    indexer: int
    """Elements of a cached indexer key (DeepSeek sparse attention); 0 without."""
    cache_of: int | None
    """The layer whose KV cache it reads; None when it writes none."""

    @property
    def like(self) -> tuple[int | bool, ...]:
        """Everything but the layer whose cache it reads."""
        return (
            self.heads,
            self.heads_kv,
            self.head_k,
            self.head_v,
            self.sliding,
            self.recurrent,
            self.attention,
            self.experts_used,
            self.indexer,
        )

    @property
    def k_width(self) -> int:
        """Elements of one cached K row."""
        return self.head_k * self.heads_kv

    @property
    def v_width(self) -> int:
        """Elements of one cached V row."""
        return self.head_v * self.heads_kv


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """Hyper-parameters and weights. Compared by identity, so that results can be cached by it."""

    arch: str
    layers: tuple[Layer, ...]
    """Layers that run; next-token-prediction layers at the end of the file are not loaded."""
    layers_in_file: int
    width: int
    width_out: int
    trained_context: int
    vocabulary: int
    causal: bool
    pooling: int
    rotary: int
    window: int
    experts: Experts
    state: State
    latent: Latent
    embedding_scale: bool
    logit_scale: bool
    final_softcap: bool
    weights: tuple[Weight, ...]
    by_name: Mapping[str, Weight]

    @property
    def encoder(self) -> bool:
        """No KV cache, and every token attends to every other."""
        return self.arch in families.CACHELESS

    @property
    def tied(self) -> bool:
        """The output layer uses the token embedding."""
        return "output.weight" not in self.by_name and self.arch not in families.ENCODERS

    @property
    def scores(self) -> bool:
        """The file can score pairs or classify: it has a classification head."""
        return any(name in self.by_name for name in SCORING_TENSORS)

    @property
    def transcribed(self) -> bool:
        """The law rebuilds this architecture's graph, without a comparison at hand."""
        return self.arch in families.TRANSCRIBED or self.arch == "deepseek2"

    @property
    def exact(self) -> bool:
        """The law rebuilds this architecture's graph node by node."""
        return self.arch in families.EXACT and (not self.latent.rank or self.latent.absorbed)


@dataclass(frozen=True, slots=True, eq=False)
class _Identity:
    """Facts by identity: they are frozen, and hashing their dictionaries would cost more."""

    facts: ModelFacts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.facts is other.facts

    def __hash__(self) -> int:
        return id(self.facts)


def read_shape(facts: ModelFacts) -> Shape:
    """The shape of a GGUF model. Raises FactsError when the facts do not describe one."""
    return _read_shape(_Identity(facts))


@lru_cache(maxsize=256)
def _read_shape(identity: _Identity) -> Shape:
    facts = identity.facts
    header = Header(facts)
    arch = facts.architecture
    in_file = header.integer("block_count", facts.layers)
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
    window, sliding = _window(arch, header, in_file, in_file - hidden)
    layers = _layers(arch, header, in_file, sliding, by_name)
    return Shape(
        arch=arch,
        layers=layers[: in_file - hidden],
        layers_in_file=in_file,
        width=width,
        width_out=header.integer("embedding_length_out", width),
        trained_context=header.integer("context_length", facts.position_limit),
        vocabulary=_vocabulary(facts, by_name),
        causal=header.flag("attention.causal", default=arch not in families.CACHELESS),
        pooling=_pooling(facts, header),
        rotary=header.integer("rope.dimension_count", layers[0].head_k),
        window=window,
        experts=_experts(header),
        state=_state(arch, header, width),
        latent=latent,
        embedding_scale=header.has("embedding_scale"),
        logit_scale=header.has("logit_scale"),
        final_softcap=header.has("final_logit_softcapping"),
        weights=weights,
        by_name=by_name,
    )


def _vocabulary(facts: ModelFacts, by_name: Mapping[str, Weight]) -> int:
    embedding = by_name["token_embd.weight"].ne
    return facts.vocabulary or (embedding[1] if len(embedding) > 1 else 1)


_POOLINGS = ("none", "mean", "cls", "last", "rank")  # llama.h `llama_pooling_type`


def _pooling(facts: ModelFacts, header: Header) -> int:
    named = _POOLINGS.index(facts.pooling) if facts.pooling in _POOLINGS else 0
    return header.integer("pooling_type", named)


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
    return State(
        conv=conv,
        inner=inner,
        size=size,
        rank=header.integer("ssm.time_step_rank"),
        groups=groups,
        short_conv=short,
        conv_elements=conv_elements,
        state_elements=state_elements,
    )


def _window(arch: str, header: Header, in_file: int, running: int) -> tuple[int, tuple[bool, ...]]:
    """The sliding window and the layers that use it (llama-model.cpp `load_hparams`)."""
    none = (False,) * in_file
    window = header.integer("attention.sliding_window", families.DEFAULT_WINDOW.get(arch, 0))
    if arch == "llama4":
        window = window or families.DEFAULT_WINDOW[arch]
    if not window or arch in families.SLIDING_IGNORED:
        return 0, none
    listed = header.flags("attention.sliding_window_pattern", in_file)
    if listed is not None:
        return window, listed
    own_period = families.SLIDING_PERIOD.get(arch, 0)
    period = header.integer("attention.sliding_window_pattern", own_period)
    if not own_period or not period:
        return window, none
    return window, tuple(
        index % period < period - 1 and index < running for index in range(in_file)
    )


def _layers(
    arch: str,
    header: Header,
    in_file: int,
    sliding: tuple[bool, ...],
    by_name: Mapping[str, Weight],
) -> tuple[Layer, ...]:
    heads = [n or 0 for n in header.per_layer("attention.head_count", in_file)]
    listed_kv = header.per_layer("attention.head_count_kv", in_file, None)
    heads_kv = [own if kv is None else kv for kv, own in zip(listed_kv, heads, strict=True)]
    used = header.per_layer("expert_used_count", in_file)
    if max(each or 0 for each in used) > MAX_EXPERTS_USED:
        raise FactsError("`expert_used_count` is no usable number of experts")
    width = header.integer("embedding_length")
    head = width // (max(heads) or 1)
    key, value = (header.integer(f"attention.{side}_length", head) for side in ("key", "value"))
    key_swa = header.integer("attention.key_length_swa", key)
    value_swa = header.integer("attention.value_length_swa", value)
    if max(heads) > MAX_WIDTH or max(key, value, key_swa, value_swa) > MAX_WIDTH:
        raise FactsError("the attention heads are of no usable number or size")
    recurrent = _recurrent(arch, header, heads_kv)
    owners = _cache_owners(header, sliding)
    layers = []
    for index in range(in_file):
        attends = _attends(arch, index, heads_kv[index], by_name, recurrent=recurrent[index])
        layers.append(
            Layer(
                heads=heads[index],
                heads_kv=heads_kv[index],
                head_k=key_swa if sliding[index] else key,
                head_v=value_swa if sliding[index] else value,
                sliding=sliding[index],
                recurrent=recurrent[index],
                attention=attends,
                experts_used=used[index] or 0,
                indexer=_indexer(index, by_name),
                cache_of=owners[index] if attends else None,
            )
        )
    return tuple(layers)


def _indexer(index: int, by_name: Mapping[str, Weight]) -> int:
    weight = by_name.get(f"blk.{index}.indexer.attn_k.weight")
    return weight.ne[-1] if weight is not None else 0


def _recurrent(arch: str, header: Header, heads_kv: list[int]) -> list[bool]:
    """Which layers carry a recurrent state (llama-model.cpp, `recurrent_layer_arr`)."""
    count = len(heads_kv)
    running = count - header.integer("nextn_predict_layers")
    if arch in families.RECURRENT:
        return [True] * count
    if arch in families.DELTA_NET:
        interval = max(1, header.integer("full_attention_interval", 4))
        return [index < running and (index + 1) % interval != 0 for index in range(count)]
    if arch in families.BOTH_IN_EACH_LAYER:
        return [True] * count
    if arch.startswith("nemotron_h"):
        # A layer is attention, state or feed-forward only; the last has neither.
        forward = header.per_layer("feed_forward_length", count)
        return [not kv and not ff for kv, ff in zip(heads_kv, forward, strict=True)]
    if arch in families.HYBRID:
        return [not kv for kv in heads_kv]
    return [False] * count


def _attends(
    arch: str, index: int, heads_kv: int, by_name: Mapping[str, Weight], *, recurrent: bool
) -> bool:
    if recurrent and arch not in families.BOTH_IN_EACH_LAYER:
        return False
    if arch.startswith("nemotron_h"):
        return heads_kv > 0 and f"blk.{index}.attn_q.weight" in by_name
    return heads_kv > 0


def _cache_owners(header: Header, sliding: tuple[bool, ...]) -> list[int]:
    """The layer whose cache each layer reads (llama-hparams.h `n_layer_kv_from_start`).

    Gemma 3n and later share: the last layers read the cache of the last own layer of their kind.
    """
    count = len(sliding)
    shared = header.integer("attention.shared_kv_layers")
    own = count - shared if 0 < shared < count else count
    if header.facts.architecture == "gemma3n":
        own = min(count, _GEMMA3N_OWN_CACHES)
    owners = list(range(own))
    for index in range(own, count):
        same = [i for i in range(own) if sliding[i] == sliding[index]]
        owners.append(same[-1] if same else own - 1)
    return owners
