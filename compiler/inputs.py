"""The user's files as typed and checked records, with every fault of all of them at once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from compiler.check import Checked, check
from compiler.diagnostics import CompileError, Diagnostic, Location, Severity
from compiler.ir.catalog import builtin_kinds
from compiler.ir.changes import FORMAT_VERSION, Diff
from compiler.ir.document import Document
from compiler.ir.inventory import GpuKind, Inventory
from compiler.ir.lock import Lock, LockConflictError, LockVersionError, lock_text, read_lock_text
from compiler.ir.plan import InputDigests, Plan, digest
from compiler.ir.review import ReviewRules
from compiler.ir.rules import with_daemons, with_freeze_of_what_runs
from compiler.ir.spec import Spec
from compiler.load.inventory import load_inventory, load_kinds
from compiler.load.previous import load_previous
from compiler.load.review import load_review
from compiler.load.spec import load_spec
from compiler.load.yamltext import PlainFloat, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from compiler.ir.textfile import TextFile

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
    inventory_document: Document
    digests: InputDigests
    warnings: tuple[Diagnostic, ...]
    """What is wrong with the files and stops nothing."""


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
    spec = _typed(partial(load_spec, lock=lock), spec_document, faults)
    if spec and inventory:
        spec = with_daemons(spec, inventory)
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
    if errors(faults) or not (inventory and spec and lock and inventory_document and spec_document):
        raise CompileError(faults)
    digests = InputDigests(
        inventory=_content_digest(inventory_document),
        spec=_content_digest(spec_document),
        lock=digest(lock_text(lock)),
    )
    return Loaded(
        inventory=inventory,
        spec=with_freeze_of_what_runs(spec, previous),
        lock=lock,
        previous=previous,
        spec_document=spec_document,
        inventory_document=inventory_document,
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


def read_diff(file: TextFile) -> Diff:
    """A diff that was saved as JSON; raises CompileError when it is none of this version."""
    try:
        found = Diff.model_validate_json(file.text)
    except ValidationError:
        found = None
    if found is None or found.format_version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
        raise CompileError(
            [
                Diagnostic(
                    code="diff-unreadable",
                    detail=f"`{file.path}` is no diff of format {FORMAT_VERSION}.",
                    location=Location(file.path, 1, 1),
                )
            ]
        )
    return found


def read_lock(file: TextFile) -> Lock:
    """The lock of a text; raises CompileError when it is none."""
    faults: list[Diagnostic] = []
    lock = _locked(file, faults)
    if lock is None:
        raise CompileError(faults)
    return lock


def read_spec(text: TextFile, lock: Lock | None = None) -> tuple[Document, Spec]:
    """A spec alone, with its places; raises CompileError with every fault."""
    document = parse_yaml(text.path, text.text)
    spec, faults = load_spec(document, lock)
    if errors(faults) or spec is None:
        raise CompileError(faults)
    return document, spec


def read_review(text: TextFile) -> tuple[Document, ReviewRules]:
    """Rules of review with their places; raises CompileError with every fault."""
    document = parse_yaml(text.path, text.text)
    rules, faults = load_review(document)
    if errors(faults) or rules is None:
        raise CompileError(faults)
    return document, rules


def gpu_kinds(inventory: TextFile | None) -> list[GpuKind]:
    """Every GPU kind that an inventory may name, the catalog's order before the user's own."""
    if inventory is None:
        return list(builtin_kinds().values())
    return list(load_kinds(parse_yaml(inventory.path, inventory.text)).values())


def errors(faults: list[Diagnostic]) -> list[Diagnostic]:
    """Those that stop a compile; warnings do not."""
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
