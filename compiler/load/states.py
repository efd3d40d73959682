"""`states` of inventory.yaml: the state of single hosts and GPUs, wherever they are described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from compiler.diagnostics import Diagnostic, did_you_mean
from compiler.ir.document import Document
from compiler.ir.inventory import GpuKey, Host

State = Literal["ready", "drained", "broken"]


def with_states(
    states: Mapping[str, State], hosts: list[Host], document: Document
) -> tuple[list[Host], list[Diagnostic]]:
    """The hosts with these states, and what none of them can have."""
    by_name = {host.name: host for host in hosts}
    by_address = _addresses(hosts)
    faults = []
    for name, state in states.items():
        if name in by_name and state != "broken":
            by_name[name] = replace(by_name[name], state=state)
        elif name in by_address and state != "drained":
            host, index = by_address[name]
            by_name[host] = _with_gpu(by_name[host], index, state)
        else:
            faults.append(_fault(name, state, by_name, by_address, document))
    return [by_name[host.name] for host in hosts], faults


def _addresses(hosts: list[Host]) -> dict[str, GpuKey]:
    """Every name of a GPU: `host/index`, and its UUID."""
    found: dict[str, GpuKey] = {}
    for host in hosts:
        for gpu in host.gpus:
            found[f"{host.name}/{gpu.index}"] = (host.name, gpu.index)
            if gpu.uuid:
                found[gpu.uuid] = (host.name, gpu.index)
    return found


def _with_gpu(host: Host, index: int, state: Literal["ready", "broken"]) -> Host:
    gpus = tuple(replace(gpu, state=state) if gpu.index == index else gpu for gpu in host.gpus)
    return replace(host, gpus=gpus)


def _fault(
    name: str,
    state: State,
    hosts: Mapping[str, Host],
    gpus: Mapping[str, GpuKey],
    document: Document,
) -> Diagnostic:
    location = document.key("states", name)
    if name in hosts:
        return Diagnostic(
            code="wrong-value",
            detail=f"`{name}` is a host, and only a GPU can be `broken`.",
            location=location,
            hints=(f"Write `{name}: drained`, or name a GPU: `{name}/0: broken`.",),
        )
    if name in gpus:
        host = gpus[name][0]
        return Diagnostic(
            code="wrong-value",
            detail=f"`{name}` is a GPU, and only a host can be `drained`.",
            location=location,
            hints=(f"Write `{name}: broken`, or name the host: `{host}: drained`.",),
        )
    is_gpu = state == "broken" or "/" in name
    return Diagnostic(
        code="unknown-gpu" if is_gpu else "unknown-host",
        detail=f"`states` names `{name}`, which is not in the inventory.",
        location=location,
        hints=did_you_mean(name, gpus if is_gpu else hosts)
        or ("A host is named as under `hosts`, a GPU as `host/index` or by its UUID.",),
    )
