"""The scripts of a host, run for real with small servers in place of engines."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from compiler.ir.plan import Plan, Replica
from tests.generators.plans import HOSTILE, plan, replica
from tests.requires import require_tool
from tests.tools.emitted import write_artifacts

# Healthy after a moment. Notes in a file who started, and who was healthy at that time.
SERVER = """
import http.server, os, subprocess, sys, time, urllib.request
name, port, notes, *others = sys.argv[1:]
def healthy(other):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{other}/health", timeout=1).status == 200
    except OSError:
        return False
with open(notes, "a") as file:
    print(name, os.getpid(), *map(healthy, others), file=file)
with open(notes + ".helpers", "a") as file:
    print(subprocess.Popen(["sleep", "60"]).pid, file=file)
if port == "0":
    sys.exit("no engine")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
time.sleep(1)
http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""

# Prints its arguments and variables, each ended by a NUL.
DUMP = """
import os, sys
print(*sys.argv[1:], *map("=".join, os.environ.items()), sep="\\0", end="\\0")
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a script has said; line ends as they were."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class ScriptHost:
    """A folder with the scripts of a host and its state."""

    folder: Path

    def run(self, script: str) -> Ran:
        """Runs one of the scripts to its end."""
        command = [str(self.folder / "gpu-1" / "scripts" / script)]
        environ = {
            **os.environ,
            "MODELC_STATE_DIR": str(self.folder / "state"),
            "MODELC_SECRETS_DIR": str(self.folder / "secrets"),
        }
        result = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=180)
        return Ran(result.returncode, result.stdout.decode(), result.stderr.decode())

    def write(self, made: Plan) -> None:
        """Puts the artifacts of a plan into the folder."""
        write_artifacts(made, self.folder)

    def notes(self) -> list[list[str]]:
        """What the servers have noted."""
        return [line.split() for line in (self.folder / "notes").read_text().splitlines()]

    def helpers(self) -> list[int]:
        """The pids of the processes that the servers have started."""
        return [int(line) for line in (self.folder / "notes.helpers").read_text().splitlines()]

    def pid(self, name: str) -> int:
        """The pid under which a replica was started."""
        return int((self.folder / "state" / "gpu-1" / f"{name}.pid").read_text().split()[0])

    def server(self, name: str, port: int, *others: int, **changes: object) -> Replica:
        """A replica whose engine is the small server."""
        argv = [sys.executable, "-c", SERVER, name, str(port), str(self.folder / "notes")]
        fields: dict[str, object] = {
            "target": "script",
            "argv": [*argv, *map(str, others)],
            "port": port,
            "cache_dir": str(self.folder / "cache" / name),
            "start_timeout_seconds": 60,
            **changes,
        }
        return replica(name, **fields)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ScriptHost]:
    for tool in ("bash", "curl", "flock", "setsid"):
        require_tool(tool)
    made = ScriptHost(tmp_path)
    yield made
    if (tmp_path / "gpu-1" / "scripts" / "stop.sh").exists():
        made.run("stop.sh")


@pytest.fixture
def ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def test_replicas_start_one_after_another_and_stop(
    host: ScriptHost, ports: tuple[int, int]
) -> None:
    first, second = ports
    early = host.server("z-1", first)
    late = host.server("a-1", second, first, start_after=["z-1"])
    host.write(plan([early, late]))
    assert host.run("status.sh").stdout.splitlines() == ["a-1 stopped", "z-1 stopped"]

    started = host.run("start.sh")
    assert started.returncode == 0, started.stderr
    assert [(name, *seen) for name, _, *seen in host.notes()] == [("z-1",), ("a-1", "True")]
    pids = {name: int(pid) for name, pid, *_ in host.notes()}
    assert pids == {"a-1": host.pid("a-1"), "z-1": host.pid("z-1")}

    status = host.run("status.sh")
    assert status.returncode == 0
    assert status.stdout == f"a-1 healthy pid {pids['a-1']}\nz-1 healthy pid {pids['z-1']}\n"

    again = host.run("start.sh")
    assert again.returncode == 0
    assert "a-1 runs already" in again.stdout
    assert len(host.notes()) == 2

    assert host.run("stop.sh").returncode == 0
    assert host.run("status.sh").returncode == 1
    assert not [pid for pid in pids.values() if is_alive(pid)]
    assert host.run("stop.sh").returncode == 0


def test_a_replica_that_ends_fails_the_start_and_others_still_run(
    host: ScriptHost, ports: tuple[int, int]
) -> None:
    broken = host.server("a-1", 0)
    host.write(plan([broken, host.server("b-1", ports[0], start_after=["a-1"])]))
    started = host.run("start.sh")
    assert started.returncode == 1
    assert "a-1 has ended" in started.stderr
    assert "b-1 is healthy" in started.stdout
    assert "no engine" in (host.folder / "state" / "gpu-1" / "a-1.log").read_text()


def test_a_replica_that_never_answers_is_stopped(host: ScriptHost, ports: tuple[int, int]) -> None:
    host.write(plan([host.server("a-1", ports[0], health_path="/absent", start_timeout_seconds=5)]))
    started = host.run("start.sh")
    assert started.returncode == 1
    assert "a-1 does not answer after 5 s" in started.stderr
    assert host.run("status.sh").stdout == "a-1 stopped\n"
    assert not is_alive(int(host.notes()[0][1]))


def test_another_process_with_the_same_pid_is_left_alone(
    host: ScriptHost, ports: tuple[int, int]
) -> None:
    host.write(plan([host.server("a-1", ports[0])]))
    with subprocess.Popen(["sleep", "60"]) as stranger:
        state = host.folder / "state" / "gpu-1"
        state.mkdir(parents=True)
        (state / "a-1.pid").write_text(f"{stranger.pid} 1\n")
        assert host.run("status.sh").stdout == "a-1 stopped\n"
        assert host.run("stop.sh").returncode == 0
        assert stranger.poll() is None
        stranger.kill()


def test_a_crash_shows_and_the_next_start_repairs_it(
    host: ScriptHost, ports: tuple[int, int]
) -> None:
    host.write(plan([host.server("a-1", ports[0])]))
    assert host.run("start.sh").returncode == 0
    os.kill(host.pid("a-1"), signal.SIGKILL)
    assert dies(host.pid("a-1"))
    assert host.run("status.sh").stdout == "a-1 stopped\n"
    assert host.run("start.sh").returncode == 0
    assert host.run("status.sh").returncode == 0
    assert [is_alive(helper) for helper in host.helpers()] == [False, True]


def test_a_crash_leaves_no_helpers_once_stopped(host: ScriptHost, ports: tuple[int, int]) -> None:
    host.write(plan([host.server("a-1", ports[0])]))
    assert host.run("start.sh").returncode == 0
    os.kill(host.pid("a-1"), signal.SIGKILL)
    assert host.run("stop.sh").returncode == 0
    assert all(map(dies, host.helpers()))


def test_a_replica_that_ends_at_its_start_leaves_no_helpers(host: ScriptHost) -> None:
    host.write(plan([host.server("a-1", 0)]))
    assert host.run("start.sh").returncode == 1
    assert all(map(dies, host.helpers()))


def test_stop_reaches_replicas_that_left_the_plan(host: ScriptHost, ports: tuple[int, int]) -> None:
    host.write(plan([host.server("a-1", ports[0])]))
    assert host.run("start.sh").returncode == 0
    pid = host.pid("a-1")
    host.write(plan([host.server("b-1", ports[1])]))
    assert host.run("stop.sh").returncode == 0
    assert not is_alive(pid)


def test_hostile_arguments_and_variables_arrive_unchanged(host: ScriptHost) -> None:
    env = {f"HOSTILE_{number}": text for number, text in enumerate(HOSTILE)}
    made = host.server("a-1", 0, argv=[sys.executable, "-c", DUMP, *HOSTILE], env=env)
    host.write(plan([made]))
    words = host.run("run-a-1.sh").stdout.split("\0")
    assert words[: len(HOSTILE)] == list(HOSTILE)
    assert {f"{name}={value}" for name, value in env.items()} <= set(words[len(HOSTILE) :])


@pytest.mark.parametrize("name", ["UID", "PATH", "LC_ALL"])
def test_variables_of_the_shell_can_be_given(host: ScriptHost, name: str) -> None:
    made = host.server("a-1", 0, argv=[sys.executable, "-c", DUMP], env={name: "/nowhere"})
    host.write(plan([made]))
    assert f"{name}=/nowhere" in host.run("run-a-1.sh").stdout.split("\0")


def test_secrets_come_from_files(host: ScriptHost) -> None:
    host.write(plan([host.server("a-1", 0, argv=[sys.executable, "-c", DUMP], secrets=["KEY"])]))
    missing = host.run("run-a-1.sh")
    assert missing.returncode != 0
    assert "KEY" in missing.stderr
    (host.folder / "secrets").mkdir()
    (host.folder / "secrets" / "KEY").write_text("a $b `c`\n")
    assert "KEY=a $b `c`" in host.run("run-a-1.sh").stdout.split("\0")


def test_the_cache_is_made(host: ScriptHost) -> None:
    host.write(plan([host.server("a-1", 0, argv=["/bin/true"])]))
    assert host.run("run-a-1.sh").returncode == 0
    assert (host.folder / "cache" / "a-1").is_dir()


def test_two_scripts_do_not_work_at_once(host: ScriptHost, ports: tuple[int, int]) -> None:
    host.write(plan([host.server("a-1", ports[0])]))
    state = host.folder / "state" / "gpu-1"
    state.mkdir(parents=True)
    command = ["flock", "--no-fork", str(state / "lock"), "sleep", "60"]
    with subprocess.Popen(command) as holder:
        wait_for_lock(state / "lock")
        refused = host.run("start.sh")
        assert refused.returncode == 1
        assert "another modelc script is at work" in refused.stderr
        holder.kill()


def wait_for_lock(path: Path) -> None:
    """Waits until somebody holds a lock."""
    for _ in range(100):
        command = ["flock", "--nonblock", str(path), "true"]
        if subprocess.run(command, check=False).returncode:
            return
        time.sleep(0.1)
    pytest.fail("nobody takes the lock")


def dies(pid: int) -> bool:
    """Whether a process that was killed is gone soon: a signal takes its time."""
    for _ in range(300):
        if not is_alive(pid):
            return True
        time.sleep(0.1)
    return False


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
