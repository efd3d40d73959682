"""A plan brought to three booted hosts by `modelc apply`, and what stops it or takes it back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hosts.delivery import Hosts, running
from tests.requires import require_tool

# Until something on a host is seen, on a machine that does much else.
LONGEST_SECONDS = 300
NAMES = ("gpu-1", "gpu-2", "gpu-3")
INVENTORY = """
version: 1
defaults:
  target: systemd
  ram: 64GiB
  engines: {llama.cpp: {build: 9000}}
hosts:
  gpu-[1-3]: {gpus: {kind: rtx-3090, count: 2}}
"""


def models(**changes: str) -> str:
    """Two replicas of `chat` on gpu-1 and gpu-2, one of `side` beside it on gpu-1, `solo` on gpu-3.

    Each keyword has more lines of a service.
    """
    pins = {"chat": "hosts: {name: [gpu-1, gpu-2]}, spread: host", "side": "pin: {host: gpu-1}",
            "solo": "pin: {host: gpu-3}"}  # fmt: skip
    text = "version: 1\nservices:\n"
    for name, pin in pins.items():
        if name in changes and changes[name] == "none":
            continue
        text += (
            f"  {name}:\n    model: ./models/chat.gguf\n    context: 1024\n"
            f"    replicas: {2 if name == 'chat' else 1}\n    placement: {{{pin}}}\n"
        )
        text += "".join(f"    {line}\n" for line in filter(None, changes.get(name, "").split("\n")))
    return text


@pytest.fixture(scope="module")
def hosts(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    require_tool("ansible-playbook")
    require_tool("ssh-keygen")
    folder = tmp_path_factory.mktemp("delivery")
    with running(debian, folder, NAMES) as found:
        yield found


def test_the_first_delivery_brings_all_up(hosts: Hosts) -> None:
    hosts.compile(models(), INVENTORY)
    screen = hosts.apply()
    assert screen.code == 0, screen.out + screen.err
    assert hosts.units() == {"gpu-1 chat-0", "gpu-1 side-0", "gpu-2 chat-1", "gpu-3 solo-0"}
    for name in NAMES:
        assert hosts.release(name) == hosts.planned_release(name)


def test_a_second_delivery_has_nothing_to_do(hosts: Hosts) -> None:
    before = hosts.pids()
    screen = hosts.apply()
    assert screen.code == 2, screen.out + screen.err
    assert hosts.pids() == before


def test_status_finds_all_as_planned_and_serving(hosts: Hosts) -> None:
    screen = hosts.modelc("status", "--", *hosts.ssh_words)
    assert screen.code == 0, screen.out + screen.err
    assert "chat-0  active/running, serves chat" in screen.out
    assert screen.out.count("as planned") == 3


def test_a_change_of_one_service_restarts_it_alone(hosts: Hosts) -> None:
    before = hosts.pids()
    hosts.compile(models(side='env: {NEW: "1"}'))
    screen = hosts.apply()
    assert screen.code == 0, screen.out + screen.err
    after = hosts.pids()
    assert [key for key in after if after[key] != before[key]] == ["gpu-1 modelc-side-0.service"]


def test_an_engine_that_dies_after_it_was_healthy_brings_the_host_back(hosts: Hosts) -> None:
    before, release = hosts.pids(), hosts.release("gpu-3")
    hosts.compile(models(side='env: {NEW: "1"}', solo='env: {STAND_IN_DIES_AFTER: "0.6"}'))
    screen = hosts.apply()
    assert screen.code == 7, screen.out + screen.err
    assert "solo-0" in screen.out
    assert hosts.release("gpu-3") == release
    changed = {key for key, pid in hosts.pids().items() if pid != before[key]}
    assert changed == {"gpu-3 modelc-solo-0.service"}
    environment = hosts.machines["gpu-3"].run("cat /etc/modelc/env/solo-0.env")
    assert "DIES" not in environment


def test_an_engine_with_a_smaller_cache_than_planned_is_taken_back(hosts: Hosts) -> None:
    """The plan before was never carried out: the next one leads from what runs."""
    previous = hosts.folder / "runs.json"
    hosts.compile(models(side='env: {NEW: "1"}'), None, "--previous", "none")
    previous.write_text(json.dumps(hosts.plan()))
    lines = 'env: {STAND_IN_PERMILLE: "800"}'
    hosts.compile(models(side='env: {NEW: "1"}', solo=lines), None, "--previous", str(previous))
    screen = hosts.apply()
    assert screen.code == 7, screen.out + screen.err
    assert "KV tokens" in screen.out


def test_a_plan_that_leads_from_another_release_is_stale(hosts: Hosts) -> None:
    before = hosts.pids()
    hosts.compile(models(side='env: {NEW: "1"}', solo='env: {NEW: "2"}'))
    screen = hosts.apply()
    assert screen.code == 6, screen.out + screen.err
    assert hosts.pids() == before
    hosts.compile(
        models(side='env: {NEW: "1"}', solo='env: {NEW: "2"}'), None,
        "--previous", str(hosts.folder / "runs.json"),
    )  # fmt: skip
    assert hosts.apply().code == 0


def test_a_file_that_was_edited_by_hand_stops_a_delivery(hosts: Hosts) -> None:
    gpu_3 = hosts.machines["gpu-3"]
    gpu_3.run("echo '# mine' >> /etc/systemd/system/modelc-solo-0.service")
    screen = hosts.modelc(
        "status", "--save", str(hosts.folder / "seen.json"), "--", *hosts.ssh_words
    )
    assert screen.code == 5
    assert "modelc-solo-0.service is changed" in screen.out
    assert hosts.modelc("drift", str(hosts.folder / "seen.json")).code == 5
    hosts.compile(models(side='env: {NEW: "1"}', solo='env: {NEW: "3"}'))
    before = hosts.pids()
    screen = hosts.apply()
    assert screen.code == 1
    assert "CHANGED BY HAND" in screen.out
    assert hosts.pids() == before
    assert hosts.apply("--overwrite-drift").code == 0
    assert "mine" not in gpu_3.run("cat /etc/systemd/system/modelc-solo-0.service")


def test_what_a_host_lacks_is_found_before_anything_stops(hosts: Hosts) -> None:
    hosts.compile(models(side='env: {NEW: "1"}', solo='env: {NEW: "4"}\nsecrets: [HF_TOKEN]'))
    before = hosts.pids()
    gpu_3 = hosts.machines["gpu-3"]
    gpu_3.run("mv /usr/local/bin/llama-server /root/")
    screen = hosts.apply()
    assert screen.code == 1, screen.out + screen.err
    assert "/etc/modelc/secrets/HF_TOKEN is not there" in screen.out
    assert "/usr/local/bin/llama-server is not there" in screen.out
    assert hosts.pids() == before
    gpu_3.run("mv /root/llama-server /usr/local/bin/ && echo x > /etc/modelc/secrets/HF_TOKEN")
    gpu_3.run("chmod 600 /etc/modelc/secrets/HF_TOKEN")
    assert hosts.apply().code == 0


def test_a_disk_that_is_full_stops_a_delivery(hosts: Hosts) -> None:
    gpu_3 = hosts.machines["gpu-3"]
    hosts.compile(models(side='env: {NEW: "1"}', solo='env: {NEW: "5"}'))
    before = hosts.pids()
    gpu_3.run("cp -a /var/lib/modelc /root/kept && mount -t tmpfs -o size=8m tmpfs /var/lib/modelc")
    gpu_3.run("cp -a /root/kept/. /var/lib/modelc/")
    screen = hosts.apply()
    assert screen.code == 1, screen.out + screen.err
    assert "MiB are free" in screen.out
    assert hosts.pids() == before
    gpu_3.run("umount /var/lib/modelc")
    assert hosts.apply().code == 0


def test_a_rollback_brings_the_release_before(hosts: Hosts) -> None:
    release = hosts.release("gpu-3")
    screen = hosts.modelc("rollback", "--host", "gpu-3", "--yes", "--", *hosts.ssh_words)
    assert screen.code == 0, screen.out + screen.err
    assert hosts.release("gpu-3") != release
    assert 'NEW="4"' in hosts.machines["gpu-3"].run("cat /etc/modelc/env/solo-0.env")
    back = ("rollback", "--host", "gpu-3", "--to", release, "--yes", "--", *hosts.ssh_words)
    assert hosts.modelc(*back).code == 0
    assert hosts.release("gpu-3") == release


def started(hosts: Hosts, *words: str) -> subprocess.Popen[bytes]:
    """`modelc apply` in a process of its own, with all that it starts."""
    command = [sys.executable, "-m", "compiler", "apply", "-C", str(hosts.folder), "--yes", *words]
    return subprocess.Popen(
        [*command, "--", *hosts.ssh_words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a controller as a power cut would: Ansible has a session of its own."""
    pids = [process.pid]
    for pid in pids:
        children = Path(f"/proc/{pid}/task/{pid}/children")
        pids += [int(word) for word in children.read_text().split()] if children.exists() else []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def until_held(hosts: Hosts, host: str) -> None:
    """Waits until the switch of a host is at work."""
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        shown = hosts.machines[host].attempt("systemctl is-active modelc-switch.service").stdout
        if shown.strip() in ("active", "activating"):
            return
        time.sleep(0.1)
    raise AssertionError("no change has begun")


def until_free(hosts: Hosts, host: str) -> None:
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        shown = hosts.machines[host].attempt("systemctl is-active modelc-switch.service").stdout
        if shown.strip() not in ("active", "activating"):
            return
        time.sleep(0.2)
    raise AssertionError("the change does not end")


def test_of_two_at_once_one_is_refused_and_a_killed_controller_loses_nothing(hosts: Hosts) -> None:
    gpu_3 = hosts.machines["gpu-3"]
    hosts.compile(models(side='env: {NEW: "1"}', solo='env: {NEW: "6"}'))
    gpu_3.run("touch /etc/stand-in-hold")
    first = started(hosts)
    until_held(hosts, "gpu-3")
    kill(first)
    screen = hosts.apply()
    assert screen.code == 1, screen.out + screen.err
    assert "changed by somebody else" in screen.out
    gpu_3.run("rm /etc/stand-in-hold")
    until_free(hosts, "gpu-3")
    assert hosts.release("gpu-3") == hosts.planned_release("gpu-3")
    assert hosts.apply().code == 2
