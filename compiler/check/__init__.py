"""The check pass: names exist, rules are not contradictory, engines accept what they are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compiler.check.installs import check_installs
from compiler.check.listening import check_listening
from compiler.diagnostics import Diagnostic, Location, did_you_mean
from compiler.engines.companions import companion_facts, companions_of, sources_of
from compiler.engines.environment import environment_problems
from compiler.engines.file_arguments import file_problems
from compiler.engines.registry import engine_of, traits_of
from compiler.ir.demand import ArgumentProblem, request_of
from compiler.ir.document import Document
from compiler.ir.inventory import Host, Inventory
from compiler.ir.kind_names import kind_hints
from compiler.ir.lock import Lock, LockedSource
from compiler.ir.rules import engine_hosts, gpus_of, hosts_of
from compiler.ir.spec import Service, Spec, Variant

# A message names so many things at most; the rest is counted.
MAX_LISTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the checks look at together."""

    inventory: Inventory
    spec: Spec
    lock: Lock
    inventory_document: Document
    spec_document: Document

    def key(self, *path: str | int) -> Location:
        """Where a key of the spec stands."""
        return self.spec_document.key(*path)

    def variant_key(self, service: Service, index: int, *path: str | int) -> Location:
        """Where a variant says something, or the service says it for the variant."""
        return _variant_key(self.spec_document, service, index, *path)


def check(checked: Checked) -> list[Diagnostic]:
    """Every fault that can be seen without counting memory."""
    faults = [
        *check_installs(checked.inventory, checked.inventory_document),
        *_check_policy(checked),
    ]
    for service in checked.spec.services:
        faults += _check_names(checked, service)
        faults += _check_reach(checked, service)
        faults += _check_contradictions(checked, service)
        faults += _check_environment(checked, service)
        faults += check_listening(checked.inventory, service, checked.spec_document)
        for index, variant in enumerate(service.variants):
            faults += _check_variant(checked, service, index, variant)
    return list(dict.fromkeys(faults))


def variant_faults(checked: Checked, service: Service, index: int) -> list[Diagnostic]:
    """What the engines say against one variant of a service, in the versions of the inventory."""
    return list(_check_variant(checked, service, index, service.variants[index]))


def unlocked(document: Document, service: Service, index: int, lock: Lock) -> dict[str, Diagnostic]:
    """The sources of a variant, companions included, that the lock does not have."""
    variant = service.variants[index]
    found: dict[str, Diagnostic] = {}
    for argument, source in sources_of(variant):
        if lock.find(source) is None:
            path = (variant.engine, "args", argument) if argument else ("model",)
            found[source] = Diagnostic(
                code="lock-missing",
                detail=f"Service `{service.name}` uses `{source}`.",
                location=_variant_key(document, service, index, *path),
                hints=("Run `modelc lock` and commit modelc.lock.",),
            )
    return found


def _variant_key(document: Document, service: Service, index: int, *path: str | int) -> Location:
    own = ("services", service.name, "variants", index, *path)
    if own in document.keys:
        return document.key(*own)
    return document.key("services", service.name, *path)


def _check_policy(checked: Checked) -> Iterator[Diagnostic]:
    for index, name in enumerate(_listed(checked, "policy", "freeze")):
        yield from _unknown_service(checked, name, "policy", "freeze", index)


