"""A diff as the comment of a pull request: the verdict first, and never longer than a host takes.

Where everything would be too long, parts are shortened and then left out, in a fixed order, and the
comment says which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from compiler.ir.changes import (
    STARTS_AGAIN,
    Diff,
    Impact,
    LedgerChange,
    ReplicaChange,
    ServiceChange,
)
from compiler.ir.names import folded, grouped
from compiler.ir.units import budget_mib, demand_mib
from compiler.views.diff import (
    changes_table,
    equal_changes,
    granted_otherwise,
    headline,
    ledger_table,
)
from compiler.views.effects import fleet_lines, service_lines, up_to, verdict
from compiler.views.markdown import code, escaped, table
from compiler.views.terminal import safe_text
from compiler.views.words import BAR_WIDTH, filled_marks, tenths

# GitHub takes 65,536 characters, counted in UTF-16; the rest is for what a workflow adds.
MAX_COMMENT = 60_000

# A GPU that is fuller than this leaves nothing for an estimate that is a little wrong.
_FULL_PERMILLE = 950
_SHORT = 20
_MARKER_SIGNS = re.compile(r"[^A-Za-z0-9._/-]")


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a comment, from its full form to the shortest; an empty one is left out."""

    name: str
    forms: tuple[str, ...]


def diff_comment(diff: Diff, fleet: str, *, limit: int = MAX_COMMENT) -> str:
    """The comment. `fleet` names the folder, so that each fleet of a repository has one comment.

    The last line is a marker by which a workflow finds the comment of the last run again.
    """
    parts = _parts(diff)
    taken = [0] * len(parts)
    text = _joined(diff, fleet, parts, taken)
    for position, form in _shorter(parts):
        if _utf16(text) <= limit:
            break
        taken[position] = form
        text = _joined(diff, fleet, parts, taken)
    return text


def marker(fleet: str) -> str:
    """What a workflow looks for in the comments of a pull request."""
    plain = _MARKER_SIGNS.sub(lambda match: f"%{ord(match[0]):x}", fleet)
    # Two dashes would end the comment of HTML.
    return f"<!-- modelc diff of {plain.replace('--', '-%2d')} -->"


