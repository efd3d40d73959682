"""What a change of one field makes of a replica, and in which words."""

from collections.abc import Set as AbstractSet

import pytest

from compiler.diff import diff
from compiler.diff.reasons import (
    COMPARED,
    IGNORED,
    SHARE_COMPARED,
    SHARE_IGNORED,
)
from compiler.ir.changes import (
    Reason,
    ReplicasChanged,
    ServiceAdded,
    ServiceRemoved,
    SettingChanged,
)
from compiler.ir.plan import Plan, PlannedCompanion, Replica, RoomierRung, Share, Unplaced
from compiler.ir.rules import barred_replicas
from compiler.ir.units import MIB
from compiler.load.inventory import load_inventory
from compiler.load.spec import load_spec
from compiler.load.yamltext import parse_yaml
from compiler.views.reasons import reason_text
from tests.generators.small_plans import breakdown, plan, replica, share

HOSTS = {"alpha": 2, "beta": 2}
ENGINE = "/opt/engine"
BARRED_INVENTORY = """\
version: 1
defaults: {ram: 64GiB, gpu: {reserved: 512MiB}}
hosts:
  alpha: {labels: {zone: a}, gpus: {kind: rtx-3090, count: 2}}
  beta: {labels: {zone: b}, gpus: {kind: rtx-3090, count: 2}}
"""
BETTER = "nothing bars the old place, and the fleet as a whole is better so"


def check(before: Replica, after: Replica, action: str, reasons: list[str]) -> None:
    """The one replica that both plans have is touched so, for these reasons."""
    (change,) = diff(plan(HOSTS, [before]), plan(HOSTS, [after])).changes
    assert (action, reasons) == (change.action, [reason_text(reason) for reason in change.reasons])


def check_argv(before: list[str], after: list[str], reasons: list[str]) -> None:
    """Two command lines of one program differ so."""
    old = replica("chat-0", "alpha", [share(0, 9_000)], argv=[ENGINE, *before])
    new = replica("chat-0", "alpha", [share(0, 9_000)], argv=[ENGINE, *after])
    check(old, new, "update" if reasons else "keep", reasons)


def test_every_field_of_a_replica_is_decided_about() -> None:
    assert set(Replica.model_fields) == COMPARED | IGNORED
    assert not COMPARED & IGNORED


def test_every_field_of_a_share_is_decided_about() -> None:
    assert set(Share.model_fields) == SHARE_COMPARED | SHARE_IGNORED
    assert not SHARE_COMPARED & SHARE_IGNORED


# Another value for each field of a replica.
OTHERS: dict[str, object] = {
    "passed_over": [{"variant": "bf16"}],
    "name": "chat-1",
    "service": "talk",
    "task": "embed",
    "variant": "awq",
    "engine": "llama.cpp",
    "engine_version": "0.34.0",
    "host": "beta",
    "target": "compose",
    "shares": [share(1, 9_000)],
    "ram_bytes": 1,
    "ram_breakdown": breakdown(1),
    "source": "Qwen/Qwen3-8B-AWQ",
    "revision": "0ff1ce",
    "model_path": "/srv/models/qwen",
    "companions": [
        PlannedCompanion(
            argument="mmproj", source="./mmproj.gguf", revision="0ff1ce", path="/srv/mmproj.gguf"
        )
    ],
    "context": 1,
    "concurrency": 1,
    "kv_tokens": 1,
    "kv_requests_permille": 1,
    "tensor_parallel": 2,
    "gpu_layers": 1,
    "host_layers": 1,
    "host_experts": 3,
    "layers": 1,
    "port": 8_001,
    "listen": "127.0.0.1",
    "argv": [ENGINE],
    "env": {"CUDA_VISIBLE_DEVICES": "0", "HF_HOME": "/srv"},
    "device_env": [],
    "secrets": ["HF_TOKEN"],
    "image": "vllm/vllm-openai:v0.33.0",
    "health_path": "/ready",
    "start_after": ["embed-0"],
    "start_timeout_seconds": 900,
    "shm_bytes": 1 << 30,
    "models_dir": "/data",
    "read_dirs": ["/mnt/models"],
    "cache_dir": "/var/cache/other",
    "bin_dirs": [],
    "assumed": ["The driver is recent."],
    "typical": 4_096,
    "kv_wanted_bytes": 1 << 30,
    "roomier": RoomierRung(variant="awq", room_permille=600),
    "asked": "1" * 64,
    "host_permille": 12,
    "labels": {"team": "search"},
}


