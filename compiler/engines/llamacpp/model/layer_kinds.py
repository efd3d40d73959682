"""What kind each layer of a model is: heads, windows, states, and whose KV cache it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler.engines.llamacpp.model.architectures import architecture
from compiler.engines.llamacpp.model.header import MAX_WIDTH, FactsError, Header, Weight

# A graph has nodes for each expert in use; models use 1 to 32.
MAX_EXPERTS_USED = 64

# models/exaone4.cpp: only the model of so many layers has windows.
_EXAONE4_SLIDING_LAYERS = 64
# models/baichuan.cpp: the model of so many layers has biases by distance instead of a rope.
_LAYERS_WITHOUT_ROPE = 40
# Trained for so many tokens, GLM is 5.2 or later: without a list every fourth layer has an indexer
# (models/glm-dsa.cpp, GLM_5_2_DEFAULT_INDEXER_TYPES).
_GLM52_CONTEXT = 1 << 20
# models/gemma3n.cpp sets `n_layer_kv_from_start` itself.
_GEMMA3N_OWN_CACHES = 20
# A full and a sliding one.
_CACHES_TO_SHARE = 2
# models.h `n_layer_sparsity` of Gemma 3n.
_GEMMA3N_THINNED = 10


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
    indexer_value: int
    """Elements of the V that some caches keep beside an indexer's key."""
    compress: int
    """Tokens that become one cached row; 0 where each keeps its own."""
    history: int
    """Elements of a convolution over embeddings of its own that a slot keeps (`ple_conv_state`)."""
    cache_of: int | None
    """The layer whose KV cache it reads; None when it writes none."""
    rope: bool
    """Q and K turn with the position."""
    stacked: bool
    """An embedding of an image is added behind it (`n_deepstack_layers`)."""
    thinned: bool
    """Only the largest gate activations pass (Gemma 3n, `gaussian_topk`)."""

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
            self.indexer_value,
            self.compress,
            self.history,
            self.rope,
            self.stacked,
            self.thinned,
        )

    @property
    def k_width(self) -> int:
        """Elements of one cached K row."""
        return self.head_k * self.heads_kv

    @property
    def v_width(self) -> int:
        """Elements of one cached V row."""
        return self.head_v * self.heads_kv


def read_window(
    arch: str, header: Header, in_file: int, running: int
) -> tuple[int, tuple[bool, ...]]:
    """The sliding window and the layers that use it (llama-model.cpp `load_hparams`)."""
    none = (False,) * in_file
    family = architecture(arch)
    window = header.integer("attention.sliding_window", family.default_window)
    if arch == "llama4":
        window = window or family.default_window
    if not window or family.ignores_window:
        return 0, none
    if arch == "exaone4" and running != _EXAONE4_SLIDING_LAYERS:
        return 0, none
    listed = header.flags("attention.sliding_window_pattern", in_file)
    if listed is not None:
        return window, listed
    own_period = family.sliding_period
    period = header.integer("attention.sliding_window_pattern", own_period)
    if not own_period or not period:
        return window, none
    full = 0 if family.full_layer_first else period - 1
    return window, tuple(index % period != full and index < running for index in range(in_file))


def read_layers(
    arch: str,
    header: Header,
    in_file: int,
    sliding: tuple[bool, ...],
    by_name: Mapping[str, Weight],
) -> tuple[Layer, ...]:
    """Every layer of the file. Raises FactsError when the header describes no usable one."""
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
    indexers = _indexers(arch, header, in_file)
    # llama-kv-cache-msa.cpp makes a whole KV cache of one head for its keys.
    with_value = arch == "minimax-m3"
    compressed = architecture(arch).compressed
    ratios = header.per_layer("attention.compress_ratios" if compressed else "", in_file)
    histories = _histories(arch, header, in_file, width)
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
                indexer=indexers[index] if attends else 0,
                indexer_value=value if attends and indexers[index] and with_value else 0,
                compress=ratios[index] or 0,
                history=histories[index],
                cache_of=owners[index] if attends else None,
                stacked=index < header.integer("n_deepstack_layers"),
                rope=_rope(arch, header, index, sliding),
                thinned=arch == "gemma3n" and index < _GEMMA3N_THINNED,
            )
        )
    if any(
        layer.attention and min(layer.heads, layer.head_k, layer.head_v) < 1 for layer in layers
    ):
        raise FactsError("the attention heads are of no usable number or size")
    return tuple(layers)


