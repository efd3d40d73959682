"""Rules of review: the same six in YAML and in Rego, and what a run says of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from junitparser import JUnitXml
from regopy import Interpreter  # type: ignore[import-untyped]

from compiler.cli import run
from compiler.diff import diff
from compiler.inputs import read_review
from compiler.ir.plan import Plan, Replica, plan_text
from compiler.ir.review import Verdict
from compiler.ir.textfile import TextFile
from compiler.review import review
from compiler.views.diff import diff_json
from tests.generators.small_plans import plan, replica, share

POLICIES = Path(__file__).parent.parent / "policies"
HOSTS = {"alpha": 2, "beta": 2}
RAG = Path(__file__).parent.parent / "inventories/rag"


def judged(text: str, now: Plan, before: Plan | None = None) -> list[Verdict]:
    """How a plan fares by the rules of a file."""
    _, rules = read_review(TextFile(path="review.yaml", text=f"version: 1\n{text}\n"))
    return review(rules, now, diff(before, now))


def broken(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Those that a plan does not keep."""
    return [verdict for verdict in verdicts if not verdict.kept]


def denied(package: str, document: str) -> list[str]:
    """What the Rego rules of a package say of a document."""
    interpreter = Interpreter()
    for path in sorted(POLICIES.glob("*.rego")):
        interpreter.add_module(path.name, path.read_text(encoding="utf-8"))
    interpreter.set_input(json.loads(document))
    (found,) = json.loads(str(interpreter.query(f"data.{package}.deny")))["expressions"]
    assert isinstance(found, list)
    return found


def pinned(name: str, host: str, mib: int = 4_000, **changes: object) -> Replica:
    """A replica of a team's service."""
    fields: dict[str, object] = {"labels": {"team": "search"}}
    return replica(name, host, [share(0, mib)], **{**fields, **changes})


GOOD = [pinned("web-0", "alpha"), pinned("web-1", "beta")]

# Rule, the YAML that asks for it, replicas that break it.
OF_PLANS: list[tuple[str, str, Sequence[Replica]]] = [
    ("headroom", "headroom: 0.05", [pinned("web-0", "alpha", 22_000), pinned("web-1", "beta")]),
    (
        "pinned",
        "pinned_revisions: true",
        [pinned("web-0", "alpha", revision=None), pinned("web-1", "beta")],
    ),
    (
        "quota",
        "quota: {label: team, limits: {search: 81920MiB, chat: 163840MiB}}",
        [pinned(f"web-{n}", host, 21_000) for n, host in enumerate(["alpha", "beta"] * 2)],
    ),
    ("survives_host", "survives_host: all", [pinned("web-0", "alpha"), pinned("web-1", "alpha")]),
]


@pytest.mark.parametrize(("rule", "text", "bad"), OF_PLANS)
def test_yaml_and_rego_agree_on_a_plan(rule: str, text: str, bad: Sequence[Replica]) -> None:
    for replicas, kept in ((GOOD, True), (bad, False)):
        now = plan(HOSTS, replicas)
        assert (not broken(judged(text, now))) == kept
        told = [message for message in denied("plan", plan_text(now)) if message.startswith(rule)]
        assert (not told) == kept, told


def test_a_good_plan_breaks_no_rego_rule_at_all() -> None:
    assert denied("plan", plan_text(plan(HOSTS, GOOD))) == []


def with_images(image: str | None) -> list[Replica]:
    """Three replicas of chat."""
    return [
        replica(f"chat-{n}", host, [share(n % 2, 4_000)], image=image)
        for n, host in enumerate(["alpha", "alpha", "beta"])
    ]


@pytest.mark.parametrize(
    ("rule", "text"), [("unmoved", "unmoved: [chat]"), ("restarts", "max_restarts: 2")]
)
def test_yaml_and_rego_agree_on_a_diff(rule: str, text: str) -> None:
    before = plan(HOSTS, with_images(None))
    for image, kept in ((None, True), ("vllm:2", False)):
        now = plan(HOSTS, with_images(image))
        assert (not broken(judged(text, now, before))) == kept
        found = denied("change", diff_json(diff(before, now)))
        assert (not [message for message in found if message.startswith(rule)]) == kept


def test_as_many_restarts_as_may_be_are_kept() -> None:
    before, now = plan(HOSTS, with_images(None)), plan(HOSTS, with_images("vllm:2"))
    assert not broken(judged("max_restarts: 3", now, before))


