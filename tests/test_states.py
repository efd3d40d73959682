"""States of hosts and GPUs: what is drained is emptied, what is broken is left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from compiler.cli import run
from compiler.diff.reasons import place_of
from compiler.ir.plan import Plan

CASE = Path(__file__).parent / "golden" / "optional-left-out"
DEFAULTS = "version: 1\ndefaults: {ram: 64GiB, engines: {vllm: {version: 0.33.0}}}\n"
UUID = "GPU-11111111-2222-3333-4444-555555555555"


class Fleet:
    """A folder whose two files are rewritten between compiles."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.err = ""
        self.out = ""

    def write(self, hosts: str, service: str = "", *, policy: str = "", more: str = "") -> None:
        """One service of one 8B model with these keys, on these hosts."""
        (self.folder / "inventory.yaml").write_text(f"{DEFAULTS}hosts:\n{hosts}\n{more}\n", "utf-8")
        services = f"  chat: {{model: Qwen/Qwen3-8B, context: 8192, {service}}}\n"
        text = f"version: 1\nservices:\n{services}{policy}\n"
        (self.folder / "models.yaml").write_text(text, "utf-8")

    def compile(self, code: int = 0) -> None:
        """Compiles, and keeps what was printed."""
        assert run(["compile"]) == code
        captured = self.capsys.readouterr()
        self.out, self.err = captured.out, captured.err

    @property
    def places(self) -> list[str]:
        """Where the replicas stand."""
        plan = Plan.model_validate_json((self.folder / "compiled/plan.json").read_text("utf-8"))
        return [place_of(replica) for replica in plan.replicas]

    @property
    def plan(self) -> dict[str, list[dict[str, str]]]:
        """What compiled/plan.json says."""
        path = self.folder / "compiled/plan.json"
        found: dict[str, list[dict[str, str]]] = json.loads(path.read_text("utf-8"))
        return found


@pytest.fixture
def fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fleet:
    """Qwen3-8B is locked; an RTX 4090 holds one."""
    shutil.copy(CASE / "modelc.lock", tmp_path)
    monkeypatch.chdir(tmp_path)
    return Fleet(tmp_path, capsys)


def hosts(*states: str, count: int = 1) -> str:
    """Hosts a, b, c, each of these states, with so many RTX 4090."""
    return "\n".join(
        f"  {name}: {{state: {state}, gpus: {{kind: rtx-4090, count: {count}}}}}"
        for name, state in zip("abcd", states, strict=False)
    )


def test_a_drained_host_is_emptied_and_says_what_to_stop(fleet: Fleet) -> None:
    fleet.write(hosts("ready", "ready", "drained"), "replicas: 2")
    fleet.compile()
    assert fleet.places == ["a/0", "b/0"]
    fleet.write(hosts("drained", "ready", "ready"), "replicas: 2")
    fleet.compile()
    assert fleet.places == ["c/0", "b/0"]
    assert "moved: the host it stood on is drained" in fleet.out
    assert "warning" not in fleet.err
    overview = (fleet.folder / "compiled/PLAN.md").read_text("utf-8")
    assert "- `a`: nothing stays. Stop everything there: `systemctl disable --now" in overview
    assert not list((fleet.folder / "compiled/a/systemd").glob("*.service"))
    before = fleet.plan
    fleet.compile()
    assert "0 to move, 0 to delete, 2 kept" in fleet.out
    assert fleet.plan == before


def test_what_has_no_other_place_stays_and_is_told(fleet: Fleet) -> None:
    fleet.write(hosts("ready", "ready"), "replicas: 2")
    fleet.compile()
    fleet.write(hosts("drained", "ready"), "replicas: 2")
    fleet.compile()
    assert fleet.places == ["a/0", "b/0"]
    assert "warning[not-drained]" in fleet.err
    # Its line names the state, or the host.
    assert "--> inventory.yaml:4:" in fleet.err
    assert "Host `a` is drained, and `chat-0` must stay there for now." in fleet.err


def test_an_optional_service_is_not_stopped_before_it_has_another_place(fleet: Fleet) -> None:
    fleet.write(hosts("ready", "ready"), "replicas: 2, optional: true")
    fleet.compile()
    fleet.write(hosts("drained", "ready"), "replicas: 2, optional: true")
    fleet.compile()
    assert fleet.places == ["a/0", "b/0"]


