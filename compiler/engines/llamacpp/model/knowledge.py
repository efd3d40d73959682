"""What the law knows of a model: which parts are exact, which are assumed, and how far they may be.

Nothing of a family that nobody has looked at is exact. A header key that changes memory and that
the law does not read for its family is noticed by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from compiler.engines.llamacpp.model.architectures import ARCHITECTURES, architecture, with_trait
from compiler.engines.llamacpp.model.header import Header

_STATES = with_trait("hybrid") | with_trait("recurrent")
_INTERVALS = with_trait("full_interval")
# The beginnings of header keys that change what a model keeps or computes, and the families in
# which the law reads them (llama-arch.cpp LLM_KV_NAMES).
_MEMORY_KEYS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "attention.compress_ratios": with_trait("compressed") | {"qwen4exp"},
        "attention.indexer.": with_trait("indexed") | with_trait("compressed"),
        "attention.kv_lora_rank_swa": frozenset(),
        "attention.key_length_mla_swa": frozenset(),
        "attention.value_length_mla_swa": frozenset(),
        "attention.shared_kv_layers": frozenset({"gemma3n", "gemma4"}),
        "attention.recurrent_layers": _INTERVALS,
        "full_attention_interval": _INTERVALS,
        "ssm.": _STATES,
        "kda.": _STATES,
        "wkv.": _STATES,
        "shortconv.": _STATES,
        "token_shift_count": _STATES,
        "ple.": frozenset({"qwen4exp"}),
        "hrm.": frozenset(),
        "num_loops": frozenset(),
        "adapters.": frozenset(),
        "decoder_block_count": frozenset({"t5encoder"}),
    }
)
# Words in the names of keys that this table does not know which speak of memory.
_SUSPECT = (
    *("compress", "indexer", "window", "sliding", "state", "recurrent", "cache", "kv_", "conv"),
    *("interval", "loop", "shared", "pattern", "ratios", "memory", "stream"),
)
# Keys with such words that were looked at: no family of the studied source keeps more for them.
_HARMLESS = frozenset(
    {
        *("attention.kv_lora_rank", "attention.head_count_kv", "attention.sliding_window"),
        *("attention.sliding_window_pattern", "attention.rope_pattern"),
        *("expert_shared_count", "expert_shared_feed_forward_length"),
        *("hyper_connection.count", "hyper_connection.low_rank"),
        *("conv_kernel_size", "conv_group_size", "convnext.block_count"),
        *("convnext.embedding_length", "skip_loop_final_norm"),
        "attention.compress_rope_freq_base",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What of a model's memory is known, before anything is computed."""

    weights: bool
    cache: bool
    graph: bool
    unread: tuple[str, ...]
    """Header keys that may change memory and that are not read."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was assumed, for people; the architecture is said before."""
        return tuple(self._say())

    def _say(self) -> Iterator[str]:
        if self.unread:
            names = ", ".join(f"`{name}`" for name in self.unread[:_SHOWN])
            more = len(self.unread) - _SHOWN
            names += f" and {more} more" if more > 0 else ""
            yield (
                f"The header of the model has {names}, which the memory law does not read for this "
                "architecture; its KV cache and compute buffer have wide bands."
            )


_SHOWN = 4


def knowledge_of(arch: str, header: Header) -> Knowledge:
    """What is known of a model of this architecture with this header."""
    family = architecture(arch)
    unread = tuple(_unread(arch, header))
    return Knowledge(
        weights=family.looked_at or arch in ARCHITECTURES,
        cache=family.looked_at and not unread,
        graph=family.exact and not unread and not _clamps(arch, header),
        unread=unread,
    )


def _clamps(arch: str, header: Header) -> bool:
    """Whether layers of Step have clamps in their experts, which the law's graph has not."""
    values = [header.facts.value(f"swiglu_clamp_{kind}") for kind in ("exp", "shexp")]
    listed = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return arch == "step35" and any(listed)


def _unread(arch: str, header: Header) -> Iterator[str]:
    """Keys of the header that may change memory and that nobody reads."""
    for key in sorted(header.facts.header):
        if key.startswith("general.") or not header.has(key):
            continue
        known = next((read for name, read in _MEMORY_KEYS.items() if key.startswith(name)), None)
        if known is not None:
            if arch not in known:
                yield key
        elif not architecture(arch).exact and _speaks_of_memory(key):
            # Of a family whose graph is rebuilt, llama.cpp reads no key that the law does not know.
            yield key


def _speaks_of_memory(key: str) -> bool:
    return key not in _HARMLESS and any(word in key for word in _SUSPECT)
