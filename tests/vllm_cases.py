"""Builders of requests, GPU kinds and endpoints for the tests of the vLLM engine."""

from __future__ import annotations

import json

from compiler.engines.vllm.engine import ENGINE
from compiler.ir.demand import Demand, Endpoint, Refusal, Request, Site
from compiler.ir.facts import HeaderValue, ModelFacts, Task
from compiler.ir.inventory import GpuKind
from compiler.ir.spec import ArgValue
from compiler.ir.units import MIB
from tests.truth.vllm import TRUTH


def gpu(
    name: str, memory_mib: int, total_mib: int, compute: tuple[int, int], *, mig: bool = False
) -> GpuKind:
    return GpuKind(
        name=name,
        memory_bytes=memory_mib * MIB,
        cuda_total_bytes=total_mib * MIB,
        compute=compute,
        mig=mig,
    )


KINDS = {
    "rtx-a2000": gpu("rtx-a2000", 6138, 5918, (8, 6)),
    "rtx-2080-ti": gpu("rtx-2080-ti", 11264, 11011, (7, 5)),
    "rtx-3090": gpu("rtx-3090", 24576, 24114, (8, 6)),
    "rtx-4090": gpu("rtx-4090", 24564, 24080, (8, 9)),
    "rtx-5090": gpu("rtx-5090", 32607, 32112, (12, 0)),
    "l40s": gpu("l40s", 46068, 45486, (8, 9)),
    "a100-sxm-80gb": gpu("a100-sxm-80gb", 81920, 81152, (8, 0)),
    "h100-sxm": gpu("h100-sxm", 81559, 81090, (9, 0)),
    "h200-sxm": gpu("h200-sxm", 143771, 143165, (9, 0)),
    "p40": gpu("p40", 24576, 24438, (6, 1)),
    "v100": gpu("v100", 32768, 32502, (7, 0)),
    "mig-3g.40gb": gpu("mig-3g.40gb", 40192, 40064, (9, 0), mig=True),
}
VERSIONS = [
    *("0.8.5", "0.9.2", "0.10.1", "0.10.2", "0.11.2", "0.13.0", "0.15.1"),
    *("0.18.1", "0.21.0", "0.25.1", "0.28.0", "0.32.0", "0.33.0"),
]


def qwen3(
    hidden: int, inner: int, layers: int, heads: int, vocabulary: int = 151936
) -> dict[str, HeaderValue]:
    """config.json of a dense Qwen3 with eight KV heads."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": vocabulary,
        "max_position_embeddings": 40960,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }


# Qwen/Qwen3-Reranker-4B, the original checkpoint, as published.
RERANKER_4B = qwen3(2560, 9728, 36, 32, 151669)
# BAAI/bge-m3 and bge-reranker-v2-m3 share the shape of XLM-RoBERTa large.
XLM_ROBERTA: dict[str, HeaderValue] = {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "model_type": "xlm-roberta",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "vocab_size": 250002,
    "max_position_embeddings": 8194,
    "type_vocab_size": 1,
    "torch_dtype": "float32",
}
GEMMA_3: dict[str, HeaderValue] = {
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "vocab_size": 262144,
    "max_position_embeddings": 32768,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "torch_dtype": "bfloat16",
}


def config(name: str) -> dict[str, HeaderValue]:
    """The config.json of a model in the truth data."""
    path = TRUTH / "vllm_configs" / f"{name}.json"
    loaded: dict[str, HeaderValue] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def facts(header: dict[str, HeaderValue], task: Task = "generate") -> ModelFacts:
    architectures = header["architectures"]
    assert isinstance(architectures, list)
    return ModelFacts(
        format="config",
        architecture=str(architectures[0]),
        task=task,
        parameters=0,
        layers=0,
        vocabulary=0,
        position_limit=0,
        quantization="bf16",
        header=header,
    )


def request(  # noqa: PLR0913, one keyword a field that a test may vary.
    model: str | dict[str, HeaderValue],
    *,
    context: int = 4096,
    concurrency: int = 16,
    version: str = "0.33.0",
    task: Task = "generate",
    kv_tokens: int | None = None,
    args: dict[str, ArgValue] | None = None,
) -> Request:
    header = config(model) if isinstance(model, str) else model
    return Request(
        engine="vllm",
        version=version,
        facts=facts(header, task),
        task=task,
        context=context,
        concurrency=concurrency,
        kv_tokens=kv_tokens,
        args=args or {},
    )


def site(*names: str, linked: bool = False) -> Site:
    kinds = tuple(KINDS[name] for name in names)
    budgets = tuple(kind.memory_bytes * 95 // 100 for kind in kinds)
    return Site(kinds=kinds, budgets_bytes=budgets, linked=linked)


def demand(wanted: Request, *names: str, linked: bool = False) -> Demand:
    """The one demand of a request on these GPUs; fails when vLLM would refuse them."""
    found = ENGINE.demands(wanted, site(*names, linked=linked))
    assert not isinstance(found, Refusal), found
    assert len(found) == 1
    return found[0]


def refusal(wanted: Request, *names: str) -> Refusal:
    found = ENGINE.demands(wanted, site(*names))
    assert isinstance(found, Refusal)
    return found


def endpoint(wanted: Demand, *shares_bytes: int, revision: str | None = None) -> Endpoint:
    """An endpoint whose shares are the high side of the demand unless given."""
    return Endpoint(
        bin="/opt/vllm/bin/vllm",
        model_path="org/model",
        revision=revision,
        served_name="chat",
        listen="0.0.0.0",  # noqa: S104, nothing is opened here.
        port=8000,
        shares_bytes=shares_bytes or tuple(device.high_bytes for device in wanted.devices),
    )


def flag(argv: tuple[str, ...], name: str) -> str | None:
    """The value behind a flag of a command line."""
    return argv[argv.index(name) + 1] if name in argv else None
