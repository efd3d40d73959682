"""llama-server's own parser takes every command line that the fleets of the repository emit."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD
from compiler.engines.llamacpp.flags.rules import ARGUMENTS
from compiler.engines.llamacpp.flags.table import flag_table
from tests.e2e.commands import FLEETS, commands
from tests.e2e.fleet import free_ports
from tests.oracle.probe import environment

SECONDS = 60


def complaint(argv: tuple[str, ...], gpus: int) -> str:
    """What llama-server says when it finds everything in order but the model's file."""
    done = subprocess.run(
        argv,
        env=os.environ | environment(gpus, compute=89),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode != 0
    return done.stdout


def with_server(argv: tuple[str, ...], server: Path) -> tuple[str, ...]:
    """The command with this server, on a port that is free."""
    port = argv.index("--port")
    return (str(server), *argv[1 : port + 1], str(free_ports(1)), *argv[port + 2 :])


@pytest.mark.parametrize("fleet", FLEETS, ids=lambda path: path.name)
def test_the_parser_takes_what_is_emitted(fleet: Path, tmp_path: Path, llama_server: Path) -> None:
    emitted = dict.fromkeys(commands(fleet, tmp_path, "llama.cpp", str(STUDIED_BUILD)))
    for command in emitted:
        said = complaint(with_server(command.argv, llama_server), command.gpus)
        model = command.argv[command.argv.index("--model") + 1]
        assert f"failed to load model, '{model}'" in said, said
        assert "argument" not in said, said


def test_there_are_commands_to_parse(tmp_path: Path) -> None:
    found = [
        command
        for fleet in FLEETS
        for command in commands(fleet, tmp_path, "llama.cpp", str(STUDIED_BUILD))
    ]
    assert len(found) > 10
    assert {command.gpus for command in found} >= {0, 1, 2}


def test_a_wrong_argument_is_noticed(llama_server: Path) -> None:
    said = complaint((str(llama_server), "--model", "/nowhere.gguf", "--mmap"), 0)
    assert "invalid argument: --mmap" in said


def test_the_table_of_flags_is_what_the_server_says_of_itself(llama_server: Path) -> None:
    helped = subprocess.run([llama_server, "--help"], capture_output=True, text=True, check=True)
    known = set()
    for entry in re.split(r"\n(?=-)", helped.stdout):
        names = re.match(r"-[^\s,]+(,\s+-[^\s,]+)*", entry)
        if names and "the argument has been removed" not in entry:
            known |= set(re.findall(r"(?<!\S)--([a-z][a-z0-9.-]*)", names[0]))
    table = flag_table()
    assert {flag for flag in table.flags if table.kind(flag, STUDIED_BUILD)} == known


def test_the_server_has_every_flag_that_is_costed(llama_server: Path) -> None:
    helped = subprocess.run([llama_server, "--help"], capture_output=True, text=True, check=True)
    costed = {
        f"--{name.replace('_', '-')}"
        for name, argument in ARGUMENTS.items()
        if argument.effect == "costed" and argument.since <= STUDIED_BUILD < argument.until
    }
    assert costed <= set(re.findall(r"--[a-z0-9-]+", helped.stdout))
