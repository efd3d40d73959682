"""Frozen replicas made anew: of the previous plan only their place, their size and version count.

A plan is a file of the repository like any other, and what it says of a frozen replica would be
started on a host. So the command, the environment and every path are made from the sources, and a
replica that the plan describes in another way is refused: it was edited, or the sources want
something else of a service that is to stay as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from compiler.assemble.assembling import Sources, planned_replica
from compiler.assemble.naming import Named, number_of
from compiler.engines.companions import companion_facts, companions_of
from compiler.engines.registry import engine_of
from compiler.ir.demand import Demand, Refusal, Request, Site, request_of
from compiler.ir.inventory import Gpu, Host, Inventory
from compiler.ir.placement import Placement
from compiler.ir.plan import Plan, PlannedBreakdown, PlannedPart, Replica, Share
from compiler.ir.pool import site_of

# What is not compared: the order of starts, which is made with all others; sizes, which are checked
# for being enough; and what the plan only tells people. Of these the new plan has its own.
MADE_ANEW = frozenset(
    {
        *("start_after", "shares", "ram_bytes", "ram_breakdown", "kv_requests_permille"),
        *("kv_wanted_bytes", "roomier", "asked", "start_timeout_seconds"),
        *("assumed", "passed_over", "host_permille", "labels"),
    }
)

_MAX_SHOWN = 60
_UUID = re.compile(r"(GPU|MIG)-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A field of a frozen replica that is not what the sources give for it."""

    replica: str
    service: str
    field: str
    why: str


def with_frozen_anew(sources: Sources) -> tuple[Plan | None, tuple[Edited, ...]]:
    """The previous plan with its frozen replicas made anew, and all that cannot be."""
    previous, freeze = sources.previous, sources.spec.policy.freeze
    if previous is None or not freeze:
        return previous, ()
    frozen = [replica for replica in previous.replicas if replica.service in freeze]
    faults = list(_alike(frozen))
    made: dict[int, Replica] = {}
    for position, old in enumerate(previous.replicas):
        is_known = old.service in freeze and number_of(old) is not None
        if not is_known or not _still_stands(sources.inventory, old):
            # Who has lost his place is told by the place pass.
            continue
        found = _anew(sources, old)
        if isinstance(found, Replica):
            made[position] = found
        else:
            faults.append(found)
    replicas = [made.get(position, old) for position, old in enumerate(previous.replicas)]
    return previous.model_copy(update={"replicas": replicas}), tuple(faults)


def _alike(frozen: list[Replica]) -> Iterator[Edited]:
    """What only one replica may have."""
    names = Counter(replica.name for replica in frozen)
    ports = Counter((replica.host, replica.port) for replica in frozen)
    for replica in frozen:
        if number_of(replica) is None:
            yield _edited(replica, "name", f"it is no name of a replica of `{replica.service}`")
        if names[replica.name] > 1:
            yield _edited(replica, "name", "another replica has it, too")
        if ports[replica.host, replica.port] > 1:
            yield _edited(replica, "port", "another replica of its host has it, too")


def _still_stands(inventory: Inventory, old: Replica) -> bool:
    host = next((host for host in inventory.hosts if host.name == old.host), None)
    if host is None:
        return False
    kinds = {gpu.index: gpu.kind.name for gpu in host.gpus}
    stands = all(kinds.get(share.gpu) == share.kind for share in old.shares)
    return stands and host.ports[0] <= old.port <= host.ports[1]


def _anew(sources: Sources, old: Replica) -> Replica | Edited:
    service = sources.spec.service(old.service)
    names = [variant.name for variant in service.variants]
    if old.variant not in names:
        return _edited(old, "variant", "the service has no such variant")
    variant = service.variants[names.index(old.variant)]
    host = sources.inventory.host(old.host)
    install = host.engines.get(variant.engine)
    if install is None or old.engine != variant.engine:
        return _edited(old, "engine", "the variant or the host has another one")
    engine = engine_of(variant.engine)
    problem = engine.check_version(old.engine_version)
    if problem and old.engine_version != install.version:
        return _edited(old, "engine_version", problem)
    numbers = (
        *((old.context, 10_000_000), (old.concurrency, 4096)),
        *((old.kv_tokens, 1_000_000_000), (old.typical, 10_000_000)),
    )
    if not all(0 <= number <= most for number, most in numbers):
        return _edited(old, "context", "no replica has as many tokens or requests")
    if not all(
        0 <= share.breakdown.kv.bytes <= share.share_bytes <= 1 << 50 for share in old.shares
    ):
        return _edited(old, "shares", "no GPU holds that")
    if len({share.gpu for share in old.shares}) < len(old.shares):
        return _edited(old, "shares", "it names a GPU twice")
    locked = sources.lock.find(variant.model)
    if locked is None:
        return _edited(old, "source", "modelc.lock does not have it")
    there = _as_it_was(host, old)
    companions = companion_facts(companions_of(variant, sources.lock))
    request = request_of(service, variant, locked.facts, old.engine_version, companions)
    faults = [_edited(old, "shares", "the engine does not run there so")]
    for tried, (demand, exact) in enumerate(_demands(request, there, old)):
        placement = Placement(
            service=service.name,
            variant=names.index(old.variant),
            host=host.name,
            gpus=tuple(share.gpu for share in old.shares),
            demand=demand,
        )
        named = Named(number=number_of(old) or 0, placement=placement, before=old)
        granted = tuple(share.share_bytes for share in old.shares)
        inventory = Inventory(hosts=(there,))
        new = planned_replica(
            replace(sources, inventory=inventory), named, old.port, old.start_after, granted
        )
        found = _compared(old, new, exact=exact)
        if isinstance(found, Replica):
            return found
        # Of several ways, the one that is the nearest says best what is wrong.
        faults = found if tried == 0 or len(found) < len(faults) else faults
    return faults[0]