@pytest.mark.parametrize("field", Replica.model_fields)
def test_a_compared_field_touches_the_replica_and_an_ignored_one_does_not(field: str) -> None:
    before = replica("chat-0", "alpha", [share(0, 9_000)])
    after = before.model_copy(update={field: OTHERS[field]})
    assert getattr(before, field) != getattr(after, field)
    found = diff(plan(HOSTS, [before]), plan(HOSTS, [after]))
    assert found.empty == (field in IGNORED)


@pytest.mark.parametrize(
    ("field", "value", "reasons"),
    [
        ("gpu", 1, [f"moved: {BETTER}"]),
        ("uuid", "GPU-6f1c", ["uuid of alpha/0 none -> GPU-6f1c"]),
        ("minor", 3, ["minor of alpha/0 none -> 3"]),
        ("kind", "rtx-4090", ["kind of alpha/0 rtx-3090 -> rtx-4090"]),
        ("share_bytes", 1 << 30, ["share of alpha/0 9,000 MiB -> 1,024 MiB"]),
        ("breakdown", breakdown(1), []),
    ],
)
def test_a_field_of_a_share(field: str, value: object, reasons: list[str]) -> None:
    before = replica("chat-0", "alpha", [share(0, 9_000)])
    held = before.shares[0].model_copy(update={field: value})
    action = "move" if field == "gpu" else "update" if reasons else "keep"
    check(before, before.model_copy(update={"shares": [held]}), action, reasons)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("variant", "variant bf16 -> awq"),
        ("engine", "engine vllm 0.33.0 -> llama.cpp 0.33.0"),
        ("engine_version", "engine vllm 0.33.0 -> vllm 0.34.0"),
        ("source", "model Qwen/Qwen3-8B at b968826d -> Qwen/Qwen3-8B-AWQ at b968826d"),
        ("revision", "model Qwen/Qwen3-8B at b968826d -> Qwen/Qwen3-8B at 0ff1ce"),
        ("model_path", "model Qwen/Qwen3-8B -> /srv/models/qwen"),
        ("companions", "mmproj none -> ./mmproj.gguf at 0ff1ce"),
        ("env", "HF_HOME=/srv added"),
        ("image", "image none -> vllm/vllm-openai:v0.33.0"),
        ("secrets", "secrets none -> HF_TOKEN"),
        ("start_after", "starts after none -> embed-0"),
        ("shm_bytes", "shared memory 64MiB -> 1GiB"),
        ("target", "target systemd -> compose"),
        ("port", "port 8000 -> 8001"),
        ("listen", "listens on 0.0.0.0 -> 127.0.0.1"),
    ],
)
def test_the_reason_of_a_field(field: str, reason: str) -> None:
    before = replica("chat-0", "alpha", [share(0, 9_000)])
    check(before, before.model_copy(update={field: OTHERS[field]}), "update", [reason])


def test_a_flag_with_another_value() -> None:
    check_argv(
        ["--max-model-len", "8192"],
        ["--max-model-len", "16384"],
        ["--max-model-len 8192 -> 16384"],
    )


def test_a_flag_added() -> None:
    check_argv([], ["-ngl", "99"], ["-ngl 99 added"])


def test_a_flag_removed() -> None:
    check_argv(["--seed", "-1"], [], ["--seed -1 removed"])


def test_a_bare_flag() -> None:
    check_argv(["--enforce-eager"], [], ["--enforce-eager removed"])
    check_argv([], ["--enforce-eager"], ["--enforce-eager added"])
    check_argv(["--flash-attn"], ["--flash-attn", "on"], ["--flash-attn without a value -> on"])


def test_a_negative_number_is_a_value() -> None:
    check_argv(["--predict", "-1"], ["--predict", "-2"], ["--predict -1 -> -2"])


def test_a_value_behind_an_equals_sign() -> None:
    check_argv(["--kv=a=b"], ["--kv=a=c"], ["--kv a=b -> a=c"])