def _check_names(checked: Checked, service: Service) -> Iterator[Diagnostic]:
    place = ("services", service.name, "placement")
    rules = service.placement
    for index, name in enumerate(_listed(checked, *place, "apart_from")):
        yield from _unknown_service(checked, name, *place, "apart_from", index)
    kinds = {gpu.kind.name for host in checked.inventory.hosts for gpu in host.gpus}
    for index, kind in enumerate(rules.kinds):
        if kind not in kinds:
            yield Diagnostic(
                code="unknown-gpu-kind",
                detail=f"Service `{service.name}` asks for `{kind}`; the hosts of the inventory "
                f"have {_list(kinds)}.",
                location=checked.key(*place, "gpus", "kinds", index),
                hints=kind_hints(kind, kinds),
            )
    host_names = {host.name for host in checked.inventory.hosts}
    written = _listed(checked, *place, "hosts", "name")
    # One name may stand without a list.
    for name in rules.host_labels.get("name", ()):
        if name not in host_names:
            at = (written.index(name),) if name in written else ()
            yield Diagnostic(
                code="unknown-host",
                detail=f"Service `{service.name}` selects the host `{name}`.",
                location=checked.key(*place, "hosts", "name", *at),
                hints=did_you_mean(name, host_names) or _hosts_there_are(host_names),
            )
    if rules.pin is None:
        return
    if rules.pin.host not in host_names:
        yield Diagnostic(
            code="unknown-host",
            detail=f"Service `{service.name}` is pinned to `{rules.pin.host}`.",
            location=checked.key(*place, "pin", "host"),
            hints=did_you_mean(rules.pin.host, host_names) or _hosts_there_are(host_names),
        )
        return
    n_gpus = len(checked.inventory.host(rules.pin.host).gpus)
    for index, gpu in enumerate(rules.pin.gpus or ()):
        if gpu >= n_gpus:
            yield Diagnostic(
                code="unknown-gpu",
                detail=f"Service `{service.name}` is pinned to `{rules.pin.host}/{gpu}`; that host "
                f"has {n_gpus} GPUs, counted from 0.",
                location=checked.key(*place, "pin", "gpus", index),
            )


def _check_reach(checked: Checked, service: Service) -> Iterator[Diagnostic]:
    rules = service.placement
    place = ("services", service.name, "placement")
    hosts = hosts_of(checked.inventory, rules)
    if rules.pin and not _knows_host(checked, rules.pin.host):
        return
    wanted = ", ".join(f"{key}: {'/'.join(v)}" for key, v in rules.host_labels.items())
    if not hosts and rules.pin:
        yield Diagnostic(
            code="contradiction",
            detail=f"Service `{service.name}` is pinned to `{rules.pin.host}`, which its selector "
            f"`{wanted}` excludes.",
            location=checked.key(*place, "pin"),
            hints=("Take out the pin or the selector.",),
        )
        return
    named = rules.host_labels.get("name", ())
    if named and not any(_knows_host(checked, name) for name in named):
        return  # Said of each name.
    if not hosts:
        yield Diagnostic(
            code="selector-empty",
            detail=f"Service `{service.name}` selects hosts with `{wanted}`; no host "
            "of the inventory has these labels.",
            location=checked.key(*place, "hosts"),
            hints=(f"Labels there are: {_list(_labels(checked.inventory))}.",),
        )
        return
    gpu_rule = bool(rules.kinds or rules.min_compute)
    known = all(any(g.kind.name == k for h in checked.inventory.hosts for g in h.gpus)
                for k in rules.kinds)  # fmt: skip
    if gpu_rule and known and not any(gpus_of(host, rules) for host in hosts):
        yield Diagnostic(
            code="selector-empty",
            detail=f"Service `{service.name}` selects GPUs that none of its hosts has "
            f"({_list({host.name for host in hosts})}).",
            location=checked.key(*place, "gpus"),
            hints=("Widen `kinds` or lower `min_compute`, or select other hosts.",),
        )
    for index, variant in enumerate(service.variants):
        if hosts and not engine_hosts(checked.inventory, service, variant.engine):
            yield _engine_missing(checked, service, index, hosts)


def _engine_missing(
    checked: Checked, service: Service, index: int, hosts: list[Host]
) -> Diagnostic:
    """What keeps the engine from each host: it is not installed there, or has no image."""
    variant = service.variants[index]
    engine = variant.engine
    imageless = [host for host in hosts if engine in host.engines]
    names = _list({host.name for host in imageless})
    if imageless:
        targets = _list({host.target for host in imageless})
        detail = f"needs an `image` of `{engine}`: {names} would start it by {targets}."
        traits = traits_of(engine)
        example = traits.image_of(traits.newest)
        hint = f'Write `engines: {{{engine}: {{image: "{example}"}}}}` at the host or the defaults'
        hint += ", with the tag of the version that is named there."
    else:
        detail = f"needs `{engine}`, which none of its hosts has."
        boxed = any(host.runs_containers for host in hosts)
        hint = f"Add `engines: {{{engine}: ...}}` to the host or the defaults"
        hint += ", with an `image` for compose and quadlet hosts." if boxed else "."
    return Diagnostic(
        code="engine-missing",
        detail=f"Variant `{variant.name}` of service `{service.name}` {detail}",
        location=checked.variant_key(service, index, "engine"),
        hints=(hint,),
    )


