"""Laws of the diff, over plans that share names."""

import re

from hypothesis import given
from hypothesis import strategies as st

from compiler.diff import diff
from compiler.diff.services import IMPACTS
from compiler.ir.changes import Diff
from compiler.ir.plan import Plan
from compiler.views.diff import diff_json, diff_markdown, diff_text
from tests.generators.small_plans import plans

PAIRS = st.tuples(plans(), plans())


def names(found: Diff, action: str) -> set[str]:
    """The replicas that an action touches."""
    return {change.replica for change in found.changes if change.action == action}


@given(plans())
def test_a_plan_against_itself_is_empty(plan: Plan) -> None:
    found = diff(plan, plan)
    assert found.empty
    assert all(not change.reasons for change in found.changes)
    assert all(gpu.before_bytes == gpu.after_bytes for gpu in found.ledger)


@given(plans())
def test_without_a_previous_plan_everything_is_created(plan: Plan) -> None:
    found = diff(None, plan)
    assert found.counts.create == len(plan.replicas) == len(found.changes)
    assert names(found, "create") == {replica.name for replica in plan.replicas}


@given(PAIRS)
def test_the_counts_count_the_changes(pair: tuple[Plan, Plan]) -> None:
    found = diff(*pair)
    for action, number in found.counts.model_dump().items():
        assert number == len(names(found, action))
    either = {replica.name for plan in pair for replica in plan.replicas}
    assert sorted(change.replica for change in found.changes) == sorted(either)


@given(PAIRS)
def test_services_that_fare_worse_come_first_and_what_is_kept_last(pair: tuple[Plan, Plan]) -> None:
    found = diff(*pair)
    impacts = [IMPACTS.index(service.impact) for service in found.services]
    assert impacts == sorted(impacts)
    kept = [change.action == "keep" for change in found.changes]
    assert kept == sorted(kept)


@given(PAIRS)
def test_who_waits_names_others_that_make_room(pair: tuple[Plan, Plan]) -> None:
    before, after = ({replica.name: replica for replica in plan.replicas} for plan in pair)
    for change in diff(*pair).changes:
        assert change.replica not in change.waits_for
        assert not (change.overlaps and change.waits_for)
        for name in change.waits_for:
            assert name in before
            assert before[name] != after.get(name)


@given(PAIRS)
def test_create_and_delete_mirror_each_other(pair: tuple[Plan, Plan]) -> None:
    there, back = diff(*pair), diff(*reversed(pair))
    assert names(there, "create") == names(back, "delete")
    assert names(there, "delete") == names(back, "create")
    assert names(there, "keep") == names(back, "keep")
    assert names(there, "move") == names(back, "move")


@given(PAIRS)
def test_a_replica_is_touched_exactly_when_there_is_a_reason(pair: tuple[Plan, Plan]) -> None:
    for change in diff(*pair).changes:
        assert (change.action == "keep") == (not change.reasons)
        assert (change.before is None) == (change.action == "create")
        assert (change.after is None) == (change.action == "delete")


@given(PAIRS)
def test_a_kept_replica_is_carried_out_as_before(pair: tuple[Plan, Plan]) -> None:
    for name in names(diff(*pair), "keep"):
        before, after = pair[0].replica(name), pair[1].replica(name)
        assert (before.host, before.argv, before.env) == (after.host, after.argv, after.env)
        assert before.shares == after.shares


@given(PAIRS)
def test_the_ledger_holds_what_the_plans_grant(pair: tuple[Plan, Plan]) -> None:
    ledger = diff(*pair).ledger
    for plan, side in zip(pair, ("before_bytes", "after_bytes"), strict=True):
        granted = {gpu.gpu: getattr(gpu, side) for gpu in ledger if getattr(gpu, side) is not None}
        assert granted == {f"{gpu.host}/{gpu.gpu}": gpu.granted_bytes for gpu in plan.gpus}


@given(PAIRS)
def test_json_gives_the_diff_back(pair: tuple[Plan, Plan]) -> None:
    found = diff(*pair)
    assert Diff.model_validate_json(diff_json(found)) == found


@given(PAIRS)
def test_every_change_stands_in_every_form(pair: tuple[Plan, Plan]) -> None:
    found = diff(*pair)
    text, markdown = diff_text(found, color=False), diff_markdown(found)
    for change in found.changes:
        if change.action != "keep":
            assert change.replica in named(rf"{change.action} (.+?) (?:on|from) ", text)
            assert change.replica in named(rf"{change.action} \| `(.+?)` \|", markdown)


def named(pattern: str, text: str) -> set[str]:
    """The replicas that a pattern finds, ranges such as `chat-[0-2,5]` written out."""
    found: set[str] = set()
    for names in re.findall(pattern, text):
        for name in re.split(r", (?![0-9])", names):
            stem, _, ranges = name.partition("[")
            for part in ranges.rstrip("]").split(",") if ranges else [""]:
                first, _, last = part.partition("-")
                numbers = range(int(first), int(last or first) + 1) if first else [""]
                found |= {f"{stem}{number}" for number in numbers}
    return found
