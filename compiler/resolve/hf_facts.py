"""The files of a Hugging Face model to its facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler.ir.facts import ModelFacts, Task, Tensor
from compiler.resolve import hfconfig, mistral
from compiler.resolve.gguf_facts import MAX_LAYERS, FactsMissingError
from compiler.resolve.groups import group_tensors
from compiler.resolve.hfquant import count_parameters, quantization_name, quantization_section
from compiler.resolve.hftask import task_and_pooling

# Small files beside config.json that say something of the model, by their usual names.
READ_DOCUMENTS = (
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "hf_quant_config.json",
    "modules.json",
    mistral.PARAMS,
    "quant_config.json",
    "quantize_config.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)

BIN_INDEX = "pytorch_model.bin.index.json"
"""The index of a sharded set of PyTorch files, read only where there are no safetensors."""

_MAX_TOTAL_BYTES = 1 << 50
# Bytes of one weight by the name of its type, for sets without headers.
_WEIGHT_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}


def hf_facts(name: str, documents: Mapping[str, Any], tensors: Sequence[Tensor]) -> ModelFacts:
    """Facts from the parsed small files (by path) and the tensors of the safetensors headers.

    `name` is the repository's or folder's. Without tensors the facts are of format `config`.
    Raises FactsMissingError when config.json does not describe a model.
    """
    if "config.json" not in documents:
        documents = {**documents, "config.json": mistral.config_of(documents[mistral.PARAMS])}
        tensors = mistral.rename_tensors(tensors)
    config = hfconfig.with_defaults(documents["config.json"])
    section = quantization_section({**documents, "config.json": config})
    if section:
        config["quantization_config"] = section
    architecture = hfconfig.architecture(config)
    layers = hfconfig.layers(config)
    if architecture is None or layers is None:
        what = "architectures" if architecture is None else "num_hidden_layers"
        raise FactsMissingError(f"does not say `{what}`")
    if not 0 < layers <= MAX_LAYERS:
        raise FactsMissingError(f"speaks of {layers} layers")
    task, pooling = task_and_pooling(name, documents)
    text = hfconfig.text_section(config)
    dtype = text.get("dtype") or text.get("torch_dtype") or config.get("torch_dtype")
    quantization = quantization_name(section, dtype, tensors)
    return ModelFacts(
        format="safetensors" if tensors else "config",
        architecture=architecture,
        task=task,
        pooling=pooling,
        parameters=count_parameters(tensors, section) or _indexed(documents, quantization),
        layers=layers,
        vocabulary=hfconfig.vocabulary(config),
        position_limit=_position_limit(config, documents, task),
        answer_limit=_answer_limit(config, documents) if task == "generate" else 0,
        quantization=quantization,
        header=hfconfig.header_values(config),
        tensors=group_tensors(tensors),
    )


def _position_limit(config: Mapping[str, Any], documents: Mapping[str, Any], task: Task) -> int:
    """config.json's limit, lowered by sentence-transformers and by a tokenizer for fixed positions.

    vllm/config/model.py _get_and_verify_max_len (0.33).
    """
    limit = hfconfig.position_limit(config)
    if task == "generate":
        return limit
    sentence = documents.get("sentence_bert_config.json")
    if isinstance(sentence, Mapping):
        limit = _positive(sentence, "max_seq_length") or limit
    tokenizer = documents.get("tokenizer_config.json")
    if isinstance(tokenizer, Mapping) and config.get("position_embedding_type") == "absolute":
        limit = min(limit, _positive(tokenizer, "model_max_length") or limit)
    return limit


def _positive(document: Mapping[str, Any], key: str) -> int:
    """A number of tokens; 0 where there is none, as what is no length limits nothing."""
    return max(0, hfconfig.first_integer(document, (key,)) or 0)


def _indexed(documents: Mapping[str, Any], quantization: str) -> int:
    """Weights by the total size in the index of PyTorch files; 0 where nothing tells their type."""
    index = documents.get(BIN_INDEX)
    metadata = index.get("metadata") if isinstance(index, Mapping) else None
    if not isinstance(metadata, Mapping) or quantization not in _WEIGHT_BYTES:
        return 0
    # Some savers write it as a float.
    total = metadata.get("total_size")
    if not isinstance(total, int | float) or not 0 < total < _MAX_TOTAL_BYTES:
        return 0
    return int(total) // _WEIGHT_BYTES[quantization]


def _answer_limit(config: Mapping[str, Any], documents: Mapping[str, Any]) -> int:
    """What vLLM takes for a server-wide limit on the tokens of an answer.

    vllm/config/model.py get_diff_sampling_param (0.33): `max_new_tokens` of generation_config.json,
    of config.json where older models have no such file; `max_length` is not heeded.
    """
    settings = documents.get("generation_config.json", config)
    if not isinstance(settings, Mapping):
        return 0
    return _positive(settings, "max_new_tokens")
