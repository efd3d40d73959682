"""Emitted container files under podman itself, installed and removed as docs/targets.md says."""

from __future__ import annotations

import pytest

from tests.hosts import laws
from tests.hosts.containers import IMAGE, start_podman
from tests.hosts.deployment import (
    CHANGED_MODELS,
    HOSTILE_ARGUMENT,
    MODELS,
    SECRET,
    Deployment,
    compiled,
)
from tests.hosts.gpus import NO_SUCH_GPU, make_gpus
from tests.hosts.handbook import commands
from tests.hosts.machine import Machine

INVENTORY = f"""
version: 1
defaults:
  engines:
    vllm: {{version: 0.33.0, image: "{IMAGE}"}}
    llama.cpp: {{build: 9000, image: "{IMAGE}"}}
hosts:
  box: {{target: quadlet, ram: 64GiB, gpus: [{{kind: rtx-4090}}, {{kind: rtx-3090}}]}}
"""
REPLICAS = ("chat-0", "chat-1", "embed-0")
UNITS = "/root/compiled/box/quadlet"


@pytest.fixture(scope="module")
def host(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    start_podman(machine)
    make_gpus(machine)
    fleet = compiled(tmp_path_factory.mktemp("fleet"), INVENTORY, MODELS)
    machine.place(fleet.folder / "models", "/srv/models/models")
    deployment = Deployment(machine=machine, fleet=fleet)
    machine.place(deployment.artifacts(), "/root/compiled/box")
    machine.write("/root/HF_TOKEN", f"{SECRET}\n", mode=0o600)
    for command in commands("quadlet", "Install"):
        machine.run(command, folder=UNITS)
    return deployment


def starts(host: Deployment) -> dict[str, float]:
    return {replica: host.facts(replica).started for replica in REPLICAS}


def test_the_last_command_of_the_installation_returns_once_all_are_healthy(
    host: Deployment,
) -> None:
    assert all(host.facts(replica).answered for replica in REPLICAS)


def test_systemd_finds_nothing_to_say(host: Deployment) -> None:
    said = host.machine.run("journalctl --boot --priority=warning --output=cat _PID=1")
    assert [line for line in said.splitlines() if "modelc" in line] == []


def test_replicas_of_one_gpu_start_one_after_another(host: Deployment) -> None:
    laws.starts_one_after_another(host, "chat-0", "chat-1")


def test_a_replica_on_another_gpu_does_not_wait(host: Deployment) -> None:
    laws.starts_without_waiting(host, "embed-0", "chat-0")


@pytest.mark.parametrize("replica", REPLICAS)
def test_the_engine_gets_the_plans_command_line(host: Deployment, replica: str) -> None:
    laws.container_has_command_line(host, replica)
    assert HOSTILE_ARGUMENT in host.facts(replica).argv


@pytest.mark.parametrize("replica", REPLICAS)
def test_the_engine_gets_the_plans_variables(host: Deployment, replica: str) -> None:
    laws.container_has_variables(host, replica)


def test_a_secret_reaches_its_engine_and_no_other(host: Deployment) -> None:
    for replica in ("chat-0", "chat-1"):
        assert host.facts(replica).environment["HF_TOKEN"] == SECRET
    assert SECRET not in host.facts("embed-0").environment.values()
    assert host.opening("embed-0", "/run/secrets/HF_TOKEN", "rb") == "ENOENT"


def test_a_secret_is_seen_nowhere_else(host: Deployment) -> None:
    laws.no_artifact_holds_the_secret(host)
    shown = host.machine.run("systemctl show --all 'modelc*'; podman inspect modelc-chat-0")
    assert "modelc-chat-0.service" in shown
    assert SECRET not in shown
    assert SECRET not in host.machine.run("journalctl --boot --output=export")
    assert SECRET not in host.machine.run("ps -e -o args")


@pytest.mark.parametrize(
    ("replica", "own", "other"),
    [
        ("chat-0", "nvidia0", "nvidia1"),
        ("chat-1", "nvidia0", "nvidia1"),
        ("embed-0", "nvidia1", "nvidia0"),
    ],
)
def test_a_replica_has_its_own_gpu_only(
    host: Deployment, replica: str, own: str, other: str
) -> None:
    for device in (own, "nvidiactl", "nvidia-uvm"):
        assert host.opening(replica, f"/dev/{device}", "r%2Bb") == NO_SUCH_GPU
    assert host.opening(replica, f"/dev/{other}", "rb") == "ENOENT"


def test_a_replica_reads_models_and_writes_its_cache_only(host: Deployment) -> None:
    assert host.opening("chat-0", "/srv/models/models/chat.gguf", "rb") is None
    for path in ("/srv/models/x", "/usr/local/bin/x"):
        assert host.opening("chat-0", path, "wb") == "EROFS", path
    assert host.opening("chat-0", "/var/cache/modelc-chat-0/x", "wb") is None
    assert host.opening("embed-0", "/srv/models/huggingface/fetched", "wb") is None


def test_an_engine_that_is_killed_starts_again_alone(host: Deployment) -> None:
    before = starts(host)
    host.machine.run("kill -9 $(podman inspect --format '{{.State.Pid}}' modelc-chat-0)")
    assert host.becomes_healthy("chat-0")
    after = starts(host)
    assert after.pop("chat-0") != before.pop("chat-0")
    assert after == before


def test_a_restart_leaves_the_others_and_the_cache(host: Deployment) -> None:
    kept = "/var/cache/modelc-chat-1/kernels"
    assert host.opening("chat-1", kept, "wb") is None
    before = starts(host)
    host.machine.run("systemctl restart modelc-chat-1")
    after = starts(host)
    assert after.pop("chat-1") != before.pop("chat-1")
    assert after == before
    assert host.opening("chat-1", kept, "rb") is None


def test_the_commands_to_look_show_a_replica(host: Deployment) -> None:
    for command in commands("quadlet", "Look"):
        assert "modelc-chat-1" in host.machine.run(command)


def test_a_change_restarts_what_changed_and_nothing_else(host: Deployment) -> None:
    """The files anew, a reload, and a restart of what has another semantic digest."""
    before, digests = starts(host), host.semantic_digests()
    compiled(host.fleet.folder, INVENTORY, CHANGED_MODELS)
    differing = host.semantic_digests().items() - digests.items()
    assert [path for path, _ in differing] == ["quadlet/modelc-embed-0.container"]
    host.machine.place(host.artifacts(), "/root/compiled/box")
    for command in commands("quadlet", "Install"):
        if command.startswith("install "):
            host.machine.run(command, folder=UNITS)
    host.machine.run("systemctl daemon-reload && systemctl restart modelc-embed-0")
    after = starts(host)
    assert after.pop("embed-0") != before.pop("embed-0")
    assert after == before
    assert host.facts("embed-0").environment["NEW"] == "1"


def test_all_come_back_in_order_after_a_reboot(host: Deployment) -> None:
    host.machine.reboot()
    assert host.becomes_healthy("chat-1")
    first, second = host.facts("chat-0"), host.facts("chat-1")
    assert first.answered is not None
    assert first.answered <= second.started


def test_removal_leaves_nothing(host: Deployment) -> None:
    """The last test, as it takes the fleet away."""
    for command in commands("quadlet", "Remove"):
        host.machine.run(command)
    assert host.processes() == ""
    assert host.machine.run("podman ps --all --quiet && podman secret ls --quiet") == ""
    shown = host.machine.run("systemctl list-units --all --no-legend 'modelc*'")
    assert shown == ""
    found = host.machine.run("find / -xdev -name '*modelc*' -not -path '/root/compiled/*'")
    assert [line for line in found.splitlines() if not line.startswith("/proc")] == []
