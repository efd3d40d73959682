"""The emitted compose file under docker itself, installed and removed as docs/targets.md says."""

from __future__ import annotations

import json

import pytest

from tests.hosts import laws
from tests.hosts.containers import IMAGE, start_docker
from tests.hosts.deployment import (
    CHANGED_MODELS,
    HOSTILE_ARGUMENT,
    MODELS,
    SECRET,
    Deployment,
    compiled,
)
from tests.hosts.handbook import commands
from tests.hosts.machine import Machine

GPU = "GPU-00000000-1111-2222-3333-444444444444"
OTHER_GPU = "GPU-55555555-6666-7777-8888-999999999999"
INVENTORY = f"""
version: 1
defaults:
  engines:
    vllm: {{version: 0.33.0, image: "{IMAGE}"}}
    llama.cpp: {{build: 9000, image: "{IMAGE}"}}
hosts:
  box:
    target: compose
    ram: 64GiB
    gpus: [{{kind: rtx-4090, uuid: {GPU}}}, {{kind: rtx-3090, uuid: {OTHER_GPU}}}]
"""
SMALL = """
  small:
    model: ./models/embed.gguf
    task: embed
    context: 256
    offload: cpu
"""
REPLICAS = ("chat-0", "chat-1", "embed-0", "small-0")
COMPOSE = "docker compose --project-name modelc"


@pytest.fixture(scope="module")
def host(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    start_docker(machine)
    fleet = compiled(tmp_path_factory.mktemp("fleet"), INVENTORY, MODELS + SMALL)
    machine.place(fleet.folder / "models", "/srv/models/models")
    machine.write("/root/HF_TOKEN", f"{SECRET}\n", mode=0o600)
    deployment = Deployment(machine=machine, fleet=fleet)
    machine.place(deployment.artifacts(), "/root/compiled/box")
    for command in commands("compose", "Install", host="box"):
        machine.run(command, folder="/root")
    return deployment


def containers(host: Deployment) -> dict[str, tuple[str, str]]:
    """For each replica its container, and when that was started last."""
    label = '{{index .Config.Labels "com.docker.compose.service"}}'
    wanted = f"docker inspect --format '{label} {{{{.Id}}}} {{{{.State.StartedAt}}}}'"
    lines = host.machine.run(f"{wanted} $({COMPOSE} ps --all --quiet)").splitlines()
    return {name: (container, started) for name, container, started in map(str.split, lines)}


def test_the_command_returns_once_all_are_healthy(host: Deployment) -> None:
    listed = host.machine.run(f"{COMPOSE} ps --all --format json").splitlines()
    health = {row["Service"]: row["Health"] for row in map(json.loads, listed)}
    assert health == dict.fromkeys(REPLICAS, "healthy")


def test_replicas_of_one_gpu_start_one_after_another(host: Deployment) -> None:
    laws.starts_one_after_another(host, "chat-0", "chat-1")


def test_a_replica_on_another_gpu_does_not_wait(host: Deployment) -> None:
    laws.starts_without_waiting(host, "embed-0", "chat-0")


@pytest.mark.parametrize("replica", REPLICAS)
def test_the_engine_gets_the_plans_command_line(host: Deployment, replica: str) -> None:
    laws.container_has_command_line(host, replica)
    assert (HOSTILE_ARGUMENT in host.facts(replica).argv) == (replica != "small-0")


@pytest.mark.parametrize("replica", REPLICAS)
def test_the_engine_gets_the_plans_variables(host: Deployment, replica: str) -> None:
    laws.container_has_variables(host, replica)


@pytest.mark.parametrize(
    ("replica", "gpus"),
    [("chat-0", GPU), ("chat-1", GPU), ("embed-0", OTHER_GPU), ("small-0", "void")],
)
def test_nvidias_hook_is_asked_for_the_gpus_of_the_plan(
    host: Deployment, replica: str, gpus: str
) -> None:
    assert host.facts(replica).environment["NVIDIA_VISIBLE_DEVICES"] == gpus


@pytest.mark.parametrize("replica", ["chat-0", "chat-1"])
def test_a_secret_reaches_its_engine(host: Deployment, replica: str) -> None:
    assert host.facts(replica).environment["HF_TOKEN"] == SECRET


def test_a_secret_reaches_no_other_engine(host: Deployment) -> None:
    assert SECRET not in host.facts("embed-0").environment.values()
    assert host.opening("embed-0", "/run/secrets/HF_TOKEN", "rb") == "ENOENT"


def test_a_secret_is_seen_nowhere_else(host: Deployment) -> None:
    laws.no_artifact_holds_the_secret(host)
    inspected = host.machine.run(f"docker inspect $({COMPOSE} ps --all --quiet)")
    assert "/etc/modelc/secrets/HF_TOKEN" in inspected
    assert SECRET not in inspected
    assert SECRET not in host.machine.run(f"{COMPOSE} logs")


def test_a_replica_reads_models_and_keeps_its_cache(host: Deployment) -> None:
    assert host.opening("chat-0", "/srv/models/models/chat.gguf", "rb") is None
    assert host.opening("chat-0", "/srv/models/x", "wb") == "EROFS"
    assert host.opening("embed-0", "/srv/models/huggingface/fetched", "wb") is None
    assert host.opening("chat-0", "/var/cache/modelc-chat-0/kernels", "wb") is None
    host.machine.run("test -f /var/cache/modelc-chat-0/kernels")


def test_the_commands_to_look_show_a_replica(host: Deployment) -> None:
    for command in commands("compose", "Look"):
        assert "chat-1" in host.machine.run(command)


def test_an_engine_that_is_killed_starts_again_alone(host: Deployment) -> None:
    before = containers(host)
    name = f"$({COMPOSE} ps --quiet chat-0)"
    host.machine.run(f"kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' {name})")
    assert host.becomes_healthy("chat-0")
    after = containers(host)
    assert after.pop("chat-0") != before.pop("chat-0")
    assert after == before
    assert host.opening("chat-0", "/var/cache/modelc-chat-0/kernels", "rb") is None


def test_a_change_recreates_what_changed_and_nothing_else(host: Deployment) -> None:
    before = containers(host)
    compiled(host.fleet.folder, INVENTORY, CHANGED_MODELS + SMALL)
    host.machine.place(host.artifacts(), "/root/compiled/box")
    host.machine.run(commands("compose", "Install", host="box")[-1], folder="/root")
    after = containers(host)
    assert after.pop("embed-0") != before.pop("embed-0")
    assert after == before
    assert host.facts("embed-0").environment["NEW"] == "1"


def test_all_come_back_after_a_reboot(host: Deployment) -> None:
    host.machine.reboot()
    for replica in REPLICAS:
        assert host.becomes_healthy(replica)


def test_removal_leaves_nothing(host: Deployment) -> None:
    """The last test, as it takes the fleet away."""
    for command in commands("compose", "Remove"):
        host.machine.run(command)
    assert host.machine.run("docker ps --all --quiet") == ""
    assert "modelc" not in host.machine.run("docker network ls && docker volume ls")
    assert host.processes() == ""
    found = host.machine.run("find / -xdev -name '*modelc*' -not -path '/root/compiled/*'")
    assert [line for line in found.splitlines() if not line.startswith("/proc")] == []
