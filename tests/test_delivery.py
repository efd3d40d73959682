"""What hosts answer, against the plan: outcomes, exit codes, and differences that matter or not."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from compiler.delivery.judge import Outcome, delivered, differences, exit_code, looked
from compiler.ir.plan import Plan
from compiler.ir.rollout import NO_RELEASE
from compiler.ir.spec import Policy, Spec
from compiler.rollout.waves import rollout
from tests.generators.rollouts import released
from tests.generators.small_plans import plan, replica, share

PROGRAM = Path(__file__).parents[1] / "templates/ansible/roles/modelc/files/modelc_host.py"


def one_host() -> Plan:
    """`chat-0` on host `a`, delivered from nothing."""
    found = released(plan({"a": 1}, [replica("chat-0", "a", [share(0, 8_000)])]), {})
    made = rollout(None, found, Spec(services=(), policy=Policy()))
    return found.model_copy(update={"rollout": made})


PLAN = one_host()
RELEASE = PLAN.releases[0].id


def answer(**changes: object) -> dict[str, Any]:
    """What host `a` says of itself when all is as planned."""
    state = {"active": True, "state": "active/running", "restarts": 0}
    whole: dict[str, Any] = {
        "release": RELEASE,
        "holder": None,
        "states": {"chat-0": state},
        "drift": [],
        "reload": [],
        "served": {"chat-0": ["chat"]},
    }
    return {**whole, **changes}


DOWN = {"chat-0": {"active": False, "state": "failed/failed", "restarts": 3}}


@pytest.mark.parametrize(
    ("said", "outcome", "code"),
    [
        (answer(), "unchanged", 2),
        (answer(release=NO_RELEASE, states={}), "pending", 0),
        (answer(states=DOWN), "pending", 0),
        (answer(release="0" * 16), "stale", 6),
        (answer(drift=["/etc/x is changed"]), "drift", 1),
        (answer(holder="ada"), "locked", 1),
        (None, "unreachable", 9),
    ],
)
def test_a_look_tells_what_a_delivery_would_find(
    said: dict[str, Any] | None, outcome: Outcome, code: int
) -> None:
    (found,) = looked(PLAN, ["a"], {"a": said} if said else {})
    assert found.outcome == outcome
    assert exit_code([found]) == code


@pytest.mark.parametrize(
    ("said", "gone", "outcome", "code"),
    [
        ({"outcome": "done"}, False, "done", 0),
        ({"outcome": "unchanged"}, False, "unchanged", 2),
        ({"outcome": "rolled_back", "why": "gate: chat-0 has restarted"}, False, "rolled_back", 7),
        ({"outcome": "broken"}, False, "broken", 8),
        ({"outcome": "refused", "why": "stale: it has 1"}, False, "stale", 6),
        ({"outcome": "refused", "why": "locked: ada"}, False, "locked", 1),
        ({"outcome": "refused", "why": "precondition: no disk"}, False, "refused", 1),
        ({"outcome": "begun"}, True, "unreachable", 9),
        (None, True, "unreachable", 9),
        (None, False, "stopped", 1),
    ],
)
def test_a_delivery_ends_with_the_truth(
    said: dict[str, Any] | None, gone: bool, outcome: Outcome, code: int
) -> None:
    (found,) = delivered(["a"], {"a": said} if said else {}, ["a"] if gone else [])
    assert found.outcome == outcome
    assert exit_code([found]) == code


def test_the_worst_host_decides_the_exit_code() -> None:
    answers = {"a": {"outcome": "done"}, "b": {"outcome": "rolled_back"}, "c": {"outcome": "done"}}
    assert exit_code(delivered(["a", "b", "c"], answers, [])) == 7
    assert exit_code(delivered(["a", "c"], answers, [])) == 0


@pytest.mark.parametrize(
    ("said", "matters"),
    [
        (answer(), []),
        (answer(release="0" * 16), [True]),
        (answer(drift=["/etc/x is gone"]), [True]),
        (answer(states=DOWN), [True]),
        (answer(served={"chat-0": ["other"]}), [True]),
        (answer(served={"chat-0": None}), []),
        (answer(reload=["chat-0"]), [False]),
        (answer(states={"chat-0": {"active": True, "restarts": 2}}), [False]),
    ],
)
def test_a_difference_matters_when_it_changes_what_is_served(
    said: dict[str, Any], matters: list[bool]
) -> None:
    assert [each.matters for each in differences(PLAN, {"a": said})] == matters


def test_the_program_of_hosts_is_read_by_python_3_8() -> None:
    ast.parse(PROGRAM.read_text(encoding="utf-8"), feature_version=(3, 8))