def test_a_service_without_the_label_or_with_another_value_breaks_the_quota() -> None:
    text = "quota: {limits: {search: 81920MiB}}"
    for labels in ({}, {"team": "other"}, {"group": "search"}):
        now = plan(HOSTS, [pinned("web-0", "alpha", labels=labels)])
        assert [verdict.service for verdict in broken(judged(text, now))] == ["web"]
        assert any("web" in message for message in denied("plan", plan_text(now)))


def test_files_of_the_hosts_need_no_revision() -> None:
    for source in ("./a.gguf", "/m/a.gguf", "m/a.gguf", "~/m/a", "qwen3:8b"):
        now = plan(HOSTS, [pinned("web-0", "alpha", source=source, revision=None)])
        assert not broken(judged("pinned_revisions: true", now))
        assert not [m for m in denied("plan", plan_text(now)) if m.startswith("pinned")]


def test_a_service_that_does_not_run_survives_nothing() -> None:
    (verdict,) = broken(judged("survives_host: [gone]", plan(HOSTS, GOOD)))
    assert verdict.detail == "It does not run at all."


def test_conftest_itself_agrees(tmp_path: Path) -> None:
    conftest = shutil.which("conftest")
    if conftest is None:
        pytest.skip("conftest has no package in apt, pip or npm; the same rules ran in regopy")
    path = tmp_path / "plan.json"
    for replicas, code in ((GOOD, 0), (OF_PLANS[0][2], 1)):
        path.write_text(plan_text(plan(HOSTS, replicas)), encoding="utf-8")
        words = ["test", "--policy", str(POLICIES), "--namespace", "plan", str(path)]
        assert subprocess.run([conftest, *words], check=False).returncode == code


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example rag without a compiled plan, and the folder to run in."""
    shutil.copytree(RAG, tmp_path / "rag", ignore=shutil.ignore_patterns("compiled"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_broken_rule_writes_nothing_and_names_its_line(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "review.yaml").write_text("version: 1\nmax_restarts: 3\nsurvives_host: [llm]\n")
    assert run(["compile", "rag", "--policy", "review.yaml"]) == 1
    error = capsys.readouterr().err
    assert "error[review-rule]: The plan breaks a rule of review\n  --> review.yaml:3:1\n" in error
    assert "`survives_host`, service `llm`: All its replicas stand on rag-1." in error
    assert not (fleet / "rag/compiled").exists()


def test_kept_rules_let_the_compile_through(fleet: Path) -> None:
    (fleet / "review.yaml").write_text("version: 1\nmax_restarts: 0\nheadroom: 0\n")
    assert run(["compile", "rag", "--policy", "review.yaml"]) == 0
    assert (fleet / "rag/compiled/plan.json").exists()


def test_faults_of_the_rules_are_told_with_their_place(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "review.yaml").write_text("version: 1\nmax_restart: 3\nheadroom: 5\n")
    assert run(["compile", "rag", "--policy", "review.yaml"]) == 1
    error = capsys.readouterr().err
    assert "review.yaml:2:1" in error
    assert "Did you mean `max_restarts`?" in error
    assert "review.yaml:3:11" in error


def test_junit_of_a_failed_read_names_the_files(fleet: Path) -> None:
    (fleet / "rag/models.yaml").write_text("version: 1\nservices: {a: {modell: x/y}}\n")
    assert run(["compile", "rag", "--report", "junit=j.xml"]) == 1
    (suite,) = JUnitXml.fromfile("j.xml")
    assert suite.name == "files"
    assert suite.failures == suite.tests > 0
    assert all("rag/models.yaml:" in case.name for case in suite)


def test_the_report_is_read_by_a_reader_of_junit(fleet: Path) -> None:
    (fleet / "review.yaml").write_text("version: 1\nmax_restarts: 3\nsurvives_host: [llm]\n")
    assert run(["compile", "rag", "--policy", "review.yaml", "--report", "junit=j.xml"]) == 1
    suites = {suite.name: suite for suite in JUnitXml.fromfile("j.xml")}
    assert {name: (suite.tests, suite.failures) for name, suite in suites.items()} == {
        "fleet": (1, 0), "embed": (1, 0), "llm": (2, 1), "rerank": (1, 0),
    }  # fmt: skip
    (failed,) = (case for case in suites["llm"] if not case.is_passed)
    assert failed.name == "survives_host"
    assert failed.result[0].message == "All its replicas stand on rag-1."
