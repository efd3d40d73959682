"""Emitted scripts on a host without any rights, used and removed as docs/targets.md says."""

from __future__ import annotations

import pytest

from tests.hosts import laws
from tests.hosts.deployment import (
    HOSTILE_ARGUMENT,
    MODELS,
    SECRET,
    STAND_IN,
    Deployment,
    compiled,
)
from tests.hosts.handbook import commands
from tests.hosts.machine import Machine

INVENTORY = """
version: 1
defaults:
  engines:
    vllm: {version: 0.33.0, bin: /home/ada/vllm/bin/vllm}
    llama.cpp: {build: 9000, bin: /home/ada/llama.cpp/llama-server}
hosts:
  box: {target: script, ram: 64GiB, gpus: [{kind: rtx-4090}, {kind: rtx-3090}]}
"""
REPLICAS = ("chat-0", "chat-1", "embed-0")
USER, HOME = "ada", "/home/ada"
FOLDER = f"{HOME}/compiled/box"
# Where the user's own secrets are; the usual folder is root's.
SECRETS = f"export MODELC_SECRETS_DIR={HOME}/secrets; "


@pytest.fixture(scope="module")
def host(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    machine.run(f"useradd --create-home --shell /bin/bash {USER}")
    fleet = compiled(tmp_path_factory.mktemp("fleet"), INVENTORY, MODELS)
    for program in ("llama.cpp/llama-server", "vllm/bin/vllm"):
        machine.place(STAND_IN, f"{HOME}/{program}", mode=0o755)
    machine.place(fleet.folder / "models", "/srv/models/models")
    machine.write(f"{HOME}/secrets/HF_TOKEN", f"{SECRET}\n", mode=0o600)
    deployment = Deployment(machine=machine, fleet=fleet)
    machine.place(deployment.artifacts(), FOLDER)
    machine.run(f"chown --recursive {USER}: {HOME} /srv/models")
    for command in commands("script", "Install"):
        machine.run(SECRETS + command, user=USER, folder=FOLDER)
    return deployment


def pids(host: Deployment) -> dict[str, int]:
    return {replica: host.facts(replica).pid for replica in REPLICAS}


def script(host: Deployment, name: str) -> tuple[int, str]:
    done = host.machine.attempt(f"{SECRETS} scripts/{name}", user=USER, folder=FOLDER)
    return done.returncode, done.stdout


def test_start_returns_once_all_are_healthy(host: Deployment) -> None:
    assert all(host.facts(replica).answered for replica in REPLICAS)
    code, said = script(host, "status.sh")
    assert code == 0
    assert [line.split()[:2] for line in said.splitlines()] == [
        [replica, "healthy"] for replica in REPLICAS
    ]


def test_replicas_of_one_gpu_start_one_after_another(host: Deployment) -> None:
    laws.starts_one_after_another(host, "chat-0", "chat-1")


def test_a_replica_on_another_gpu_does_not_wait(host: Deployment) -> None:
    laws.starts_without_waiting(host, "embed-0", "chat-0")


@pytest.mark.parametrize("replica", REPLICAS)
def test_the_engine_gets_the_plans_command_line(host: Deployment, replica: str) -> None:
    assert host.facts(replica).argv == host.argv(replica)
    assert HOSTILE_ARGUMENT in host.argv(replica)


@pytest.mark.parametrize("replica", REPLICAS)
def test_the_engine_gets_the_plans_variables(host: Deployment, replica: str) -> None:
    laws.has_variables(host, replica, host.fleet.replica(replica)["env"])


def test_a_secret_reaches_its_engine_and_no_other(host: Deployment) -> None:
    for replica in ("chat-0", "chat-1"):
        assert host.facts(replica).environment["HF_TOKEN"] == SECRET
    assert SECRET not in host.facts("embed-0").environment.values()
    assert SECRET not in host.machine.run("ps -e -o args")
    written = f"grep --recursive --files-with-matches {SECRET} {HOME} /srv/models /tmp /run"
    assert host.machine.attempt(written).stdout == f"{HOME}/secrets/HF_TOKEN\n"


def test_the_engines_run_as_the_user(host: Deployment) -> None:
    owner = int(host.machine.run(f"id --user {USER}"))
    assert {host.facts(replica).uid for replica in REPLICAS} == {owner}


def test_a_second_start_starts_nothing(host: Deployment) -> None:
    before = pids(host)
    assert script(host, "start.sh")[0] == 0
    assert pids(host) == before


def test_an_engine_that_was_killed_is_seen_and_started_again_alone(host: Deployment) -> None:
    before = pids(host)
    host.machine.run(f"kill -9 {before['chat-1']}", user=USER)
    code, said = script(host, "status.sh")
    assert code == 1
    assert "chat-1 stopped" in said.splitlines()
    assert script(host, "start.sh")[0] == 0
    after = pids(host)
    assert after.pop("chat-1") != before.pop("chat-1")
    assert after == before


def test_removal_leaves_nothing(host: Deployment) -> None:
    """The last test, as it takes the fleet away."""
    for command in commands("script", "Remove"):
        host.machine.run(command, user=USER, folder=FOLDER)
    assert host.processes() == ""
    found = host.machine.run(f"find {HOME} /srv /tmp -name '*modelc*'")
    assert found == ""
