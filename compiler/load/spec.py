"""models.yaml: the Spec that its entries stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from compiler.diagnostics import Diagnostic, Severity
from compiler.engines.registry import engine_names, traits_of, usual_engine
from compiler.ir.credentials import names_secret
from compiler.ir.document import Document
from compiler.ir.engine_name import EngineName
from compiler.ir.lock import Lock
from compiler.ir.names import natural_key
from compiler.ir.spec import Pin, PlacementRules, Policy, Service, Spec, Variant
from compiler.load.faults import validate
from compiler.load.spec_file import ServiceEntry, SpecFile, VariantEntry


def load_spec(document: Document, lock: Lock | None = None) -> tuple[Spec | None, list[Diagnostic]]:
    """The spec of a document and every fault; with errors, it holds what could be read.

    By the lock is told which engine a model is for where the spec names none.
    """
    file, faults = validate(SpecFile, document)
    if file is None:
        return None, faults
    services = []
    warnings: list[Diagnostic] = []
    for name, entry in sorted(file.services.items(), key=lambda each: natural_key(each[0])):
        faults += _entry_faults(name, entry, document)
        services.append(_service(name, entry, lock))
        warnings += _unused(entry, services[-1], document)
    # What runs on which engine is only sure in a file without errors.
    faults = faults or warnings
    policy = Policy(
        max_moves=file.policy.max_moves,
        freeze=tuple(sorted(set(file.policy.freeze))),
        consolidate=file.policy.consolidate,
        prefer=file.policy.prefer,
    )
    return Spec(services=tuple(services), policy=policy), faults


def _entry_faults(name: str, entry: ServiceEntry, document: Document) -> list[Diagnostic]:
    faults = []
    place = ("services", name)
    has_model = entry.model is not None or document.holds(*place, "model")
    for index, variant in enumerate(entry.variants or []):
        has_own = variant.model is not None or document.holds(*place, "variants", index, "model")
        if not (has_model or has_own):
            faults.append(_no_model(f"Variant `{variant.name}` of service `{name}`", document,
                                    *place, "variants", index))  # fmt: skip
        if variant.name in [other.name for other in (entry.variants or [])[:index]]:
            faults.append(
                Diagnostic(
                    code="name-collision",
                    detail=f"Service `{name}` has two variants named `{variant.name}`.",
                    location=document.value(*place, "variants", index, "name"),
                    hints=("Give each variant its own name.",),
                )
            )
    if not (has_model or document.holds(*place, "variants")):
        faults.append(_no_model(f"Service `{name}`", document, *place))
    for key, value in entry.env.items():
        if names_secret(key) and value:
            faults.append(
                Diagnostic(
                    code="secret-in-spec",
                    detail=f"Service `{name}` gives `{key}` a value under `env`.",
                    location=document.key(*place, "env", key),
                    hints=(f"Write `secrets: [{key}]`; the value stays on the host.",),
                )
            )
    return faults


def _unused(entry: ServiceEntry, service: Service, document: Document) -> Iterator[Diagnostic]:
    """A warning for what only another engine would read: it would be lost in silence."""
    running = {variant.engine for variant in service.variants}
    yield from _unused_by(entry, running, f"service `{service.name}`", document,
                          "services", service.name)  # fmt: skip
    for index, own in enumerate(entry.variants or ()):
        variant = service.variants[index]
        subject = f"variant `{variant.name}` of service `{service.name}`"
        yield from _unused_by(own, {variant.engine}, subject, document,
                              "services", service.name, "variants", index)  # fmt: skip


def _unused_by(
    entry: ServiceEntry | VariantEntry,
    running: AbstractSet[EngineName],
    subject: str,
    document: Document,
    *place: str | int,
) -> Iterator[Diagnostic]:
    for key, names in _given(entry):
        readers = [name for name in engine_names() if key in (name, *traits_of(name).keys)]
        if names and running.isdisjoint(readers):
            listed = ", ".join(f"`{name}`" for name in names)
            who = " and ".join(f"`{name}`" for name in readers)
            reads = "reads" if len(readers) == 1 else "read"
            yield Diagnostic(
                code="unused-setting",
                detail=f"Only {who} {reads} {listed}, and {subject} runs on "
                f"`{'` and `'.join(sorted(running))}`.",
                location=document.key(*place, key),
                hints=(f"Take it out, or write `engine: {readers[0]}`.",),
                severity=Severity.WARNING,
            )


def _given(entry: ServiceEntry | VariantEntry) -> Iterator[tuple[str, Sequence[str]]]:
    """Keys that only some engines read, each with the settings that are given there."""
    for name in engine_names():
        yield name, sorted(entry.args_of(name))
    yield "typical", ("typical",) if entry.typical else ()
    yield "min", ("min",) if isinstance(entry, ServiceEntry) and entry.min else ()
    # With `none` nothing is lost, and `cpu` keeps every engine from every GPU.
    yield "offload", () if entry.offload in (None, "none", "cpu") else ("offload",)


def _no_model(subject: str, document: Document, *place: str | int) -> Diagnostic:
    return Diagnostic(
        code="missing-key",
        detail=f"{subject} needs the key `model`.",
        location=document.key(*place),
        hints=("Write `model: org/repo` or `model: ./path/to/model.gguf`.",),
    )


def _service(name: str, entry: ServiceEntry, lock: Lock | None) -> Service:
    # Without a ladder there is one rung, and it is the service itself.
    entries = entry.variants or [VariantEntry(name="default")]
    rules = entry.placement
    pin = None
    if rules.pin:
        pin = Pin(host=rules.pin.host, gpus=tuple(rules.pin.gpus) if rules.pin.gpus else None)
    return Service(
        name=name,
        task=entry.task,
        replicas=entry.replicas,
        priority=entry.priority,
        optional=entry.optional,
        variants=tuple(_variant(entry, each, lock) for each in entries),
        placement=PlacementRules(
            host_labels={key: tuple(sorted(values)) for key, values in rules.hosts.items()},
            kinds=tuple(rules.gpus.kinds or ()),
            min_compute=rules.gpus.min_compute,
            tensor_parallel=tuple(sorted(set(rules.gpus.tensor_parallel or ()))),
            spread=rules.spread,
            apart_from=tuple(sorted(set(rules.apart_from))),
            pin=pin,
            exclusive=rules.exclusive,
            one_per_host={key: tuple(sorted(v)) for key, v in rules.one_per_host.items()},
        ),
        min_available=entry.min_available,
        min=entry.min,
        survives=entry.survives,
        env=dict(sorted(entry.env.items())),
        secrets=tuple(sorted(set(entry.secrets))),
        listen=entry.listen,
        labels=dict(sorted(entry.labels.items())),
    )


def _variant(service: ServiceEntry, entry: VariantEntry, lock: Lock | None) -> Variant:
    model = entry.model or service.model or ""
    locked = lock.find(model) if lock else None
    usual = usual_engine(model, locked.facts.format if locked else None)
    engine = entry.engine or service.engine or usual
    return Variant(
        name=entry.name,
        model=model,
        engine=engine,
        context=entry.context or service.context,
        concurrency=entry.concurrency or service.concurrency,
        kv_tokens=entry.kv_tokens or service.kv_tokens,
        typical=entry.typical or service.typical,
        offload=service.offload if entry.offload is None else entry.offload,
        args={**service.args_of(engine), **entry.args_of(engine)},
    )
