"""What is kept for the loss of each host: who goes where, and who would not survive it."""

from __future__ import annotations

from collections import Counter

from compiler.ir.names import grouped
from compiler.ir.plan import Plan, PlannedSpare, Replica
from compiler.views.markdown import code


def spare_lines(plan: Plan) -> list[str]:
    """A line of Markdown for each loss that is borne, and one for what would not be."""
    lines = [
        f"- If {code(lost)} is lost: {', '.join(f'{code(s.service)} on {_place(s)}' for s in of)}."
        for lost, of in grouped((spare.lost, spare) for spare in plan.spares).items()
    ]
    kept = [f"{code(place)} {mib:,} MiB" for place, mib in _kept(plan).items()]
    if kept:
        lines.append(f"- Kept free for that: {', '.join(kept)}.")
    if plan.exposed:
        names = ", ".join(map(code, plan.exposed))
        lines.append(f"- No room is kept for {names}: one more loss would not be borne.")
    return lines


def _kept(plan: Plan) -> dict[str, int]:
    """MiB of each GPU that are kept: the most that the loss of one host takes."""
    of_loss: Counter[tuple[str, str]] = Counter()
    for spare in plan.spares:
        for share in spare.shares:
            of_loss[spare.lost, f"{spare.host}/{share.gpu}"] += share.mib
    most: dict[str, int] = {}
    for (_, place), mib in of_loss.items():
        most[place] = max(most.get(place, 0), mib)
    return most


def survives_words(plan: Plan, replica: Replica) -> str | None:
    """Where a replica goes if its host is lost; None when no room is kept for it."""
    if replica.service in plan.exposed:
        return f"no room is kept for the loss of {replica.host} now"
    mine = [s for s in plan.spares if (s.lost, s.service) == (replica.host, replica.service)]
    here = [r.name for r in plan.replicas
            if (r.host, r.service) == (replica.host, replica.service)]  # fmt: skip
    if not mine:
        return None
    spare = mine[min(here.index(replica.name), len(mine) - 1)]
    variant = "" if spare.variant == replica.variant else f", as {spare.variant}"
    return f"the loss of {replica.host}: room is kept on {_plain(spare)}{variant}"


def _place(spare: PlannedSpare) -> str:
    return code(_plain(spare))


def _plain(spare: PlannedSpare) -> str:
    indices = ",".join(str(share.gpu) for share in spare.shares)
    return f"{spare.host}/{indices or 'cpu'}"
