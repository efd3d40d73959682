"""vLLM's own parser takes every command line that the fleets of the repository emit."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e import vllm_install
from tests.e2e.commands import FLEETS, commands

PARSER = Path(__file__).parent / "vllm_parser.py"


def faults(argvs: list[tuple[str, ...]], vllm: Path) -> list[str]:
    """What vLLM's parser finds wrong with each command line."""
    # An importer of the CPU build has no GPU to ask for its kind.
    done = subprocess.run(
        [vllm.with_name("python"), PARSER],
        input=json.dumps([argv[1:] for argv in argvs]),
        env=os.environ | {"VLLM_TARGET_DEVICE": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, ...]]:
    """The command lines of all fleets, each once."""
    found: dict[tuple[str, ...], None] = {}
    for fleet in FLEETS:
        folder = tmp_path_factory.mktemp(fleet.name)
        for command in commands(fleet, folder, "vllm", vllm_install.VERSION):
            found[command.argv] = None
    return list(found)


def test_there_are_commands_to_parse(emitted: list[tuple[str, ...]]) -> None:
    assert len(emitted) > 20
    assert all(argv[1] == "serve" for argv in emitted)


def test_the_parser_takes_what_is_emitted(emitted: list[tuple[str, ...]], vllm: Path) -> None:
    wrong = {
        argv: fault for argv, fault in zip(emitted, faults(emitted, vllm), strict=True) if fault
    }
    assert not wrong


def test_a_wrong_argument_is_noticed(vllm: Path) -> None:
    (unknown, bad) = faults(
        [
            ("vllm", "serve", "model", "--no-such-flag"),
            ("vllm", "serve", "model", "--max-num-seqs", "many"),
        ],
        vllm,
    )
    assert "--no-such-flag" in unknown
    assert "--max-num-seqs" in bad