def _rope(arch: str, header: Header, index: int, sliding: tuple[bool, ...]) -> bool:
    """Whether a layer uses rope (models/*.cpp, `use_rope`; llama-hparams.cpp `has_rope`)."""
    match architecture(arch).rope:
        case "always":
            return True
        case "never":
            return False
        case "header":
            return header.flag("rope.scaling.finetuned", default=True)
        case "in-windows":
            return sliding[index] or not any(sliding)
        case "not-every-fourth":
            return (index + 1) % 4 != 0
        case "but-forty-layers":
            return len(sliding) != _LAYERS_WITHOUT_ROPE


def _indexers(arch: str, header: Header, in_file: int) -> list[int]:
    """Elements of the cached indexer key of each layer; 0 in those without one."""
    size = header.integer("attention.indexer.key_length")
    if not architecture(arch).indexed or not size or not header.integer("attention.indexer.top_k"):
        return [0] * in_file
    running = in_file - header.integer("nextn_predict_layers")
    if header.integer("attention.indexer.kpool"):
        size *= 3  # llama-memory-hybrid-idx.cpp: keys of pooled blocks beside those of tokens.
    return [size if full else 0 for full in _own_indexers(arch, header, in_file, running)]


def _own_indexers(arch: str, header: Header, in_file: int, running: int) -> list[bool]:
    """Which layers have an indexer of their own; the others see what the one before chose."""
    if arch == "minimax-m3":
        dense = header.integer("leading_dense_block_count")
        return [index >= dense for index in range(in_file)]
    listed: Sequence[object] | None = None
    if architecture(arch).lists_indexers and header.has("attention.indexer.types"):
        listed = header.per_layer("attention.indexer.types", in_file)
    if listed is not None:
        return [bool(each) and index < running for index, each in enumerate(listed)]
    if arch == "hy_v4":
        return [False] * in_file
    if arch == "glm-dsa" and header.integer("context_length") >= _GLM52_CONTEXT:
        own = (index < 2 or (index - 2) % 4 == 0 for index in range(in_file))  # noqa: PLR2004
        return [each and index < running for index, each in enumerate(own)]
    return [index < running for index in range(in_file)]


def _histories(arch: str, header: Header, in_file: int, width: int) -> list[int]:
    """Elements of the convolution state of embeddings by n-gram (llama-hparams.cpp)."""
    if arch != "qwen4exp":
        return [0] * in_file
    taps = max(0, header.integer("ple.conv_kernel") - 1) * header.integer("ple.ngram_size")
    size = taps * header.integer("hyper_connection.count") * width
    listed = header.facts.value("ple.layers")
    own = listed if isinstance(listed, list) else []
    return [size if index in own else 0 for index in range(in_file)]


def _recurrent(arch: str, header: Header, heads_kv: list[int]) -> Sequence[bool]:
    """Which layers carry a recurrent state (llama-model.cpp, `recurrent_layer_arr`)."""
    count = len(heads_kv)
    running = count - header.integer("nextn_predict_layers")
    family = architecture(arch)
    if family.recurrent:
        return [True] * count
    if family.full_interval:
        listed = header.flags("attention.recurrent_layers", count)
        if listed is not None:
            return listed
        interval = max(1, header.integer("full_attention_interval", family.full_interval))
        return [index < running and (index + 1) % interval != 0 for index in range(count)]
    if family.both_in_each_layer:
        return [True] * count
    if arch.startswith("nemotron_h"):
        # A layer is attention, state or feed-forward only; the last has neither.
        forward = header.per_layer("feed_forward_length", count)
        return [not kv and not ff for kv, ff in zip(heads_kv, forward, strict=True)]
    if family.hybrid:
        return [not kv for kv in heads_kv]
    return [False] * count


def _attends(
    arch: str, index: int, heads_kv: int, by_name: Mapping[str, Weight], *, recurrent: bool
) -> bool:
    if recurrent and not architecture(arch).both_in_each_layer:
        return False
    if arch.startswith("nemotron_h"):
        return heads_kv > 0 and f"blk.{index}.attn_q.weight" in by_name
    return heads_kv > 0


def _cache_owners(header: Header, sliding: tuple[bool, ...]) -> list[int]:
    """The layer whose KV cache each layer reads (llama-model.cpp `create_memory`, `reuse`).

    The last layers of Gemma 3n and 4 read that of the last full or sliding layer before them.
    """
    count, arch = len(sliding), header.facts.architecture
    own = count
    if arch == "gemma3n":
        own = min(count, _GEMMA3N_OWN_CACHES)
    elif arch == "gemma4":
        own = max(0, count - header.integer("attention.shared_kv_layers"))
    if own < min(count, _CACHES_TO_SHARE):
        raise FactsError("the layers have no KV cache of their own to share")
    shared = [own - (2 if slides else 1) for slides in sliding[own:]]
    return [*range(own), *shared]
