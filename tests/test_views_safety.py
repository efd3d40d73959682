"""No view lets a text act on a terminal, a pull request or a workflow, wherever it comes from."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from compiler.diagnostics import Diagnostic, Location
from compiler.diff import diff
from compiler.ir.changes import Diff
from compiler.ir.demand import Breakdown, Demand, Launch, Part
from compiler.ir.plan import Plan, Unplaced
from compiler.views.diagnostics import diagnostics_json, diagnostics_text
from compiler.views.diff import diff_json, diff_markdown, diff_text
from compiler.views.estimate import estimate_json, estimate_text
from compiler.views.explain import replica_json, replica_text
from compiler.views.markdown import code, escaped
from compiler.views.plan import plan_markdown, plan_text_view
from compiler.views.report import report_html
from compiler.views.terminal import safe_text
from tests.generators.small_plans import demand, plan, replica, share

HOSTILE = "\x1b[2J\x07x\u202ey\u200bz\n::error::\r\x9b1m|`a``b`\\|<!--@team #12"
SHOWN = r"[2Jx\u{202e}y\u{200b}z ::error:: 1m|`a``b`\|<!--@team #12"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain `text` with ünïcode", "plain `text` with ünïcode"),
        (HOSTILE, SHOWN),
        ("::warning::x", r"\u{3a}::warning::x".replace("a}::", "a}:")),
        ("  ::x", r"  \u{3a}:x"),
        ("a ##[group]", r"a \u{23}#[group]"),
        ("\ud800", r"\u{d800}"),
        ("\u3164\ufeff\u2066", r"\u{3164}\u{feff}\u{2066}"),
    ],
)
def test_text_that_a_terminal_would_act_on(text: str, expected: str) -> None:
    assert safe_text(text) == expected


def hostile_plan() -> Plan:
    """A plan as nobody writes it: every free text is hostile."""
    one = replica("x-0", "tower", [share(0, 1_000)], assumed=[HOSTILE], secrets=[HOSTILE])
    names = ("service", "variant", "engine_version", "source", "revision", "model_path")
    texts = dict.fromkeys(names, HOSTILE)
    hostile = one.model_copy(
        update={**texts, "argv": [HOSTILE, HOSTILE], "env": {HOSTILE: HOSTILE}, "image": HOSTILE}
    )
    left_out = [Unplaced(service=HOSTILE, wanted=1, placed=0)]
    return plan({"tower": 1}, [hostile], unplaced=left_out)


def hostile_faults() -> list[Diagnostic]:
    """A fault whose every free text is hostile."""
    return [
        Diagnostic(
            code="unsafe-text",
            detail=HOSTILE,
            location=Location(HOSTILE, 1, 1),
            hints=(HOSTILE,),
        )
    ]


def hostile_demand() -> Demand:
    """A demand with a hostile assumption."""
    devices = (Breakdown(kv=Part.exact(0, HOSTILE)),)
    return replace(demand(), devices=devices, assumed=(HOSTILE,))


def hostile_diff() -> Diff:
    """From a harmless plan to a hostile one."""
    return diff(plan({"tower": 1}, [replica("x-0", "tower", [share(0, 500)])]), hostile_plan())


SCREENS: list[Callable[[], str]] = [
    lambda: diff_text(hostile_diff(), color=False),
    lambda: diff_markdown(hostile_diff()),
    lambda: diff_json(hostile_diff()),
    lambda: plan_text_view(hostile_plan(), color=False),
    lambda: plan_markdown(hostile_plan()),
    lambda: report_html(hostile_plan(), None, diff(None, hostile_plan())),
    lambda: replica_text(hostile_plan(), "x-0", color=False),
    lambda: replica_json(hostile_plan(), "x-0"),
    lambda: diagnostics_text(hostile_faults(), color=False),
    lambda: diagnostics_json(hostile_faults()),
    lambda: estimate_text(hostile_demand(), Launch(argv=(HOSTILE,)), color=False),
    lambda: estimate_json(hostile_demand(), Launch(argv=(HOSTILE,))),
]


@pytest.mark.parametrize("screen", SCREENS)
def test_no_screen_acts_on_a_terminal(screen: Callable[[], str]) -> None:
    text = screen()
    assert "error" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert not re.search(r"^\s*::", text, re.MULTILINE)


@pytest.mark.parametrize("screen", [SCREENS[1], SCREENS[4]])
def test_no_markdown_calls_somebody_or_breaks_its_table(screen: Callable[[], str]) -> None:
    text = screen()
    assert "<!--" not in text
    assert "@team" not in text
    assert "#12" not in text
    cells: list[int] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            cells.clear()
            continue
        cells.append(re.sub(r"\\[^\w\u200b]", "", line).count("|"))
        assert cells[0] == cells[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat-0", "`chat-0`"),
        ("a|b", r"`a\|b`"),
        (r"a\|b", "`a\\\u200b\\|b`"),
        ("a`b", "``a`b``"),
        ("`a`", "`` `a` ``"),
        ("", "`  `"),
        ("v1@sha256:0", "`v1@sha256:0`"),
        ("@team", "`@\u200bteam`"),
        ("<!-- x", "`<!\u200b-- x`"),
    ],
)
def test_a_code_span(text: str, expected: str) -> None:
    assert code(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Runs 1 of 2.", "Runs 1 of 2."),
        ("*a* _b_ `c` [d](e) ~f~", r"\*a\* \_b\_ \`c\` \[d\](e) \~f\~"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("a|b", r"a\|b"),
        ("see #12 of @team", "see #\u200b12 of @\u200bteam"),
    ],
)
def test_escaped_text(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_no_screen_repeats_a_secret() -> None:
    key = "hf_abcdefghijklmnopqrst"
    fault = Diagnostic(code="unknown-key", detail=f"`{key}` is no key.", hints=(f"Not `{key}`?",))
    for screen in (diagnostics_text([fault], color=False), diagnostics_json([fault])):
        assert key not in screen
        assert "`(secret)` is no key." in screen
