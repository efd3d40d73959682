"""Emitted units on a host of their own, installed and removed as docs/targets.md says."""

from __future__ import annotations

import pytest

from tests.hosts import laws
from tests.hosts.deployment import (
    CHANGED_MODELS,
    HOSTILE_ARGUMENT,
    MODELS,
    SECRET,
    STAND_IN,
    UNITS,
    Deployment,
    compiled,
    install_units,
)
from tests.hosts.gpus import NO_SUCH_GPU, REFUSED, make_gpus
from tests.hosts.handbook import commands
from tests.hosts.machine import Machine

INVENTORY = """
version: 1
defaults:
  engines:
    vllm: {version: 0.33.0}
    llama.cpp: {build: 9000}
hosts:
  box:
    target: systemd
    ram: 64GiB
    gpus:
      - {kind: rtx-3090, uuid: GPU-b2aa7c1e-0000-4000-8000-000000000001, minor: 1}
      - {kind: rtx-4090, uuid: GPU-6f1c0d42-0000-4000-8000-000000000000, minor: 0}
"""
REPLICAS = ("chat-0", "chat-1", "embed-0")
# All but the host's own ssh.
LISTENING = "ss --no-header --listening --tcp --numeric 'sport != :22'"


@pytest.fixture(scope="module")
def host(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    fleet = compiled(tmp_path_factory.mktemp("fleet"), INVENTORY, MODELS)
    for program in ("/usr/local/bin/llama-server", "/opt/vllm/bin/vllm"):
        machine.place(STAND_IN, program, mode=0o755)
    make_gpus(machine)
    return install_units(machine, fleet, "HF_TOKEN", SECRET)


def pids(host: Deployment) -> dict[str, int]:
    return {replica: host.facts(replica).pid for replica in REPLICAS}


def test_the_last_command_of_the_installation_returns_once_all_are_healthy(
    host: Deployment,
) -> None:
    assert all(host.facts(replica).answered for replica in REPLICAS)


def test_systemd_finds_nothing_to_say(host: Deployment) -> None:
    """Lines that it ignores are warnings in the journal, and nowhere else."""
    said = host.machine.run("journalctl --boot --priority=warning --output=cat _PID=1")
    assert [line for line in said.splitlines() if "modelc" in line] == []


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
    environment = host.facts(replica).environment
    assert environment["HOME"] == f"/var/lib/modelc-{replica}" == host.facts(replica).folder


@pytest.mark.parametrize("replica", ["chat-0", "chat-1"])
def test_a_secret_reaches_its_engine(host: Deployment, replica: str) -> None:
    assert host.facts(replica).environment["HF_TOKEN"] == SECRET


def test_a_secret_reaches_no_other_engine(host: Deployment) -> None:
    environment = host.facts("embed-0").environment
    assert SECRET not in environment.values()
    assert host.opening("embed-0", "/etc/modelc/secrets/HF_TOKEN", "rb") == "EACCES"


def test_a_secret_is_seen_nowhere_else(host: Deployment) -> None:
    laws.no_artifact_holds_the_secret(host)
    shown = host.machine.run("systemctl show --all 'modelc*'")
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
def test_a_replica_opens_its_own_gpu_only(
    host: Deployment, replica: str, own: str, other: str
) -> None:
    common = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
    for device in (own, *common):
        assert host.opening(replica, f"/dev/{device}", "r%2Bb") == NO_SUCH_GPU
    assert host.opening(replica, f"/dev/{other}", "r%2Bb") == REFUSED


def test_shared_memory_is_the_replicas_own_and_goes_with_it(host: Deployment) -> None:
    assert host.opening("chat-0", "/dev/shm/x", "wb") is None  # noqa: S108
    assert host.opening("chat-0", "/dev/shm/x", "rb") is None  # noqa: S108
    assert host.opening("chat-1", "/dev/shm/x", "rb") == "ENOENT"  # noqa: S108
    assert host.machine.run("ls /dev/shm") == ""
    # As large as a host's usually is, and NCCL expects: half of its RAM.
    pid = host.facts("chat-0").pid
    size = host.machine.run(f"stat --file-system --format='%b %S' /proc/{pid}/root/dev/shm")
    n_blocks, block_bytes = map(int, size.split())
    total = host.machine.run("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")
    assert abs(n_blocks * block_bytes // 1024 - int(total) // 2) < 1024


def test_each_replica_runs_as_a_user_of_its_own(host: Deployment) -> None:
    for replica in REPLICAS:
        owner = int(host.machine.run(f"id --user modelc-{replica}"))
        assert host.facts(replica).uid == owner != 0
    assert len({host.facts(replica).uid for replica in REPLICAS}) == len(REPLICAS)


def test_a_replica_that_is_taken_over_reads_no_key_and_no_cache_of_another(
    host: Deployment,
) -> None:
    """As its user, and outside of its unit's walls."""
    owner = int(host.machine.run("id --user modelc-embed-0"))
    pid = host.facts("chat-0").pid
    for path in (
        f"/proc/{pid}/environ",
        "/run/credentials/modelc-chat-0.service/HF_TOKEN",
        "/var/cache/modelc-chat-0/x",
        "/var/lib/modelc-chat-0/x",
        "/etc/modelc/env/chat-0.env",
    ):
        read = f"setpriv --reuid {owner} --clear-groups cat {path}"
        assert "Permission denied" in host.machine.attempt(read).stderr, path


def test_another_engine_than_planned_does_not_start_and_says_so(host: Deployment) -> None:
    host.machine.write("/etc/stand-in-version", "version: 11390 (other)\n", mode=0o644)
    host.machine.attempt("systemctl restart modelc-chat-0")
    shown = host.machine.run(
        "systemctl show --property=Result,ExecMainStatus,SubState modelc-chat-0"
    )
    assert {"Result=exit-code", "ExecMainStatus=78", "SubState=failed"} <= set(shown.split())
    said = host.machine.run("journalctl --unit modelc-chat-0 --lines 20 --output cat")
    assert (
        "modelc: llama.cpp 9000 is planned, and /usr/local/bin/llama-server is "
        "version: 11390 (other)" in said
    )
    host.machine.run("rm /etc/stand-in-version && systemctl start modelc-chat-0")
    assert host.becomes_healthy("chat-0")


def test_a_replica_listens_where_the_plan_says(host: Deployment) -> None:
    listening = host.machine.run(LISTENING)
    assert {line.split()[3].rpartition(":")[0] for line in listening.splitlines()} == {"127.0.0.1"}


def test_a_replica_reads_models_and_writes_its_own_folders_only(host: Deployment) -> None:
    assert host.opening("chat-0", "/srv/models/models/chat.gguf", "rb") is None
    for path in ("/srv/models/x", "/usr/local/bin/x"):
        assert host.opening("chat-0", path, "wb") == "EROFS", path
    # Another user's folder cannot even be entered.
    assert host.opening("chat-0", "/var/lib/modelc-chat-1/x", "wb") == "EACCES"
    for path in ("/var/lib/modelc-chat-0/x", "/var/cache/modelc-chat-0/x"):
        assert host.opening("chat-0", path, "wb") is None


def test_an_engine_that_fetches_its_model_writes_it(host: Deployment) -> None:
    assert host.facts("embed-0").environment["HF_HOME"] == "/srv/models/huggingface"
    assert host.opening("embed-0", "/srv/models/huggingface/fetched", "wb") is None
    assert host.opening("embed-0", "/srv/models/fetched", "wb") == "EROFS"
    mode = host.machine.run("stat --format='%a %G' /srv/models/huggingface/fetched")
    assert mode.split() == ["660", "modelc"]


def test_an_engine_that_is_killed_starts_again_alone(host: Deployment) -> None:
    before = pids(host)
    host.machine.run(f"kill -9 {before['chat-0']}")
    assert host.becomes_healthy("chat-0")
    after = pids(host)
    assert after.pop("chat-0") != before.pop("chat-0")
    assert after == before
    workers = host.machine.run("pgrep --count --full '^sleep 86399$'")
    assert int(workers) == len(REPLICAS)


def test_a_restart_leaves_the_others_and_the_cache(host: Deployment) -> None:
    kept = "/var/cache/modelc-chat-1/kernels"
    assert host.opening("chat-1", kept, "wb") is None
    before = pids(host)
    host.machine.run("systemctl restart modelc-chat-1")
    after = pids(host)
    assert after.pop("chat-1") != before.pop("chat-1")
    assert after == before
    assert host.opening("chat-1", kept, "rb") is None


def test_a_neighbour_that_is_stopped_takes_nobody_with_it(host: Deployment) -> None:
    before = pids(host)
    host.machine.run("systemctl stop modelc-chat-0")
    assert host.facts("chat-1").pid == before["chat-1"]
    host.machine.run("systemctl start modelc-chat-0")
    assert host.facts("chat-1").pid == before["chat-1"]


def test_the_commands_to_look_show_a_replica(host: Deployment) -> None:
    for command in commands("systemd", "Look"):
        assert "modelc-chat-1" in host.machine.run(command)


def test_a_change_restarts_what_changed_and_nothing_else(host: Deployment) -> None:
    """The files anew, a reload, and a restart of what has another semantic digest."""
    before, digests = pids(host), host.semantic_digests()
    compiled(host.fleet.folder, INVENTORY, CHANGED_MODELS)
    differing = host.semantic_digests().items() - digests.items()
    assert [path for path, _ in differing] == ["systemd/env/embed-0.env"]
    host.machine.place(host.artifacts(), "/root/compiled/box")
    for command in commands("systemd", "Install"):
        if command.startswith("install "):
            host.machine.run(command, folder=UNITS)
    host.machine.run("systemctl daemon-reload && systemctl restart modelc-embed-0")
    after = pids(host)
    assert after.pop("embed-0") != before.pop("embed-0")
    assert after == before
    assert host.facts("embed-0").environment["NEW"] == "1"


def test_all_come_back_in_order_after_a_reboot(host: Deployment) -> None:
    host.machine.reboot()
    assert host.becomes_healthy("chat-1")
    first, second = host.facts("chat-0"), host.facts("chat-1")
    assert first.answered is not None
    assert first.answered <= second.started
    assert host.opening("embed-0", "/dev/nvidia1", "r%2Bb") == NO_SUCH_GPU
    assert host.opening("embed-0", "/dev/nvidia0", "r%2Bb") == REFUSED
    assert host.facts("chat-0").environment["HF_TOKEN"] == SECRET


def test_removal_leaves_nothing(host: Deployment) -> None:
    """The last test, as it takes the fleet away."""
    for command in commands("systemd", "Remove"):
        host.machine.run(command)
    assert host.processes() == ""
    shown = host.machine.run("systemctl list-units --all --no-legend 'modelc*'")
    assert shown == ""
    assert host.machine.run(LISTENING) == ""
    found = host.machine.run("find / -xdev -name '*modelc*' -not -path '/root/compiled/*'")
    assert [line for line in found.splitlines() if not line.startswith("/proc")] == []
