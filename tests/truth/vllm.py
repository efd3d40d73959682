"""Measured launches of vLLM, read from tests/truth and set beside the law."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from compiler.engines.vllm.launch.decide import merged
from compiler.engines.vllm.launch.options import Options, batch_defaults
from compiler.engines.vllm.memory.law import Estimate, estimate_on
from compiler.engines.vllm.model.config import shape_of
from compiler.engines.vllm.model.shape import Shape
from compiler.engines.vllm.versions import Version, parse_version, rules_of
from compiler.ir.inventory import GpuKind
from compiler.ir.units import GIB

TRUTH = Path(__file__).parent
# Versions before it run the V0 engine, which the law does not cover.
FIRST_V1: Version = (0, 8, 4)
# Stands in for GPUs that a row does not name: only weights and KV layout are compared there.
_UNKNOWN_TOTAL = 79.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured launch; figures of `measured` are GiB as printed, tokens and MiB as named."""

    name: str
    source: str
    late: bool
    """Whether it was measured in late 2026, after the law was first fitted."""
    model: str
    config: str
    version: Version
    gpu: Mapping[str, Any]
    launch: Mapping[str, Any]
    note: str = ""
    excluded: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, float]

    @property
    def kind(self) -> GpuKind:
        """The GPU of the row."""
        total_bytes = int(self.gpu.get("cuda_total", _UNKNOWN_TOTAL) * GIB)
        major, _, minor = str(self.gpu.get("compute", "9.0")).partition(".")
        return GpuKind(
            name=str(self.gpu["name"]),
            memory_bytes=total_bytes,
            cuda_total_bytes=total_bytes,
            compute=(int(major), int(minor)),
        )

    def serves(self, comparison: str) -> bool:
        """Whether the row can be compared in this respect."""
        return comparison not in self.excluded and "all" not in self.excluded

    def budget_bytes(self) -> int | None:
        """What vLLM was told to take, when both the GPU and the utilization are known."""
        if "cuda_total" not in self.gpu or "utilization" not in self.launch:
            return None
        return round(float(self.gpu["cuda_total"]) * float(self.launch["utilization"]) * GIB)

    def kv_bytes(self) -> int | None:
        """The logged KV size, from the byte figure where the log has one."""
        if "kv_available_bytes" in self.measured:
            return int(self.measured["kv_available_bytes"])
        if "kv_available" in self.measured:
            return round(self.measured["kv_available"] * GIB)
        return None


@cache
def read_rows() -> tuple[Row, ...]:
    """All rows in the order of the files."""
    return tuple(
        _row(entry, late=late)
        for name, late in (("vllm.yaml", False), ("vllm_late_2026.yaml", True))
        for entry in YAML(typ="safe").load(TRUTH / name)["rows"]
    )


def header_for(row: Row) -> dict[str, Any]:
    """The row's config.json with what the launch laid over it."""
    header = json.loads((TRUTH / "vllm_configs" / f"{row.config}.json").read_text())
    return merged(header, row.launch.get("hf_overrides", {}))


def shape_for(row: Row) -> Shape:
    """The shape of the row's model."""
    return shape_of(header_for(row))


def options_for(row: Row, shape: Shape) -> Options:
    """The launch options of the row, with vLLM's own defaults for what it does not say."""
    launch, rules = row.launch, rules_of(row.version)
    context = launch.get("context", shape.positions)
    tokens, sequences = batch_defaults(row.kind, rules, offline=launch.get("offline", False))
    sequences = launch.get("sequences", sequences)
    tokens = launch.get("batched_tokens", max(1, min(tokens, sequences * context)))
    return Options(
        version=row.version,
        tensor_parallel=launch["tensor_parallel"],
        expert_parallel=launch.get("expert_parallel", False),
        context=context,
        sequences=min(sequences, tokens),
        batched_tokens=tokens,
        pipeline_parallel=launch.get("pipeline_parallel", 1),
        kv_dtype=launch.get("kv_dtype", "auto"),
        quantization=launch.get("quantization"),
        mxfp4_backend=launch.get("mxfp4_backend"),
        prefix_caching=launch.get("prefix_caching"),
        block_size=launch.get("block_size"),
        images=launch.get("images", 999),
        draft_method="mtp" if launch.get("mtp") else "",
        draft_tokens=launch.get("mtp", 0),
        draft_layers=shape.draft_layers if launch.get("mtp") else 0,
        pooling=launch.get("pooling", False) or shape.encoder,
        compiles=not launch.get("eager", False),
        cudagraph="none" if launch.get("eager") else "full_and_piecewise",
        profile_images=not launch.get("skip_mm_profiling", False),
        flashinfer_sampler=launch.get("flashinfer_sampler", row.kind.compute >= (7, 5)),
        runner_v2=launch.get("runner_v2"),
        cold_compile=launch.get("cold_compile", False),
    )


def estimate_for(row: Row) -> Estimate:
    """The law's estimate of the row's launch."""
    shape = shape_for(row)
    options = options_for(row, shape)
    return estimate_on(None, shape, options, row.kind, linked=bool(row.gpu.get("nvlink")))


def warm(estimate: Estimate) -> Estimate:
    """The same launch with a filled compile cache."""
    return replace(estimate, options=replace(estimate.options, cold_compile=False))


def _row(entry: Mapping[str, Any], *, late: bool) -> Row:
    version = parse_version(entry["version"])
    if version is None:
        raise ValueError(f"{entry['id']}: `{entry['version']}` is not a version")
    return Row(
        name=entry["id"],
        source=entry["source"],
        late=late,
        model=entry["model"],
        config=entry["config"],
        version=version,
        gpu=entry["gpu"],
        launch=entry["launch"],
        note=entry.get("note", ""),
        excluded=entry.get("excluded", {}),
        measured=entry["measured"],
    )
