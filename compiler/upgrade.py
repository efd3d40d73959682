"""The upgrade preview: what other versions of the engines would do to the same fleet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import get_args

from compiler.check import Checked, variant_faults
from compiler.diagnostics import CompileError, Diagnostic, Severity
from compiler.engines.registry import engine_of
from compiler.inputs import Inputs, Loaded, load
from compiler.ir.changes import ArgumentChanged, Diff
from compiler.ir.demand import PART_NAMES, Demand, Demands
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import EngineInstall, Host, Inventory
from compiler.ir.names import natural_key
from compiler.ir.plan import Plan, Replica
from compiler.ir.progress import Reporter, silent
from compiler.ir.spec import Spec, Variant
from compiler.ir.upgrade import FlagChange, PartChange, Stopped, Upgrade, VersionChange, Weighed
from compiler.load.yamltext import parse_yaml
from compiler.pipeline import Compilation
from compiler.whatif import compiled, told


def parse_version(text: str) -> tuple[EngineName, str]:
    """`vllm=0.34.0` or `llama.cpp=b12000`; ValueError for anything else."""
    name, sign, version = text.partition("=")
    engine: EngineName | None = next((each for each in get_args(EngineName) if each == name), None)
    if engine is None or not sign:
        message = f"`{text[:40]}` is not ENGINE=VERSION, such as vllm=0.34.0 or llama.cpp=b12000"
        raise ValueError(message)
    problem = engine_of(engine).check_version(version)
    if problem:
        message = f"`{text[:40]}`: {problem}"
        raise ValueError(message)
    return engine, engine_of(engine).release(version)


def upgrade(
    inputs: Inputs, versions: Mapping[EngineName, str], report: Reporter = silent
) -> Upgrade:
    """The fleet with these versions on every host that has the engine, against the one without.

    What is frozen stays as it runs. Raises CompileError when the files cannot be compiled as they
    are: what only the new versions refuse is part of the answer.
    """
    loaded = load(inputs)
    changed = tuple(_changes(loaded.inventory, versions))
    before = compiled(loaded, report)
    inventory = Inventory(hosts=tuple(_with(host, versions) for host in loaded.inventory.hosts))
    spec, refused = _accepted(inputs, loaded, inventory, versions)
    anew = replace(loaded, inventory=inventory, spec=spec, previous=before.plan)
    after = compiled(anew, report)
    stopped = sorted(
        (*refused, *_without_place(loaded, before, after, {each.service for each in refused})),
        key=lambda each: natural_key(each.service),
    )
    found = told(after.diff, loaded.spec)
    return Upgrade(
        versions=list(changed),
        stopped=stopped,
        weighed=list(
            _weighed(before.plan, (before.demands, loaded.spec), (after.demands, spec), versions)
        ),
        flags=_flags(found),
        assumed=sorted(
            {s for r in after.plan.replicas for s in r.assumed}
            - {s for r in before.plan.replicas for s in r.assumed}
        ),
        diff=found,
    )


def _changes(inventory: Inventory, versions: Mapping[EngineName, str]) -> Iterator[VersionChange]:
    for engine, version in sorted(versions.items()):
        hosts = [host for host in inventory.hosts if engine in host.engines]
        if not hosts:
            detail = f"No host of the inventory has `{engine}`."
            raise CompileError([Diagnostic(code="engine-missing", detail=detail)])
        before: dict[str, list[str]] = defaultdict(list)
        for host in hosts:
            release = engine_of(engine).release(host.engines[engine].version)
            before[release].append(host.name)
        for release, names in sorted(before.items(), key=lambda item: natural_key(item[0])):
            yield VersionChange(engine=engine, before=release, after=version, hosts=names)


def _with(host: Host, versions: Mapping[EngineName, str]) -> Host:
    engines = {
        name: _installed(install, versions[name]) if name in versions else install
        for name, install in host.engines.items()
    }
    return replace(host, engines=engines)


def _installed(install: EngineInstall, version: str) -> EngineInstall:
    """The engine in another version: an image or a program that names the old one names the new."""
    written = install.version.removeprefix("b").removeprefix("v")

    def renamed(text: str) -> str:
        return text.replace(written, version) if text.count(written) == 1 else text

    # The digest of an image is that of one release.
    image = renamed(install.image.partition("@")[0]) if install.image else None
    return replace(install, version=version, bin=renamed(install.bin), image=image)


def _accepted(
    inputs: Inputs, loaded: Loaded, inventory: Inventory, versions: Mapping[EngineName, str]
) -> tuple[Spec, list[Stopped]]:
    """The spec without the variants that new versions refuse, and why services have none left."""
    document = (
        parse_yaml(inputs.inventory.path, inputs.inventory.text) if inputs.inventory else None
    )
    if document is None:
        raise AssertionError
    checked = Checked(
        inventory=inventory,
        spec=loaded.spec,
        lock=loaded.lock,
        inventory_document=document,
        spec_document=loaded.spec_document,
    )
    services, stopped = [], []
    for service in loaded.spec.services:
        if service.name in loaded.spec.policy.freeze:
            # It goes on in the version that it runs in.
            services.append(service)
            continue
        kept: list[Variant] = []
        whys: list[str] = []
        for index, variant in enumerate(service.variants):
            faults = variant_faults(checked, service, index) if variant.engine in versions else []
            errors = [each for each in faults if each.severity is Severity.ERROR]
            if errors:
                whys += [_sentence(variant, each) for each in errors]
            else:
                kept.append(variant)
        if whys:
            stopped.append(
                Stopped(
                    service=service.name, why="refused", details=list(dict.fromkeys(whys)),
                    others=[variant.name for variant in kept],
                )
            )  # fmt: skip
        if kept:
            services.append(replace(service, variants=tuple(kept)))
    return replace(loaded.spec, services=tuple(services)), stopped


def _sentence(variant: Variant, fault: Diagnostic) -> str:
    hints = "".join(f" {hint}" for hint in fault.hints)
    return f"Variant `{variant.name}`: {fault.detail}{hints}"


def _without_place(
    loaded: Loaded, before: Compilation, after: Compilation, told_already: set[str]
) -> Iterator[Stopped]:
    """Services of which fewer replicas run than before, and what is in the way."""
    for service in loaded.spec.services:
        if service.name in told_already:
            continue
        was, now = (
            [each for each in one.plan.replicas if each.service == service.name]
            for one in (before, after)
        )
        if len(now) >= len(was):
            continue
        details = list(_obstacles(after.demands, service.name))
        options = after.demands.options.get(service.name, ())
        yield Stopped(
            service=service.name,
            why="crowded" if options else "too-large",
            details=details if not options else [],
            others=[],
            replicas_before=len(was),
            replicas_after=len(now),
        )


def _obstacles(demands: Demands, service: str) -> Iterator[str]:
    refused = {each.refusal.detail for each in demands.refused.get(service, ())}
    yield from sorted(refused)
    places = demands.too_large.get(service, ())
    if places:
        best = min(places, key=lambda place: (place.total_missing_bytes, place.host, place.gpus))
        where = f"{best.host}/{','.join(map(str, best.gpus)) or 'cpu'}"
        missing = -(-best.total_missing_bytes >> 20)
        yield f"It lacks {missing:,} MiB on `{where}`, where least is missing."


_Asked = tuple[Demands, Spec]
"""What engines said, and the spec whose variants they were asked for."""


def _weighed(
    plan: Plan, before: _Asked, after: _Asked, versions: Mapping[EngineName, str]
) -> Iterator[Weighed]:
    """What a replica of each service needs to start where it stands, guaranteed cache and all."""
    seen: set[object] = set()
    for replica in plan.replicas:
        kinds = tuple(share.kind for share in replica.shares)
        key = (replica.service, replica.variant, kinds)
        if replica.engine not in versions or key in seen:
            continue
        seen.add(key)
        was = _demand_at(before, replica)
        now = was and (_demand_at(after, replica) or _too_large_at(after, replica, was))
        if was is None or now is None:
            continue
        parts = [
            PartChange(part=part, before_bytes=_high(was, part), after_bytes=_high(now, part))
            for part in PART_NAMES
            if _high(was, part) != _high(now, part)
        ]
        yield Weighed(
            service=replica.service,
            variant=replica.variant,
            n_gpus=len(kinds),
            before_bytes=sum(_high(was, part) for part in PART_NAMES),
            after_bytes=sum(_high(now, part) for part in PART_NAMES),
            ram_before_bytes=was.host.high_bytes,
            ram_after_bytes=now.host.high_bytes,
            parts=parts,
        )


def _high(demand: Demand, part: str) -> int:
    """On all its GPUs together; on a host's CPU in its RAM."""
    devices = demand.devices or (demand.host,)
    return sum(int(getattr(device, part).high_bytes) for device in devices)