def _as_it_was(host: Host, old: Replica) -> Host:
    """The host with the version that the replica is frozen at, and with its GPUs' UUIDs."""
    install = host.engines[old.engine]
    image = install.image
    if image and install.version != old.engine_version:
        # The image of a release is named for it; where it is not, there is nothing to go back to.
        image = image.replace(install.version, old.engine_version)
    uuids = {
        share.gpu: share.uuid for share in old.shares if share.uuid and _UUID.fullmatch(share.uuid)
    }
    return replace(
        host,
        engines={
            **host.engines,
            old.engine: replace(install, version=old.engine_version, image=image),
        },
        gpus=tuple(replace(gpu, uuid=gpu.uuid or uuids.get(gpu.index)) for gpu in host.gpus),
    )


def _demands(request: Request, host: Host, old: Replica) -> Iterator[tuple[Demand, bool]]:
    """Ways to run what the replica runs, and whether they are cut as it is.

    Numbers alone are taken from the plan: what the spec says of them now waits for the thaw.
    """
    engine = engine_of(request.engine)
    gpus = tuple(gpu for share in old.shares for gpu in host.gpus if gpu.index == share.gpu)
    as_planned = replace(
        request,
        context=max(1, old.context),
        concurrency=max(1, old.concurrency),
        # Plans of a time before it do not say it.
        typical=old.typical or request.typical,
        grows=True,
    )
    ways = (
        *(request, as_planned),
        *(replace(as_planned, kv_tokens=tokens) for tokens in (old.kv_tokens, None)),
    )
    kv_bytes = max((share.breakdown.kv.bytes for share in old.shares), default=0)
    for asked in ways:
        for site in _sites(host, gpus, old):
            answer = engine.demands(asked, site)
            for demand in () if isinstance(answer, Refusal) else answer:
                if (demand.split.gpu_layers, demand.host_layers) != (
                    old.gpu_layers,
                    old.host_layers,
                ):
                    continue
                grown = engine.grow(demand, kv_bytes) if demand.growth else demand
                cut = grown.split.tensor_split
                split = engine.planned_split(old.argv) if cut else ()
                if len(split) == len(cut):
                    grown = replace(grown, split=replace(grown.split, tensor_split=split))
                yield grown, cut == split


def _sites(host: Host, gpus: tuple[Gpu, ...], old: Replica) -> Iterator[Site]:
    """The place with its whole budgets, and as it was when others had taken some of it."""
    whole = site_of(host, gpus)
    yield whole
    if len(gpus) > 1:
        yield replace(whole, budgets_bytes=tuple(share.share_bytes for share in old.shares))


def _compared(old: Replica, new: Replica, *, exact: bool) -> Replica | list[Edited]:
    """The replica as it is made anew, or all in which the plan has it otherwise."""
    new = new.model_copy(update={"argv": engine_of(new.engine).with_sizes_of(old.argv, new.argv)})
    faults = [
        _edited(old, field, _difference(getattr(old, field), getattr(new, field)))
        for field in Replica.model_fields
        if field not in MADE_ANEW
        and getattr(old, field) != getattr(new, field)
        # Plans of a time before it do not say it.
        and (field != "typical" or old.typical)
    ]
    shares = [
        _share(before, after, exact=exact)
        for before, after in zip(old.shares, new.shares, strict=True)
    ]
    if None in shares or old.ram_bytes < new.ram_breakdown.high_bytes:
        faults.append(_edited(old, "shares", "it takes more there than it is granted"))
    if faults:
        return faults
    kept = [share for share in shares if share is not None]
    return new.model_copy(update={"shares": kept, "ram_bytes": old.ram_bytes})


def _share(before: Share, after: Share, *, exact: bool) -> Share | None:
    """A share of the size that it has, None where that is less than it takes."""
    if exact:
        return after if after.breakdown.high_bytes <= after.share_bytes else None
    # The cut by which the engine would deal its layers out anew is another one. Each part is what
    # the plan has, if that is an estimate at all.
    parts = {
        name: part.model_copy(update={"why": getattr(after.breakdown, name).why})
        for name, part in before.breakdown.parts()
        if isinstance(part, PlannedPart) and 0 <= part.low_bytes <= part.bytes <= part.high_bytes
    }
    if len(parts) < len(after.breakdown.parts()):
        return None
    breakdown = PlannedBreakdown(**parts)
    if breakdown.high_bytes > after.share_bytes:
        return None
    return after.model_copy(update={"breakdown": breakdown})


def _difference(before: object, after: object) -> str:
    """What the plan says beyond the sources, or what it lacks."""
    if isinstance(before, dict) and isinstance(after, dict):
        before, after = ([f"{k}={v}" for k, v in each.items()] for each in (before, after))
    if isinstance(before, list) and isinstance(after, list):
        added, lost = Counter(map(str, before)), Counter(map(str, after))
        said = [f"it has `{_short(each)}`, which the sources do not give" for each in added - lost]
        said += [f"it lacks `{_short(each)}`" for each in lost - added]
        return said[0] if said else "it has another order"
    return f"it is `{_short(before)}`, and the sources give `{_short(after)}`"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _edited(replica: Replica, field: str, why: str) -> Edited:
    return Edited(replica=replica.name, service=replica.service, field=field, why=why)
