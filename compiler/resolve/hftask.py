"""What a Hugging Face model is for, and how it pools: generate, embed, rerank or classify."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from compiler.ir.facts import Task
from compiler.resolve.hfconfig import architecture

_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_CLASSIFIER = re.compile(r"For(Sequence|Token)Classification$|For(Process)?RewardModel$|ForReward$")
_RERANKER = re.compile(r"For(Sequence)?Ranking$|Reranker", re.IGNORECASE)
_GENERATOR = re.compile(r"For(CausalLM|ConditionalGeneration|Seq2SeqLM)$|LMHeadModel$|ChatModel$")
# What transformers takes a repository's own code for (`auto_map`), when the class does not say it.
_GENERATING_AUTOS = re.compile(
    r"AutoModelFor(CausalLM|Seq2SeqLM|ImageTextToText|Vision2Seq|MultimodalLM)"
)
# In a name, both are words of their own or start one: `Qwen3-Reranker`, `KaLM-embedding`.
_RERANK_NAME = re.compile(r"(?<![a-z])rerank", re.IGNORECASE)
_EMBED_NAME = re.compile(r"(?<![a-z])embed", re.IGNORECASE)
# The question that Qwen3-Reranker's chat template puts to a causal model.
_RERANK_TEMPLATE = 'the answer can only be "yes" or "no"'


def task_and_pooling(name: str, documents: Mapping[str, Any]) -> tuple[Task, str | None]:
    """The task that the files say the model is for, with its pooling where a file tells it.

    Strongest evidence first: sentence-transformers' own files, the architecture, the chat template,
    and last the name, which is all that sets some rerankers apart from the model they grew from.
    """
    modules = _module_types(documents.get("modules.json"))
    pooling = _pooling(documents)
    if _is_cross_encoder(documents, modules):
        return "rerank", pooling
    if any(kind.endswith(("Pooling", "LastTokenPooling")) for kind in modules):
        return "embed", pooling
    config = documents.get("config.json", {})
    task = _by_architecture(architecture(config) or "", config)
    if task != "generate":
        return task, pooling
    if _RERANK_TEMPLATE in _chat_template(documents) or _RERANK_NAME.search(name):
        return "rerank", pooling
    if pooling or _EMBED_NAME.search(name):
        return "embed", pooling
    return "generate", None


def _is_cross_encoder(documents: Mapping[str, Any], modules: list[str]) -> bool:
    settings = documents.get("config_sentence_transformers.json")
    kind = settings.get("model_type") if isinstance(settings, Mapping) else None
    return kind == "CrossEncoder" or any(".cross_encoder." in module for module in modules)


def _by_architecture(name: str, config: Mapping[str, Any]) -> Task:
    if _RERANKER.search(name):
        return "rerank"
    if _CLASSIFIER.search(name):
        one_score = _n_labels(config) == 1 and "Sequence" in name
        return "rerank" if one_score else "classify"
    if _GENERATOR.search(name) or not name or _generates_by_auto_map(config):
        return "generate"
    return "embed"


def _generates_by_auto_map(config: Mapping[str, Any]) -> bool:
    """Classes such as `InternVLChatModel`, `MiniCPMV` and `ChatGLMModel` generate."""
    autos = config.get("auto_map")
    return isinstance(autos, Mapping) and any(_GENERATING_AUTOS.match(str(auto)) for auto in autos)


def _n_labels(config: Mapping[str, Any]) -> int:
    """Transformers takes two labels for granted."""
    labels = config.get("id2label")
    if isinstance(labels, Mapping):
        return len(labels)
    found = config.get("num_labels")
    return found if isinstance(found, int) else 2


def _module_types(modules: object) -> list[str]:
    if not isinstance(modules, list):
        return []
    return [str(module.get("type", "")) for module in modules if isinstance(module, Mapping)]


def _pooling(documents: Mapping[str, Any]) -> str | None:
    """The pooling module's mode; its folder is named in modules.json, `1_Pooling` by habit."""
    for path, document in sorted(documents.items()):
        if not path.endswith("Pooling/config.json") or not isinstance(document, Mapping):
            continue
        mode = document.get("pooling_mode")
        if isinstance(mode, str):
            return {"lasttoken": "last"}.get(mode, mode)
        found = [kind for flag, kind in _POOLING_FLAGS.items() if document.get(flag)]
        return found[0] if len(found) == 1 else None
    return None


def _chat_template(documents: Mapping[str, Any]) -> str:
    beside = documents.get("chat_template.jinja")
    inside = documents.get("tokenizer_config.json")
    template = inside.get("chat_template") if isinstance(inside, Mapping) else None
    return f"{beside or ''}{template or ''}"