def test_hosts_are_emptied_in_waves_by_max_moves(fleet: Fleet) -> None:
    service = "replicas: 2, placement: {spread: gpu}"
    fleet.write(hosts("ready", count=2), service)
    fleet.compile()
    assert fleet.places == ["a/0", "a/1"]
    fleet.write(hosts("drained", "ready", count=2), service, policy="policy: {max_moves: 1}")
    fleet.compile()
    assert sorted(place[0] for place in fleet.places) == ["a", "b"]
    assert "`policy.max_moves` lets 1 move at a time" in fleet.err
    fleet.compile()
    assert sorted(fleet.places) == ["b/0", "b/1"]
    assert "warning" not in fleet.err


def test_a_frozen_service_stays_on_a_drained_host(fleet: Fleet) -> None:
    fleet.write(hosts("ready"))
    fleet.compile()
    fleet.write(hosts("drained", "ready"), policy="policy: {freeze: [chat]}")
    fleet.compile()
    assert fleet.places == ["a/0"]
    assert "Take `chat` out of `policy.freeze`." in fleet.err


@pytest.mark.parametrize("name", ["a/0", UUID])
def test_a_broken_gpu_is_left_and_the_others_keep_their_numbers(fleet: Fleet, name: str) -> None:
    gpus = f"  a: {{gpus: [{{kind: rtx-4090, uuid: {UUID}}}, {{kind: rtx-4090}}]}}"
    fleet.write(gpus)
    fleet.compile()
    assert fleet.places == ["a/0"]
    fleet.write(gpus, more=f"states: {{{name}: broken}}")
    fleet.compile()
    assert fleet.places == ["a/1"]
    assert "moved: a GPU it stood on is broken" in fleet.out
    assert [gpu["state"] for gpu in fleet.plan["gpus"]] == ["broken", "ready"]


def test_a_frozen_service_on_a_broken_gpu_is_refused(fleet: Fleet) -> None:
    fleet.write(hosts("ready"))
    fleet.compile()
    fleet.write(hosts("ready"), policy="policy: {freeze: [chat]}", more="states: {a/0: broken}")
    fleet.compile(1)
    assert "Replica `chat-0` is frozen, and `a/0` is broken." in fleet.err


def test_one_host_of_a_range_is_drained(fleet: Fleet) -> None:
    fleet.write("  g-[1-3]: {gpus: {kind: rtx-4090, count: 1}}", "replicas: 2",
                more="states: {g-1: drained}")  # fmt: skip
    fleet.compile()
    assert fleet.places == ["g-2/0", "g-3/0"]


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ("{x: drained}", "`states` names `x`, which is not in the inventory."),
        ("{a/7: broken}", "`states` names `a/7`, which is not in the inventory."),
        ("{a: broken}", "`a` is a host, and only a GPU can be `broken`."),
        ("{a/0: drained}", "`a/0` is a GPU, and only a host can be `drained`."),
    ],
)
def test_a_state_of_nothing_is_told(fleet: Fleet, states: str, said: str) -> None:
    fleet.write(hosts("ready"), more=f"states: {states}")
    fleet.compile(1)
    assert said in fleet.err
    assert "--> inventory.yaml:" in fleet.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("states: {a: drained}", "every host in its reach is drained (`a`)"),
        ("states: {a/0: broken}", "the GPUs in its reach are broken (`a/0`)"),
    ],
)
def test_a_service_without_any_other_place_is_told_why(fleet: Fleet, more: str, said: str) -> None:
    fleet.write(hosts("ready"), more=more)
    fleet.compile(1)
    assert said in fleet.err


def test_a_host_that_leaves_while_it_runs_something_is_told(fleet: Fleet) -> None:
    fleet.write(hosts("ready", "ready"), "replicas: 2")
    fleet.compile()
    fleet.write(hosts("ready"))
    fleet.compile()
    assert "warning[host-gone]" in fleet.err
    assert "--> inventory.yaml:3:1" in fleet.err
    assert "put it back with `state: drained`" in fleet.err
    fleet.compile()
    assert "warning" not in fleet.err


def test_one_per_host_leaves_drained_hosts_out(fleet: Fleet) -> None:
    fleet.write(hosts("ready", "drained"), "placement: {one_per_host: {name: [a, b]}}")
    fleet.compile()
    assert fleet.places == ["a/0"]
