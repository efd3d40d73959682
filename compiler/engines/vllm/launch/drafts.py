"""A model that drafts tokens for another one: by which method."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.engines.vllm.launch.options import Draft, DraftMethod
from compiler.engines.vllm.model.config import shape_of
from compiler.ir.facts import ModelFacts
from compiler.ir.spec import ArgValue

_METHODS: Mapping[str, DraftMethod] = {
    "draft_model": "draft_model",
    "eagle": "eagle",
    "eagle3": "eagle3",
    "medusa": "medusa",
}


def draft_of(config: Mapping[str, ArgValue], facts: ModelFacts, tensor_parallel: int) -> Draft:
    """The draft model of --speculative-config. Raises ShapeError when its config says too little.

    It is cut like the target unless `draft_tensor_parallel_size` says 1 (config/speculative.py,
    0.8.5 to 0.33).
    """
    method = method_of(config, facts)
    own = config.get("draft_tensor_parallel_size")
    ranks = own if isinstance(own, int) and own > 0 else tensor_parallel
    return Draft(
        method=method,
        facts=facts,
        shape=None if method == "medusa" else shape_of(facts.header),
        tensor_parallel=ranks,
    )


def method_of(config: Mapping[str, ArgValue], facts: ModelFacts) -> DraftMethod:
    """The method that is said or, as vLLM does, told by the model's name and type."""
    said = _METHODS.get(str(config.get("method") or ""))
    if said is not None:
        return said
    name = str(config.get("model") or "").lower()
    model_type = str(facts.header.get("speculators_model_type") or facts.header.get("model_type"))
    if "eagle-" in name or model_type == "eagle":
        return "eagle"
    if "eagle3" in name or model_type == "eagle3":
        return "eagle3"
    return "medusa" if model_type == "medusa" else "draft_model"
