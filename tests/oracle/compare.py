"""Puts what the law says beside what libllama allocates, device by device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from compiler.engines.llamacpp.demand.demands import options_of
from compiler.engines.llamacpp.engine import ENGINE
from compiler.engines.llamacpp.flags.builds import Build
from compiler.engines.llamacpp.memory.law import usage
from compiler.ir.catalog import builtin_kinds
from compiler.ir.demand import Breakdown, Demand, Refusal, Request, Site
from compiler.ir.units import MIB
from compiler.resolve.gguf import read_gguf
from compiler.resolve.gguf_facts import gguf_facts
from compiler.resolve.ranges import LocalFile
from tests.oracle.cases import shape_of
from tests.oracle.model_files import MODELS
from tests.oracle.probe import Answer, Case, Sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One device of one case."""

    case: Case
    arch: str
    device: str
    """`GPU0`, ..., `host`."""
    ours: Sizes
    theirs: Sizes
    low: int
    """The band of the compute buffer."""
    high: int

    @property
    def error(self) -> int:
        """The largest difference of the three sizes in bytes."""
        pairs = (
            (self.ours.weights, self.theirs.weights),
            (self.ours.cache, self.theirs.cache),
            (self.ours.compute, self.theirs.compute),
        )
        return max(abs(ours - theirs) for ours, theirs in pairs)

    @property
    def kind(self) -> str:
        """`exact`, `within 1 MiB` or `off`."""
        return "exact" if not self.error else "within 1 MiB" if self.error <= MIB else "off"

    @property
    def in_band(self) -> bool:
        """Whether the compute buffer is in the law's band."""
        return self.low <= self.theirs.compute <= self.high


def rows(case: Case, answer: Answer, folder: Path, build: Build) -> Iterator[Row]:
    """The law's own answer to a case, beside libllama's."""
    if case.flash == "auto" and not answer.flash_attention:
        # libllama finds out after it has made a cache for flash attention, and turns V round in
        # every layer; modelc asks for `off` itself.
        return
    shape = shape_of(folder / case.file_name)
    # What `auto` leads to is asked in its own place; here the bytes are.
    options = replace(case.options, flash_attention=attention(case, answer))
    found = usage(shape, options, build)
    for device, theirs in enumerate(answer.devices):
        yield Row(
            case=case,
            arch=shape.arch,
            device="host" if device == case.options.gpus else f"GPU{device}",
            ours=Sizes(
                weights=found.weights[device],
                cache=found.cache.total(device),
                compute=found.compute[device],
            ),
            theirs=theirs,
            low=found.compute_low[device],
            high=found.compute_high[device],
        )


def attention(case: Case, answer: Answer) -> bool:
    """Whether libllama uses flash attention in a case."""
    return answer.flash_attention if case.flash == "auto" else case.flash == "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A demand of the engine, and the case that asks libllama about the same flags."""

    demand: Demand
    case: Case
    arch: str


def requests(folder: Path, build: Build, *, seed: int, rungs: int) -> Iterator[Asked]:
    """Demands of every model on a GPU, on two unequal ones and on none.

    Of each ladder the full offload and some random rungs below it.
    """
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    catalog = builtin_kinds()
    for kinds in ((), ("rtx-4090",), ("rtx-3060", "rtx-3090")):
        gpus = tuple(catalog[name] for name in kinds)
        site = Site(kinds=gpus, budgets_bytes=tuple(kind.cuda_total_bytes for kind in gpus))
        for model in MODELS:
            yield from _demands(model, site, folder, build, random, rungs)


def _demands(
    model: str, site: Site, folder: Path, build: Build, random: Random, rungs: int
) -> Iterator[Asked]:
    path = folder / f"{model}.gguf"
    facts = gguf_facts([read_gguf(LocalFile(path, path.name))])
    request = Request(
        engine="llama.cpp",
        version=build.text,
        facts=facts,
        task=facts.task,
        context=min(4096, facts.position_limit or 4096),
        concurrency=2,
        offload="auto" if rungs or not site.kinds else "none",
        args={"load_mode": "mmap"} if site.kinds else {},
    )
    found = () if ENGINE.check_request(request) else ENGINE.demands(request, site)
    if isinstance(found, Refusal) or not found:
        return
    # The last rung of a ladder uses no GPU, which is asked about without one.
    between = range(1, len(found) - 1)
    chosen = {0, *random.sample(between, min(rungs, len(between)))}
    shape = shape_of(path)
    for demand in (found[index] for index in sorted(chosen)):
        options = options_of(demand, shape, build)
        case = Case(
            model=model,
            options=options,
            flash="on" if options.flash_attention else "off",
        )
        yield Asked(demand=demand, case=case, arch=facts.architecture)


def demand_rows(asked: Asked, answer: Answer) -> Iterator[Row]:
    """A demand's breakdowns beside libllama's answer; a site's unused GPUs have none."""
    gpus = asked.case.options.gpus
    parts: tuple[Breakdown, ...] = (*asked.demand.devices[:gpus], asked.demand.host)
    for device, (breakdown, theirs) in enumerate(zip(parts, answer.devices, strict=True)):
        output = 0
        if device == gpus:
            # libllama does not count its output buffer among the others; it logs two digits of it.
            output = breakdown.compute.bytes - theirs.compute
            output = output if abs(output / MIB - answer.output_mib) < 0.011 else 0
        compute = breakdown.compute
        yield Row(
            case=asked.case,
            arch=asked.arch,
            device="host" if device == gpus else f"GPU{device}",
            ours=Sizes(
                weights=breakdown.weights.bytes,
                cache=breakdown.kv.bytes,
                compute=compute.bytes - output,
            ),
            theirs=theirs,
            low=compute.low_bytes - output,
            high=compute.high_bytes - output,
        )
