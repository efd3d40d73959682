"""The passes in order: from the texts of the user's files to plan, diff and artifacts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from compiler.assemble.assembling import Sources, assemble
from compiler.check import Checked, check, unlocked
from compiler.diagnostics import CompileError, Diagnostic, Location, Severity, did_you_mean
from compiler.diff import diff
from compiler.emit import emit, manifest_of
from compiler.engines.companions import sources_of
from compiler.estimate import estimate
from compiler.ir.artifact import Artifact
from compiler.ir.catalog import builtin_kinds
from compiler.ir.changes import Diff
from compiler.ir.demand import Demands
from compiler.ir.document import Document
from compiler.ir.inventory import GpuKind, Inventory
from compiler.ir.lock import (
    Lock,
    LockConflictError,
    LockVersionError,
    lock_text,
    read_lock_text,
)
from compiler.ir.manifest import OVERVIEW_NAME, PLAN_NAME
from compiler.ir.placement import PlacementError, Placements
from compiler.ir.plan import InputDigests, Plan, digest, plan_text
from compiler.ir.rules import barred_replicas
from compiler.ir.spec import Service, Spec
from compiler.load.inventory import load_inventory, load_kinds
from compiler.load.previous import load_previous
from compiler.load.spec import load_spec
from compiler.load.yamltext import PlainFloat, parse_yaml
from compiler.verify import verify
from compiler.views.plan import plan_markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from compiler.ir.textfile import TextFile
    from compiler.place.hints import Case

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The texts that a compile reads; nothing else decides its result.

    A text is missing only when `unreadable` says why, so that the faults of the others can be told
    with it.
    """

    inventory: TextFile | None
    spec: TextFile | None
    lock: TextFile | None
    previous: TextFile | None
    unreadable: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The inputs as typed records, checked."""

    inventory: Inventory
    spec: Spec
    lock: Lock
    previous: Plan | None
    spec_document: Document
    digests: InputDigests
    warnings: tuple[Diagnostic, ...]
    """What is wrong with the files and stops nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """All that a compile gives."""

    plan: Plan
    diff: Diff
    artifacts: tuple[Artifact, ...]
    warnings: tuple[Diagnostic, ...]


def compile_plan(inputs: Inputs) -> Compilation:
    """The whole compile; raises CompileError with every fault that was found."""
    return _compile(load(inputs))


def plan_for(inputs: Inputs, service: str) -> tuple[Plan, list[Diagnostic]]:
    """The plan, for a look at one service, and why some of its replicas are left out.

    Raises CompileError, and says why, if all of them are.
    """
    loaded = load(inputs)
    plan = _compile(loaded).plan
    short = [each for each in plan.unplaced if each.service == service]
    found = [_left_out(loaded, plan, service, each.placed) for each in short]
    if _errors(found):
        raise CompileError(found)
    return plan, found


def _compile(loaded: Loaded) -> Compilation:
    demands = estimate(loaded.inventory, loaded.spec, loaded.lock, loaded.previous)
    placements = _place(loaded, demands)
    plan = assemble(
        Sources(
            inventory=loaded.inventory,
            spec=loaded.spec,
            lock=loaded.lock,
            previous=loaded.previous,
            demands=demands,
            digests=loaded.digests,
        ),
        placements,
    )
    _must_be_sound(verify(loaded.inventory, loaded.spec, plan, loaded.previous))
    return Compilation(
        plan=plan,
        diff=diff(
            loaded.previous,
            plan,
            barred=barred_replicas(loaded.previous, loaded.spec, loaded.inventory),
        ),
        artifacts=(*_overview(plan), *emit(plan)),
        warnings=(*loaded.warnings, *_warnings(plan, loaded.spec, loaded.spec_document)),
    )


