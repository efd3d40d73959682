"""Pipeline stages: which layers, and which ends of the model, stand on a GPU."""

from __future__ import annotations

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.model.shape import Shape


def stage_sizes(layers: int, stages: int) -> tuple[int, ...]:
    """Layers of each stage: what does not divide goes before the last one, from there forwards.

    distributed/utils.py `get_pp_indices`, 0.8.5 to 0.33, without VLLM_PP_LAYER_PARTITION.
    """
    each, rest = divmod(layers, stages)
    return tuple(each + (stages - 1 - rest <= stage < stages - 1) for stage in range(stages))


def stage_layers(shape: Shape, options: Options) -> range:
    """The layers of the stage that is looked at."""
    sizes = stage_sizes(shape.layers, options.pipeline_parallel)
    first = sum(sizes[: options.stage])
    return range(first, first + sizes[options.stage])


def has_embedding(shape: Shape, options: Options) -> bool:
    """Whether the stage holds the input embedding; a tied one is also the output of the last."""
    return options.is_first_stage or (shape.tied and options.is_last_stage)