def _joined(diff: Diff, fleet: str, parts: Sequence[_Part], taken: Sequence[int]) -> str:
    cut = [part.name for part, form in zip(parts, taken, strict=True) if form]
    blocks = [
        f"**{headline(diff)} {escaped(verdict(diff))}**",
        *(part.forms[form] for part, form in zip(parts, taken, strict=True)),
        f"Shortened here: {', '.join(cut)}. `modelc diff` shows all of it." if cut else "",
        marker(fleet),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _shorter(parts: Sequence[_Part]) -> list[tuple[int, int]]:
    """Which part goes to which form, step by step: the last parts first, form after form."""
    longest = max(len(part.forms) for part in parts)
    return [
        (position, form)
        for form in range(1, longest)
        for position in reversed(range(len(parts)))
        if form < len(parts[position].forms)
    ]


def _parts(diff: Diff) -> list[_Part]:
    changed = equal_changes(diff)
    full = [changes_table(changed)] if changed else []
    bare = [changes_table(changed, why=False)] if changed else []
    few = [changes_table(changed[:_SHORT], why=False), _more(len(changed))] if changed else []
    ledger = ledger_table(diff.ledger)
    return [
        _Part("what users notice", _lists(_noticed(diff))),
        _Part("GPUs that become full", _lists(_fuller(diff.ledger))),
        _Part("what restarts", _lists(_restarts(diff.changes))),
        _Part(
            "the fleet's own changes", _lists([f"- {escaped(x)}" for x in fleet_lines(diff.fleet)])
        ),
        _Part("services", _services(diff.services)),
        _Part("memory before and after", _bars(diff.ledger)),
        _Part(
            "all changes",
            (*(_folded(f"All changes ({len(changed)})", form) for form in (full, bare, few)), ""),
        ),
        _Part("the ledger", (_folded("VRAM", [ledger] if ledger else []), "")),
        _Part("what to do otherwise", (_OTHERWISE if diff.anything_to_do else "", "")),
    ]


_OTHERWISE = """\
<details><summary>If this is not what you wanted</summary>

- `modelc explain SERVICE` says why a service stands where it does, and what else would fit.
- `policy.freeze: [SERVICE]` in models.yaml keeps a service as it runs, and `policy.max_moves`
  bounds how many replicas move.
- `placement.host`, `gpus` and `labels` pin a service; `priority` says who comes first.

</details>"""


def _lists(lines: Sequence[str]) -> tuple[str, ...]:
    """All lines, the first ones, none."""
    short = [*lines[:_SHORT], *([f"- {_more(len(lines))}"] if len(lines) > _SHORT else [])]
    return "\n".join(lines), "\n".join(short), ""


def _more(n_all: int) -> str:
    return f"… and {n_all - _SHORT:,} more" if n_all > _SHORT else ""


def _noticed(diff: Diff) -> list[str]:
    return [
        f"- **{escaped(service.service)}**: {escaped('; '.join(lines))}"
        for service in diff.services
        if (lines := service_lines(service))
    ]


def _restarts(changes: Sequence[ReplicaChange]) -> list[str]:
    restarted = [each for each in changes if each.effect in STARTS_AGAIN]
    if not restarted:
        return []
    by_time = grouped((each.start_timeout_seconds or 0, each.replica) for each in restarted)
    told = [f"{code(folded(names))} ({up_to(seconds)})" for seconds, names in by_time.items()]
    return [f"- Restarts: {', '.join(told)}"]


def _fuller(ledger: Sequence[LedgerChange]) -> list[str]:
    """GPUs of which more is granted than before, and now nearly all."""
    full = [
        gpu
        for gpu in ledger
        if (gpu.after_bytes or 0) > (gpu.before_bytes or 0)
        and (gpu.after_bytes or 0) * 1000 > (gpu.budget_bytes or 0) * _FULL_PERMILLE
    ]
    if not full:
        return []
    return [f"- Fuller than 95 % of its budget: {code(folded([gpu.gpu for gpu in full]))}"]


def _services(services: Sequence[ServiceChange]) -> tuple[str, ...]:
    touched = [each for each in services if each.impact != "none"]
    if not touched:
        return ("",)
    rows = [
        (
            code(each.service),
            _IMPACTS[each.impact],
            _arrow(f"{each.replicas_before:,}", f"{each.replicas_after:,}"),
            _arrow(_room(each.requests_before_permille), _room(each.requests_after_permille)),
            _arrow(_tokens(each.context_before), _tokens(each.context_after)),
            _without(each),
        )
        for each in touched
    ]
    header = ("service", "what happens", "replicas", "requests that fit", "context", "without it")
    short = [*table(header, rows[:_SHORT]), "", _more(len(rows))]
    return "\n".join(table(header, rows)), "\n".join(short).rstrip(), ""


def _without(service: ServiceChange) -> str:
    if service.impact == "gone":
        return "for good"
    return "none" if service.without_seconds is None else up_to(service.without_seconds)


_IMPACTS: dict[Impact, str] = {
    "gone": "is gone",
    "interrupted": "is interrupted",
    "loses": "holds less",
    "restarts": "restarts, one replica at a time",
    "gains": "holds more",
    "new": "is new",
    "none": "",
}


def _bars(ledger: Sequence[LedgerChange]) -> tuple[str, ...]:
    """The GPUs of which more or less is granted, equal ones as one."""
    changed = granted_otherwise(ledger)
    equal = grouped(
        ((gpu.kind, gpu.budget_bytes, gpu.before_bytes, gpu.after_bytes), gpu.gpu)
        for gpu in changed
    )
    lines = []
    for (kind, budget, before, after), names in equal.items():
        name = f"{folded(names)} ({kind})"
        figures = f"{demand_mib(after or 0):,} of {budget_mib(budget or 0):,} MiB"
        lines += [safe_text(name), f"  {_bar(before, budget)} -> {_bar(after, budget)} {figures}"]
    if not lines:
        return ("",)
    fence = "`" * max(3, 1 + max(len(run) for line in lines for run in re.findall("`*", line)))
    short = [*lines[: 2 * _SHORT], _more(len(lines) // 2)]
    forms = ([fence, *filter(None, form), fence] for form in (lines, short))
    return (*map("\n".join, forms), "")


def _bar(size_bytes: int | None, budget_bytes: int | None) -> str:
    filled = filled_marks(size_bytes or 0, budget_bytes or 0)
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}]"


def _folded(title: str, blocks: Sequence[str]) -> str:
    """What is folded away until somebody clicks."""
    if not blocks:
        return ""
    body = "\n\n".join(block for block in blocks if block)
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _arrow(before: str, after: str) -> str:
    return after if before == after else f"{before} → {after}"


def _room(permille: int | None) -> str:
    return "none" if permille is None else tenths(permille)


def _tokens(context: int | None) -> str:
    return "none" if context is None else f"{context:,}"


def _utf16(text: str) -> int:
    """Length as GitHub counts: in units of UTF-16."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
