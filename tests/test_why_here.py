"""Why a replica stands where it stands: the code is what decided, and what is told was tried."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings

from compiler.cli import run
from compiler.ir.placement import PlacementError
from compiler.ir.whyhere import BarredCode, HereCode, IdleCode, WorseCode
from compiler.place.placing import place
from compiler.place.reasons import reasons
from tests.generators.fleets import TinyFleet, TinyService
from tests.generators.small_plans import replica as small_replica
from tests.generators.small_plans import share
from tests.property.oracle import holds
from tests.property.strategies import fleets

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "tests" / "golden" / "optional-left-out" / "modelc.lock"
HEAD = "version: 1\ndefaults: {ram: 640GiB, engines: {vllm: {version: 0.33.0}}}\nhosts:\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose lock knows Qwen3-8B."""
    shutil.copy(LOCK, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def why(capsys: pytest.CaptureFixture[str], hosts: str, services: str, asked: str = "a") -> Any:  # noqa: ANN401
    """What `explain` says of a service, as data."""
    Path("inventory.yaml").write_text(f"{HEAD}{hosts}", "utf-8")
    Path("models.yaml").write_text(f"version: 1\nservices:\n{services}", "utf-8")
    assert run(["explain", asked, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def service(name: str = "a", more: str = "") -> str:
    return f"  {name}: {{model: Qwen/Qwen3-8B, context: 8192{more}}}\n"


@pytest.mark.usefixtures("folder")
def test_a_pinned_replica(capsys: pytest.CaptureFixture[str]) -> None:
    told = why(
        capsys,
        "  one: {gpus: {kind: rtx-4090, count: 2}}\n",
        service(more=", placement: {pin: {host: one, gpus: [1]}}"),
    )
    assert told["replicas"][0]["why"]["code"] == "pinned"


@pytest.mark.usefixtures("folder")
def test_the_only_kind_that_is_large_enough(capsys: pytest.CaptureFixture[str]) -> None:
    told = why(
        capsys,
        "  one: {gpus: [{kind: rtx-4060}, {kind: rtx-3090}, {kind: rtx-3090}]}\n",
        service() + service("b", ", placement: {pin: {host: one, gpus: [2]}}"),
    )
    here = told["replicas"][0]["why"]
    assert here["code"] == "only-kind"
    assert [(each["code"], each["on"]) for each in here["barred"]] == [("too-large", ["rtx-4060"])]
    assert here["barred"][0]["missing_bytes"] > 0
    assert here["full"]["place"] == "one/2"
    assert here["full"]["held"].keys() == {"b"}


@pytest.mark.usefixtures("folder")
def test_below_the_compute_capability_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    told = why(
        capsys,
        "  one: {gpus: {kind: rtx-3090, count: 1}}\n  two: {gpus: {kind: rtx-4090, count: 1}}\n",
        service(more=", placement: {gpus: {min_compute: 8.9}}"),
    )
    here = told["replicas"][0]["why"]
    assert here["code"] == "only-place"
    assert [(each["code"], each["on"]) for each in here["barred"]] == [
        ("min_compute", ["rtx-3090"])
    ]


@pytest.mark.usefixtures("folder")
def test_the_smallest_gpu_with_all_the_room(capsys: pytest.CaptureFixture[str]) -> None:
    told = why(
        capsys,
        "  one: {gpus: [{kind: a100-sxm-80gb}, {kind: rtx-a6000}]}\n",
        service(),
    )
    here = told["replicas"][0]["why"]
    assert told["replicas"][0]["place"] == "one/1"
    assert here["code"] == "larger-gpus"
    assert here["elsewhere"][0]["place"] == "one/0"
    assert here["elsewhere"][0]["amount"] > 0


@pytest.mark.usefixtures("folder")
def test_replicas_apart_from_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    told = why(
        capsys,
        "  one: {gpus: {kind: rtx-4090, count: 2}}\n  two: {gpus: {kind: rtx-4090, count: 1}}\n",
        service(more=", replicas: 2"),
    )
    codes = {each["place"]: each["why"]["code"] for each in told["replicas"]}
    assert codes["two/0"] == "same-host"


@pytest.mark.usefixtures("folder")
def test_what_runs_stays_and_has_the_same_reason(capsys: pytest.CaptureFixture[str]) -> None:
    hosts, services = "  one: {gpus: [{kind: a100-sxm-80gb}, {kind: rtx-a6000}]}\n", service()
    first = why(capsys, hosts, services)["replicas"][0]["why"]
    assert run(["compile"]) == 0
    capsys.readouterr()
    again = why(capsys, hosts, services)["replicas"][0]["why"]
    assert (first["stays"], again["stays"]) == (False, True)
    assert {**again, "stays": False} == first
    assert run(["explain", "a", "--why"]) == 0
    shown = capsys.readouterr().out
    assert "It goes on as it runs: nothing is moved without need." in shown
    assert "These are the smallest GPUs that give it the room that it has." in shown
    assert "Command" not in shown


@pytest.mark.usefixtures("folder")
def test_idle_gpus_beside_a_short_cache_and_the_change_that_uses_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hosts = "  one: {gpus: {kind: rtx-4090, count: 4}}\n"
    limited = service(more=", concurrency: 16, placement: {gpus: {tensor_parallel: [1]}}")
    told = why(capsys, hosts, limited)
    assert told["idle"]["gpus"] == ["one/1", "one/2", "one/3"]
    best = told["idle"]["uses"][0]
    assert best["code"] == "tensor_parallel"
    assert best["room_permille"] > told["idle"]["room_permille"] + 250
    # What was told holds.
    wider = limited.replace("[1]", f"[{best['value']}]")
    room = why(capsys, hosts, wider)["replicas"][0]["why"]["room_permille"]
    assert room == best["room_permille"]


@pytest.mark.usefixtures("folder")
def test_the_price_of_a_better_variant(capsys: pytest.CaptureFixture[str]) -> None:
    """The longer context would leave no room for the other service, which is optional."""
    hosts = "  one: {gpus: {kind: rtx-a6000, count: 1}}\n"
    rungs = (
        "  a:\n    model: Qwen/Qwen3-8B\n    priority: 10\n    min: true\n    variants:\n"
        "      - {name: long, context: 40960, kv_tokens: 160000}\n"
        "      - {name: short, context: 8192}\n"
    )
    told = why(capsys, hosts, rungs + service("b", ", optional: true, priority: 90, min: true"))
    assert told["replicas"][0]["replica"]["variant"] == "short"
    (price,) = told["rungs"]
    assert (price["variant"], price["fits"], price["left_out"]) == ("long", True, {"b": 1})
    assert run(["explain", "a", "--why"]) == 0
    assert "with it, 1 of b would be left out" in capsys.readouterr().out


SLOW = settings(max_examples=60, derandomize=True)


@SLOW
@given(fleets())
def test_every_place_that_is_told_is_open_and_what_is_no_better_is_told_so(
    fleet: TinyFleet,
) -> None:
    fleet = replace(fleet, services=tuple(replace(each, pin=None) for each in fleet.services))
    args = (fleet.inventory(), fleet.spec(), fleet.demands(), None)
    try:
        answer = place(*args)
    except PlacementError:
        answer = None
    assume(answer is not None)
    assert answer is not None
    ways: dict[str, list[tuple[int, str, tuple[int, ...]]]] = {s.name: [] for s in fleet.services}
    for each in answer.chosen:
        ways[each.service].append((each.variant, each.host, each.gpus))
    for number, each in enumerate(answer.chosen):
        replica = small_replica(
            f"{each.service}-{number}", service=each.service, host=each.host,
            shares=[share(gpu, 1) for gpu in each.gpus],
        )  # fmt: skip
        (told,) = reasons(*args, answer, [replica])
        assert told.open <= told.possible
        assert (told.code in ("only-place", "only-kind", "only-room")) == (not told.elsewhere)
        for other in told.elsewhere:
            host, _, indices = other.place.partition("/")
            gpus = tuple(int(index) for index in indices.split(","))
            moved = {name: list(of) for name, of in ways.items()}
            moved[each.service].remove((each.variant, each.host, each.gpus))
            moved[each.service].append((int(other.variant[1:]), host, gpus))
            assert holds(fleet, {name: tuple(sorted(of)) for name, of in moved.items()})
            if other.code == "rung":
                assert int(other.variant[1:]) > each.variant
            if other.code == "gpus":
                assert len(gpus) > len(each.gpus)


@pytest.mark.parametrize(
    "code", sorted({*get_args(HereCode), *get_args(WorseCode), *get_args(BarredCode),
                    *get_args(IdleCode)}),
)  # fmt: skip
def test_every_code_is_listed(code: str) -> None:
    assert f"`{code}`" in (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")


def test_a_service_alone_on_equal_gpus_takes_the_first() -> None:
    fleet = TinyFleet(
        hosts={"h0": (8, 8)}, services=(TinyService(name="a", variants=({1: 4},)),)
    )  # fmt: skip
    args = (fleet.inventory(), fleet.spec(), fleet.demands(), None)
    answer = place(*args)
    replica = small_replica("a-0", service="a", host="h0", shares=[share(0, 1)])
    (told,) = reasons(*args, answer, [replica])
    assert (told.code, told.possible, told.open) == ("name", 2, 2)
