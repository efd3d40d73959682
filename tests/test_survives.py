"""`survives: host` from the spec to the plan: kept, told, checked, and used when a host is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from compiler.cli import run
from compiler.ir.outcome import Loss
from compiler.ir.plan import Plan
from compiler.load.inventory import load_inventory
from compiler.load.spec import load_spec
from compiler.load.yamltext import parse_yaml
from compiler.place.surviving import place_surviving
from compiler.verify import verify
from tests.generators.fleets import TinyFleet, TinyService

LOCK = Path(__file__).parent / "golden" / "optional-left-out" / "modelc.lock"
INVENTORY = """\
version: 1
defaults: {ram: 64GiB, engines: {vllm: {version: 0.33.0}}}
hosts:
  gpu-[1-3]: {gpus: {kind: rtx-4090, count: 2}}
"""
MODELS = """\
version: 1
services:
  chat: {model: Qwen/Qwen3-8B, context: 8192, replicas: 3, priority: 90, survives: host}
  extra: {model: Qwen/Qwen3-8B, context: 8192, replicas: 3, optional: true, priority: 10}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six RTX 4090, each of which holds one replica."""
    shutil.copy(LOCK, tmp_path)
    (tmp_path / "inventory.yaml").write_text(INVENTORY, "utf-8")
    (tmp_path / "models.yaml").write_text(MODELS, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(folder: Path) -> Plan:
    return Plan.model_validate_json((folder / "compiled/plan.json").read_text("utf-8"))


def losses(capsys: pytest.CaptureFixture[str]) -> list[Loss]:
    capsys.readouterr()
    assert run(["whatif", "--n-1", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["losses"]
    return [Loss.model_validate(each) for each in found]


def test_optional_services_give_way_to_the_spare_room(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compile"]) == 0
    made = plan(folder)
    assert {r.service for r in made.replicas} == {"chat", "extra"}
    assert [each.placed for each in made.unplaced] == [1]
    assert {spare.lost for spare in made.spares} == {
        replica.host for replica in made.replicas if replica.service == "chat"
    }
    assert "## Spare room" in (folder / "compiled/PLAN.md").read_text("utf-8")
    assert all(not loss.short for loss in losses(capsys))


@pytest.mark.usefixtures("folder")
def test_a_second_compile_changes_nothing() -> None:
    assert run(["compile"]) == 0
    assert run(["compile", "--check"]) == 0


def test_a_lost_host_is_borne_in_the_room_that_was_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compile"]) == 0
    before = plan(folder)
    text = INVENTORY.replace("gpu-[1-3]", "gpu-[1-2]")
    (folder / "inventory.yaml").write_text(text, "utf-8")
    capsys.readouterr()
    assert run(["compile"]) == 0
    shown = capsys.readouterr().err
    assert "warning[spare-in-use]" in shown
    after = plan(folder)
    assert after.exposed == ["chat"]
    here = {r.host for r in after.replicas if r.service == "chat"}
    assert here == {"gpu-1", "gpu-2"}
    stayed = {(r.name, r.host) for r in before.replicas if r.host != "gpu-3"}
    assert stayed <= {(r.name, r.host) for r in after.replicas}
    # It stays a warning until there is room again.
    assert run(["compile"]) == 0
    assert plan(folder).exposed == ["chat"]
    (folder / "inventory.yaml").write_text(INVENTORY, "utf-8")
    assert run(["compile"]) == 0
    assert plan(folder).exposed == []
    assert all(not loss.short for loss in losses(capsys))


@pytest.mark.usefixtures("folder")
def test_too_little_room_is_told_with_what_would_help(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "models.yaml").write_text(MODELS.replace("replicas: 3, pri", "replicas: 5, pri"))
    assert run(["compile"]) == 1
    shown = capsys.readouterr().err
    assert "error[no-spare]" in shown
    assert "If `gpu-1` were lost" in shown
    assert "hint: Lower `replicas` of `chat` to 4." in shown
    assert "hint: Take `survives` out of `chat`: all others keep theirs." in shown
    (folder / "models.yaml").write_text(MODELS.replace("replicas: 3, pri", "replicas: 4, pri"))
    assert run(["compile"]) == 0


@pytest.mark.parametrize("rule", ["pin: {host: gpu-1}", "one_per_host: {name: [gpu-1, gpu-2]}"])
def test_what_may_stand_nowhere_else_cannot_survive(
    folder: Path, capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    (folder / "models.yaml").write_text(
        "version: 1\nservices:\n  chat:\n    model: Qwen/Qwen3-8B\n    survives: host\n"
        f"    placement: {{{rule}}}\n"
    )
    assert run(["compile"]) == 1
    shown = capsys.readouterr().err
    assert "error[contradiction]" in shown
    assert "models.yaml:5:5" in shown


CHANGES: dict[str, dict[str, Any]] = {
    "spares for its loss": {"spares": []},
    "which is not to survive anything": {"exposed": ["extra"]},
}


@pytest.mark.parametrize("fault", CHANGES)
def test_a_plan_that_keeps_too_little_does_not_pass_its_recount(folder: Path, fault: str) -> None:
    assert faults_of(folder, CHANGES[fault], fault)


def test_a_spare_on_the_host_that_is_lost_is_none(folder: Path) -> None:
    assert run(["compile"]) == 0
    first, *others = plan(folder).spares
    moved = first.model_copy(update={"host": first.lost})
    assert faults_of(folder, {"spares": [moved, *others]}, "where it cannot be")


def test_a_spare_on_memory_that_is_taken_is_none(folder: Path) -> None:
    assert run(["compile"]) == 0
    made = plan(folder)
    first, *others = made.spares
    taken = next(r for r in made.replicas if r.host != first.lost)
    shares = [first.shares[0].model_copy(update={"gpu": taken.shares[0].gpu})]
    moved = first.model_copy(update={"host": taken.host, "shares": shares})
    assert faults_of(folder, {"spares": [moved, *others]}, "more than its budget")


def faults_of(folder: Path, change: dict[str, Any], expected: str) -> bool:
    """Whether the recount of a changed plan finds what is expected."""
    assert run(["compile"]) == 0
    made = plan(folder)
    inventory, _ = load_inventory(parse_yaml("inventory.yaml", INVENTORY))
    spec, _ = load_spec(parse_yaml("models.yaml", MODELS))
    assert inventory is not None
    assert spec is not None
    assert not verify(inventory, spec, made, None)
    found = verify(inventory, spec, made.model_copy(update=change), None)
    return any(expected in fault for fault in found)


def test_a_fleet_too_large_for_one_program_keeps_room_as_well() -> None:
    """30 hosts, full with optional services but for the room of one that is lost."""
    needed = TinyService(name="a", variants=({1: 6},), replicas=10, survives=True, priority=90)
    filling = TinyService(name="z", variants=({1: 4},), replicas=60, optional=True, priority=10)
    fleet = TinyFleet(hosts={f"h{n:02}": (10,) for n in range(30)}, services=(needed, filling))
    answer = place_surviving(fleet.inventory(), fleet.spec(), fleet.demands(), None)
    placed = [each for each in answer.chosen if each.service == "z"]
    # Without the rule 50 would stand there.
    assert 47 <= len(placed) <= 49
    stood = {each.host for each in answer.chosen if each.service == "a"}
    assert {spare.lost for spare in answer.spares} == stood
    for spare in answer.spares:
        there = [e for e in answer.chosen if e.host == spare.host]
        assert 6 + sum(6 if e.service == "a" else 4 for e in there) <= 10
        assert spare.host != spare.lost
