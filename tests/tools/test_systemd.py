"""systemd's own tools judge the units."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from compiler.ir.plan import Plan, Replica
from tests.generators.plans import fleet, gpu_replica, hostile_replica, plan, replica, vllm_replica
from tests.requires import require_tool
from tests.tools.emitted import write_artifacts

MAX_EXPOSURE = 2.5
STUB_TARGETS = ("sysinit", "basic", "shutdown", "network-online", "multi-user")
PROGRAMS = ("bin/sh", "opt/vllm/bin/vllm", "usr/bin/podman", "usr/local/bin/llama-server")


@pytest.mark.parametrize(
    "made",
    [
        fleet("systemd"),
        plan([replica()]),
        plan([], hosts=[("gpu-1", "systemd")]),
        plan([gpu_replica(name=f"r-{n}", start_after=[], port=8000 + n) for n in range(3)]),
    ],
    ids=["fleet", "one", "none", "three"],
)
def test_systemd_finds_nothing_to_say(made: Plan, tmp_path: Path) -> None:
    assert verify(made, tmp_path) == (0, "")


def test_this_way_of_asking_finds_faults(tmp_path: Path) -> None:
    """By default systemd-analyze passes over what it ignores: the flags that we use matter."""
    root = make_root(plan([replica()]), tmp_path)
    unit = root / "etc/systemd/system/modelc-small-1.service"
    unit.write_text(unit.read_text() + "\n[Service]\nTypo=1\n")
    code, said = analyze_verify(root)
    assert code != 0
    assert "Typo" in said


@pytest.mark.parametrize("made", [vllm_replica(), gpu_replica(), replica(), hostile_replica()])
def test_a_replica_is_exposed_to_little(made: Replica, tmp_path: Path) -> None:
    root = make_root(plan([made]), tmp_path)
    command = [require_tool("systemd-analyze"), "security", "--offline=true", "--no-pager"]
    result = subprocess.run(
        [*command, f"--root={root}", f"modelc-{made.name}.service"],
        capture_output=True,
        check=True,
        text=True,
    )
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout)
    assert exposure
    assert float(exposure[1]) <= MAX_EXPOSURE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_user_and_the_folders_can_be_made(tmp_path: Path) -> None:
    root = make_root(plan([vllm_replica(), replica(models_dir="/data/models")]), tmp_path)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    for tool, flag in (("systemd-sysusers", "--replace=/x.conf"), ("systemd-tmpfiles", "--create")):
        folder = f"etc/{tool.removeprefix('systemd-')}.d"
        command = [require_tool(tool), f"--root={root}", flag, str(root / folder / "modelc.conf")]
        said = subprocess.run(command, capture_output=True, check=True, text=True).stderr
        assert not re.search(r"modelc\.conf|[Ff]ailed", said), said
    users = (root / "etc/passwd").read_text().splitlines()
    names = {line.split(":")[0]: line.split(":")[2] for line in users}
    assert set(names) == {"root", "modelc-chat-1", "modelc-small-1"}
    assert len(set(names.values())) == len(names)
    (group,) = (line for line in (root / "etc/group").read_text().splitlines() if "modelc:" in line)
    assert set(group.split(":")[3].split(",")) == set(names) - {"root"}
    fetched = (root / "srv/models/huggingface").stat()
    assert (fetched.st_mode & 0o7777, fetched.st_gid) == (0o2775, int(group.split(":")[2]))
    assert (root / "etc/modelc/secrets").stat().st_mode & 0o777 == 0o700
    assert (root / "srv/models").is_dir()
    assert (root / "data/models").is_dir()


def verify(made: Plan, tmp_path: Path) -> tuple[int, str]:
    """Exit status and words of `systemd-analyze verify` over the units of a plan."""
    return analyze_verify(make_root(made, tmp_path))


def analyze_verify(root: Path) -> tuple[int, str]:
    """The same over all units of a root."""
    units = sorted(path.name for path in (root / "etc/systemd/system").glob("modelc*"))
    command = [require_tool("systemd-analyze"), "verify", "--recursive-errors=no", "--man=no"]
    result = subprocess.run(
        [*command, f"--root={root}", *units], capture_output=True, check=False, text=True
    )
    return result.returncode, result.stderr


def make_root(made: Plan, tmp_path: Path) -> Path:
    """A root with the units installed as docs/targets.md says, and stubs of what they name."""
    write_artifacts(made, tmp_path)
    return stub_root(tmp_path / "gpu-1/systemd", tmp_path / "root")


def stub_root(folder: Path, root: Path) -> Path:
    """The same of a folder in which the files of one host lie."""
    system = root / "etc/systemd/system"
    system.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file() and path.suffix != ".container":
            shutil.copy(path, system)
        elif path.name.endswith(".d"):
            shutil.copytree(path, root / "etc" / path.name)
    for target in STUB_TARGETS:
        (system / f"{target}.target").write_text("[Unit]\nDescription=stub\n")
    for program in PROGRAMS:
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).touch(mode=0o755)
    return root