def _check_contradictions(checked: Checked, service: Service) -> Iterator[Diagnostic]:
    rules = service.placement
    place = ("services", service.name, "placement")

    def contradiction(detail: str, hint: str, *path: str | int) -> Diagnostic:
        return Diagnostic(
            code="contradiction",
            detail=f"Service `{service.name}` {detail}",
            location=checked.key(*place, *path),
            hints=(hint,),
        )

    if service.name in rules.apart_from:
        hint = "Write `spread: gpu` to keep its replicas apart."
        yield contradiction("is to be apart from itself.", hint, "apart_from")
    if rules.pin and rules.pin.gpus and service.replicas > 1:
        yield contradiction(
            f"pins {service.replicas} replicas to the same GPUs.",
            "Pin the host only, or make one service for each replica.", "pin", "gpus",
        )  # fmt: skip
    if rules.pin and rules.pin.gpus and len(set(rules.pin.gpus)) != len(rules.pin.gpus):
        yield contradiction("is pinned to one GPU twice.", "Name each GPU once.", "pin", "gpus")
    if rules.one_per_host and ("services", service.name, "replicas") in checked.spec_document.keys:
        hint = "Take `replicas` out: there are as many as hosts with these labels."
        yield contradiction("says both `replicas` and `one_per_host`.", hint, "one_per_host")
    if service.survives and (rules.pin or rules.one_per_host):
        what = "pin" if rules.pin else "one_per_host"
        yield Diagnostic(
            code="contradiction",
            detail=f"Service `{service.name}` is to survive the loss of a host, and "
            f"`placement.{what}` lets its replicas stand nowhere else.",
            location=checked.key("services", service.name, "survives"),
            hints=(f"Take out `survives` or `{what}`.",),
        )
    for index, variant in enumerate(service.variants):
        if variant.typical and variant.context and variant.typical > variant.context:
            yield Diagnostic(
                code="contradiction",
                detail=f"Service `{service.name}` has usual requests of {variant.typical:,} tokens "
                f"(`typical`), and the longest are of {variant.context:,} (`context`).",
                location=checked.variant_key(service, index, "typical"),
                hints=("Raise `context`, or lower `typical`.",),
            )
    n_hosts = len(hosts_of(checked.inventory, rules))
    if rules.spread == "host" and 0 < n_hosts < service.replicas and not service.optional:
        yield contradiction(
            f"wants {service.replicas} replicas on different hosts, and {n_hosts} can be selected.",
            "Lower `replicas`, write `spread: gpu`, or widen the host selector.", "spread",
        )  # fmt: skip


def _check_environment(checked: Checked, service: Service) -> Iterator[Diagnostic]:
    """Variables that select devices, folders or memory would undo what the plan decided."""
    place = ("services", service.name)
    secrets = _listed(checked, *place, "secrets")
    for problem in environment_problems(service):
        name = problem.argument
        written = ("env", name) if name in service.env else ("secrets", secrets.index(name))
        yield Diagnostic(
            code=problem.code,
            detail=f"Service `{service.name}`: {problem.detail}",
            location=checked.key(*place, *written),
            hints=(problem.hint,),
        )
    for index, name in enumerate(secrets):
        if name in service.env:
            yield Diagnostic(
                code="name-collision",
                detail=f"Service `{service.name}` has `{name}` under `env` and under `secrets`.",
                location=checked.key(*place, "secrets", index),
                hints=("Keep it under `secrets` if its value is one.",),
            )