def test_the_positional_model() -> None:
    check_argv(
        ["serve", "Qwen/A", "--port", "1"],
        ["serve", "Qwen/B", "--port", "1"],
        ["word 3 Qwen/A -> Qwen/B"],
    )


def test_another_program() -> None:
    before = replica("chat-0", "alpha", argv=["/opt/a"])
    check(
        before,
        before.model_copy(update={"argv": ["/opt/b"]}),
        "update",
        ["program /opt/a -> /opt/b"],
    )


def test_one_of_several_values_of_a_flag() -> None:
    check_argv(["--lora", "a", "b"], ["--lora", "a", "c"], ["--lora a b -> a c"])


def test_one_word_with_a_space_is_not_two() -> None:
    check_argv(["--stop", "a b"], ["--stop", "a", "b"], ["--stop 'a b' -> a b"])


def test_a_repeated_flag_names_the_one_that_changed() -> None:
    check_argv(["--lora", "a", "--lora", "b"], ["--lora", "a", "--lora", "c"], ["--lora b -> c"])
    check_argv(["--lora", "a", "--lora", "a"], ["--lora", "a"], ["--lora a removed"])


def test_another_order_is_told_as_the_whole_command() -> None:
    check_argv(
        ["--a", "1", "--b"],
        ["--b", "--a", "1"],
        [f"command {ENGINE} --a 1 --b -> {ENGINE} --b --a 1"],
    )


def test_another_engine_is_not_compared_flag_by_flag() -> None:
    before = replica("chat-0", "alpha", engine_version="0.33.0")
    after = replica("chat-0", "alpha", engine="llama.cpp", engine_version="9000", argv=[ENGINE])
    check(before, after, "update", ["engine vllm 0.33.0 -> llama.cpp 9000"])


def test_a_port_that_a_flag_has_told_is_not_told_again() -> None:
    before = replica("chat-0", "alpha", port=8_000, argv=[ENGINE, "--port", "8000"])
    after = replica("chat-0", "alpha", port=8_001, argv=[ENGINE, "--port", "8001"])
    check(before, after, "update", ["--port 8000 -> 8001"])


def test_a_moved_replica_selects_other_gpus_without_saying_so() -> None:
    before = replica("chat-0", "alpha", [share(0, 9_000)])
    after = replica("chat-0", "alpha", [share(1, 9_000)])
    assert before.env != after.env
    check(before, after, "move", [f"moved: {BETTER}"])


def test_the_same_gpus_in_another_order_are_no_move() -> None:
    before = replica("chat-0", "alpha", [share(0, 9_000), share(1, 9_000)])
    after = replica("chat-0", "alpha", [share(1, 9_000), share(0, 9_000)])
    check(before, after, "update", ["CUDA_VISIBLE_DEVICES=0,1 -> 1,0", "order of GPUs 0,1 -> 1,0"])


def test_from_the_cpu_to_a_gpu_is_a_move() -> None:
    before = replica("chat-0", "alpha")
    after = replica("chat-0", "alpha", [share(0, 9_000)])
    (change,) = diff(plan(HOSTS, [before]), plan(HOSTS, [after])).changes
    assert (change.action, change.before, change.after) == ("move", "alpha/cpu", "alpha/0")


@pytest.mark.parametrize(
    ("hosts", "cause"),
    [
        ({"alpha": 2, "beta": 2}, BETTER),
        ({"alpha": 1, "beta": 2}, "a GPU it stood on is gone"),
        ({"beta": 2}, "the host it stood on is gone"),
    ],
)
def test_why_a_replica_moves(hosts: dict[str, int], cause: str) -> None:
    before = plan({"alpha": 2}, [replica("chat-0", "alpha", [share(0, 9_000), share(1, 9_000)])])
    after = plan(hosts, [replica("chat-0", "beta", [share(0, 9_000), share(1, 9_000)])])
    (change,) = diff(before, after).changes
    assert [f"moved: {cause}"] == [reason_text(reason) for reason in change.reasons]
    assert (change.before, change.after) == ("alpha/0,1", "beta/0,1")


def moved(before: Plan, after: Plan, barred: AbstractSet[str] = frozenset()) -> str:
    """The first reason that is told for chat-0."""
    changes = diff(before, after, barred=barred).changes
    return next(reason_text(each.reasons[0]) for each in changes if each.replica == "chat-0")