def load(inputs: Inputs) -> Loaded:
    """The inputs, read and checked; raises CompileError with the faults of all files together."""
    faults = list(inputs.unreadable)
    inventory_document = _parsed(inputs.inventory, faults)
    spec_document = _parsed(inputs.spec, faults)
    lock = _locked(inputs.lock, faults) if inputs.lock else None
    previous = load_previous(inputs.previous, faults) if inputs.previous else None
    n_before = len(faults)
    inventory = _typed(load_inventory, inventory_document, faults)
    inventory_faults = faults[n_before:]
    spec = _typed(load_spec, spec_document, faults)
    if inventory and spec and inventory_document and spec_document:
        checked = Checked(
            inventory=inventory,
            spec=spec,
            lock=lock or Lock(sources=[]),
            inventory_document=inventory_document,
            spec_document=spec_document,
        )
        hidden = _hidden_codes(inventory_document, inventory_faults, lock)
        faults += [fault for fault in check(checked) if fault.code not in hidden]
    if _errors(faults) or not (
        inventory and spec and lock and inventory_document and spec_document
    ):
        raise CompileError(faults)
    digests = InputDigests(
        inventory=_content_digest(inventory_document),
        spec=_content_digest(spec_document),
        lock=digest(lock_text(lock)),
    )
    return Loaded(
        inventory=inventory,
        spec=spec,
        lock=lock,
        previous=previous,
        spec_document=spec_document,
        digests=digests,
        warnings=tuple(faults),
    )


def read_plan(file: TextFile) -> Plan:
    """The plan of a text; raises CompileError when it is none."""
    faults: list[Diagnostic] = []
    plan = load_previous(file, faults)
    if plan is None:
        raise CompileError(faults)
    return plan


def read_lock(file: TextFile) -> Lock:
    """The lock of a text; raises CompileError when it is none."""
    faults: list[Diagnostic] = []
    lock = _locked(file, faults)
    if lock is None:
        raise CompileError(faults)
    return lock


def unlocked_sources(text: TextFile, lock: TextFile | None) -> list[Diagnostic]:
    """The sources of a spec that the lock does not have, each a diagnostic."""
    known = read_lock(lock) if lock else Lock(sources=[])
    document, spec = _read_spec(text)
    found: dict[str, Diagnostic] = {}
    for service in spec.services:
        for index in range(len(service.variants)):
            found = unlocked(document, service, index, known) | found
    return list(found.values())


def replicas_of(plan: Plan, service: str, host: str | None) -> list[str]:
    """Names of a service's replicas; raises CompileError when there is none to be found."""
    names = [
        replica.name
        for replica in plan.replicas
        if replica.service == service and host in (None, replica.host)
    ]
    if not names:
        raise CompileError([_no_replica(plan, service, host)])
    return names


def _no_replica(plan: Plan, service: str, host: str | None) -> Diagnostic:
    """Why a plan has no replica of a service, or none on a host."""
    hosts = {ledger.host for ledger in plan.hosts}
    if host is not None and host not in hosts:
        return Diagnostic(
            code="unknown-host",
            detail=f"The plan has no host `{host}`.",
            hints=did_you_mean(host, hosts),
        )
    left_out = service in {each.service for each in plan.unplaced}
    known = {replica.service for replica in plan.replicas} - {service}
    return Diagnostic(
        code="unknown-service",
        detail=f"Service `{service}` is optional, and the plan leaves it out."
        if left_out
        else f"The plan has no replica of `{service}`{f' on `{host}`' if host else ''}.",
        hints=() if left_out else did_you_mean(service, known),
    )


def gpu_kinds(inventory: TextFile | None) -> list[GpuKind]:
    """Every GPU kind that an inventory may name, the catalog's order before the user's own."""
    if inventory is None:
        return list(builtin_kinds().values())
    return list(load_kinds(parse_yaml(inventory.path, inventory.text)).values())


