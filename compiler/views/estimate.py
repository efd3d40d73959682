"""One model on one kind of GPU, without a fleet: what it takes, and the command that takes it."""

from __future__ import annotations

from compiler.ir.counting import counted
from compiler.ir.demand import Demand, Launch
from compiler.ir.inventory import GpuKind
from compiler.ir.units import budget_mib, show_mib
from compiler.views.breakdown import breakdown_lines, breakdown_sizes
from compiler.views.terminal import (
    columns,
    command_lines,
    indented,
    json_text,
    paint,
    prose,
    safe_text,
)


def estimate_text(demand: Demand, launch: Launch, *, color: bool, width: int | None = None) -> str:
    """The estimate for people at a terminal."""
    inner = None if width is None else width - 2
    blocks = [
        _summary(demand, color=color),
        *(
            [
                paint(f"GPU {index}  {safe_text(kind.name)}", "bold", color=color),
                *indented(breakdown_lines(breakdown, width=inner)),
                *indented(_missing(kind, taken)),
            ]
            for index, (kind, breakdown, taken) in enumerate(
                zip(demand.site.kinds, demand.devices, demand.taken_bytes, strict=True)
            )
        ),
        [paint("RAM", "bold", color=color), *indented(breakdown_lines(demand.host, width=inner))],
        _both(demand, color=color),
        [
            paint("Command", "bold", color=color),
            *indented(command_lines(launch.argv, launch.env)),
        ],
        _assumed(demand, color=color, width=inner),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def estimate_json(demand: Demand, launch: Launch) -> str:
    """The estimate for programs: each GPU by the name of its kind, and the RAM beside them."""
    devices = [
        {
            "gpu": kind.name,
            **breakdown_sizes(device),
            "budget_bytes": kind.cuda_total_bytes,
            "missing_bytes": _missing_bytes(kind, taken),
        }
        for kind, device, taken in zip(
            demand.site.kinds, demand.devices, demand.taken_bytes, strict=True
        )
    ]
    return json_text(
        {
            "fits": not any(device["missing_bytes"] for device in devices),
            "devices": devices,
            "host": breakdown_sizes(demand.host),
            "unified": demand.site.unified,
            "kv_tokens": demand.kv_tokens,
            "command": list(launch.argv),
            "environment": dict(sorted(launch.env.items())),
            "assumed": list(demand.assumed),
        }
    )


def _summary(demand: Demand, *, color: bool) -> list[str]:
    request, facts = demand.request, demand.request.facts
    model = f"{facts.architecture} with {counted(facts.layers, 'layer')}, {facts.quantization}"
    where = "" if demand.site.kinds else ", on the CPU"
    engine = f"{request.engine} {request.version}{where}"
    title = safe_text(f"{model}, to {request.task} with {engine}")
    requests = f"{request.context:,} tokens each, {request.concurrency:,} at once"
    rows = [
        ("requests", requests),
        ("KV cache", f"{demand.kv_tokens:,} tokens" if _has_cache(demand) else "none"),
        ("split", _split(demand)),
    ]
    return [paint(title, "bold", color=color), *indented(columns(rows))]


def _both(demand: Demand, *, color: bool) -> list[str]:
    """Of one memory, what GPU and RAM take of it together."""
    if not demand.site.unified:
        return []
    whole = budget_mib(demand.site.kinds[0].cuda_total_bytes)
    both = f"{show_mib(demand.taken_bytes[0])} of {whole:,} MiB at most"
    return [paint("One memory for GPU and RAM", "bold", color=color), *indented([both])]


def _missing(kind: GpuKind, taken: int) -> list[str]:
    """A line for a GPU that even empty is too small."""
    missing = _missing_bytes(kind, taken)
    if not missing:
        return []
    whole = budget_mib(kind.cuda_total_bytes)
    return [f"does not fit: {show_mib(missing)} more than the {whole:,} MiB that CUDA can allocate"]


def _missing_bytes(kind: GpuKind, taken: int) -> int:
    return max(0, taken - kind.cuda_total_bytes)


def _has_cache(demand: Demand) -> bool:
    """Whether any memory is a KV cache: an encoder has requests in flight and keeps nothing."""
    return bool(demand.kv_tokens) and any(each.kv.bytes for each in (*demand.devices, demand.host))


def _split(demand: Demand) -> str:
    if not demand.site.kinds:
        return "CPU only"
    if demand.split.gpu_layers is None:
        cut = demand.split
        text = f"tensor parallel over {counted(cut.tensor_parallel, 'GPU')}"
        if cut.pipeline_parallel > 1:
            text += f" in {counted(cut.pipeline_parallel, 'pipeline stage')}"
        if cut.data_parallel > 1:
            text += f" of {counted(cut.data_parallel, 'data parallel engine')}"
        return text
    layers = demand.request.facts.layers
    text = f"{layers - demand.host_layers} of {counted(layers, 'layer')} on GPUs"
    return text + (f", experts of {demand.host_experts} in RAM" if demand.host_experts else "")


def _assumed(demand: Demand, *, color: bool, width: int | None) -> list[str]:
    lines = [
        line
        for sentence in demand.assumed
        for line in prose(safe_text(f"- {sentence}"), width=width)
    ]
    return [paint("Assumed", "bold", color=color), *indented(lines)] if lines else []
