"""Codes of the previous plan, of the placement and of what is written."""

from __future__ import annotations

from compiler.codes.code import Code

PREVIOUS = {
    "previous-corrupt": Code(
        "The previous plan is not valid",
        "compiled/plan.json was edited, cut off or merged, or a frozen service is described anew.",
        "Bring it back with git, or name the plan that runs: `--previous git:HEAD`.",
    ),
    "previous-missing": Code(
        "The previous plan cannot be found",
        "`--previous` names a file or a revision that holds no plan.",
        "Name one that does, or `none` for a fleet on which nothing runs.",
    ),
}

PLACEMENT = {
    "no-placement": Code(
        "This service fits nowhere",
        "Not even an empty fleet has a place for one replica.",
        "Take one of the changes that are proposed: each was tried, and fits.",
    ),
    "fleet-full": Code(
        "The services do not fit together",
        "Each fits alone, but not beside what comes first.",
        "Take one of the changes that are proposed, make a service `optional`, or add GPUs.",
    ),
    "left-out": Code(
        "An optional service is left out",
        "The fleet is full with what is not optional or has a higher priority.",
        "Raise its `priority`, or take one of the changes that are proposed.",
    ),
    "rules-conflict": Code(
        "These rules cannot all hold",
        "Memory would suffice, but `spread`, `apart_from`, `max_moves` or others rule it out.",
        "Loosen one of the rules that are named.",
    ),
    "frozen": Code(
        "A frozen service stays as it is",
        "`policy.freeze` holds it, though the spec wants something else by now.",
        "Take it out of `policy.freeze` when it may change.",
    ),
    "freeze-impossible": Code(
        "A frozen service cannot stay as it is",
        "Its place, model or engine is no longer there as it was.",
        "Take it out of `policy.freeze`, or undo what changed.",
    ),
    "ports-exhausted": Code(
        "No port is left on this host",
        "The range of `ports` is shorter than the replicas that stand there.",
        "Widen `ports` of the host.",
    ),
    "no-spare": Code(
        "A service would not survive the loss of a host",
        "`survives: host` keeps room for its replicas elsewhere, and there is too little of it.",
        "Make room as a hint says, add a host, or take `survives` out.",
    ),
    "spare-in-use": Code(
        "A service would not survive the loss of a host now",
        "A host or GPU is lost or drained, and what was kept for that is in use; or the service "
        "is frozen.",
        "Bring the host back, or add one: the next compile keeps room again.",
    ),
    "not-drained": Code(
        "A host that is drained is not empty yet",
        "What runs there has no other place, or `policy.max_moves` or `policy.freeze` holds it.",
        "Compile again once this plan is carried out, or make room as the hint says.",
    ),
    "host-gone": Code(
        "A host that ran something has left the inventory",
        "Its entry was taken out before it was emptied.",
        "Put it back with `state: drained`, compile, and take it out once nothing stays there.",
    ),
    "undecided": Code(
        "No plan with all that is needed was found within the budget of work",
        "What is needed fills the fleet so far that the search ended neither with a plan nor with "
        "the proof that there is none.",
        "Try `--effort high`, mark services as `optional`, or add GPUs.",
    ),
    "not-optimal": Code(
        "The plan satisfies every rule, but is not proven optimal",
        "The fleet is large or full, and the budget of work ended first.",
        "Nothing needs to be done: the message says what could at most be better. `--effort high` "
        "looks longer.",
    ),
    "assumed": Code(
        "The estimate rests on an assumption",
        "The engine's version, the card or the model is not one that was measured.",
        "Leave some room (`reserved`), or look at what the engine prints at its first start.",
    ),
}

OUTPUT = {
    "stale-output": Code(
        "The compiled files do not match the sources",
        "inventory.yaml, models.yaml or modelc.lock changed after the last compile.",
        "Run `modelc compile` and commit the result.",
    ),
    "edited-output": Code(
        "A compiled file was changed by hand",
        "Somebody edited what modelc writes.",
        "Say it in the sources instead, then run `modelc compile`; git brings the old file back.",
    ),
    "diff-unreadable": Code(
        "This is no saved diff",
        "The file is not what `modelc diff --format json` printed, or another modelc wrote it.",
        "Save the diff again with this modelc.",
    ),
    "review-rule": Code(
        "The plan breaks a rule of review",
        "The file of `--policy` asks for what this plan does not keep.",
        "Change the spec until the plan keeps it, or have the rule changed by those who own it.",
    ),
    "unsafe-path": Code(
        "This path cannot be written safely",
        "A link, a foreign file or the current folder stands where modelc would write.",
        "Move it away, or write elsewhere with `--out`.",
    ),
    "write-failed": Code(
        "The files cannot be written",
        "The disk is full or read-only, or another modelc is writing.",
        "Mend that and run it again; the old files stay as they are.",
    ),
    "internal": Code(
        "modelc contradicts itself",
        "This is a bug in modelc.",
        "Please report it with your files.",
    ),
}