def test_who_takes_the_place_of_a_replica_that_moves_is_named() -> None:
    chat, stays = (
        replica("chat-0", "alpha", [share(0, 9_000)]),
        replica("z-0", "alpha", [share(0, 1)]),
    )
    away = replica("chat-0", "beta", [share(0, 9_000)])
    code = replica("code-0", "alpha", [share(0, 20_000)])
    after = plan(HOSTS, [away, stays, code])
    assert moved(plan(HOSTS, [chat, stays]), after) == "moved: the old place is taken by code-0"
    larger = stays.model_copy(update={"variant": "fp32"})
    after = plan(HOSTS, [away, larger])
    assert moved(plan(HOSTS, [chat, stays]), after) == "moved: the old place is taken by z-0"


@pytest.mark.parametrize("grown", [{"context": 16_384}, {"concurrency": 32}, {"share": 1_000}])
def test_a_neighbour_that_needs_more_than_before_takes_the_place(grown: dict[str, int]) -> None:
    chat = replica("chat-0", "alpha", [share(0, 9_000)])
    stays = replica("z-0", "alpha", [share(0, 500)])
    away = replica("chat-0", "beta", [share(0, 9_000)])
    size = grown.pop("share", 500)
    larger = replica("z-0", "alpha", [share(0, size)]).model_copy(update=grown)
    after = plan(HOSTS, [away, larger])
    assert moved(plan(HOSTS, [chat, stays]), after) == "moved: the old place is taken by z-0"


def test_a_neighbour_whose_cache_grows_into_the_room_takes_no_place() -> None:
    def beside(kv: int) -> Replica:
        held = share(0, 500 + kv, breakdown=breakdown(weights=500, kv=kv))
        return replica("z-0", "alpha", [held])

    chat = replica("chat-0", "alpha", [share(0, 9_000)])
    away = replica("chat-0", "beta", [share(0, 9_000)])
    after = plan(HOSTS, [away, beside(9_000)])
    assert moved(plan(HOSTS, [chat, beside(100)]), after) == f"moved: {BETTER}"


def test_what_a_move_or_another_program_implies_is_not_told() -> None:
    on_gpu = replica("chat-0", "alpha", [share(0, 9_000)], bin_dirs=["/opt/vllm/bin"])
    boxed = on_gpu.model_copy(update={"target": "compose", "bin_dirs": [], "device_env": []})
    (change,) = diff(plan(HOSTS, [on_gpu]), plan(HOSTS, [boxed])).changes
    assert [reason_text(reason) for reason in change.reasons] == ["target systemd -> compose"]
    other = on_gpu.model_copy(update={"bin_dirs": ["/opt/old/bin"]})
    (change,) = diff(plan(HOSTS, [on_gpu]), plan(HOSTS, [other])).changes
    assert [reason_text(reason) for reason in change.reasons] == [
        "program folders /opt/vllm/bin -> /opt/old/bin"
    ]


def test_a_replica_whose_variant_stands_elsewhere() -> None:
    before = plan(HOSTS, [replica("chat-0", "alpha", [share(0, 9_000)])])
    after = plan(HOSTS, [replica("chat-0", "beta", [share(0, 9_000)], variant="awq")])
    assert moved(before, after) == "moved: the new variant stands elsewhere"


@pytest.mark.parametrize("gpus", [[0, 1], [1]])
def test_a_replica_that_is_split_otherwise(gpus: list[int]) -> None:
    held = [share(gpu, 5_000) for gpu in gpus]
    other = [share(0, 9_000)] if len(gpus) > 1 else [share(0, 5_000), share(1, 5_000)]
    before, after = (plan(HOSTS, [replica("chat-0", "alpha", each)]) for each in (other, held))
    assert moved(before, after) == "moved: it is split over another number of GPUs"


def test_a_gpu_whose_budget_shrinks() -> None:
    before = plan(HOSTS, [replica("chat-0", "alpha", [share(0, 9_000)])])
    after = plan(HOSTS, [replica("chat-0", "beta", [share(0, 9_000)])])
    small = [
        gpu.model_copy(update={"budget_bytes": 8_999 * MIB}) if gpu.host == "alpha" else gpu
        for gpu in after.gpus
    ]
    after = after.model_copy(update={"gpus": small})
    assert moved(before, after) == "moved: a GPU it stood on has too small a budget now"


