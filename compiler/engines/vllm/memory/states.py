"""The state that a recurrent layer keeps for a request."""

from __future__ import annotations

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.model.shape import Recurrent

_NUMBER_BYTES = 2
_FLOAT_BYTES = 4


def recurrent_state_bytes(recurrent: Recurrent, options: Options) -> int:
    """Convolution window and recurrent state of one request in one layer on one GPU.

    model_executor/layers/mamba/mamba_utils.py, MambaStateShapeCalculator and
    MambaStateDtypeCalculator, 0.10 to 0.33. Drafted tokens lengthen the window of all but Mamba.
    """
    ranks, window = options.tensor_parallel, recurrent.kernel - 1 + options.draft_tokens
    number = options.ssm_dtype_bytes or recurrent.state_bytes or _own_bytes(options)
    heads = recurrent.value_heads // ranks
    match recurrent.kind:
        case "gdn":
            keys = recurrent.key_heads * recurrent.key_dim
            convolution = (2 * keys + recurrent.inner) // ranks * window
            cells = heads * recurrent.key_dim * recurrent.value_dim
        case "kda":
            convolution = 3 * recurrent.inner // ranks * window
            cells = heads * recurrent.value_dim * recurrent.value_dim
            number = options.ssm_dtype_bytes or _FLOAT_BYTES
        case "lightning":
            convolution, cells = 0, heads * recurrent.key_dim * recurrent.value_dim
            number = recurrent.state_bytes
        case "mamba":
            width = recurrent.inner // ranks
            convolution, cells = width * (recurrent.kernel - 1), width * recurrent.key_dim
        case "mamba2":
            groups = _groups(recurrent, ranks) * recurrent.key_dim
            convolution = (recurrent.inner + 2 * groups) // ranks * window
            cells = heads * recurrent.value_dim * recurrent.key_dim
        case "conv":
            convolution, cells = recurrent.inner // ranks * (recurrent.kernel - 1), 0
    return convolution * _NUMBER_BYTES + cells * number


def _own_bytes(options: Options) -> int:
    return _FLOAT_BYTES if options.rules.nemotron_float_state else _NUMBER_BYTES


def _groups(recurrent: Recurrent, ranks: int) -> int:
    """Groups of B and C, copied where there are fewer of them than ranks."""
    groups = recurrent.key_heads
    return groups if groups % ranks == 0 else ranks