def spec_sources(text: TextFile) -> dict[str, Location]:
    """The model sources of a spec for `modelc lock`, sorted, each with the first place of its name.

    Raises CompileError with every fault.
    """
    document, spec = _read_spec(text)
    found: dict[str, Diagnostic] = {}
    for service in spec.services:
        for index in range(len(service.variants)):
            found = unlocked(document, service, index, Lock(sources=[])) | found
    return {source: each.location for source, each in sorted(found.items()) if each.location}


def updated_sources(text: TextFile, names: tuple[str, ...]) -> frozenset[str]:
    """The sources that names of services or sources stand for; CompileError for unknown names."""
    _, spec = _read_spec(text)
    by_name = {service.name: _sources(service) for service in spec.services}
    known = {source: frozenset({source}) for sources in by_name.values() for source in sources}
    known.update(by_name)
    faults = [
        Diagnostic(
            code="unknown-service",
            detail=f"`{name}` is neither a service nor a model source of `{text.path}`.",
            hints=did_you_mean(name, known),
        )
        for name in names
        if name not in known
    ]
    if faults:
        raise CompileError(faults)
    return frozenset().union(*(known[name] for name in names))


def _sources(service: Service) -> frozenset[str]:
    """Every source that a service names: models, and what its arguments name beside them."""
    return frozenset(source for v in service.variants for _, source in sources_of(v))


def _read_spec(text: TextFile) -> tuple[Document, Spec]:
    document = parse_yaml(text.path, text.text)
    spec, faults = load_spec(document)
    if _errors(faults) or spec is None:
        raise CompileError(faults)
    return document, spec


def _errors(faults: list[Diagnostic]) -> list[Diagnostic]:
    return [fault for fault in faults if fault.severity is Severity.ERROR]


def _hidden_codes(
    document: Document, faults: list[Diagnostic], lock: Lock | None
) -> frozenset[str]:
    """Codes that would only follow from other faults: hosts, GPUs or a lock that were not read."""
    lost = bool(faults) and _hides_gpus(document, faults)
    reach = {"unknown-gpu", "unknown-gpu-kind", "unknown-host", "selector-empty", "engine-missing"}
    return frozenset((reach if lost else set()) | (set() if lock else {"lock-missing"}))


def _hides_gpus(document: Document, faults: list[Diagnostic]) -> bool:
    """Whether hosts or GPUs are missing from what was read of the inventory."""
    of_gpus = {
        place
        for places in (document.keys, document.values)
        for path, place in places.items()
        if "gpus" in path
    }
    return any(
        fault.code in {"bad-range", "duplicate-key", "host-collision", "unknown-gpu-kind"}
        or (fault.location and (fault.location.line, fault.location.column) in of_gpus)
        for fault in faults
    )


def _parsed(file: TextFile | None, faults: list[Diagnostic]) -> Document | None:
    if file is None:
        return None
    try:
        return parse_yaml(file.path, file.text)
    except CompileError as error:
        faults += error.diagnostics
        return None


def _typed(
    load_one: Callable[[Document], tuple[Value | None, list[Diagnostic]]],
    document: Document | None,
    faults: list[Diagnostic],
) -> Value | None:
    if document is None:
        return None
    value, found = load_one(document)
    faults += found
    return value


def _locked(file: TextFile, faults: list[Diagnostic]) -> Lock | None:
    hint = "Bring it back with git, or delete it and run `modelc lock`."
    place = Location(file.path, 1, 1)
    try:
        return read_lock_text(file.text)
    except LockVersionError as error:
        hint = "Delete it and run `modelc lock`, or install the modelc that wrote it."
        faults.append(
            Diagnostic(code="lock-version", detail=f"{error}.", location=place, hints=(hint,))
        )
    except LockConflictError as error:
        hint = f"Take either side (`git checkout --ours {file.path}`), then run `modelc lock`."
        place = Location(file.path, error.line, 1)
        faults.append(
            Diagnostic(code="lock-corrupt", detail=f"{error}.", location=place, hints=(hint,))
        )
    except ValueError as error:
        faults.append(
            Diagnostic(code="lock-corrupt", detail=f"{error}.", location=place, hints=(hint,))
        )
    return None


