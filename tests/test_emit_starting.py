"""What runs before an engine, run by the shells that hosts and images have as /bin/sh."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from compiler.emit import starting
from compiler.emit.starting import WRONG_ENGINE_STATUS, start_of
from compiler.ir.plan import Replica
from tests.generators.plans import HOSTILE, replica, share, vllm_replica
from tests.requires import require_tool

# Debian's and Ubuntu's /bin/sh, and Fedora's: bash by another name.
SHELLS = (("dash",), ("bash", "--posix"))
VALUE = "hunter2-$HOME `id`"
FIRST, SECOND = (f"GPU-6f1c000{n}-0000-4000-8000-00000000000{n}" for n in (1, 2))


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> list[str]:
    name, *options = request.param
    return [require_tool(name), *options]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a start has said."""

    returncode: int
    stdout: str
    stderr: str


class Host:
    """A folder with an engine, the programs it needs and secrets."""

    def __init__(self, folder: Path, shell: list[str]) -> None:
        self.folder = folder
        self.shell = shell
        (folder / "secrets").mkdir()
        (folder / "bin").mkdir()

    def program(self, name: str, text: str) -> str:
        """Places a program."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def engine(self, says: str, *, stream: int = 1, status: int = 0) -> str:
        """Places an engine that says this of its version, and else its words and variables."""
        said = self.folder / "said"
        said.write_text(says, encoding="utf-8")
        asked = f'if [ "$1" = --version ]; then cat {said} >&{stream}; exit {status}; fi'
        return self.program("engine", f'{asked}\nprintf "%s\\0" "$@"; exec env --null')

    def secret(self, name: str, value: str) -> None:
        """Places the value of a secret."""
        (self.folder / "secrets" / name).write_text(f"{value}\n", encoding="utf-8")

    def start(self, made: Replica, **variables: str) -> Ran:
        """Starts a replica."""
        argv = start_of(made, selects_gpus=True).argv(" ")
        done = subprocess.run(
            [*self.shell, *argv[1:]],
            check=False,
            capture_output=True,
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "CREDENTIALS_DIRECTORY": str(self.folder / "secrets"),
                **made.env,
                **variables,
            },
        )
        # Line ends as they were.
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def host(tmp_path: Path, shell: list[str]) -> Host:
    return Host(tmp_path, shell)


def words(done: Ran) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\0")[:-1]


VLLM = ("vllm", "0.33.0")
LLAMA = ("llama.cpp", "11390")


@pytest.mark.parametrize(
    ("planned", "says"),
    [
        (VLLM, "0.33.0\n"),
        (VLLM, "vllm 0.33.0+cu129\n"),
        (VLLM, "0.33.0.post1"),
        (
            VLLM,
            "INFO 12-01 10:00:00 [__init__.py:239] Automatically detected platform cuda.\n0.33.0",
        ),
        (LLAMA, "version: 11390 (0c1e57098)\nbuilt with GNU 13.2.0 for x86_64-linux-gnu\n"),
        (LLAMA, "ggml_cuda_init: found 1 CUDA devices:\nversion: 11390 (0c1e57098)\n"),
        (LLAMA, "version: 0.5.1-dev (build 11390, commit 0c1e57098)\n"),
        (("llama.cpp", "0.5.0"), "version: 0.5.0 (build 11146, commit abc)\n"),
        (("llama.cpp", "0.5.0"), "version: 11146 (abc)\n"),
        (("llama.cpp", "0.5.0-dev"), "version: 0.5.0-dev (build 11312, commit abc)\n"),
    ],
)
@pytest.mark.parametrize(("stream", "status"), [(1, 0), (2, 1)])
def test_the_engine_of_the_plan_starts(
    host: Host, planned: tuple[str, str], says: str, stream: int, status: int
) -> None:
    engine = host.engine(says, stream=stream, status=status)
    made = replica(engine=planned[0], engine_version=planned[1], argv=[engine, *HOSTILE])
    done = host.start(made)
    assert words(done)[: len(HOSTILE)] == list(HOSTILE)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("planned", "says", "shown"),
    [
        (VLLM, "0.31.0\n", "0.31.0"),
        (VLLM, "0.33.1\n", "0.33.1"),
        (VLLM, "10.33.0\n", "10.33.0"),
        (VLLM, "0.33.01\n", "0.33.01"),
        (LLAMA, "version: 9000 (abc)\nbuilt with GNU 13.2.0\n", "version: 9000 (abc)"),
        (LLAMA, "version: 113901 (abc)\n", "version: 113901 (abc)"),
        (LLAMA, "version: 11391 (c11390)\n", "version: 11391 (c11390)"),
        (LLAMA, "version: 0.6.0 (build 11429, commit 11390)\n", "version: 0.6.0"),
        (
            ("llama.cpp", "0.5.0"),
            "version: 0.5.0-dev (build 11112, commit abc)\n",
            "version: 0.5.0-dev",
        ),
    ],
)
def test_another_engine_is_a_failure_that_says_both(
    host: Host, planned: tuple[str, str], says: str, shown: str
) -> None:
    host.secret("HF_TOKEN", VALUE)
    engine = host.engine(says)
    done = host.start(
        replica(engine=planned[0], engine_version=planned[1], argv=[engine], secrets=["HF_TOKEN"])
    )
    assert (done.returncode, done.stdout) == (WRONG_ENGINE_STATUS, "")
    assert f"modelc: {' '.join(planned)} is planned, and {engine} is {shown}" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("says", ["", "version: 0 (unknown)\nbuilt with GNU 13.2.0\n", "what?\n"])
def test_an_engine_that_does_not_say_its_version_starts_and_this_is_told(
    host: Host, says: str
) -> None:
    done = host.start(replica(engine_version="11390", argv=[host.engine(says), "a"]))
    assert words(done)[0] == "a"
    assert "does not say its version; llama.cpp 11390 is expected" in done.stderr


def test_an_engine_that_is_not_there_is_named(host: Host) -> None:
    done = host.start(replica(argv=["/opt/nowhere/llama-server"]))
    assert done.returncode == 127
    assert "/opt/nowhere/llama-server" in done.stderr


# Every name that the check lets pass, and some that it refuses: no value is printed all the same.
NAMES = ("from", "value", "secrets", "HF_TOKEN", "S", "shift", "set", "exec", "PATH_", "UID")


@pytest.mark.parametrize("name", NAMES)
def test_no_value_of_a_secret_is_printed(host: Host, name: str) -> None:
    host.secret(name, VALUE)
    host.secret("ZZ", "two\nlines")
    engine = host.engine("version: 9000 (abc)\n")
    done = host.start(replica(argv=[engine], secrets=[name, "ZZ"]), SHELLOPTS="xtrace", PS4="+ ")
    assert "hunter2" not in done.stderr
    if done.returncode == 0:
        assert {f"{name}={VALUE}", "ZZ=two\nlines"} <= set(words(done))
    else:
        assert name == "UID"  # Read-only in bash, and refused by the check of the spec.


def test_nothing_starts_without_the_secret(host: Host) -> None:
    done = host.start(replica(argv=[host.engine("version: 9000 (a)\n")], secrets=["ABSENT"]))
    assert done.returncode not in {0, WRONG_ENGINE_STATUS}
    assert "ABSENT" in done.stderr
    assert done.stdout == ""


def on_gpus(host: Host, version: str, gpus: str = f"{SECOND},{FIRST}") -> Replica:
    return vllm_replica(
        engine_version=version,
        argv=[host.engine(f"{version}\n"), "serve"],
        shares=[share(1, SECOND), share(0, FIRST)],
        env={"CUDA_VISIBLE_DEVICES": gpus},
        secrets=[],
    )


@pytest.mark.parametrize(
    ("version", "visible"),
    [
        ("0.9.2", "7,0"),
        ("0.10.0", "7,0"),
        ("0.22.0", "7,0"),
        ("0.23.0", "7,0"),
        ("0.24.0", f"{SECOND},{FIRST}"),
        ("0.33.0", f"{SECOND},{FIRST}"),
    ],
)
def test_an_engine_that_takes_no_uuids_is_given_the_places(
    host: Host, version: str, visible: str
) -> None:
    host.program("nvidia-smi", f'echo "0, {FIRST}"; echo "7, {SECOND}"')
    done = host.start(on_gpus(host, version))
    assert f"CUDA_VISIBLE_DEVICES={visible}" in words(done)


def test_a_gpu_that_is_not_there_is_named(host: Host) -> None:
    host.program("nvidia-smi", f'echo "0, {FIRST}"')
    done = host.start(on_gpus(host, "0.22.0"))
    assert done.returncode == 1
    assert f"modelc: {SECOND} is not here, but: 0, {FIRST}" in done.stderr


def test_a_driver_that_does_not_answer_is_told(host: Host) -> None:
    host.program("nvidia-smi", "echo NVIDIA-SMI has failed; exit 9")
    done = host.start(on_gpus(host, "0.22.0"))
    assert done.returncode == 1
    assert "vllm 0.22.0 takes no UUIDs, and nvidia-smi fails: NVIDIA-SMI has failed" in done.stderr


def test_a_container_runtime_has_selected_the_gpus(host: Host) -> None:
    lines = start_of(on_gpus(host, "0.22.0"), selects_gpus=False).lines
    assert not [line for line in lines if "nvidia-smi" in line]


def test_shellcheck_finds_nothing_to_say(tmp_path: Path) -> None:
    text = tmp_path / "start.sh"
    blocks = (
        *(starting._BEGIN, starting._ASK_VERSION, starting._FIND_GPUS),
        *(starting._EXPORT_SECRETS, starting._BECOME),
    )
    text.write_text("\n".join(line for block in blocks for line in block), encoding="utf-8")
    done = subprocess.run(
        [require_tool("shellcheck"), "--shell=sh", str(text)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")
