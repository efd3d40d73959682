"""What a change does to users and machines: restarts, who goes first, who is without a service."""

from collections.abc import Sequence

import pytest

from compiler.diff import diff
from compiler.ir.changes import Diff, ReplicaChange, ServiceChange
from compiler.ir.plan import Plan, Replica
from compiler.views.diff import diff_text
from compiler.views.effects import fleet_lines, verdict
from tests.generators.small_plans import plan, replica, share

HOSTS = {"alpha": 2, "beta": 2}
FLAGS = ["/opt/engine", "-ot", "a=CPU", "-ot", "b=CPU", "--port", "8000"]


def compared(before: Sequence[Replica], after: Sequence[Replica]) -> Diff:
    """Two plans over the same hosts."""
    return diff(plan(HOSTS, before), plan(HOSTS, after))


def change_of(found: Diff, name: str) -> ReplicaChange:
    """What happens to one replica."""
    (change,) = (each for each in found.changes if each.replica == name)
    return change


def service_of(found: Diff, name: str) -> ServiceChange:
    """What happens to one service."""
    (service,) = (each for each in found.services if each.service == name)
    return service


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        ({"argv": [*FLAGS]}, {"argv": [*FLAGS[:1], *FLAGS[5:], *FLAGS[1:5]]}, "no-restart"),
        # The first of two equal flags counts for llama.cpp: their order is no matter of taste.
        (
            {"argv": [*FLAGS]},
            {"argv": [FLAGS[0], *FLAGS[3:5], *FLAGS[1:3], *FLAGS[5:]]},
            "restart",
        ),
        ({"argv": [*FLAGS]}, {"argv": [*FLAGS, "--verbose"]}, "restart"),
        ({"start_after": []}, {"start_after": ["embed-0"]}, "no-restart"),
        ({"start_timeout_seconds": 600}, {"start_timeout_seconds": 900}, "no-restart"),
        ({"target": "compose"}, {"target": "compose", "start_timeout_seconds": 900}, "restart"),
        ({"health_path": "/health"}, {"health_path": "/ready"}, "no-restart"),
        ({"revision": None}, {"revision": "b968826d"}, "no-restart"),
        ({"revision": "b968826d"}, {"revision": "0ff1ce00"}, "restart"),
        ({"secrets": []}, {"secrets": ["HF_TOKEN"]}, "restart"),
        ({}, {"assumed": ["The driver is recent."]}, "none"),
    ],
)
def test_what_restarts_and_what_does_not(
    before: dict[str, object], after: dict[str, object], effect: str
) -> None:
    old = replica("chat-0", "alpha", [share(0, 9_000)], **before)
    new = replica("chat-0", "alpha", [share(0, 9_000)], **{**before, **after})
    found = compared([old], [new])
    assert change_of(found, "chat-0").effect == effect
    assert (service_of(found, "chat").without_seconds is not None) == (effect == "restart")


def test_a_share_that_no_command_line_tells_restarts_nothing() -> None:
    found = compared(
        [replica("chat-0", "alpha", [share(0, 9_000)])],
        [replica("chat-0", "alpha", [share(0, 9_500)])],
    )
    assert change_of(found, "chat-0").effect == "no-restart"


def test_what_needs_the_memory_of_another_waits_for_it() -> None:
    old = replica("old-0", "alpha", [share(0, 15_000)])
    found = compared([old], [replica("new-0", "alpha", [share(0, 15_000)])])
    assert change_of(found, "new-0").waits_for == ["old-0"]
    small = replica("new-0", "alpha", [share(0, 5_000)])
    assert not change_of(compared([old], [small]), "new-0").waits_for


def test_two_that_change_places_stop_first() -> None:
    a, b = replica("a-0", "alpha", [share(0, 15_000)]), replica("b-0", "alpha", [share(1, 15_000)])
    c, d = replica("a-0", "alpha", [share(1, 15_000)]), replica("b-0", "alpha", [share(0, 15_000)])
    found = compared([a, b], [c, d])
    assert [(each.replica, each.effect, each.waits_for) for each in found.changes] == [
        ("a-0", "stop-first", ["b-0"]),
        ("b-0", "stop-first", ["a-0"]),
    ]
    assert "stop first: starts after b-0 makes room, up to 10 min" in diff_text(found, color=False)


def test_a_move_to_a_free_place_is_up_before_it_stops() -> None:
    found = compared(
        [replica("chat-0", "alpha", [share(0, 9_000)])],
        [replica("chat-0", "beta", [share(0, 9_000)], port=8_003)],
    )
    assert change_of(found, "chat-0").overlaps
    service = service_of(found, "chat")
    assert (service.without_seconds, service.impact) == (None, "restarts")
    assert service.addresses_gone == ["alpha:8000"]
    assert service.addresses_new == ["beta:8003"]


def test_a_move_from_a_host_that_is_gone_is_an_interruption() -> None:
    before = plan(HOSTS, [replica("chat-0", "alpha", [share(0, 9_000)])])
    after = plan({"beta": 2}, [replica("chat-0", "beta", [share(0, 9_000)])])
    assert service_of(diff(before, after), "chat").without_seconds == 600


