"""What the law knows of a model's family, and what of its config.json nobody has looked at.

`studied.json` is written by tables/vllm_studied.py: the classes that measured launches or vLLM's
own classes prove, those that stand in one module with them, the keys of all their files, and how
far a plain reading of such files is off when the family is taken away from them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pkgutil import get_data

from compiler.engines.vllm.model.architectures import class_stem
from compiler.engines.vllm.model.quantization import scheme_of
from compiler.engines.vllm.model.reading import is_read, settings
from compiler.engines.vllm.model.recurrent import LAYER_KINDS, named_layers
from compiler.engines.vllm.model.sections import Header
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.demand import Part
from compiler.ir.facts import HeaderValue

# Keys that leave memory alone, whatever they say: how numbers are computed, trained or written.
_HARMLESS = re.compile(
    r"(_token|_token_ids?|_token_index|_ids?|_index|_eps|_epsilon|_std|_range|_coef|_coeff|_alpha"
    r"|_beta|_gamma|_scale|_scaling|_multiplier|_factor|_act|_act_fn|_activation|_function|_fn"
    r"|_theta|_implementation|_version|_weight|_weights|_penalty|_loss|_lr|_ratio|_probs?|_type"
    r"|_mode|_method|_bias|_norm|_init|_path|_name|_class|_format|_template|_seed|_config_file)$"
    r"|dropout|pdrop|^(rms_|layer_)?norm|^initializer|^init_|^scale_|^logit|^output_|^return_"
    r"|^use_(cache|flash|fused|return|recompute|logn|dynamic_ntk|cumulative)|^(attn|_attn)_impl"
    r"|^(do_sample|temperature|top_p|top_k|min_p|max_length|min_length|num_beams|early_stopping"
    r"|length_penalty|no_repeat_ngram_size|bad_words_ids|num_return_sequences|typical_p"
    r"|chunk_size_feed_forward|prune_heads|pruned_heads|finetuning_task|problem_type|is_decoder"
    r"|cross_attention_hidden_size|add_cross_attention|tf_legacy_loss|torchscript|tokenizer_class"
    r"|prefix|suffix|unsloth_\w+|transformers\.js_config|license|author|language|tie_encoder_decoder"
    r"|gradient_checkpointing|fp16|bf16|fp32|seq_length|max_sequence_length|model_max_length"
    r"|position_bucket\w*|sep_token_id|pad_token|num_labels|summary_\w+|reorder_\w+|embd_layer"
    r"|mlp_bias|attention_out_bias|clip_qkv|qk_layernorm|sandwich_norm|residual_\w+|embedding_\w+)$"
)
# Of these, what says how large something is after all.
_SIZES = re.compile(r"expan|compress|memory|mlp_ratio|ffn_|width|kv_\w*(factor|ratio|scale)$")
# Texts that are more than names.
_TEXTS = re.compile(r"pattern|expert_dtype")
_DTYPES = frozenset({"bfloat16", "float16", "float32", "auto", "half", "float"})
# Sections with rules of their own, or with names of things.
_SECTIONS = re.compile(
    r"vision|audio|visual|img_processor|quantization|compression|auto_map|2label|label2|rope_"
    r"|generation|task_specific|projector|tokenizer|processor|speech|talker|token2wav|code2wav"
)
_SHOWN = 4
# Four bits of sixteen, in permille below.
_LEAST_PACKED = 750


@dataclass(frozen=True, slots=True, kw_only=True)
class Studied:
    """The file, typed."""

    bands: dict[str, tuple[int, int]]
    """Of each part, how far below and above a plain reading may be off, in permille."""
    classes: frozenset[str]
    keys: frozenset[str]
    families: dict[str, frozenset[str]]
    """Keys that change the memory of few families, and the classes in whose files they stand."""
    numbers: frozenset[str]
    """Keys that are whole numbers in every file that was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Which parts of a breakdown rest on what nobody has looked at, and why."""

    parts: frozenset[str] = frozenset()
    sentences: tuple[str, ...] = ()
    packed: bool = False
    """The weights are quantized in a way that nobody knows, and are costed in 16 bits."""
    sees: bool = False
    """Whether a tower is profiled, which a plain reading knows little of."""

    def widen(self, name: str, part: Part) -> Part:
        """The part with the band of a family that is not known, where it is in doubt."""
        if name not in self.parts or not part.bytes:
            return part
        pictures = name == "compute" and self.sees
        below, above = studied().bands["compute_of_pictures" if pictures else name]
        if name == "weights" and self.packed:
            below = max(below, _LEAST_PACKED)
        low = part.bytes - part.bytes * below // 1000
        high = part.bytes + -(-part.bytes * above // 1000)
        return Part(
            bytes=part.bytes,
            low_bytes=max(0, min(part.low_bytes, low)),
            high_bytes=max(part.high_bytes, high),
            why=part.why,
        )


NO_DOUBTS = Doubts()


@cache
def studied() -> Studied:
    """The table, read once and only when a model is weighed."""
    # Package data comes through the import system: it is part of the program, not of the disk.
    raw = json.loads(get_data("compiler.engines.vllm.model", "studied.json") or b"{}")
    return Studied(
        bands={
            name: (band["low_permille"], band["high_permille"])
            for name, band in raw["bands"].items()
        },
        classes=frozenset(class_stem(name) for name in raw["classes"]),
        keys=frozenset(raw["keys"]),
        families={key: frozenset(stems) for key, stems in raw["families"].items()},
        numbers=frozenset(raw["numbers"]),
    )


def doubts_of(header: Header, shape: Shape, *, weighed: bool) -> Doubts:
    """What of a model nobody has looked at; `weighed` says that its tensors were read."""
    table = studied()
    parts: set[str] = set()
    sentences: list[str] = []
    if shape.architecture and class_stem(shape.architecture) not in table.classes:
        parts |= {"weights", "kv", "compute", "graphs"}
        sentences.append(
            f"Nobody has compared `{shape.architecture}` with vLLM: it is costed as its "
            "config.json reads, within what other families were off by when read so."
        )
    if unread := sorted({*unread_keys(header), *_foreign_keys(header, shape)}):
        parts |= {"weights", "kv", "compute"}
        sentences.append(f"The law does not read {_listed(unread)} of config.json.")
    if kinds := sorted(set(named_layers(header)) - LAYER_KINDS):
        parts |= {"weights", "kv", "compute"}
        sentences.append(f"Layers called {_listed(kinds)} are costed as full attention.")
    listed = named_layers(header)
    if 0 < len(listed) < shape.layers:
        parts |= {"weights", "kv", "compute"}
        sentences.append(
            f"config.json names {len(listed)} of {shape.layers} layers; the others are costed as "
            "full attention."
        )
    if odd := sorted(set(_lists_for_numbers(header))):
        parts |= {"weights", "kv", "compute"}
        sentences.append(f"The law reads no lists and sections in {_listed(odd)} of config.json.")
    if shape.dtype not in _DTYPES:
        parts.add("weights")
        sentences.append(f"Weights in `{shape.dtype[:40]}` are costed in 16 bits.")
    packed = "unknown" in scheme_of(shape.quantization, None).kinds()
    if packed:
        parts.add("weights")
    if weighed:
        # Tensors of a file are what they are, whatever the class does with them.
        parts.discard("weights")
    return Doubts(parts=frozenset(parts), sentences=tuple(sentences), sees=shape.vision is not None)


def _foreign_keys(header: Header, shape: Shape) -> Iterator[str]:
    """Keys that change the memory of other families, and that the law does not read in this one."""
    families, stem = studied().families, class_stem(shape.architecture)
    for path, value in settings(header):
        classes = families.get(path[-1])
        if classes is None or stem in classes or not _says_something(path[-1], value):
            continue
        if not any(_SECTIONS.search(key) for key in path) and not is_read(header, shape, path):
            yield path[-1]


def _lists_for_numbers(header: Header) -> Iterator[str]:
    """Keys with a list or a section where all files that were looked at have a whole number."""
    for path, value in settings(header):
        if path[-1] in studied().numbers and isinstance(value, list | dict) and value:
            yield path[-1]


def unread_keys(header: Header) -> Iterator[str]:
    """Keys that say something and that nobody has looked at, in the file and its sections."""
    table = studied()
    for key, value in header.items():
        if not _says_something(key, value) or _SECTIONS.search(key):
            continue
        if isinstance(value, dict):
            yield from unread_keys(value)
        if key not in table.keys and (_SIZES.search(key) or not _HARMLESS.search(key)):
            yield key


def _says_something(key: str, value: HeaderValue) -> bool:
    """Whether a value is more than absent, off or empty; most texts only name something."""
    return bool(value) and (not isinstance(value, str) or _TEXTS.search(key) is not None)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"`{name[:40]}`" for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more keys" if more > 0 else shown
