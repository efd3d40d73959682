"""Rollouts of small fleets, each for one thing that it must do."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.plan import Plan, Replica
from compiler.ir.rollout import NO_RELEASE, Rollout
from compiler.ir.spec import Policy, Spec
from compiler.recount_rollout import rollout_faults
from compiler.rollout.waves import rollout
from tests.generators.rollouts import released, service
from tests.generators.small_plans import plan, replica, share

FULL_MIB = 20_000
HALF_MIB = 11_000


def on(host: str, name: str, mib: int = FULL_MIB, gpu: int = 0, port: int = 8_000) -> Replica:
    return replica(name, host, [share(gpu, mib)], port=port)


def fleet(replicas: Sequence[Replica], hosts: Sequence[str], gpus: int = 1, **marks: str) -> Plan:
    named = {name.replace("_", "-"): mark for name, mark in marks.items()}
    return released(plan(dict.fromkeys(hosts, gpus), replicas), named)


def roll(previous: Plan | None, after: Plan, **services: int) -> Rollout:
    """The rollout, recounted; services by their priority."""
    counts = {name: sum(r.service == name for r in after.replicas) for name in services}
    spec = Spec(
        services=tuple(
            service(name, max(1, counts[name]), priority=priority)
            for name, priority in sorted(services.items())
        ),
        policy=Policy(),
    )
    found = rollout(previous, after, spec)
    assert not list(rollout_faults(previous, after.model_copy(update={"rollout": found})))
    return found


def hosts_of(found: Rollout) -> list[list[str]]:
    return [[visit.host for visit in wave.visits] for wave in found.waves]


def test_a_replica_that_moves_is_up_there_before_it_stops_here() -> None:
    before = fleet([on("a", "chat-0")], ["a", "b"])
    after = fleet([on("b", "chat-0")], ["a", "b"])
    found = roll(before, after, chat=50)
    assert hosts_of(found) == [["b"], ["a"]]
    assert [wave.short for wave in found.waves] == [[], []]


def test_of_two_that_change_places_the_cheaper_one_waits() -> None:
    before = fleet([on("a", "chat-0"), on("b", "embed-0")], ["a", "b"])
    after = fleet([on("b", "chat-0"), on("a", "embed-0")], ["a", "b"])
    found = roll(before, after, chat=90, embed=10)
    assert hosts_of(found) == [["b"], ["a"]]
    short = [[(each.service, each.up, each.wanted) for each in w.short] for w in found.waves]
    assert short == [[("embed", 0, 1)], [("embed", 0, 1)]]
    assert hosts_of(roll(before, after, chat=10, embed=90)) == [["a"], ["b"]]


def test_replicas_of_one_host_restart_in_turns() -> None:
    replicas = [on("a", f"chat-{n}", gpu=n, port=8_000 + n) for n in range(3)]
    before = fleet(replicas, ["a"], gpus=3)
    after = fleet(replicas, ["a"], gpus=3, chat_0="new", chat_1="new", chat_2="new")
    steps = roll(before, after, chat=50).waves[0].visits[0].steps
    assert [step.stop for step in steps] == [["chat-0"], ["chat-1"], ["chat-2"]]
    assert [step.start for step in steps] == [["chat-0"], ["chat-1"], ["chat-2"]]


def test_a_restart_that_needs_room_waits_for_who_shrinks() -> None:
    before = fleet([on("a", "chat-0", 9_000), on("a", "embed-0", 13_000, port=8_001)], ["a"])
    after = fleet([on("a", "chat-0", 13_000), on("a", "embed-0", 9_000, port=8_001)], ["a"])
    marked = released(after, {"chat-0": "new", "embed-0": "new"})
    steps = roll(before, marked, chat=50, embed=50).waves[0].visits[0].steps
    assert [(step.stop, step.start) for step in steps] == [
        (["embed-0", "chat-0"], ["chat-0", "embed-0"])
    ]


def test_ports_that_are_exchanged_are_free_before_they_are_taken() -> None:
    before = fleet([on("a", "chat-0"), on("a", "embed-0", gpu=1, port=8_001)], ["a"], gpus=2)
    after = fleet([on("a", "chat-0", port=8_001), on("a", "embed-0", gpu=1)], ["a"], gpus=2)
    (step,) = roll(before, after, chat=50, embed=50).waves[0].visits[0].steps
    assert step.stop == ["embed-0", "chat-0"]


def test_what_ends_runs_until_its_room_is_needed() -> None:
    before = fleet([on("a", "chat-0"), on("a", "old-0", gpu=1, port=8_001)], ["a"], gpus=2)
    after = fleet([on("a", "chat-0"), on("a", "new-0", gpu=1, port=8_001)], ["a"], gpus=2)
    (step,) = roll(before, after, chat=50, new=50).waves[0].visits[0].steps
    assert (step.stop, step.start) == (["old-0"], ["new-0"])
    roomy = fleet([on("a", "chat-0"), on("a", "new-0", gpu=2, port=8_002)], ["a"], gpus=3)
    steps = roll(before, roomy, chat=50, new=50).waves[0].visits[0].steps
    assert [(step.stop, step.start) for step in steps] == [([], ["new-0"]), (["old-0"], [])]


def test_one_host_goes_first_and_then_a_quarter_at_a_time() -> None:
    hosts = [f"edge-{n:02}" for n in range(20)]
    replicas = [on(host, f"chat-{n}") for n, host in enumerate(hosts)]
    before = fleet(replicas, hosts)
    marks = {f"chat_{n}": "new" for n in range(20)}
    found = roll(before, fleet(replicas, hosts, 1, **marks), chat=50)
    assert [len(wave) for wave in hosts_of(found)] == [1, 5, 5, 5, 4]
    assert not any(wave.short for wave in found.waves)


def test_hosts_that_share_nothing_change_at_once_after_the_first() -> None:
    hosts = [f"h{n}" for n in range(6)]
    replicas = [on(host, f"s{n}-0") for n, host in enumerate(hosts)]
    found = roll(None, fleet(replicas, hosts), **{f"s{n}": 90 - n for n in range(6)})
    assert hosts_of(found) == [["h5"], ["h0", "h1", "h2", "h3", "h4"]]
    assert {visit.base for wave in found.waves for visit in wave.visits} == {NO_RELEASE}


def test_a_host_that_leaves_is_emptied_after_its_replicas_have_another_place() -> None:
    before = fleet([on("a", "chat-0"), on("b", "chat-1")], ["a", "b", "c"])
    after = fleet([on("c", "chat-0"), on("b", "chat-1")], ["b", "c"])
    found = roll(before, after, chat=50)
    assert hosts_of(found) == [["c"], ["a"]]
    assert [(each.host, each.id) for each in found.leaving] == [("a", NO_RELEASE)]
    (step,) = found.waves[1].visits[0].steps
    assert (step.stop, step.start) == (["chat-0"], [])


def test_what_was_installed_by_hand_is_started_anew() -> None:
    """A plan without releases is of a time when files were copied by hand."""
    before = plan({"a": 1}, [on("a", "chat-0")])
    found = roll(before, fleet([on("a", "chat-0")], ["a"]), chat=50)
    (step,) = found.waves[0].visits[0].steps
    assert (step.stop, step.start) == (["chat-0"], ["chat-0"])
    assert found.waves[0].visits[0].base == NO_RELEASE


def test_another_comment_in_a_file_restarts_nothing() -> None:
    before = fleet([on("a", "chat-0")], ["a"])
    release = before.releases[0].model_copy(update={"id": "f" * 16})
    found = roll(before, before.model_copy(update={"releases": [release]}), chat=50)
    assert [visit.steps for wave in found.waves for visit in wave.visits] == [[]]


def test_a_large_fleet_is_ordered_in_a_moment() -> None:
    """Each of 60 replicas moves to the next host: one gap, and no more."""
    hosts = [f"h{n:03}" for n in range(60)]
    before = fleet([on(h, f"chat-{n}") for n, h in enumerate(hosts)], hosts)
    turned = [*hosts[1:], hosts[0]]
    after = fleet([on(h, f"chat-{n}") for n, h in enumerate(turned)], hosts)
    found = roll(before, after, chat=50)
    assert sorted(host for wave in hosts_of(found) for host in wave) == hosts
    assert not any(wave.short for wave in found.waves)


def test_of_one_memory_for_gpu_and_ram_both_are_counted_together() -> None:
    """Two replicas fit the GPU and the RAM, and do not fit one pool of the GPU's size."""
    before = fleet([on("a", "chat-0", HALF_MIB)], ["a"])
    after = fleet([on("a", "new-0", HALF_MIB, port=8_001)], ["a"])
    steps = roll(before, after, chat=50, new=50).waves[0].visits[0].steps
    assert [(step.stop, step.start) for step in steps] == [([], ["new-0"]), (["chat-0"], [])]
    pool = {"unified": True, "ram_budget_bytes": 24_000 << 20}
    hosts = [host.model_copy(update=pool) for host in after.hosts]
    one = after.model_copy(update={"hosts": hosts})
    steps = roll(before, one, chat=50, new=50).waves[0].visits[0].steps
    assert [(step.stop, step.start) for step in steps] == [(["chat-0"], ["new-0"])]
