"""Emitted units start a real engine on a host of its own, and it serves."""

from __future__ import annotations

import json

import pytest

from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD
from tests.hosts.deployment import Deployment, compiled, install_units
from tests.hosts.handbook import commands
from tests.hosts.machine import Machine
from tests.oracle import llamacpp_build

PROGRAMS = "/opt/llama.cpp/bin"
INVENTORY = f"""
version: 1
defaults:
  engines: {{llama.cpp: {{build: {STUDIED_BUILD}, bin: {PROGRAMS}/llama-server}}}}
hosts:
  box: {{target: systemd, ram: 8GiB, ram_reserved: 1GiB, gpus: []}}
"""
MODELS = """
version: 1
services:
  chat:
    model: ./models/chat.gguf
    context: 1024
    concurrency: 2
    offload: cpu
    secrets: [LLAMA_API_KEY]
  embed:
    model: ./models/embed.gguf
    task: embed
    context: 256
    offload: cpu
"""
KEY = "open-sesame-51d0"
REPLICAS = ("chat-0", "embed-0")


@pytest.fixture(scope="module")
def host(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    machine.place(llamacpp_build.server().parent, PROGRAMS)
    # The libraries beside it, as its build knows them by the folder it was built in.
    machine.write("/etc/ld.so.conf.d/llama.conf", f"{PROGRAMS}\n")
    machine.run("ldconfig")
    fleet = compiled(tmp_path_factory.mktemp("fleet"), INVENTORY, MODELS)
    return install_units(machine, fleet, "LLAMA_API_KEY", KEY)


@pytest.mark.parametrize("replica", REPLICAS)
def test_it_is_healthy(host: Deployment, replica: str) -> None:
    assert host.ask(replica, "/health") == {"status": "ok"}
    assert host.machine.run(f"systemctl is-active modelc-{replica}") == "active\n"


def test_it_completes_for_those_who_know_the_secret(host: Deployment) -> None:
    body = {"prompt": "hello", "max_tokens": 4}
    status, answer = host.request("chat-0", "/v1/completions", body, key=KEY)
    assert status == 200
    assert json.loads(answer)["usage"]["completion_tokens"] in range(1, 5)


def test_it_completes_for_nobody_else(host: Deployment) -> None:
    body = {"prompt": "hello", "max_tokens": 4}
    assert host.request("chat-0", "/v1/completions", body, key="guess")[0] == 401


def test_it_embeds(host: Deployment) -> None:
    status, answer = host.request("embed-0", "/v1/embeddings", {"input": "hello"})
    assert status == 200
    assert len(json.loads(answer)["data"][0]["embedding"]) == 128


def test_systemd_finds_nothing_to_say(host: Deployment) -> None:
    said = host.machine.run("journalctl --boot --priority=warning --output=cat _PID=1")
    assert [line for line in said.splitlines() if "modelc" in line] == []


def test_it_stops_with_the_target(host: Deployment) -> None:
    """The last test, as it takes the fleet away."""
    for command in commands("systemd", "Remove"):
        host.machine.run(command)
    assert host.machine.attempt("pgrep llama-server").stdout == ""