def test_a_place_that_the_rules_no_longer_allow() -> None:
    before = plan(HOSTS, [replica("chat-0", "alpha", [share(0, 9_000)])])
    after = plan(HOSTS, [replica("chat-0", "beta", [share(0, 9_000)])])
    rule = "moved: its `placement` no longer allows the old place"
    assert moved(before, after, {"chat-0"}) == rule


@pytest.mark.parametrize(
    ("rules", "is_barred"),
    [
        ("{}", False),
        ("{pin: {host: beta}}", True),
        ("{pin: {host: alpha, gpus: [1]}}", True),
        ("{hosts: {zone: a}}", False),
        ("{hosts: {zone: b}}", True),
        ("{gpus: {kinds: [rtx-3090]}}", False),
        ('{gpus: {min_compute: "9.0"}}', True),
        ("{gpus: {tensor_parallel: [1, 2]}}", False),
        ("{gpus: {tensor_parallel: [2]}}", True),
    ],
)
def test_which_places_the_rules_bar(rules: str, is_barred: bool) -> None:
    inventory, _ = load_inventory(parse_yaml("inventory.yaml", BARRED_INVENTORY))
    text = f"version: 1\nservices: {{chat: {{model: a/b, placement: {rules}}}}}"
    spec, _ = load_spec(parse_yaml("models.yaml", text))
    assert inventory is not None
    assert spec is not None
    before = plan(HOSTS, [replica("chat-0", "alpha", [share(0, 9_000)])])
    assert (barred_replicas(before, spec, inventory) == {"chat-0"}) == is_barred
    on_cpu = plan(HOSTS, [replica("chat-0", "alpha")])
    bars_cpu = "kinds" in rules or (is_barred and "tensor_parallel" not in rules)
    assert (barred_replicas(on_cpu, spec, inventory) == {"chat-0"}) == bars_cpu


def test_others_that_come_or_go_are_named_where_a_share_changes() -> None:
    chat, old = (
        replica("chat-0", "alpha", [share(0, 9_000)]),
        replica("old-0", "alpha", [share(0, 1)]),
    )
    less, new = (
        replica("chat-0", "alpha", [share(0, 8_000)]),
        replica("new-0", "alpha", [share(0, 2)]),
    )
    found = diff(plan(HOSTS, [chat, old]), plan(HOSTS, [less, new]))
    (change,) = (each for each in found.changes if each.replica == "chat-0")
    assert [reason_text(reason) for reason in change.reasons] == [
        "share of alpha/0 9,000 MiB -> 8,000 MiB",
        "beside it on alpha/0: +new-0 -old-0",
    ]
    found = diff(plan(HOSTS, [chat, old]), plan(HOSTS, [chat, new]))
    assert {change.replica for change in found.changes if change.action == "keep"} == {"chat-0"}


def test_bytes_are_told_with_their_difference() -> None:
    check_argv(
        ["--kv-cache-memory-bytes", "1048576"],
        ["--kv-cache-memory-bytes", "3145728"],
        ["--kv-cache-memory-bytes 1048576 -> 3145728 (+2 MiB)"],
    )


def test_a_model_is_not_told_again_as_an_argument() -> None:
    argv = [ENGINE, "serve", "Qwen/Qwen3-8B"]
    before = replica("chat-0", "alpha", argv=argv)
    other = {"source": "a/b", "model_path": "a/b", "argv": [ENGINE, "serve", "a/b"]}
    after = before.model_copy(update=other)
    check(before, after, "update", ["model Qwen/Qwen3-8B at b968826d -> a/b at b968826d"])


def test_a_service_comes_and_goes_and_grows() -> None:
    one = plan(HOSTS, [replica("chat-0", "alpha")])
    two = plan(HOSTS, [replica("chat-0", "alpha"), replica("chat-1", "alpha")])
    none = plan(HOSTS)
    assert [ServiceAdded()] == diff(none, one).changes[0].reasons
    assert [ServiceRemoved()] == diff(one, none).changes[0].reasons
    assert [ReplicasChanged(before=1, after=2)] == diff(one, two).changes[0].reasons
    assert [ReplicasChanged(before=2, after=1)] == diff(two, one).changes[0].reasons


