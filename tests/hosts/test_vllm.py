"""An emitted unit starts the real vLLM on a host of its own, and it serves as planned."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import vllm_install
from tests.e2e.fleet import compile_fleet
from tests.e2e.tiny_checkpoints import write_checkpoint
from tests.hosts.deployment import Deployment, install_units
from tests.hosts.handbook import commands
from tests.hosts.machine import Machine, booted
from tests.hosts.vllm_environment import HOME, Environment, environment_of

INVENTORY = f"""
version: 1
defaults:
  engines: {{vllm: {{version: {vllm_install.VERSION}, bin: {HOME}/bin/vllm}}}}
hosts:
  box: {{target: systemd, ram: 20GiB, ram_reserved: 1GiB, gpus: []}}
"""
MODELS = """
version: 1
services:
  chat:
    model: ./models/tiny
    engine: vllm
    context: 1024
    concurrency: 2
    offload: cpu
    secrets: [VLLM_API_KEY]
    vllm: {args: {load_format: dummy, enforce_eager: true}}
"""
KEY = "open-sesame-51d0"
UNIT = "modelc-chat-0"


@pytest.fixture(scope="module")
def environment() -> Environment:
    return environment_of(vllm_install.vllm())


@pytest.fixture(scope="module")
def machine(
    debian: Path, environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A host that has the packages of vLLM, which are too large to copy."""
    with booted(debian, tmp_path_factory.mktemp("machine"), environment.folders()) as running:
        environment.make(running)
        yield running


@pytest.fixture(scope="module")
def host(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    folder = tmp_path_factory.mktemp("fleet")
    write_checkpoint(folder / "models" / "tiny")
    fleet = compile_fleet(folder, INVENTORY, MODELS, {})
    return install_units(machine, fleet, "VLLM_API_KEY", KEY)


def show(host: Deployment, name: str) -> str:
    """A property of the unit."""
    return host.machine.run(f"systemctl show --value --property={name} {UNIT}").strip()


def processes(host: Deployment) -> list[dict[str, str]]:
    """What the kernel says of the status of each process of the unit."""
    listed = f"/sys/fs/cgroup{show(host, 'ControlGroup')}/cgroup.procs"
    # One that ends meanwhile says nothing.
    said = host.machine.attempt(f"sed 's,.*,/proc/&/status,' {listed} | xargs cat").stdout
    return [
        dict(re.findall(r"(\w+):\t(.*)", text))
        for text in re.split("^(?=Name:)", said, flags=re.MULTILINE)[1:]
    ]


def test_it_is_healthy(host: Deployment) -> None:
    log = host.machine.run(f"journalctl --unit={UNIT} --output=cat --lines=60")
    assert (show(host, "ActiveState"), show(host, "NRestarts")) == ("active", "0"), log
    assert host.request("chat-0", "/health")[0] == 200


def test_it_serves_under_its_service_name(host: Deployment) -> None:
    status, answer = host.request("chat-0", "/v1/models", key=KEY)
    assert status == 200
    (model,) = json.loads(answer)["data"]
    assert (model["id"], model["max_model_len"]) == ("chat", 1024)


def test_it_completes_for_those_who_know_the_secret(host: Deployment) -> None:
    body = {"model": "chat", "prompt": "w7 w8 w9", "max_tokens": 4}
    status, answer = host.request("chat-0", "/v1/completions", body, key=KEY)
    assert status == 200
    usage = json.loads(answer)["usage"]
    assert usage["prompt_tokens"] == 3
    assert usage["completion_tokens"] in range(1, 5)


def test_it_completes_for_nobody_else(host: Deployment) -> None:
    body = {"model": "chat", "prompt": "w7 w8 w9", "max_tokens": 4}
    assert host.request("chat-0", "/v1/completions", body, key="guess")[0] == 401


def test_a_secret_is_seen_nowhere(host: Deployment) -> None:
    assert KEY not in host.machine.run("journalctl --boot --output=export")
    assert KEY not in host.machine.run("ps -e -o args")


def test_it_logs_the_plans_kv_tokens(host: Deployment) -> None:
    log = host.machine.run(f"journalctl --unit={UNIT} --output=cat")
    (logged,) = re.findall(r"KV cache size: ([0-9,]+) tokens", log)
    assert int(logged.replace(",", "")) == host.fleet.replica("chat-0")["kv_tokens"]


def test_all_its_processes_are_confined(host: Deployment) -> None:
    owner = host.machine.run("id --user modelc-chat-0").strip()
    found = processes(host)
    assert {"VLLM::EngineCor", "VLLM::Worker"} <= {status["Name"] for status in found}
    for status in found:
        assert set(status["Uid"].split()) == {owner} != {"0"}
        assert int(status["CapBnd"], 16) == 0
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_it_writes_its_own_folders_only(host: Deployment) -> None:
    written = host.machine.run("find / -ignore_readdir_race -xdev -user modelc-chat-0").split()
    assert "/var/cache/modelc-chat-0/vllm" in written
    own = ("/var/cache/modelc-chat-0", "/var/lib/modelc-chat-0")
    assert [path for path in written if not path.startswith(own)] == []


def test_a_restart_returns_once_another_is_healthy(host: Deployment) -> None:
    before = {status["Pid"] for status in processes(host)}
    host.machine.run(f"systemctl restart {UNIT}")
    assert host.request("chat-0", "/health")[0] == 200
    after = {status["Pid"] for status in processes(host)}
    assert after
    assert not after & before


def test_it_stops_in_good_order(host: Deployment) -> None:
    host.machine.run(f"systemctl stop {UNIT}")
    assert show(host, "ActiveState") == "inactive"
    assert show(host, "Result") == "success"
    assert host.machine.attempt("pgrep --euid modelc").stdout == ""
    # Its processes share memory, which would outlive them.
    assert host.machine.run("ls /dev/shm") == ""


def test_systemd_finds_nothing_to_say(host: Deployment) -> None:
    said = host.machine.run("journalctl --boot --priority=warning --output=cat _PID=1")
    assert [line for line in said.splitlines() if "modelc" in line] == []


def test_removal_leaves_nothing(host: Deployment) -> None:
    """The last test, as it takes the fleet away."""
    for command in commands("systemd", "Remove"):
        host.machine.run(command)
    assert host.machine.run("find / -xdev -name '*modelc*' -not -path '/root/compiled/*'") == ""
