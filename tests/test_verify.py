"""A plan that was tampered with in any one way is found out; as it was compiled it is sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from compiler.inputs import Inputs, load
from compiler.ir.inventory import Inventory
from compiler.ir.plan import Plan
from compiler.ir.spec import Pin, PlacementRules, Policy, Spec, Spread
from compiler.pipeline import compile_plan
from compiler.verify import verify
from compiler.workspace import read_text

ROOT = Path(__file__).parents[1]
HOMELAB = "inventories/homelab"
TARGETS = "tests/golden/every-target"
SPREAD = "tests/golden/spread-and-apart"
LEFT_OUT = "tests/golden/optional-left-out"
LAYERS = "tests/golden/llama-70b-two-4090"
CASES = (HOMELAB, TARGETS, SPREAD, LEFT_OUT, LAYERS)

Document = dict[str, Any]
Change = Callable[[Document], None]


@dataclass(frozen=True)
class Case:
    """A fleet with its compiled plan."""

    inventory: Inventory
    spec: Spec
    plan: Plan

    def faults(self, plan: Plan | None = None, previous: Plan | None = None) -> list[str]:
        return verify(self.inventory, self.spec, plan or self.plan, previous)


@cache
def case(folder: str) -> Case:
    """One of the bundled fleets."""
    texts = [read_text(ROOT / folder / name) for name in ("inventory.yaml", "models.yaml")]
    lock = read_text(ROOT / folder / "modelc.lock")
    inputs = Inputs(inventory=texts[0], spec=texts[1], lock=lock, previous=None)
    loaded = load(inputs)
    return Case(loaded.inventory, loaded.spec, compile_plan(inputs).plan)


def changed(plan: Plan, change: Change) -> Plan:
    """The plan with a change made to its document."""
    document = plan.model_dump()
    change(document)
    return Plan.model_validate(document)


def replica(document: Document, name: str) -> Document:
    found: Document = next(each for each in document["replicas"] if each["name"] == name)
    return found


def recount(document: Document) -> None:
    """Makes the ledgers agree with the replicas, as whoever covers his traces would."""
    for ledger in document["gpus"]:
        ledger["granted_bytes"] = sum(
            share["share_bytes"]
            for each in document["replicas"]
            if each["host"] == ledger["host"]
            for share in each["shares"]
            if share["gpu"] == ledger["gpu"]
        )
    for ledger in document["hosts"]:
        ledger["ram_granted_bytes"] = sum(
            each["ram_bytes"] for each in document["replicas"] if each["host"] == ledger["host"]
        )


def flag(words: list[str], name: str, value: str) -> None:
    words[words.index(name) + 1] = value


@pytest.mark.parametrize("folder", CASES)
def test_a_compiled_plan_is_sound(folder: str) -> None:
    assert case(folder).faults() == []


@pytest.mark.parametrize("folder", CASES)
def test_a_compiled_plan_is_sound_as_its_own_successor(folder: str) -> None:
    found = case(folder)
    services = tuple(service.name for service in found.spec.services)
    frozen = replace(found.spec, policy=Policy(max_moves=0, freeze=services))
    assert verify(found.inventory, frozen, found.plan, found.plan) == []


# Where replicas stand


def move_share(document: Document) -> None:
    replica(document, "chat-0")["shares"][0]["gpu"] = 0
    recount(document)


def move_nowhere(document: Document) -> None:
    replica(document, "chat-0")["shares"][0]["gpu"] = 7


def move_to_an_unknown_host(document: Document) -> None:
    replica(document, "chat-0")["host"] = "tower-2"


def take_a_gpu_twice(document: Document) -> None:
    shares = replica(document, "chat-0")["shares"]
    shares.append(shares[0])


def change_the_kind(document: Document) -> None:
    replica(document, "chat-0")["shares"][0]["kind"] = "rtx-4090"


def swap_uuids(document: Document) -> None:
    """Everywhere, so that the plan agrees with itself."""
    chat, code = replica(document, "chat-0"), replica(document, "code-0")
    embed = replica(document, "embed-0")
    first, second = code["shares"][0]["uuid"], chat["shares"][0]["uuid"]
    for each, uuid in ((chat, first), (code, second), (embed, second)):
        each["shares"][0]["uuid"] = uuid
        each["env"]["CUDA_VISIBLE_DEVICES"] = uuid
    for ledger, uuid in zip(document["gpus"], (second, first), strict=True):
        ledger["uuid"] = uuid


def show_another_gpu(document: Document) -> None:
    code = replica(document, "code-0")["env"]
    replica(document, "chat-0")["env"]["CUDA_VISIBLE_DEVICES"] = code["CUDA_VISIBLE_DEVICES"]


def count_all(document: Document) -> None:
    """By its index, a GPU is another one to a process that may open one node alone."""
    chat = replica(document, "chat-0")
    assert chat["shares"][0]["minor"] == 1
    chat["env"]["CUDA_VISIBLE_DEVICES"] = "1"


def show_all_gpus(document: Document) -> None:
    del replica(document, "chat-0")["env"]["CUDA_VISIBLE_DEVICES"]


def count_by_speed(document: Document) -> None:
    replica(document, "code-0")["env"]["CUDA_DEVICE_ORDER"] = "FASTEST_FIRST"


# Memory


def exceed_a_budget_by_a_byte(document: Document) -> None:
    ledger = document["gpus"][1]
    share = replica(document, "chat-0")["shares"][0]
    share["share_bytes"] += ledger["budget_bytes"] - ledger["granted_bytes"] + 1
    recount(document)


def fill_a_budget_to_the_byte(document: Document) -> None:
    exceed_a_budget_by_a_byte(document)
    replica(document, "chat-0")["shares"][0]["share_bytes"] -= 1
    recount(document)


def grant_a_byte_less(document: Document) -> None:
    replica(document, "code-0")["shares"][0]["share_bytes"] -= 1
    recount(document)


def ledger_off_by_one(document: Document) -> None:
    document["gpus"][0]["granted_bytes"] += 1


def ledger_of_another_budget(document: Document) -> None:
    document["gpus"][0]["budget_bytes"] += 1


def ledger_of_another_bound(document: Document) -> None:
    document["gpus"][0]["binding"] = "utilization"


def ledger_of_another_gpu(document: Document) -> None:
    document["gpus"][0]["reserved_bytes"] = 0


def ledger_without_a_gpu(document: Document) -> None:
    document["gpus"].pop()


def ram_ledger_off_by_one(document: Document) -> None:
    document["hosts"][0]["ram_granted_bytes"] -= 1


def exceed_the_ram_by_a_byte(document: Document) -> None:
    (ledger,) = document["hosts"]
    free = ledger["ram_budget_bytes"] - ledger["ram_granted_bytes"]
    replica(document, "code-0")["ram_bytes"] += free + 1
    recount(document)


def grant_a_byte_of_ram_less(document: Document) -> None:
    replica(document, "code-0")["ram_bytes"] -= 1
    recount(document)


# Replicas


def drop_a_replica(document: Document) -> None:
    document["replicas"].remove(replica(document, "embed-0"))
    recount(document)


def drop_a_replica_and_say_so(document: Document) -> None:
    drop_a_replica(document)
    document["unplaced"] = [{"service": "embed", "wanted": 1, "placed": 0}]


def say_a_replica_is_missing(document: Document) -> None:
    document["unplaced"] = [{"service": "embed", "wanted": 1, "placed": 0}]


def run_one_more(document: Document) -> None:
    first = replica(document, "embed-0")
    second = {**first, "name": "embed-1", "port": 8077, "argv": list(first["argv"])}
    flag(second["argv"], "--port", "8077")
    document["replicas"].append({**second, "start_after": ["code-0", "embed-0"]})
    recount(document)


def run_a_stranger(document: Document) -> None:
    run_one_more(document)
    document["replicas"][-1].update(name="ghost-0", service="ghost")


def run_two_of_one_name(document: Document) -> None:
    document["replicas"].append(replica(document, "embed-0"))


def rename(document: Document) -> None:
    replica(document, "embed-0")["name"] = "embed-00"


def rename_a_gap(document: Document) -> None:
    replica(document, "code-0")["name"] = "zz-0"


# Ports and starting


def share_a_port(document: Document) -> None:
    port = replica(document, "chat-0")["port"]
    flag(replica(document, "code-0")["argv"], "--port", str(port))
    replica(document, "code-0")["port"] = port


def leave_the_port_range(document: Document) -> None:
    flag(replica(document, "code-0")["argv"], "--port", "22")
    replica(document, "code-0")["port"] = 22


def listen_elsewhere(document: Document) -> None:
    flag(replica(document, "code-0")["argv"], "--port", "8055")


def start_at_once(document: Document) -> None:
    replica(document, "embed-0")["start_after"] = []


def start_in_a_circle(document: Document) -> None:
    replica(document, "code-0")["start_after"] = ["embed-0"]


def wait_for_nobody(document: Document) -> None:
    replica(document, "chat-0")["start_after"] = ["ghost-0"]


# Command lines


def ask_for_more_kv(document: Document) -> None:
    flag(replica(document, "chat-0")["argv"], "--kv-cache-memory-bytes", "3179282433")


def ask_for_the_whole_gpu(document: Document) -> None:
    flag(replica(document, "chat-0")["argv"], "--gpu-memory-utilization", "0.9700")


def ask_for_nothing(document: Document) -> None:
    flag(replica(document, "chat-0")["argv"], "--gpu-memory-utilization", "0.0000")


def leave_out_the_utilization(document: Document) -> None:
    words = replica(document, "chat-0")["argv"]
    place = words.index("--gpu-memory-utilization")
    del words[place : place + 2]


def split_over_two(document: Document) -> None:
    chat = replica(document, "chat-0")
    flag(chat["argv"], "--tensor-parallel-size", "2")
    chat["tensor_parallel"] = 2


def say_another_split(document: Document) -> None:
    flag(replica(document, "chat-0")["argv"], "--tensor-parallel-size", "2")


def stretch_the_context(document: Document) -> None:
    flag(replica(document, "chat-0")["argv"], "--max-model-len", "40960")


def load_another_model(document: Document) -> None:
    chat = replica(document, "chat-0")
    chat["argv"][chat["argv"].index("Qwen/Qwen3-32B-AWQ")] = "Qwen/Qwen3-32B"


def keep_a_layer_back(document: Document) -> None:
    flag(replica(document, "code-0")["argv"], "--n-gpu-layers", "48")


def answer_to_another_name(document: Document) -> None:
    flag(replica(document, "code-0")["argv"], "--alias", "chat")


def start_another_program(document: Document) -> None:
    replica(document, "code-0")["argv"][0] = "/tmp/llama-server"  # noqa: S108  Only compared.


# What the spec and the inventory say


def run_an_unknown_variant(document: Document) -> None:
    replica(document, "code-0")["variant"] = "better"


def run_another_source(document: Document) -> None:
    replica(document, "code-0")["source"] = "unsloth/other:Q4_K_M"


def take_shorter_requests(document: Document) -> None:
    replica(document, "code-0")["context"] = 8192


def do_another_task(document: Document) -> None:
    replica(document, "embed-0")["task"] = "rerank"


def give_another_secret(document: Document) -> None:
    replica(document, "code-0")["secrets"] = ["HF_TOKEN"]


def run_another_version(document: Document) -> None:
    replica(document, "code-0")["engine_version"] = "9000"


def keep_layers_in_ram(document: Document) -> None:
    replica(document, "code-0")["host_layers"] = 3


FORGERIES: tuple[tuple[Change, str], ...] = (
    (move_share, "`chat-0` takes `tower/0` for the GPU `GPU-b2aa41f7-88c3-4d0f-b1de-5c2a9e6f3d02`"),
    (move_nowhere, "`chat-0` stands on `tower/7`, which does not exist"),
    (move_to_an_unknown_host, "`chat-0` stands on `tower-2`, which is not in the inventory"),
    (take_a_gpu_twice, "`chat-0` takes one GPU twice"),
    (change_the_kind, "`chat-0` takes `tower/1` for a `rtx-4090`"),
    (swap_uuids, "`chat-0` takes `tower/1` for the GPU `GPU-6f1c2d9e-30b1-4a6e-9a52-0b8f5d1e7c01`"),
    (show_another_gpu, "`chat-0` sees other GPUs than planned"),
    (count_all, "`chat-0` sees other GPUs than planned"),
    (show_all_gpus, "`chat-0` sees other GPUs than planned"),
    (count_by_speed, "`code-0` counts GPUs in another order than the inventory"),
    (
        exceed_a_budget_by_a_byte,
        "`tower/1` grants 24,481,313,588 bytes of a budget of 24,481,313,587",
    ),
    (grant_a_byte_less, "`code-0` is granted less than it takes on GPU 0"),
    (ledger_off_by_one, "the ledger of `tower/0` does not add up to its replicas' shares"),
    (
        ledger_of_another_budget,
        "the ledger of `tower/0` shows another budget than 24,159,191,040 bytes",
    ),
    (
        ledger_of_another_bound,
        "the ledger of `tower/0` shows another budget than 24,159,191,040 bytes",
    ),
    (ledger_of_another_gpu, "the ledger of `tower/0` shows another GPU than the inventory"),
    (ledger_without_a_gpu, "the GPU ledger does not list the GPUs of the inventory"),
    (ram_ledger_off_by_one, "the RAM ledger does not add up to the hosts and their replicas"),
    (
        exceed_the_ram_by_a_byte,
        "`tower` grants 60,129,542,145 bytes of RAM of a budget of 60,129,542,144",
    ),
    (grant_a_byte_of_ram_less, "`code-0` is granted less RAM than it takes"),
    (drop_a_replica, "`embed` lacks 1 replicas and is not optional"),
    (drop_a_replica, "`embed` has 0 of 1 replicas, and the plan does not say so"),
    (drop_a_replica_and_say_so, "`embed` lacks 1 replicas and is not optional"),
    (say_a_replica_is_missing, "the plan says wrongly that `embed` has 0 of 1 replicas"),
    (run_one_more, "`embed` has 1 replicas too many"),
    (run_a_stranger, "`ghost` runs and is not in the spec"),
    (run_two_of_one_name, "the name `embed-0` is given 2 times"),
    (rename, "`embed-00` is no name of a replica of `embed`"),
    (rename_a_gap, "the replicas are not sorted by name"),
    (share_a_port, "port 8000 of `tower` is given 2 times"),
    (leave_the_port_range, "`code-0` has port 22 outside of 8000-8099"),
    (listen_elsewhere, "`code-0` has `--port 8055`, and the plan says 8001"),
    (start_at_once, "`code-0` and `embed-0` on `tower/0` may start at once"),
    (
        start_in_a_circle,
        "the start order runs in a circle or waits for what is not there: ['code-0', 'embed-0']",
    ),
    (
        wait_for_nobody,
        "the start order runs in a circle or waits for what is not there: ['chat-0']",
    ),
    (ask_for_more_kv, "`chat-0` asks for another KV size than planned"),
    (ask_for_the_whole_gpu, "`chat-0` may take more of GPU 1 than its share"),
    (ask_for_nothing, "`chat-0` has an impossible utilization"),
    (leave_out_the_utilization, "`chat-0` has no utilization and would take the whole GPU"),
    (split_over_two, "`chat-0` has 1 GPUs for 2 ranks"),
    (say_another_split, "`chat-0` has `--tensor-parallel-size 2`, and the plan says 1"),
    (stretch_the_context, "`chat-0` has `--max-model-len 40960`, and the plan says 8192"),
    (load_another_model, "`chat-0` loads another model than planned"),
    (keep_a_layer_back, "`code-0` has `--n-gpu-layers 48`, and the plan says 49"),
    (answer_to_another_name, "`code-0` has `--alias chat`, and the plan says code"),
    (start_another_program, "`code-0` starts another program than its host has"),
    (run_an_unknown_variant, "`code-0` is of a variant `better`, which is not in the spec"),
    (run_another_source, "`code-0` runs another model, engine or concurrency than its variant"),
    (take_shorter_requests, "`code-0` takes requests of another length than its variant"),
    (do_another_task, "`embed-0` does another task than its service"),
    (give_another_secret, "`code-0` gets other secrets than its service"),
    (run_another_version, "`code-0` is for another version than the `"),
    (keep_layers_in_ram, "`code-0` keeps layers in RAM though `offload` is `none`"),
)


@pytest.mark.parametrize(("change", "fault"), FORGERIES)
def test_a_forgery_is_found(change: Change, fault: str) -> None:
    homelab = case(HOMELAB)
    found = homelab.faults(changed(homelab.plan, change))
    assert any(each.startswith(fault) for each in found), found


def test_a_budget_may_be_used_to_the_last_byte() -> None:
    homelab = case(HOMELAB)
    assert homelab.faults(changed(homelab.plan, fill_a_budget_to_the_byte)) == []


def test_the_value_of_a_secret_in_the_environment_is_found() -> None:
    targets = case(TARGETS)

    def leak(document: Document) -> None:
        replica(document, "chat-0")["env"]["VLLM_API_KEY"] = "hunter2"

    fault = "`chat-0` has the value of a secret in its environment"
    assert fault in targets.faults(changed(targets.plan, leak))


@pytest.mark.parametrize(
    ("name", "field", "value", "fault"),
    [
        ("chat-0", "image", None, "`chat-0` starts from another image than its host has"),
        ("chat-0", "target", "script", "`chat-0` is for a host that is set up in another way"),
        ("code-0", "models_dir", "/x", "`code-0` is for a host that is set up in another way"),
        ("code-0", "concurrency", 1, "`code-0` runs another model, engine or concurrency"),
        ("chat-0", "env", {}, "`chat-0` gets another environment than its service"),
        ("nomic-0", "host_layers", 13, "`nomic-0` keeps 13 of 12 layers in RAM"),
    ],
)
def test_a_field_that_the_inputs_decide_is_recounted(
    name: str, field: str, value: object, fault: str
) -> None:
    targets = case(TARGETS)

    def change(document: Document) -> None:
        replica(document, name)[field] = value

    found = targets.faults(changed(targets.plan, change))
    assert any(each.startswith(fault) for each in found), found


# Rules: the plan stays, and the spec says what it breaks.


def broken_rules(folder: str, service: str, rules: PlacementRules, **fields: Any) -> list[str]:  # noqa: ANN401
    """The faults of a plan under other rules for one service."""
    found = case(folder)
    services = tuple(
        replace(each, placement=rules, **fields) if each.name == service else each
        for each in found.spec.services
    )
    return verify(found.inventory, replace(found.spec, services=services), found.plan, None)


RULES: tuple[tuple[str, str, PlacementRules, str], ...] = (
    (
        HOMELAB, "chat", PlacementRules(kinds=("a100-sxm-80gb",)),
        "`chat-0` stands on a GPU kind that its rules exclude",
    ),
    (
        TARGETS, "nomic", PlacementRules(kinds=("l40s",)),
        "`nomic-0` stands on a GPU kind that its rules exclude",
    ),
    (
        HOMELAB, "code", PlacementRules(min_compute=(8, 9)),
        "`code-0` stands on a GPU of too low compute capability",
    ),
    (HOMELAB, "code", PlacementRules(pin=Pin(host="other")), "`code-0` is pinned to `other`"),
    (
        HOMELAB, "code", PlacementRules(pin=Pin(host="tower", gpus=(1,))),
        "`code-0` is pinned to GPUs [1]",
    ),
    (
        HOMELAB, "chat", PlacementRules(tensor_parallel=(2, 4)),
        "`chat-0` has a tensor parallel degree that its rules exclude",
    ),
    (
        HOMELAB, "chat", PlacementRules(host_labels={"name": ("other",)}),
        "`chat-0` stands on `tower`, which its selector excludes",
    ),
    (
        HOMELAB, "chat", PlacementRules(host_labels={"zone": ("a",)}),
        "`chat-0` stands on `tower`, which its selector excludes",
    ),
    (
        HOMELAB, "embed", PlacementRules(apart_from=("code",)),
        "`embed` and `code` share `tower/0`",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("folder", "service", "rules", "fault"), RULES)
def test_a_broken_rule_is_found(
    folder: str, service: str, rules: PlacementRules, fault: str
) -> None:
    assert fault in broken_rules(folder, service, rules)


@pytest.mark.parametrize("spread", ["host", "gpu"])
def test_two_replicas_in_one_place_break_spread(spread: Spread) -> None:
    homelab = case(HOMELAB)
    services = tuple(
        replace(each, replicas=2, placement=PlacementRules(spread=spread))
        if each.name == "embed"
        else each
        for each in homelab.spec.services
    )
    spec = replace(homelab.spec, services=services)
    found = verify(homelab.inventory, spec, changed(homelab.plan, run_one_more), None)
    assert found == [f"replicas of `embed` share a {spread}"]


def test_layers_on_gpus_break_offload_to_the_cpu() -> None:
    found = case(LAYERS)
    (service,) = found.spec.services
    variants = tuple(replace(variant, offload="cpu") for variant in service.variants)
    spec = replace(found.spec, services=(replace(service, variants=variants),))
    fault = "`reasoning-0` takes GPUs though `offload` is `cpu`"
    assert verify(found.inventory, spec, found.plan, None) == [fault]


@pytest.mark.parametrize(
    ("wanted", "placed", "times"), [(1, 1, 1), (2, 0, 1), (1, 0, 2), (1, 0, 0)]
)
def test_an_optional_service_left_out_is_said_as_it_is(
    wanted: int, placed: int, times: int
) -> None:
    found = case(LEFT_OUT)

    def change(document: Document) -> None:
        document["unplaced"] = [{"service": "nice", "wanted": wanted, "placed": placed}] * times

    assert [each.service for each in found.plan.unplaced] == ["nice"]
    assert found.faults(changed(found.plan, change)) != []


# Rules on change


def swap_hosts(document: Document) -> None:
    """Two replicas of a service on two hosts change places with other GPUs."""
    for name in ("chat-0", "chat-1"):
        each = replica(document, name)
        each["shares"][0]["gpu"] = 1 - each["shares"][0]["gpu"]


@pytest.mark.parametrize(("most", "sound"), [(None, True), (2, True), (1, False), (0, False)])
def test_more_moves_than_allowed_are_found(most: int | None, sound: bool) -> None:
    found = case(SPREAD)
    spec = replace(found.spec, policy=Policy(max_moves=most))
    before = changed(found.plan, swap_hosts)
    faults = verify(found.inventory, spec, found.plan, before)
    assert faults == ([] if sound else [f"2 replicas move, and `max_moves` is {most}"])


def test_a_new_replica_is_no_move() -> None:
    found = case(SPREAD)
    spec = replace(found.spec, policy=Policy(max_moves=0))
    before = changed(found.plan, lambda document: document["replicas"].pop())
    assert verify(found.inventory, spec, found.plan, before) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("port", 8044), ("kv_tokens", 1), ("start_timeout_seconds", 1), ("secrets", ["TOKEN"])],
)
def test_a_frozen_service_stays_to_the_letter(field: str, value: object) -> None:
    found = case(SPREAD)
    spec = replace(found.spec, policy=Policy(freeze=("chat",)))

    def change(document: Document) -> None:
        replica(document, "chat-0")[field] = value

    fault = "the frozen service `chat` was changed"
    assert fault in verify(found.inventory, spec, found.plan, changed(found.plan, change))


def test_a_frozen_service_may_lose_what_it_waited_for() -> None:
    found = case(SPREAD)
    spec = replace(found.spec, policy=Policy(freeze=("chat",)))

    def change(document: Document) -> None:
        replica(document, "chat-0")["start_after"] = ["gone-0"]

    assert verify(found.inventory, spec, found.plan, changed(found.plan, change)) == []


def test_a_frozen_service_is_held_to_no_new_rule() -> None:
    found = case(HOMELAB)
    service = found.spec.service("chat")
    rules = PlacementRules(kinds=("a100-sxm-80gb",))
    services = (replace(service, placement=rules, replicas=3), *found.spec.services[1:])
    spec = Spec(services=services, policy=Policy(freeze=("chat",)))
    assert verify(found.inventory, spec, found.plan, found.plan) == []


def test_what_stands_on_a_broken_gpu_or_comes_to_a_drained_host_is_found() -> None:
    homelab = case(HOMELAB)
    (tower,) = homelab.inventory.hosts
    drained = Inventory(hosts=(replace(tower, state="drained"),))
    faults = verify(drained, homelab.spec, homelab.plan, None)
    assert "`chat-0` comes to `tower`, which is drained" in faults
    stayed = verify(drained, homelab.spec, homelab.plan, homelab.plan)
    assert not any("comes to" in fault for fault in stayed)
    first, second = tower.gpus
    broken = Inventory(hosts=(replace(tower, gpus=(replace(first, state="broken"), second)),))
    faults = verify(broken, homelab.spec, homelab.plan, homelab.plan)
    assert "`code-0` stands on `tower/0`, which is broken" in faults