def _check_variant(
    checked: Checked, service: Service, index: int, variant: Variant
) -> Iterator[Diagnostic]:
    if not variant.model:
        # What it lacks was said when the file was read.
        return
    missing = unlocked(checked.spec_document, service, index, checked.lock)
    yield from missing.values()
    locked = checked.lock.find(variant.model)
    if locked is None or missing:
        return
    found: list[Diagnostic] = []
    companions = companion_facts(companions_of(variant, checked.lock))
    versions = {
        host.engines[variant.engine].version
        # Without a host in reach, which is reported by itself, any version serves for the rest.
        for host in engine_hosts(checked.inventory, service, variant.engine)
        or checked.inventory.hosts
        if variant.engine in host.engines
    }
    for version in sorted(versions):
        engine = engine_of(variant.engine)
        if engine.check_version(version):
            continue
        request = request_of(service, variant, locked.facts, version, companions)
        problems = engine.check_request(request)
        found += [_argument_fault(checked, service, index, problem) for problem in problems]
    hosts = engine_hosts(checked.inventory, service, variant.engine)
    for problem in file_problems(service, variant, locked, hosts):
        found.append(_argument_fault(checked, service, index, problem))
    if variant.kv_tokens and variant.kv_tokens < (variant.context or 0):
        found.append(
            Diagnostic(
                code="contradiction",
                detail=f"Variant `{variant.name}` of service `{service.name}` guarantees "
                f"{variant.kv_tokens:,} KV tokens, fewer than one request of {variant.context:,}.",
                location=checked.variant_key(service, index, "kv_tokens"),
                hints=(f"Write `kv_tokens: {variant.context}` or more, or lower `context`.",),
            )
        )
    if not any(fault.code == "context-too-long" for fault in found):
        found += _check_context(checked, service, index, locked)
    yield from found


def _check_context(
    checked: Checked, service: Service, index: int, locked: LockedSource
) -> Iterator[Diagnostic]:
    variant = service.variants[index]
    limit = locked.facts.position_limit
    stretching = traits_of(variant.engine).stretching
    stretched = any(name.startswith(stretching) for name in variant.args)
    if variant.context and limit and variant.context > limit and not stretched:
        yield Diagnostic(
            code="context-too-long",
            detail=f"Variant `{variant.name}` of service `{service.name}` asks for "
            f"{variant.context:,} tokens; `{variant.model}` was made for {limit:,}.",
            location=checked.variant_key(service, index, "context"),
            hints=(f"Write `context: {limit}` or less.",),
        )


def _argument_fault(
    checked: Checked, service: Service, index: int, problem: ArgumentProblem
) -> Diagnostic:
    variant = service.variants[index]
    path: tuple[str, ...] = (problem.argument,)
    if problem.argument in variant.args:
        path = (variant.engine, "args", problem.argument)
    elif problem.argument in {"facts", "format", "model"}:
        path = ("model",)
    return Diagnostic(
        code=problem.code,
        detail=f"Variant `{variant.name}` of service `{service.name}`: {problem.detail}",
        location=checked.variant_key(service, index, *path),
        hints=(problem.hint,) if problem.hint else (),
    )


def _unknown_service(checked: Checked, name: str, *place: str | int) -> Iterator[Diagnostic]:
    # Names as written: a service with a fault of its own still exists.
    known = _listed(checked, "services")
    if name not in known:
        yield Diagnostic(
            code="unknown-service",
            detail=f"`{name}` is named here, and models.yaml has no such service.",
            location=checked.key(*place),
            hints=did_you_mean(name, known),
        )


def _listed(checked: Checked, *path: str | int) -> list[str]:
    """Keys of a mapping or items of a list, as the user wrote them."""
    here: object = checked.spec_document.data
    for step in path:
        here = here.get(step) if isinstance(here, dict) else None
    return [item for item in here if isinstance(item, str)] if isinstance(here, dict | list) else []


def _knows_host(checked: Checked, name: str) -> bool:
    return any(host.name == name for host in checked.inventory.hosts)


def _hosts_there_are(names: Iterable[str]) -> tuple[str, ...]:
    return (f"Hosts there are: {_list(names)}.",)


def _labels(inventory: Inventory) -> set[str]:
    return {f"{key}: {value}" for host in inventory.hosts for key, value in host.labels.items()}


def _list(names: Iterable[str]) -> str:
    shown = sorted(names)
    more = f" and {len(shown) - MAX_LISTED} more" if len(shown) > MAX_LISTED else ""
    return (", ".join(f"`{name}`" for name in shown[:MAX_LISTED]) + more) or "none"