def test_settings_keep_their_field_name_as_data() -> None:
    before = replica("chat-0", "alpha")
    after = before.model_copy(update={"models_dir": "/data"})
    (change,) = diff(plan(HOSTS, [before]), plan(HOSTS, [after])).changes
    expected = SettingChanged(field="models_dir", before="/srv/models", after="/data")
    assert [expected] == change.reasons


@pytest.mark.parametrize(
    ("before", "after", "notes"),
    [
        (None, 1, ["Optional service `batch` runs 1 of 2 replicas."]),
        (1, 0, ["Optional service `batch` is left out; `modelc explain batch` says why."]),
        (1, 1, []),
        (1, None, ["Optional service `batch`, which had been left out, is gone."]),
    ],
)
def test_notes_on_what_is_left_out(before: int | None, after: int | None, notes: list[str]) -> None:
    plans = [
        plan(HOSTS, unplaced=[] if n is None else [Unplaced(service="batch", wanted=2, placed=n)])
        for n in (before, after)
    ]
    found = diff(*plans)
    assert notes == found.notes
    assert found.empty == (not notes)


def test_a_note_on_what_is_complete_again() -> None:
    batch = replica("batch-0", "alpha")
    short = plan(HOSTS, [batch], unplaced=[Unplaced(service="batch", wanted=2, placed=1)])
    notes = ["Optional service `batch` runs with all its replicas again."]
    assert notes == diff(short, plan(HOSTS, [batch])).notes


def test_an_unused_host_is_no_change() -> None:
    before = plan({"alpha": 1}, [replica("chat-0", "alpha", [share(0, 9_000)])])
    after = plan({"alpha": 1, "beta": 2}, before.replicas)
    assert diff(before, after).empty


def test_a_better_estimate_restarts_nothing() -> None:
    before = replica("chat-0", "alpha", [share(0, 9_000)])
    held = before.shares[0].model_copy(update={"breakdown": breakdown(1)})
    after = before.model_copy(update={"shares": [held], "ram_bytes": 1, "kv_tokens": 1})
    check(before, after, "keep", [])


@pytest.mark.parametrize(
    ("gpus", "rules", "barred"),
    [
        ((0, 0), "{}", set()),
        ((0, 0), "{spread: gpu}", {"chat-0", "chat-1"}),
        ((0, 1), "{spread: gpu}", set()),
        ((0, 1), "{spread: host}", {"chat-0", "chat-1"}),
        ((0, 1), "{apart_from: [code]}", {"chat-1", "code-0"}),
    ],
)
def test_replicas_that_a_rule_now_keeps_apart(
    gpus: tuple[int, int], rules: str, barred: set[str]
) -> None:
    inventory, _ = load_inventory(parse_yaml("inventory.yaml", BARRED_INVENTORY))
    services = f"{{chat: {{model: a/b, placement: {rules}}}, code: {{model: a/b}}}}"
    spec, _ = load_spec(parse_yaml("models.yaml", f"version: 1\nservices: {services}"))
    assert inventory is not None
    assert spec is not None
    replicas = [replica(f"chat-{n}", "alpha", [share(gpu, 9_000)]) for n, gpu in enumerate(gpus)]
    code = replica("code-0", "alpha", [share(1, 9_000)])
    assert barred_replicas(plan(HOSTS, [*replicas, code]), spec, inventory) == barred


def with_cache(mib: int) -> Replica:
    """A replica that wants 8,000 MiB of cache and has so many."""
    held = share(0, 9_000 + mib, breakdown=breakdown(8_000, mib, 500, 500))
    return replica("chat-0", "alpha", [held], kv_wanted_bytes=8_000 * MIB)


def test_a_restart_for_room_alone_says_so() -> None:
    said = {
        kv: [reason_text(each) for each in _reasons(with_cache(2_000), with_cache(kv))]
        for kv in (3_999, 4_000)
    }
    room = "restarted for room: what is left there holds 50 % of the requests wanted, before 25 %"
    assert room in said[4_000]
    assert not any("for room" in each for each in said[3_999])


def _reasons(before: Replica, after: Replica) -> list[Reason]:
    (change,) = diff(plan(HOSTS, [before]), plan(HOSTS, [after])).changes
    return change.reasons
