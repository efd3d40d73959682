"""Objectives that were tampered with in any one way are found out; as compiled they are sound."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from compiler.inputs import Inputs, load
from compiler.ir.plan import Plan
from compiler.ir.spec import Spec
from compiler.pipeline import compile_plan
from compiler.recount import objective_faults
from compiler.workspace import read_text

ROOT = Path(__file__).parents[1]
RAG = "inventories/rag"

Document = dict[str, Any]


@cache
def compiled(folder: str) -> tuple[Spec, Plan]:
    """The spec and the plan of a bundled fleet."""
    texts = [read_text(ROOT / folder / name) for name in ("inventory.yaml", "models.yaml")]
    lock = read_text(ROOT / folder / "modelc.lock")
    inputs = Inputs(inventory=texts[0], spec=texts[1], lock=lock, previous=None)
    return load(inputs).spec, compile_plan(inputs).plan


def objective(document: Document, name: str) -> Document:
    """The first objective of a name."""
    found: Document = next(each for each in document["objectives"] if each["name"] == name)
    return found


def more_placed(document: Document) -> None:
    objective(document, "coverage")["reached"] += 1


def bound_below_what_is_placed(document: Document) -> None:
    objective(document, "coverage")["bound"] = 0


def bound_above_what_is_wanted(document: Document) -> None:
    objective(document, "coverage")["bound"] = 99


def a_rung_less_given_up(document: Document) -> None:
    for each in document["objectives"]:
        if each["name"] == "rungs" and each["reached"]:
            each["reached"] = each["bound"] = 0


def fewer_points(document: Document) -> None:
    """Half of a cache is gone, and the points are those of before."""
    for replica in document["replicas"]:
        for share in replica["shares"]:
            share["breakdown"]["kv"]["bytes"] //= 4


def more_points(document: Document) -> None:
    objective(document, "room")["reached"] += 1


def bound_of_room_above_it(document: Document) -> None:
    objective(document, "room")["bound"] += 1


def fewer_gpus(document: Document) -> None:
    told = objective(document, "gpus")
    told["reached"] -= 2
    told["bound"] -= 2


def an_objective_less(document: Document) -> None:
    document["objectives"].pop()


def another_order(document: Document) -> None:
    document["objectives"].reverse()


def not_proven_and_called_so(document: Document) -> None:
    objective(document, "gpus")["bound"] -= 2


def proven_and_not_called_so(document: Document) -> None:
    document["optimality"] = "feasible"


def another_way(document: Document) -> None:
    """A replica runs another variant than the rungs were counted by."""
    document["replicas"][1]["variant"] = "bf16"


CHANGES = (
    more_placed, bound_below_what_is_placed, bound_above_what_is_wanted, a_rung_less_given_up,
    fewer_points, more_points, bound_of_room_above_it, fewer_gpus, an_objective_less,
    another_order, not_proven_and_called_so, proven_and_not_called_so, another_way,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_of_what_was_reached_is_found(change: Callable[[Document], None]) -> None:
    spec, plan = compiled(RAG)
    assert list(objective_faults(spec, plan, None)) == []
    document = plan.model_dump()
    change(document)
    changed = Plan.model_validate(document)
    assert changed != plan
    assert list(objective_faults(spec, changed, None))
