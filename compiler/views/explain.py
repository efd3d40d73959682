"""One replica in full: what it takes on each device and why, its neighbours, its command line."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Sequence
from typing import assert_never

from compiler.diff.reasons import place_of
from compiler.engines.registry import engine_of
from compiler.ir.counting import counted
from compiler.ir.inventory import Target
from compiler.ir.listening import listen_words
from compiler.ir.names import folded, grouped
from compiler.ir.plan import GpuLedger, HostLedger, PassedOver, Plan, Replica, Share
from compiler.ir.units import show_mib
from compiler.ir.whyhere import Reasons, WhyHere
from compiler.views.breakdown import breakdown_lines, breakdown_sizes
from compiler.views.spares import survives_words
from compiler.views.terminal import (
    columns,
    command_lines,
    indented,
    json_text,
    paint,
    prose,
    safe_record,
    safe_text,
    shell_word,
)
from compiler.views.whyhere import here_lines, idle_lines, price_words
from compiler.views.words import bound_words, kv_words, show_budget, split_words


def replica_text(plan: Plan, replica_name: str, *, color: bool, width: int | None = None) -> str:
    """One replica for people at a terminal; KeyError when the plan has none of this name."""
    return replicas_text(plan, [replica_name], color=color, width=width)


def replicas_text(
    plan: Plan,
    replica_names: Sequence[str],
    *,
    color: bool,
    width: int | None = None,
    reasons: Reasons | None = None,
) -> str:
    """Several replicas, one after another; of equal ones the first, and where the others stand.

    With reasons, why each stands where it stands.
    """
    shown = safe_record(reasons) if reasons is not None else None
    whys = {why.replica: why for why in shown.here} if shown is not None else {}
    equal = grouped(
        ((_alike(plan, replica), _same_reason(whys.get(replica.name))), replica)
        for replica in map(plan.replica, replica_names)
    )
    texts = []
    for original, *others in equal.values():
        # The figures of a few replicas are shown out of thousands: the rest is not looked at twice.
        replica = safe_record(original)
        blocks = [
            _summary(plan, replica, color=color, width=width),
            _others(list(map(safe_record, others)), color=color),
            _why_here(shown, whys.get(original.name), color=color, width=width),
            *(
                _gpu_block(plan, replica, share, color=color, width=width)
                for share in replica.shares
            ),
            _ram_block(plan, replica, color=color, width=width),
            _passed_over(replica, shown, color=color, width=width),
            _command(original, color=color),
            _of_its_unit(original, color=color),
            _assumed(replica, color=color, width=width),
        ]
        texts.append("\n\n".join("\n".join(block) for block in blocks if block) + "\n")
    if shown is not None and (idle := idle_lines(shown, color=color, width=width)):
        texts.append("\n".join(idle) + "\n")
    return "\n".join(texts)


def whys_text(
    plan: Plan,
    replica_names: Sequence[str],
    *,
    color: bool,
    width: int | None = None,
    reasons: Reasons | None = None,
) -> str:
    """Only why replicas stand where they stand, and run as they run; equal answers once."""
    if reasons is None:
        return ""
    shown = safe_record(reasons)
    whys = {why.replica: why for why in shown.here}
    equal = grouped(
        (
            (whys[name].model_copy(update={"replica": ""}).model_dump_json(), _run(replica)),
            safe_record(replica),
        )
        for name, replica in ((name, plan.replica(name)) for name in replica_names)
    )
    texts = []
    for alike in equal.values():
        names = folded([replica.name for replica in alike])
        title = f"{names} on {folded([place_of(replica) for replica in alike])}"
        blocks = [
            [paint(f"{title}, variant {alike[0].variant}", "bold", color=color)],
            here_lines(shown, whys[alike[0].name], color=color, width=width),
            _passed_over(alike[0], shown, color=color, width=width),
        ]
        texts.append("\n\n".join("\n".join(block) for block in blocks if block) + "\n")
    if idle := idle_lines(shown, color=color, width=width):
        texts.append("\n".join(idle) + "\n")
    return "\n".join(texts)


def _run(replica: Replica) -> Hashable:
    """Of replicas with one answer those are told together that run alike."""
    return replica.variant, tuple(share.kind for share in replica.shares)


def replica_json(plan: Plan, replica_name: str) -> str:
    """One replica for programs; KeyError when the plan has none of this name."""
    return json_text(_document(plan, plan.replica(replica_name)))


def replicas_json(plan: Plan, replica_names: Sequence[str], reasons: Reasons | None = None) -> str:
    """Several replicas for programs, as a list under `replicas`; with reasons, `why` of each.

    `rungs` and `idle` are of the whole service.
    """
    documents = [_document(plan, plan.replica(name)) for name in replica_names]
    if reasons is None:
        return json_text({"replicas": documents})
    whys = {why.replica: why.model_dump(mode="json") for why in reasons.here}
    told = reasons.model_dump(mode="json")
    return json_text(
        {
            "replicas": [
                {**document, "why": whys[name]}
                for name, document in zip(replica_names, documents, strict=True)
            ],
            "rungs": told["rungs"],
            "idle": told["idle"],
        }
    )


def _same_reason(why: WhyHere | None) -> Hashable:
    return None if why is None else (why.code, why.stays)


def _why_here(
    reasons: Reasons | None, why: WhyHere | None, *, color: bool, width: int | None
) -> list[str]:
    if reasons is None or why is None:
        return []
    return here_lines(reasons, why, color=color, width=width)


def _alike(plan: Plan, replica: Replica) -> Hashable:
    """All that is shown of a replica but for where it stands and what follows from that."""
    apart = {"name", "host", "shares", "port", "start_after", "argv", "env", "cache_dir"}
    ledgers = (_gpu_of(plan, replica.host, share.gpu) for share in replica.shares)
    return (
        json.dumps(replica.model_dump(mode="json", exclude=apart), sort_keys=True),
        tuple(share.model_dump_json(exclude={"gpu", "uuid", "minor"}) for share in replica.shares),
        tuple(gpu.model_dump_json(exclude={"host", "gpu", "uuid"}) for gpu in ledgers),
        len(replica.start_after),
        tuple(_without_place(word, replica) for word in replica.argv),
        tuple(
            (name, _without_place(value, replica))
            for name, value in sorted(replica.env.items())
            if name not in replica.device_env
        ),
    )


def _without_place(word: str, replica: Replica) -> str:
    return "" if word == str(replica.port) else word.replace(replica.cache_dir, "")


def _others(replicas: Sequence[Replica], *, color: bool) -> list[str]:
    """Where the replicas stand that are equal to the one that is shown."""
    if not replicas:
        return []
    rows = [(each.name, place_of(each), f"port {each.port}") for each in replicas]
    title = paint(f"Equal to it: {counted(len(replicas), 'replica')}", "bold", color=color)
    return [title, *indented(columns(rows))]


def _summary(plan: Plan, replica: Replica, *, color: bool, width: int | None) -> list[str]:
    at_revision = f" at {replica.revision}" if replica.revision else ""
    listening = listen_words(replica.listen, replica.port)
    rows = [
        ("service", f"{replica.service}, variant {replica.variant}, to {replica.task}"),
        ("model", f"{replica.source}{at_revision}"),
        *((each.argument, each.source) for each in replica.companions),
        ("engine", f"{replica.engine} {replica.engine_version}, {split_words(replica)}"),
        ("requests", f"{replica.context:,} tokens each, {replica.concurrency:,} at once"),
        (
            "KV cache",
            f"{replica.kv_tokens:,} tokens; {kv_words(replica)}" if replica.has_cache else "none",
        ),
        ("listens", f"{listening}, healthy when {replica.health_path} answers"),
        ("starts", f"after {', '.join(replica.start_after)}" if replica.start_after else "first"),
    ]
    survives = survives_words(plan, replica)
    rows += [("survives", survives)] if survives else []
    title = paint(f"{replica.name} on {place_of(replica)}", "bold", color=color)
    return [title, *indented(columns(rows, width=_less(width, 2)))]


def _gpu_block(
    plan: Plan, replica: Replica, share: Share, *, color: bool, width: int | None
) -> list[str]:
    gpu = safe_record(_gpu_of(plan, replica.host, share.gpu))
    free = show_budget(gpu.budget_bytes - gpu.granted_bytes)
    neighbours = [
        (safe_record(other), size) for other, size in _neighbours(plan, replica, share.gpu)
    ]
    rows = [
        ("share:", show_mib(share.share_bytes)),
        ("budget:", f"{show_budget(gpu.budget_bytes)}, bound by {bound_words(gpu)}"),
        ("beside:", f"{_beside(neighbours)}; {free} free"),
    ]
    return [
        paint(f"{gpu.host}/{gpu.gpu}  {gpu.kind}", "bold", color=color),
        *indented(breakdown_lines(share.breakdown, width=_less(width, 2))),
        *_labelled(rows, width),
    ]


def _labelled(rows: Sequence[tuple[str, str]], width: int | None) -> list[str]:
    """Lines that begin with a label of up to seven letters."""
    return [
        line
        for label, text in rows
        for line in indented(prose(f"{label:<7} {text}", width=_less(width, 2), hanging=8))
    ]


def _less(width: int | None, columns_taken: int) -> int | None:
    return None if width is None else width - columns_taken


def _beside(neighbours: Sequence[tuple[Replica, int]]) -> str:
    return ", ".join(f"{other.name} ({show_mib(size)})" for other, size in neighbours) or "nothing"


def _ram_block(plan: Plan, replica: Replica, *, color: bool, width: int | None) -> list[str]:
    host = _host_of(plan, replica.host)
    free = show_budget(host.ram_budget_bytes - host.ram_granted_bytes)
    rows = [
        ("share:", show_mib(replica.ram_bytes)),
        ("budget:", f"{show_budget(host.ram_budget_bytes)}, {free} free"),
    ]
    if host.unified:
        both = replica.ram_bytes + sum(share.share_bytes for share in replica.shares)
        words = f"one memory with the GPU, {show_budget(host.ram_budget_bytes)}, {free} free"
        sums = [("both:", show_mib(both))] if replica.shares else []
        rows = [*rows[:1], *sums, ("budget:", words)]
    return [
        paint(f"RAM of {replica.host}", "bold", color=color),
        *indented(breakdown_lines(replica.ram_breakdown, width=_less(width, 2))),
        *_labelled(rows, width),
    ]


_VISIBLE = "CUDA_VISIBLE_DEVICES"
_UUIDS = re.compile(r"GPU-[0-9a-f-]{36}(?:,GPU-[0-9a-f-]{36})*")


def _command(replica: Replica, *, color: bool) -> list[str]:
    """The command line with its variables: in a shell it does what it does in its unit."""
    of_unit = _variables_of_its_unit(replica)
    env = {name: value for name, value in replica.env.items() if name not in of_unit}
    inside = f", inside {safe_text(replica.image)}" if replica.image else ""
    title = paint(f"Command{inside}", "bold", color=color)
    lines = command_lines(replica.argv, env)
    visible = env.get(_VISIBLE, "")
    if _UUIDS.fullmatch(visible) and not engine_of(replica.engine).takes_uuids(
        replica.engine_version
    ):
        # Its unit asks the same before it starts the engine.
        places = (
            f'"$(nvidia-smi -i {visible} --query-gpu=index --format=csv,noheader | paste -sd,)"'
        )
        lines = [line.replace(f"{_VISIBLE}={visible}", f"{_VISIBLE}={places}") for line in lines]
    return [title, *indented(lines)]


def _of_its_unit(replica: Replica, *, color: bool) -> list[str]:
    """Variables that mean nothing elsewhere: in folders of the unit's own, or kept from everybody.

    Without them an engine that is started by hand keeps its caches where it usually does.
    """
    of_unit = sorted(_variables_of_its_unit(replica).items())
    lines = [f"{safe_text(name)}={shell_word(value)}" for name, value in of_unit]
    lines += [f"{safe_text(name)} (secret)" for name in replica.secrets]
    title = paint(f"Set by its {_WRITTEN[replica.target]} alone", "bold", color=color)
    return [title, *indented(lines)] if lines else []


def _variables_of_its_unit(replica: Replica) -> dict[str, str]:
    """Variables that name folders in the cache of this replica."""
    inside = (replica.cache_dir, f"{replica.cache_dir}/")
    return {
        name: value
        for name, value in replica.env.items()
        if value == inside[0] or value.startswith(inside[1])
    }


_WRITTEN: dict[Target, str] = {
    "systemd": "unit",
    "quadlet": "unit",
    "compose": "container",
    "script": "script",
}


def _passed_over(
    replica: Replica, reasons: Reasons | None, *, color: bool, width: int | None
) -> list[str]:
    texts = [
        f"{each.variant}: {_why_not(each)}{price_words(reasons, each.variant)}"
        for each in replica.passed_over
    ]
    lines = [line for text in texts for line in prose(text, width=_less(width, 2))]
    return [paint("Why no better variant", "bold", color=color), *indented(lines)] if lines else []


def _why_not(passed: PassedOver) -> str:
    match passed.why:
        case "too-large":
            return f"{show_mib(passed.missing_bytes)} missing on {passed.device}, even if empty"
        case "refused":
            return f"not on {passed.device}: {passed.detail}"
        case "offload":
            return "fits only with layers in RAM; every rung on GPUs comes first"
        case "crowded":
            return "fits an empty fleet, not beside what else is placed"
        case _:
            assert_never(passed.why)


def _assumed(replica: Replica, *, color: bool, width: int | None) -> list[str]:
    lines = [line for each in replica.assumed for line in prose(f"- {each}", width=_less(width, 2))]
    return [paint("Assumed", "bold", color=color), *indented(lines)] if lines else []


def _gpu_of(plan: Plan, host: str, index: int) -> GpuLedger:
    return next(gpu for gpu in plan.gpus if (gpu.host, gpu.gpu) == (host, index))


def _host_of(plan: Plan, name: str) -> HostLedger:
    return next(host for host in plan.hosts if host.host == name)


def _neighbours(plan: Plan, replica: Replica, index: int) -> list[tuple[Replica, int]]:
    others = [r for r in plan.replicas if r.host == replica.host and r.name != replica.name]
    if _host_of(plan, replica.host).unified:
        own = [sum(share.share_bytes for share in other.shares) for other in others]
        return [(other, size + other.ram_bytes) for other, size in zip(others, own, strict=True)]
    return [
        (other, share.share_bytes)
        for other in others
        for share in other.shares
        if share.gpu == index
    ]


def _document(plan: Plan, replica: Replica) -> dict[str, object]:
    host = _host_of(plan, replica.host)
    return {
        "replica": replica.model_dump(mode="json"),
        "place": place_of(replica),
        "spare": next(
            (
                spare.model_dump(mode="json")
                for spare in plan.spares
                if (spare.lost, spare.service) == (replica.host, replica.service)
            ),
            None,
        ),
        "devices": [_device(plan, replica, share) for share in replica.shares],
        "host": {
            "host": host.host,
            **breakdown_sizes(replica.ram_breakdown),
            "share_bytes": replica.ram_bytes,
            "budget_bytes": host.ram_budget_bytes,
            "free_bytes": host.ram_budget_bytes - host.ram_granted_bytes,
            "unified": host.unified,
        },
    }


def _device(plan: Plan, replica: Replica, share: Share) -> dict[str, object]:
    gpu = _gpu_of(plan, replica.host, share.gpu)
    return {
        "gpu": f"{gpu.host}/{gpu.gpu}",
        "kind": gpu.kind,
        **breakdown_sizes(share.breakdown),
        "share_bytes": share.share_bytes,
        "budget_bytes": gpu.budget_bytes,
        "binding": gpu.binding,
        "unified": gpu.unified,
        "free_bytes": gpu.budget_bytes - gpu.granted_bytes,
        "neighbours": [
            {"replica": other.name, "share_bytes": size}
            for other, size in _neighbours(plan, replica, share.gpu)
        ],
    }
