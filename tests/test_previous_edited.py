"""A previous plan is a file that anybody may have edited: what it says is believed of nothing.

Each field is replaced by what an attacker, a bad merge or an old version could write there. None
of it may end in a traceback or in an error of our own, and no artifact may hold the foreign text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compiler.diagnostics import CompileError, Diagnostic
from compiler.inputs import Inputs
from compiler.ir.manifest import PLAN_NAME
from compiler.ir.plan import plan_text
from compiler.ir.textfile import TextFile
from compiler.pipeline import Compilation, compile_plan
from compiler.workspace import read_text

FLEETS = Path(__file__).parents[1] / "inventories"
EVIL = "evil\n[Service]\nExecStartPre=/opt/evil\x1b[31m"
FROZEN = "policy: {freeze: [%s]}\n"


class Fleet:
    """An example fleet in memory, with the plan that it has."""

    def __init__(self, name: str, frozen: str) -> None:
        """The fleet of that name; `frozen` are the services that stay as they are."""
        folder = FLEETS / name
        self.inventory = read_text(folder / "inventory.yaml")
        self.spec = read_text(folder / "models.yaml")
        self.lock = read_text(folder / "modelc.lock")
        self.frozen = TextFile(path="models.yaml", text=self.spec.text + FROZEN % frozen)
        self.plan: dict[str, Any] = json.loads(read_text(folder / "compiled" / PLAN_NAME).text)

    def compile(self, plan: object, *, frozen: bool) -> Compilation:
        """The compile with that previous plan."""
        return compile_plan(
            Inputs(
                inventory=self.inventory,
                spec=self.frozen if frozen else self.spec,
                lock=self.lock,
                previous=TextFile(path="compiled/plan.json", text=json.dumps(plan)),
            )
        )

    def replica(self, service: str) -> int:
        """Where a service's first replica stands in the plan."""
        return next(n for n, r in enumerate(self.plan["replicas"]) if r["service"] == service)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet("homelab", "chat")


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place in a document: what has parts, and the parts themselves."""
    yield path
    entries: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        entries += value.items()
    if isinstance(value, list):
        # The first of a list stands for the others.
        entries += list(enumerate(value))[:1]
    for key, each in entries:
        yield from leaves(each, (*path, key))


def edited(plan: dict[str, Any], path: tuple[str | int, ...], new: object) -> dict[str, Any]:
    """A copy of the plan with another value in one place."""
    copy: dict[str, Any] = json.loads(json.dumps(plan))
    place: Any = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = new(place[path[-1]]) if callable(new) else new
    return copy


def outcome(fleet: Fleet, plan: object, *, frozen: bool) -> list[Diagnostic]:
    """Why a compile refuses the plan; nothing when it takes it and emits nothing of it."""
    faults: list[Diagnostic] = []
    try:
        found = fleet.compile(plan, frozen=frozen)
    except CompileError as error:
        faults = list(error.diagnostics)
    if faults:
        assert [fault for fault in faults if fault.code == "internal"] == []
        return faults
    texts = [artifact.path + artifact.text for artifact in found.artifacts]
    assert [text[:80] for text in texts if "evil" in text] == []
    return []


# A value of each type that JSON has: of the right type and of wrong ones, too large and too small.
VALUES: list[object] = [EVIL, -1, 10**30, 0, None, [], [EVIL], {}, {"evil": EVIL}, True, 0.5]


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "free"])
def test_no_field_of_a_replica_is_believed(fleet: Fleet, frozen: bool) -> None:
    number = fleet.replica("chat")
    replica = fleet.plan["replicas"][number]
    for position, path in enumerate(leaves(replica)):
        if not path:
            continue
        # Each place meets some of the values, and each value some of the places.
        value = EVIL if position % 2 else VALUES[position // 2 % len(VALUES)]
        outcome(fleet, edited(fleet.plan, ("replicas", number, *path), value), frozen=frozen)


def test_no_field_of_the_rest_is_believed(fleet: Fleet) -> None:
    rest = {key: value for key, value in fleet.plan.items() if key != "replicas"}
    for position, path in enumerate(leaves(rest)):
        if path:
            value = VALUES[position % len(VALUES)]
            outcome(fleet, edited(fleet.plan, path, value), frozen=bool(position % 2))


def test_an_untouched_plan_is_kept_to_the_letter(fleet: Fleet) -> None:
    found = fleet.compile(fleet.plan, frozen=True)
    assert found.diff.empty
    (before,) = (r for r in fleet.plan["replicas"] if r["service"] == "chat")
    (after,) = (r for r in found.plan.replicas if r.service == "chat")
    assert after.model_dump(mode="json") == before


@pytest.mark.parametrize(
    ("field", "new"),
    [
        ("argv", lambda argv: [*argv, "--trust-remote-code"]),
        ("argv", lambda argv: ["/opt/evil", *argv[1:]]),
        ("env", lambda env: {**env, "LD_PRELOAD": "/opt/evil.so"}),
        ("bin_dirs", ["/opt/evil"]),
        ("model_path", "/opt/evil.gguf"),
        ("models_dir", "/"),
        ("read_dirs", ["/etc"]),
        ("cache_dir", "/etc"),
        ("secrets", ["HF_TOKEN"]),
        ("image", "evil/image:latest"),
        ("health_path", "/evil"),
        ("device_env", []),
        ("companions", [{"argument": "mmproj", "source": "x", "revision": None, "path": "/x"}]),
        ("context", 512),
        ("shm_bytes", 1 << 40),
        ("variant", "evil"),
        ("name", "chat-00"),
        ("engine_version", "1"),
        ("shares", lambda shares: [{**shares[0], "share_bytes": 1 << 20}, *shares[1:]]),
        ("shares", lambda shares: [shares[0], *shares]),
    ],
)  # fmt: skip
def test_an_edit_of_a_frozen_replica_is_told_by_replica_and_field(
    fleet: Fleet, field: str, new: object
) -> None:
    plan = edited(fleet.plan, ("replicas", fleet.replica("chat"), field), new)
    (fault,) = outcome(fleet, plan, frozen=True)
    assert fault.code == "previous-corrupt"
    name = plan["replicas"][fleet.replica("chat")]["name"]
    assert fault.detail.startswith(f"Replica `{name}` is frozen, and its `{field}` in the previous")
    assert len(fault.advice) == 2


def test_numbers_of_the_spec_wait_for_the_thaw(fleet: Fleet) -> None:
    text = fleet.frozen.text.replace("concurrency: 4", "concurrency: 2", 1)
    assert text != fleet.frozen.text
    plan = compile_plan(
        Inputs(
            inventory=fleet.inventory,
            spec=TextFile(path="models.yaml", text=text),
            lock=fleet.lock,
            previous=TextFile(path="compiled/plan.json", text=json.dumps(fleet.plan)),
        )
    ).plan
    (after,) = (replica for replica in plan.replicas if replica.service == "chat")
    before = fleet.plan["replicas"][fleet.replica("chat")]
    assert (after.concurrency, after.argv) == (before["concurrency"], before["argv"])


def test_a_frozen_replica_keeps_its_version(fleet: Fleet) -> None:
    """Whatever its host has by now: the new one is for the day of the thaw."""
    before = fleet.plan["replicas"][fleet.replica("chat")]
    version = before["engine_version"]
    assert version in fleet.inventory.text
    newer = fleet.inventory.text.replace(version, "0.32.0" if "." in version else "11000")
    found = compile_plan(
        Inputs(
            inventory=TextFile(path="inventory.yaml", text=newer),
            spec=fleet.frozen,
            lock=fleet.lock,
            previous=TextFile(path="compiled/plan.json", text=json.dumps(fleet.plan)),
        )
    )
    (after,) = (replica for replica in found.plan.replicas if replica.service == "chat")
    assert after.engine_version == version
    assert after.argv == before["argv"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("objectives",), lambda told: told[:-1]),
        (("objectives", 0, "reached"), 7),
        (("objectives", 0, "bound"), 10**6),
        (("objectives", 2, "bound"), -1),
        (("optimality",), "feasible"),
    ],
)
def test_what_a_plan_says_it_reached_is_counted_anew(
    fleet: Fleet, path: tuple[str | int, ...], value: object
) -> None:
    found = fleet.compile(edited(fleet.plan, path, value), frozen=False)
    told = [(each.name, each.priority, each.reached) for each in found.plan.objectives]
    assert told == [
        (each["name"], each["priority"], each["reached"]) for each in fleet.plan["objectives"]
    ]


def test_what_was_frozen_before_it_ran_is_frozen_the_next_time(fleet: Fleet) -> None:
    inputs = Inputs(inventory=fleet.inventory, spec=fleet.frozen, lock=fleet.lock, previous=None)
    first = compile_plan(inputs).plan
    text = TextFile(path="compiled/plan.json", text=plan_text(first))
    second = compile_plan(replace(inputs, previous=text))
    assert second.diff.empty


@pytest.mark.parametrize("name", ["mixed", "edge"])
def test_what_is_frozen_before_it_runs_is_placed_like_any_other(name: str) -> None:
    """Its rungs, its room and what is missing of it count as they do without the freeze."""
    free = Fleet(name, "")
    services = list(dict.fromkeys(each["service"] for each in free.plan["replicas"]))
    frozen = _with_frozen(free, services)
    plans = [
        compile_plan(
            Inputs(inventory=free.inventory, spec=spec, lock=free.lock, previous=None)
        ).plan
        for spec in (free.spec, frozen)
    ]
    assert plans[0].replicas == plans[1].replicas
    assert plans[0].objectives == plans[1].objectives


@pytest.mark.parametrize("utilization", ["0.95", "0.917", "0.851"])
def test_a_plan_that_was_just_made_can_be_frozen_whole(utilization: str) -> None:
    """Whatever its shares are rounded to, on GPUs that they fill to the last MiB."""
    fleet = Fleet("rag", "")
    inventory = TextFile(
        path="inventory.yaml",
        text=fleet.inventory.text.replace("utilization: 0.95", f"utilization: {utilization}"),
    )
    inputs = Inputs(inventory=inventory, spec=fleet.spec, lock=fleet.lock, previous=None)
    made = compile_plan(inputs).plan
    again = compile_plan(
        Inputs(
            inventory=inventory,
            spec=_with_frozen(fleet, sorted({each.service for each in made.replicas})),
            lock=fleet.lock,
            previous=TextFile(path="compiled/plan.json", text=plan_text(made)),
        )
    )
    assert again.diff.empty
    assert [each.share_bytes for r in again.plan.replicas for each in r.shares] == [
        each.share_bytes for r in made.replicas for each in r.shares
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("replicas: 2", "1 replica, not 2"),
        ("typical: 2048", "8,192 tokens of `typical`, not 2,048"),
        ("min: true", "the room that it has, though `min` asks for none"),
        ("kv_tokens: 16384", "12,288 KV tokens, not the 16,384 of `kv_tokens`"),
        ("variants: [{name: x}, {name: default}]", "variant `default`, not `x`"),
        ("placement: {pin: {host: tower, gpus: [0]}}", "a place that `placement` no longer allows"),
    ],
)
def test_what_waits_for_the_thaw_is_told(fleet: Fleet, line: str, words: str) -> None:
    spec = fleet.frozen.text.replace("  chat:\n", f"  chat:\n    {line}\n", 1)
    assert _frozen_warnings(fleet, spec, fleet.inventory.text) == [
        f"Service `chat` is frozen and keeps {words}. What is wanted of it now waits for the thaw."
    ]


def test_a_newer_engine_waits_for_the_thaw_and_is_told(fleet: Fleet) -> None:
    newer = fleet.inventory.text.replace("0.33.0", "0.34.0")
    (found,) = _frozen_warnings(fleet, fleet.frozen.text, newer)
    assert "keeps vllm 0.33.0, not 0.34.0. What is wanted of it now waits" in found
    assert _frozen_warnings(fleet, fleet.frozen.text, fleet.inventory.text) == []


@pytest.mark.parametrize("frozen", ["code, embed", "embed"])
def test_a_gpu_that_a_frozen_service_is_to_have_alone_now(frozen: str) -> None:
    """Beside another frozen one it cannot; what is not frozen leaves, or it is said why not."""
    fleet = Fleet("homelab", frozen)
    spec = fleet.frozen.text.replace("  embed:\n", "  embed:\n    placement: {exclusive: true}\n")
    with pytest.raises(CompileError) as caught:
        _compile_with(fleet, spec, fleet.inventory.text)
    codes = {fault.code for fault in caught.value.diagnostics}
    assert codes == {"freeze-impossible" if "code" in frozen else "fleet-full"}


def _frozen_warnings(fleet: Fleet, spec: str, inventory: str) -> list[str]:
    found = _compile_with(fleet, spec, inventory)
    return [warning.detail for warning in found.warnings if warning.code == "frozen"]


def _compile_with(fleet: Fleet, spec: str, inventory: str) -> Compilation:
    return compile_plan(
        Inputs(
            inventory=TextFile(path="inventory.yaml", text=inventory),
            spec=TextFile(path="models.yaml", text=spec),
            lock=fleet.lock,
            previous=TextFile(path="compiled/plan.json", text=json.dumps(fleet.plan)),
        )
    )


def _with_frozen(fleet: Fleet, services: list[str]) -> TextFile:
    policy = f"policy: {{freeze: [{', '.join(services)}]}}\n"
    text = re.sub(r"(?ms)^policy:.*?(?=^\S|\Z)", "", fleet.spec.text)
    return TextFile(path="models.yaml", text=text + policy)
