"""All parts of one launch on one GPU, in bytes: the memory law before it is put into a demand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compiler.engines.vllm.launch.options import Options
from compiler.engines.vllm.memory.activation import Activation, activation_of
from compiler.engines.vllm.memory.drafts import draft_weights
from compiler.engines.vllm.memory.gguf import gguf_weights
from compiler.engines.vllm.memory.graphs import Graphs, graphs_of
from compiler.engines.vllm.memory.headers import weights_from_tensors
from compiler.engines.vllm.memory.kv import (
    Layout,
    blocks_for,
    layout_of,
    logged_tokens,
    needed_blocks,
    reserved_blocks,
)
from compiler.engines.vllm.memory.lora import lora_bytes
from compiler.engines.vllm.memory.mxfp4 import may_fall_back
from compiler.engines.vllm.memory.runtime import Runtime, runtime_of
from compiler.engines.vllm.memory.weights import table_sizes, weights_from_shape
from compiler.engines.vllm.model.shape import Shape
from compiler.ir.facts import ModelFacts
from compiler.ir.inventory import GpuKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one launch takes on one GPU."""

    options: Options
    layout: Layout
    weights_bytes: int
    possible_weights_bytes: int
    """More that the weights take where kernels are missing that vLLM prefers."""
    draft_bytes: int
    """Part of the weights that is a draft model's."""
    offloaded_bytes: int
    """Weights that stay in RAM and are not among those above."""
    activation: Activation
    graphs: Graphs
    runtime: Runtime

    @property
    def transient_bytes(self) -> int:
        """Peak of the profiling run above what stays, for a cold or a warm compile cache."""
        if self.options.cold_compile:
            return self.activation.cold_peak_bytes
        return self.activation.transient_bytes

    @property
    def persistent_bytes(self) -> int:
        """Tables and workspaces that stay."""
        cold = self.activation.cold_stays_bytes if self.options.cold_compile else 0
        return self.activation.persistent_bytes + cold

    @property
    def charged_bytes(self) -> int:
        """What vLLM takes off its budget before the KV cache: everything but KV that it sees."""
        return (
            self.weights_bytes
            + self.transient_bytes
            + self.persistent_bytes
            + self.runtime.charged_bytes
            + self.graphs.charged_bytes
        )

    @property
    def start_bytes(self) -> int:
        """The least budget in which vLLM starts: one full-length request beside what is charged."""
        return self.charged_bytes + self.request_bytes

    @property
    def request_bytes(self) -> int:
        """KV of one full-length request, with the null block where the version sets one aside."""
        if not self.layout.exists:
            return 0
        blocks = needed_blocks(self.layout, self.options) + reserved_blocks(self.options)
        return blocks * self.layout.block_bytes

    def kv_bytes(self, tokens: int) -> int:
        """KV that holds this many tokens, one full-length request at least."""
        return self.blocks(tokens) * self.layout.block_bytes

    def kv_within(self, budget_bytes: int) -> int:
        """KV that vLLM makes of a budget, in whole blocks."""
        if not self.layout.exists:
            return 0
        return self.blocks_within(budget_bytes) * self.layout.block_bytes

    def blocks(self, tokens: int) -> int:
        """Blocks that hold this many tokens, one full-length request at least."""
        return blocks_for(self.layout, self.options, tokens) if self.layout.exists else 0

    def blocks_within(self, budget_bytes: int) -> int:
        """Whole blocks that vLLM makes of a budget."""
        free_bytes = max(0, budget_bytes - self.charged_bytes)
        return free_bytes // self.layout.block_bytes if self.layout.block_bytes else 0

    def tokens(self, kv_bytes: int) -> int:
        """What vLLM logs as the size of this KV cache."""
        blocks = max(0, kv_bytes) // self.layout.block_bytes if self.layout.block_bytes else 0
        return logged_tokens(self.layout, self.options, blocks)


def estimate_on(
    facts: ModelFacts | None, shape: Shape, options: Options, kind: GpuKind, *, linked: bool
) -> Estimate:
    """The estimate for one GPU of a launch; facts with tensors are weighed tensor by tensor."""
    weights_bytes = _weights(facts, shape, options, kind)
    possible_bytes = 0
    if shape.model_type == "gpt_oss" and may_fall_back(options, kind):
        without = _weights(facts, shape, replace(options, mxfp4_backend="marlin"), kind)
        possible_bytes = max(0, without - weights_bytes)
    weights_bytes += lora_bytes(shape, options)
    # models/utils.py `make_layers`, 0.8 to 0.33: only layers are offloaded, not the tables.
    movable_bytes = max(0, weights_bytes - sum(table_sizes(shape, options)))
    offloaded_bytes = min(options.cpu_offload_bytes, movable_bytes)
    draft_bytes = draft_weights(shape, options, kind)
    return Estimate(
        options=options,
        layout=layout_of(shape, options),
        weights_bytes=weights_bytes - offloaded_bytes + draft_bytes,
        offloaded_bytes=offloaded_bytes,
        possible_weights_bytes=possible_bytes,
        draft_bytes=draft_bytes,
        activation=activation_of(shape, options, kind),
        graphs=graphs_of(shape, options, kind, linked=linked or kind.link == "nvlink"),
        runtime=runtime_of(shape, options, kind, linked=linked),
    )


def _weights(facts: ModelFacts | None, shape: Shape, options: Options, kind: GpuKind) -> int:
    """From the tensors where there are any and they decide; from the shape otherwise."""
    found = None
    if facts is not None and facts.tensors:
        found = (
            gguf_weights(facts, shape, options)
            if facts.format == "gguf"
            else weights_from_tensors(facts, shape, options, kind)
        )
    return weights_from_shape(shape, options, kind) if found is None else found
