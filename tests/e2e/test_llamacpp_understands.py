"""Parsers of llama-server builds, old and new, understand what the plan says.

They are the parsers themselves, linked with a program that prints what they made of a command
line (tests/oracle/llamacpp_parser.py).
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from compiler.engines.llamacpp.flags.rules import ARGUMENTS
from compiler.engines.llamacpp.flags.table import words_for
from tests.e2e.commands import FLEETS, Command, commands
from tests.oracle.llamacpp_parser import ParserError, makes_four_slots, understood
from tests.oracle.llamacpp_source import STUDIED

# Spring and summer of 2025, one year back, the last before `--no-kv-unified`, and the newest.
BUILDS = (4980, 6122, 7347, 7698, STUDIED)
CELL_PADDING = 256
# llama.h `llama_load_mode`, `llama_flash_attn_type`, `llama_pooling_type`, `llama_split_mode`.
LOAD_MODES = ("none", "mmap", "mlock", "mmap+mlock", "dio", "auto")
POOLINGS = ("none", "mean", "cls", "last", "rank")
SPLITS = ("none", "layer")
# So many commands of the fleets compile for the oldest of them, and more for the others.
ENOUGH = 10
UNKNOWN = "invalid argument: |expected value for argument"


@pytest.mark.parametrize("build", BUILDS)
def test_a_build_understands_every_command_of_the_fleets(build: int, tmp_path: Path) -> None:
    four_slots = makes_four_slots(build)
    judged = 0
    for fleet in FLEETS:
        for command in dict.fromkeys(commands(fleet, tmp_path, "llama.cpp", str(build))):
            found = understood(build, command.argv, command.gpus)
            check_requests(command.replica, found, four_slots=four_slots)
            check_places(command, found)
            check_flags(command, found)
            judged += 1
    assert judged > ENOUGH


def check_requests(replica: dict[str, Any], found: dict[str, Any], *, four_slots: bool) -> None:
    """Slots, and the cells that each request may have."""
    slots, cells, unified = found["n_parallel"], found["n_ctx"], found.get("kv_unified", False)
    assert slots == replica["concurrency"]
    assert not (four_slots and slots == 1 and not unified)
    assert cells <= replica["kv_tokens"] < cells + CELL_PADDING * slots
    assert (cells if unified else cells // slots) >= replica["context"]
    embeds = replica["task"] != "generate"
    scores = replica["task"] in ("rerank", "classify")
    assert found["embedding"] or found.get("reranking", False) or not embeds
    assert not (found["embedding"] and not embeds)
    assert (found.get("reranking") or found["pooling_type"] == POOLINGS.index("rank")) == scores
    if embeds:
        assert found["n_ubatch"] == found["n_batch"] >= replica["context"]


def check_places(command: Command, found: dict[str, Any]) -> None:
    """Which layers go where."""
    replica = command.replica
    assert found["model"] == replica["model_path"]
    assert found["port"] == replica["port"]
    assert found["n_gpu_layers"] == replica["gpu_layers"]
    on_gpu = replica["gpu_layers"] > 0
    assert found["devices"] == ([] if on_gpu else ["none"])
    split = found["tensor_split"]
    assert len(split) in ((0,) if not on_gpu else (0, command.gpus))
    assert not found.get("fit_params", False)


def check_flags(command: Command, found: dict[str, Any]) -> None:
    """Sizes and kinds, as they stand on the command line."""
    said = dict(pairwise(command.argv))
    assert found["n_batch"] == int(said["--batch-size"])
    assert found["n_ubatch"] == int(said["--ubatch-size"])
    assert found["cache_type_k"] == said["--cache-type-k"]
    assert found["cache_type_v"] == said["--cache-type-v"]
    flash = "--flash-attn" in command.argv and said["--flash-attn"] != "off"
    assert bool(found.get("flash_attn", found.get("flash_attn_type"))) == flash
    assert found.get("swa_full", False) == ("--swa-full" in command.argv)
    assert found["no_kv_offload"] == ("--no-kv-offload" in command.argv)
    assert found.get("no_op_offload", False) == ("--no-op-offload" in command.argv)
    if "--split-mode" in said:
        assert found["split_mode"] == SPLITS.index(said["--split-mode"])
    rules = said.get("--override-tensor", "")
    assert [rule for rule in rules.split(",") if rule not in found.get("overrides", [])] in (
        [],
        [""],
    )
    loaded = LOAD_MODES.index(said.get("--load-mode", "none"))
    assert found.get("load_mode", 0) == loaded
    assert found.get("use_mmap", False) == ("use_mmap" in found and "--no-mmap" not in said)
    assert found.get("cache_ram_mib", 0) == int(said.get("--cache-ram", 0))
    checkpoints = found.get("n_ctx_checkpoints", found.get("n_swa_checkpoints", 0))
    assert checkpoints == int(said.get("--ctx-checkpoints", said.get("--swa-checkpoints", 0)))


@pytest.mark.parametrize("build", BUILDS)
def test_a_build_takes_every_flag_that_a_user_may_set(build: int) -> None:
    refused = {}
    for name, argument in sorted(ARGUMENTS.items()):
        if argument.effect != "passed" or not argument.since <= build < argument.until:
            continue
        for value in (True, False) if argument.kind == "switch" else ("1",):
            words = words_for(name, value, build) or ()
            try:
                understood(build, ("llama-server", *words, "--model", "m.gguf"), 0)
            except ParserError as error:
                # Not every text takes a "1"; here it is about what a flag is.
                if re.search(UNKNOWN, str(error)):
                    refused[name, value] = str(error)
    assert not refused


@pytest.mark.parametrize("build", BUILDS)
def test_the_log_level_arrives(build: int) -> None:
    words = words_for("verbosity", 4, build)
    assert words == ("--verbosity", "4")
    found = understood(build, ("llama-server", "--model", "m.gguf", *words), 0)
    assert found["verbosity"] == 4


def test_a_flag_of_another_build_is_noticed() -> None:
    with pytest.raises(ParserError, match="--no-kv-unified"):
        understood(7698, ("llama-server", "--model", "m.gguf", "--no-kv-unified"), 0)