def test_several_replicas_restart_one_at_a_time() -> None:
    def two(image: str | None) -> list[Replica]:
        return [
            replica(f"chat-{number}", "alpha", [share(number, 9_000)], image=image)
            for number in range(2)
        ]

    service = service_of(compared(two(None), two("vllm:2")), "chat")
    assert (service.without_seconds, service.impact) == (None, "restarts")


def test_one_that_becomes_another_needs_no_pause_where_there_is_room() -> None:
    """Its name is new: it starts beside the old one."""
    old, new = (replica(f"chat-{n}", "alpha", [share(n, 9_000)]) for n in range(2))
    assert service_of(compared([old], [new]), "chat").without_seconds is None
    crowded = replica("chat-1", "alpha", [share(0, 15_000)])
    assert service_of(compared([old], [crowded]), "chat").without_seconds == 600


def with_room(permille: int, **changes: object) -> Replica:
    """A replica whose cache holds so many full requests."""
    return replica(
        "chat-0", "alpha", [share(0, 9_000)], kv_requests_permille=permille, concurrency=32,
        argv=["/opt/engine", str(permille)], **changes,
    )  # fmt: skip


def test_less_room_is_told_before_the_flags() -> None:
    found = compared([with_room(25_800)], [with_room(2_500)])
    assert service_of(found, "chat").holds_less
    text = diff_text(found, color=False)
    assert text.index("KV room 25.8 -> 2.5 of 32 requests") < text.index("25800")
    assert "1 service without a replica for up to 10 min, 1 service with less room" in verdict(
        found
    )


def test_room_beyond_what_is_wanted_is_nobodys_loss() -> None:
    assert not service_of(compared([with_room(90_000)], [with_room(40_000)]), "chat").holds_less
    assert service_of(compared([with_room(90_000)], [with_room(30_000)]), "chat").holds_less


def test_a_shorter_context_holds_less() -> None:
    before, after = with_room(40_000), with_room(40_000, context=4_096)
    assert service_of(compared([before], [after]), "chat").holds_less


def test_the_fleet_tells_what_came_and_went() -> None:
    def changed(before: Plan, **changes: object) -> Plan:
        gpus = [before.gpus[0].model_copy(update=changes), *before.gpus[1:]]
        return before.model_copy(update={"gpus": gpus})

    small = plan({"alpha": 2})
    assert fleet_lines(diff(small, plan({"alpha": 2, "b-1": 1, "b-2": 1})).fleet) == [
        "+ new host b-[1-2] (systemd, 1 GPU)"
    ]
    assert fleet_lines(diff(small, plan({})).fleet) == ["- host gone: alpha (systemd, 2 GPUs)"]
    assert fleet_lines(diff(small, plan({"alpha": 1})).fleet) == ["- GPU gone: alpha/1 (rtx-3090)"]
    assert fleet_lines(diff(small, changed(small, state="broken")).fleet) == [
        "~ GPU broken: alpha/0 (rtx-3090)"
    ]
    assert fleet_lines(diff(small, changed(small, budget_bytes=20_000 << 20)).fleet) == [
        "~ GPU alpha/0, budget 22,118 MiB -> 20,000 MiB"
    ]
    drained = small.hosts[0].model_copy(update={"state": "drained"})
    assert fleet_lines(diff(small, small.model_copy(update={"hosts": [drained]})).fleet) == [
        "~ host drained: alpha (systemd, 2 GPUs)"
    ]


def test_engines_and_revisions_that_change_are_told_once() -> None:
    old = [replica(f"chat-{n}", "alpha", [share(n, 9_000)]) for n in range(2)]
    new = [
        each.model_copy(update={"engine_version": "0.34.0", "revision": "0ff1ce00"}) for each in old
    ]
    assert fleet_lines(compared(old, new).fleet) == [
        "~ engine vllm 0.33.0 -> 0.34.0",
        "~ model Qwen/Qwen3-8B b968826d -> 0ff1ce00",
    ]


def test_totals_of_kinds_count_used_and_free() -> None:
    (kind,) = compared(
        [], [replica("chat-0", "alpha", [share(0, 9_000), share(1, 9_000)])]
    ).fleet.kinds
    assert (kind.gpus_before, kind.gpus_after) == (4, 4)
    assert (kind.used_before, kind.used_after) == (0, 2)
    assert kind.free_before_bytes - kind.free_after_bytes == 18_000 << 20


def test_one_pool_of_memory_is_counted_once() -> None:
    """GPU and RAM of such a host are the same bytes: what is in RAM stands in the way of a GPU."""
    hosts = {"spark": 1}

    def pool(replicas: Sequence[Replica]) -> Plan:
        found = plan(hosts, replicas)
        ledger = found.hosts[0].model_copy(
            update={"unified": True, "ram_budget_bytes": 24_000 << 20}
        )
        return found.model_copy(update={"hosts": [ledger]})

    old = replica("old-0", "spark", ram_bytes=15_000 << 20)
    new = replica("new-0", "spark", [share(0, 15_000)])
    assert change_of(diff(pool([old]), pool([new])), "new-0").waits_for == ["old-0"]
    assert not change_of(diff(plan(hosts, [old]), plan(hosts, [new])), "new-0").waits_for
