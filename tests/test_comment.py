"""The comment of a pull request: verdict first, never too long, and nothing breaks out of it."""

from __future__ import annotations

import re

import pytest

from compiler.diff import diff
from compiler.ir.changes import Diff
from compiler.ir.plan import Plan
from compiler.views.comment import MAX_COMMENT, diff_comment, marker
from tests.generators.plans import HOSTILE
from tests.generators.small_plans import plan, replica, share


def length(text: str) -> int:
    """As GitHub counts it."""
    return len(text.encode("utf-16-le")) // 2


def fleet(n_replicas: int, suffix: str = "") -> Plan:
    """Replicas of services of their own, on a GPU each, which no two of them share."""
    hosts = {f"gpu-{number}{suffix}": 1 for number in range(n_replicas)}
    return plan(
        hosts,
        [
            replica(
                f"service{number}{suffix}-0",
                host,
                [share(0, 4_000 + number)],
                argv=["/opt/engine", *(f"--flag-{k}={number}" for k in range(20))],
            )
            for number, host in enumerate(hosts)
        ],
    )


def changed(n_replicas: int, suffix: str = "") -> Diff:
    """All of them with another image: each is a change of its own, as their flags differ too."""
    before, after = fleet(n_replicas, suffix), fleet(n_replicas, suffix)
    for number, each in enumerate(after.replicas):
        argv = ["/opt/engine", *(f"--flag-{k}={number + 1}" for k in range(20))]
        after.replicas[number] = each.model_copy(update={"argv": argv, "image": f"i:{number}"})
    return diff(before, after)


def test_the_first_line_is_the_verdict_and_the_last_the_marker() -> None:
    lines = diff_comment(changed(2), "fleets/lab").splitlines()
    assert lines[0] == (
        "**Plan: 0 to create, 2 to update, 0 to move, 0 to delete, 0 kept. "
        "2 services without a replica for up to 10 min, 2 restarts.**"
    )
    assert lines[-1] == marker("fleets/lab") == "<!-- modelc diff of fleets/lab -->"


def test_a_short_one_is_whole() -> None:
    text = diff_comment(changed(2), "lab")
    assert "Shortened here" not in text
    assert "--flag-19 0 -&gt; 1" in text or "--flag-19 0 -> 1" in text


@pytest.mark.parametrize("n_replicas", [100, 200, 1_500])
def test_a_long_one_keeps_its_limit_and_says_what_it_cut(n_replicas: int) -> None:
    text = diff_comment(changed(n_replicas), "lab")
    assert length(text) <= MAX_COMMENT
    assert f"Plan: 0 to create, {n_replicas:,} to update" in text.partition("\n")[0]
    assert "Shortened here: " in text
    assert text.endswith(f"{marker('lab')}\n")


def test_parts_go_in_an_order_and_not_all_at_once() -> None:
    found = changed(40)
    whole = diff_comment(found, "lab", limit=10**9)
    lengths = []
    for limit in (length(whole) - 1, 8_000, 3_000):
        text = diff_comment(found, "lab", limit=limit)
        assert length(text) <= limit
        (cut,) = re.findall(r"Shortened here: (.*)\. `modelc diff`", text)
        lengths.append(len(cut.split(", ")))
    assert lengths == sorted(lengths)
    assert "all changes" in cut


def test_signs_beyond_the_basic_plane_count_twice() -> None:
    text = diff_comment(changed(300, "\U0001f999" * 20), "lab")
    assert length(text) <= MAX_COMMENT


def test_more_memory_than_95_percent_is_told() -> None:
    before = plan({"alpha": 1}, [replica("chat-0", "alpha", [share(0, 10_000)])])
    after = plan({"alpha": 1}, [replica("chat-0", "alpha", [share(0, 22_000)])])
    told = "Fuller than 95 % of its budget: `alpha/0`"
    assert told in diff_comment(diff(before, after), "lab")
    assert told not in diff_comment(diff(after, before), "lab")
    assert told not in diff_comment(diff(after, after), "lab")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_cannot_break_out(text: str) -> None:
    before = plan({"alpha": 1}, [replica("chat-0", "alpha", [share(0, 9_000)])])
    after = plan(
        {"alpha": 1},
        [
            replica(
                "chat-0", "alpha", [share(0, 9_000)], image=text, argv=["/opt/engine", text],
                variant=text, source=text,
            )
        ],
    )  # fmt: skip
    comment = diff_comment(diff(before, after), text)
    assert comment.count("<!--") == 1
    assert comment.count("-->") == 1
    assert comment.endswith("-->\n")
    assert not re.search(r"(?<![\w/.:])[@#]\w", re.sub(r"`[^`]*`", "", comment))
    fences = [line for line in comment.splitlines() if re.fullmatch("`{3,}", line)]
    assert len(fences) % 2 == 0


def test_two_fleets_of_a_repository_have_two_comments() -> None:
    assert marker("a/lab") != marker("b/lab")
    assert marker("a--><script>") == "<!-- modelc diff of a-%2d%3e%3cscript%3e -->"