def _content_digest(document: Document) -> str:
    """Of the data: a comment in YAML changes no plan, but `0.10` is not `0.1`."""
    return digest(json.dumps(_as_written(document.data), sort_keys=True, ensure_ascii=True))


def _as_written(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_written(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_written(each) for each in value]
    return f"float {value.text}" if isinstance(value, PlainFloat) else value


def _place(loaded: Loaded, demands: Demands) -> Placements:
    from compiler.place.explain import explain
    from compiler.place.placing import place

    try:
        return place(loaded.inventory, loaded.spec, demands, loaded.previous)
    except PlacementError as error:
        raise CompileError(explain(_case(loaded), error.conflicts)) from None


def _left_out(loaded: Loaded, plan: Plan, service: str, n_placed: int) -> Diagnostic:
    """Why the plan leaves out replicas of an optional service, or all of them."""
    from compiler.place.conflicts import insisting_on, why_left_out
    from compiler.place.explain import explain_left_out

    placed = Counter(replica.service for replica in plan.replicas)
    needed = replace(loaded, spec=insisting_on(loaded.spec, service, placed))
    demands = estimate(needed.inventory, needed.spec, needed.lock, needed.previous)
    conflicts = why_left_out(needed.inventory, needed.spec, demands, needed.previous, service)
    # What is tried must fit beside all that is placed now; what is told is what the user wrote.
    case = replace(_case(needed), spec=loaded.spec)
    return explain_left_out(case, service, n_placed, conflicts)


def _case(loaded: Loaded) -> Case:
    from compiler.trials import Trials

    trials = Trials(
        inventory=loaded.inventory,
        spec=loaded.spec,
        lock=loaded.lock,
        previous=loaded.previous,
        document=loaded.spec_document,
    )
    return trials.case()


def _must_be_sound(faults: list[str]) -> None:
    if faults:
        raise CompileError(
            [
                Diagnostic(
                    code="internal",
                    detail=f"The plan does not pass its own recount: {fault}.",
                    hints=("This is a bug in modelc; please report it with your files.",),
                )
                for fault in faults
            ]
        )


def _overview(plan: Plan) -> tuple[Artifact, ...]:
    """The plan itself, for the next compile and for people."""
    texts = {PLAN_NAME: plan_text(plan), OVERVIEW_NAME: plan_markdown(plan)}
    written = tuple(
        Artifact(path=path, text=text, semantic_digest=digest(text)) for path, text in texts.items()
    )
    return (*written, manifest_of("", written))


def _warnings(plan: Plan, spec: Spec, document: Document) -> tuple[Diagnostic, ...]:
    found: dict[tuple[str, str], Diagnostic] = {}
    for replica in plan.replicas:
        for sentence in replica.assumed:
            found.setdefault(
                (replica.service, sentence),
                Diagnostic(
                    code="assumed",
                    detail=f"Service `{replica.service}`, variant `{replica.variant}`: {sentence}",
                    location=document.key("services", replica.service),
                    severity=Severity.WARNING,
                ),
            )
    for service in spec.services:
        n_frozen = sum(1 for replica in plan.replicas if replica.service == service.name)
        if service.name in spec.policy.freeze and 0 < n_frozen != service.replicas:
            found[service.name, ""] = Diagnostic(
                code="frozen",
                detail=f"Service `{service.name}` is frozen with {n_frozen} replicas; the "
                f"{service.replicas} that the spec wants, and all else it says, wait for the thaw.",
                location=document.key("policy", "freeze"),
                severity=Severity.WARNING,
            )
    if plan.optimality != "optimal":
        found["", ""] = Diagnostic(
            code="not-optimal",
            detail=f"A plan that is better by up to {plan.gap} in its first unproven objective may "
            "exist; this one satisfies every rule.",
            severity=Severity.WARNING,
        )
    return tuple(found.values())
