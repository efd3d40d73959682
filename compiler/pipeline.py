"""The passes in order: from the texts of the user's files to plan, diff and artifacts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compiler.assemble.assembling import Sources, assemble
from compiler.assemble.frozen import Edited, with_frozen_anew
from compiler.diagnostics import CompileError, Diagnostic, Group, Severity, did_you_mean
from compiler.diff import diff
from compiler.emit import emit, manifest_of
from compiler.emit.ansible import FOLDER as ANSIBLE_FOLDER
from compiler.emit.ansible import emit_ansible
from compiler.emit.releases import releases_of
from compiler.emit.rendering import Templates, load_templates
from compiler.estimate import estimate
from compiler.inputs import Inputs, Loaded, errors, load
from compiler.ir.artifact import Artifact
from compiler.ir.changes import Diff
from compiler.ir.demand import Demands
from compiler.ir.document import Document
from compiler.ir.manifest import OVERVIEW_NAME, PLAN_NAME
from compiler.ir.names import folded, grouped, natural_key
from compiler.ir.placement import PlacementError, Placements
from compiler.ir.plan import Plan, digest, plan_text
from compiler.ir.progress import Effort, Reporter, Step, silent
from compiler.ir.rules import barred_replicas
from compiler.recount import objective_faults
from compiler.recount_rollout import kept_rollout_faults, rollout_faults
from compiler.rollout.waves import rollout
from compiler.states import state_warnings
from compiler.thaw import held_back
from compiler.verify import verify
from compiler.views.plan import plan_markdown
from compiler.views.words import gap_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compiler.explain.trials import Case
    from compiler.ir.whyhere import Reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """All that a compile gives."""

    plan: Plan
    diff: Diff
    artifacts: tuple[Artifact, ...]
    warnings: tuple[Diagnostic, ...]
    demands: Demands
    """What the engines said, so that an explanation does not ask again."""
    placements: Placements
    """Where all stands, with what each could have elsewhere."""


def compile_plan(
    inputs: Inputs, report: Reporter = silent, effort: Effort = "normal"
) -> Compilation:
    """The whole compile; raises CompileError with every fault that was found."""
    return _compile(load(inputs), report, effort)


def plan_for(
    inputs: Inputs, service: str, report: Reporter = silent
) -> tuple[Plan, list[Diagnostic], Reasons | None]:
    """The plan, for a look at one service, why some of its replicas are left out, and why the
    others stand where they stand.

    Raises CompileError, and says why, if all of them are left out.
    """
    loaded = load(inputs)
    compilation = _compile(loaded, report)
    plan = compilation.plan
    short = [each for each in plan.unplaced if each.service == service]
    if short:
        report(Step(stage="try what would help", item=service))
    found = [_left_out(loaded, compilation, service, each.placed) for each in short]
    if errors(found):
        raise CompileError(found)
    return plan, found, _reasons(loaded, compilation, service, report)


def _reasons(
    loaded: Loaded, compilation: Compilation, service: str, report: Reporter
) -> Reasons | None:
    """Why the replicas of a service stand where they stand; None when there are none."""
    from compiler.explain.here import reasons_of

    if not any(replica.service == service for replica in compilation.plan.replicas):
        return None
    report(Step(stage="compare with other places", item=service))
    case = _case(ready(loaded, compilation.demands), compilation.demands)
    return reasons_of(case, compilation.placements, compilation.plan, service)


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


def _compile(loaded: Loaded, report: Reporter, effort: Effort = "normal") -> Compilation:
    demands = estimate(loaded.inventory, loaded.spec, loaded.lock, loaded.previous, report)
    running = loaded.previous
    loaded = ready(loaded, demands)
    return finish(loaded, demands, _place(loaded, demands, report, effort), running, report)


def ready(loaded: Loaded, demands: Demands) -> Loaded:
    """The inputs with frozen replicas as they are to go on; raises CompileError if one cannot."""
    previous, edited = with_frozen_anew(_sources(loaded, demands))
    if edited:
        raise CompileError([_edited(each, loaded.spec_document) for each in edited])
    return replace(loaded, previous=previous)


def _sources(loaded: Loaded, demands: Demands) -> Sources:
    return Sources(
        inventory=loaded.inventory,
        spec=loaded.spec,
        lock=loaded.lock,
        previous=loaded.previous,
        demands=demands,
        digests=loaded.digests,
    )


def finish(
    loaded: Loaded,
    demands: Demands,
    placements: Placements,
    running: Plan | None,
    report: Reporter = silent,
) -> Compilation:
    """What comes after placing: the plan, checked, its diff against what runs, its artifacts."""
    report(Step(stage="assemble and check the plan"))
    plan = assemble(_sources(loaded, demands), placements)
    faults = verify(loaded.inventory, loaded.spec, plan, loaded.previous)
    faults += objective_faults(loaded.spec, plan, loaded.previous)
    _must_be_sound(faults)
    artifacts = emit(plan)
    templates = load_templates()
    releases = releases_of(plan, artifacts, templates)
    plan = plan.model_copy(update={"releases": releases})
    plan = plan.model_copy(update={"rollout": rollout(running, plan, loaded.spec)})
    if running and plan.rollout is running.rollout:
        _must_lead_here(list(kept_rollout_faults(plan)))
    else:
        _must_be_sound(list(rollout_faults(running, plan)))
    return Compilation(
        plan=plan,
        diff=diff(
            running,
            plan,
            barred=barred_replicas(loaded.previous, loaded.spec, loaded.inventory),
        ),
        artifacts=(*_overview(plan), *artifacts, *_project(plan, artifacts, templates)),
        warnings=(*loaded.warnings, *_warnings(plan, loaded, demands, running)),
        demands=demands,
        placements=placements,
    )


def _edited(found: Edited, document: Document) -> Diagnostic:
    """Why a frozen replica is not taken over."""
    changed = (
        f"If you have changed what models.yaml or inventory.yaml say of `{found.service}`, or use "
        "another modelc, which makes another command of it: take it out of `policy.freeze` for one "
        "compile, and it restarts as the diff says; or undo the change."
    )
    edited = (
        "If the plan was edited by hand, bring it back with git, or name the plan that runs: "
        "`--previous git:HEAD`."
    )
    return Diagnostic(
        code="previous-corrupt",
        detail=f"Replica `{found.replica}` is frozen, and its `{found.field}` in the previous plan "
        f"is not what the sources give: {found.why}.",
        location=document.key("policy", "freeze"),
        hints=(changed, edited),
    )


def _no_replica(plan: Plan, service: str, host: str | None) -> Diagnostic:
    """Why a plan has no replica of a service, or none on a host."""
    hosts = {ledger.host for ledger in plan.hosts}
    if host is not None and host not in hosts:
        return Diagnostic(
            code="unknown-host",
            detail=f"The plan has no host `{host}`.",
            hints=did_you_mean(host, hosts),
        )
    if elsewhere := {each.host for each in plan.replicas if each.service == service}:
        return Diagnostic(
            code="service-elsewhere",
            detail=f"The plan has no replica of `{service}` on `{host}`.",
            hints=(f"It stands on `{folded(sorted(elsewhere, key=natural_key))}`.",),
        )
    left_out = service in {each.service for each in plan.unplaced}
    known = {replica.service for replica in plan.replicas} - {service}
    return Diagnostic(
        code="unknown-service",
        detail=f"Service `{service}` is optional, and the plan leaves it out."
        if left_out
        else f"The plan has no replica of `{service}`.",
        hints=() if left_out else did_you_mean(service, known),
    )


def _place(loaded: Loaded, demands: Demands, report: Reporter, effort: Effort) -> Placements:
    from compiler.drain import place_draining
    from compiler.place.placing import How

    report(Step(stage="place the fleet"))
    previous = loaded.previous
    # What a plan says that it reached is believed of one that was made of these very inputs, and
    # only where its replicas bear it out: it may have been edited, or count what is frozen by now.
    same = (
        previous is not None
        and previous.inputs == loaded.digests
        and not any(objective_faults(loaded.spec, previous, previous))
    )
    try:
        how = How(effort=effort, same=same, report=report)
        return place_draining(loaded.inventory, loaded.spec, demands, previous, how)
    except PlacementError as error:
        from compiler.explain.words import explain

        report(Step(stage="try what would help"))
        raise CompileError(explain(_case(loaded, demands), error.conflicts)) from None


def _left_out(loaded: Loaded, compilation: Compilation, service: str, n_placed: int) -> Diagnostic:
    """Why the plan leaves out replicas of an optional service, or all of them."""
    from compiler.explain.words import explain_left_out
    from compiler.place.conflicts import insisting_on, why_left_out

    placed = Counter(replica.service for replica in compilation.plan.replicas)
    needed = insisting_on(loaded.spec, service, placed)
    conflicts = why_left_out(
        loaded.inventory, needed, compilation.demands, loaded.previous, service
    )
    # What is tried must fit beside all that is placed now; what is told is what the user wrote.
    case = replace(_case(loaded, compilation.demands), spec=needed)
    return explain_left_out(case, service, n_placed, conflicts)


def _case(loaded: Loaded, demands: Demands) -> Case:
    from compiler.explain.trials import Case

    return Case(
        inventory=loaded.inventory,
        spec=loaded.spec,
        written=loaded.spec,
        lock=loaded.lock,
        previous=loaded.previous,
        document=loaded.spec_document,
        demands=demands,
    )


def _must_lead_here(faults: list[str]) -> None:
    """A rollout that is carried over is looked at as any text that somebody may have edited."""
    if faults:
        detail = f"Its rollout does not lead to what it plans: {'; '.join(faults)}."
        hint = "Bring the plan back with git, or start afresh with `--previous none`."
        raise CompileError([Diagnostic(code="previous-corrupt", detail=detail, hints=(hint,))])


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


def _project(
    plan: Plan, artifacts: tuple[Artifact, ...], templates: Templates
) -> tuple[Artifact, ...]:
    """The playbooks that carry the plan out."""
    written = tuple(emit_ansible(plan, artifacts, templates))
    return (*written, manifest_of(f"{ANSIBLE_FOLDER}/", written))


def _warnings(
    plan: Plan, loaded: Loaded, demands: Demands, running: Plan | None
) -> Iterator[Diagnostic]:
    spec, document = loaded.spec, loaded.spec_document
    yield from _assumptions(plan, document)
    yield from held_back(loaded.inventory, spec, demands, running, document)
    yield from state_warnings(plan, spec, loaded.previous, loaded.inventory_document)
    if plan.optimality == "feasible":
        gaps = "; ".join(gap_lines(plan))
        yield Diagnostic(
            code="not-optimal",
            detail="This plan satisfies every rule, but a better one may exist. What that could "
            f"have, the most important first: {gaps}.",
            hints=("`--effort high` looks longer.",),
            severity=Severity.WARNING,
        )


def _assumptions(plan: Plan, document: Document) -> Iterator[Diagnostic]:
    """Each assumption once, with all that rest on it: one newer engine is one warning."""
    resting = grouped(
        (sentence, replica) for replica in plan.replicas for sentence in replica.assumed
    )
    for sentence, replicas in resting.items():
        services = grouped((replica.service, replica.variant) for replica in replicas)
        names = tuple(f"{name} ({', '.join(dict.fromkeys(v))})" for name, v in services.items())
        alone = f"Service `{replicas[0].service}`, variant `{replicas[0].variant}`: "
        yield Diagnostic(
            code="assumed",
            detail=sentence if len(names) > 1 else f"{alone}{sentence}",
            location=document.key("services", replicas[0].service),
            groups=(Group(title="services", names=names),) if len(names) > 1 else (),
            severity=Severity.WARNING,
        )