def _demand_at(asked: _Asked, replica: Replica) -> Demand | None:
    """The demand of its variant on its GPUs, cut as it runs if that way is there."""
    demands, spec = asked
    gpus = tuple(share.gpu for share in replica.shares)
    variants = {each.name: [v.name for v in each.variants] for each in spec.services}
    found = [
        demand
        for option in demands.options.get(replica.service, ())
        if variants[option.service][option.variant] == replica.variant
        and replica.host in option.hosts
        and gpus in option.groups
        for demand in option.demands
    ]
    same = [each for each in found if each.split.gpu_layers == replica.gpu_layers]
    return next(iter(same or found), None)


def _too_large_at(asked: _Asked, replica: Replica, was: Demand) -> Demand | None:
    """What its variant would take on such GPUs, which do not hold it any more."""
    demands, spec = asked
    variants = {each.name: [v.name for v in each.variants] for each in spec.services}
    return next(
        (
            each.demand
            for each in demands.too_large.get(replica.service, ())
            if variants[each.service][each.variant] == replica.variant
            and each.demand.site == was.site
        ),
        None,
    )


def _flags(diff: Diff) -> list[FlagChange]:
    """Flags that come, go or have another value, each with the services concerned."""
    found: dict[tuple[str, str | None, str | None], set[str]] = defaultdict(set)
    for change in diff.changes:
        for reason in change.reasons:
            if isinstance(reason, ArgumentChanged):
                sized = reason.before is not None and reason.after is not None
                # Sizes follow from what is left on a GPU: the diff tells them.
                if not sized:
                    key = (reason.argument, reason.before, reason.after)
                    found[key].add(change.service)
    return [
        FlagChange(flag=flag, before=was, after=now, services=sorted(services, key=natural_key))
        for (flag, was, now), services in sorted(
            found.items(), key=lambda item: (item[0][0], item[0][1] or "", item[0][2] or "")
        )
    ]
