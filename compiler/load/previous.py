"""The previous plan: compiled/plan.json as it was written, or what is wrong with it."""

from __future__ import annotations

import json

from pydantic import ValidationError

from compiler.diagnostics import Diagnostic, Location
from compiler.ir.plan import PLAN_VERSION, Plan
from compiler.ir.textfile import TextFile, conflict_line

_ANOTHER = (
    "Bring it back with git, name another one with `--previous git:HEAD`, or start afresh with "
    "`--previous none`."
)
_MERGE = (
    "Resolve the files that you write; then `modelc compile --previous git:HEAD` makes compiled/ "
    "anew, or in a merge `--previous git:MERGE_HEAD` where the plan of the other side is what runs."
)


def load_previous(file: TextFile, faults: list[Diagnostic]) -> Plan | None:
    """The plan of a text; adds to faults and gives None when it is none."""
    line = conflict_line(file.text)
    if line:
        detail = "It holds both sides of a merge, with git's conflict markers between them."
        faults.append(_corrupt(Location(file.path, line, 1), detail, _MERGE))
        return None
    try:
        document = json.loads(file.text)
    except json.JSONDecodeError as error:
        place = Location(file.path, error.lineno, error.colno)
        faults.append(_corrupt(place, f"This is not valid JSON: {error.msg}."))
        return None
    except ValueError as error:
        # A number of thousands of digits is no fault of syntax for Python.
        faults.append(_corrupt(Location(file.path, 1, 1), f"This is not valid JSON: {error}."))
        return None
    except RecursionError:
        faults.append(_corrupt(Location(file.path, 1, 1), "This is nested too deeply."))
        return None
    place = Location(file.path, 1, 1)
    version = document.get("version") if isinstance(document, dict) else None
    if version != PLAN_VERSION:
        detail = f"It has the schema version {version!r:.40}, this modelc reads {PLAN_VERSION}."
        faults.append(_corrupt(place, detail))
        return None
    # Plans of version 1 once said their gap in one number; now each objective has its own bound.
    document.pop("gap", None)
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        faults.append(_corrupt(place, f"`{where}`: {first['msg']}."))
        return None


def _corrupt(place: Location, detail: str, hint: str = _ANOTHER) -> Diagnostic:
    return Diagnostic(code="previous-corrupt", detail=detail, location=place, hints=(hint,))
