"""What is said once and how wide: equal things fold, and a terminal's width is kept."""

# ruff: noqa: E501 (a screen is as wide as it is)

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.diff import diff
from compiler.ir.plan import Plan, Replica
from compiler.ir.units import MIB
from compiler.views.diff import diff_json, diff_markdown, diff_text
from compiler.views.explain import replicas_text
from compiler.views.plan import plan_markdown, plan_text_view
from compiler.views.terminal import columns, command_lines, prose, rows_within, shell_word
from tests.generators.small_plans import plan, replica, share

HOSTS = [f"edge-{number:02}" for number in range(1, 21)]


def small(number: int, host: str, **changes: object) -> Replica:
    """One of many equal replicas."""
    return replica(f"small-{number}", host, [share(0, 4_000)], **changes)


def edge(**changes: object) -> Plan:
    """Twenty boxes with one GPU each, and the same on each of them."""
    return plan(
        dict.fromkeys(HOSTS, 1),
        [small(number, host, **changes) for number, host in enumerate(HOSTS)],
    )


def test_equal_changes_are_told_once() -> None:
    text = diff_text(diff(None, edge()), color=False)
    assert (
        "  + create small-[0-19] on edge-[01-20]/0\n      KV room 9.4 of 16 requests\n      the service is new\n"
        in text
    )
    assert text.count("create small") == 1
    assert "  edge-[01-20]/0  rtx-3090    none  ->  4,000  22,118\n" in text
    markdown = diff_markdown(diff(None, edge()))
    assert "| `+` create | `small-[0-19]` | `on edge-[01-20]/0` |" in markdown
    assert len(diff(None, edge()).changes) == 20
    assert diff_json(diff(None, edge())).count('"action": "create"') == 20, (
        "programs get each of them"
    )


def test_replicas_are_listed_as_people_count() -> None:
    found = diff(None, edge())
    assert [change.replica for change in found.changes] == [f"small-{n}" for n in range(20)]


def test_the_same_share_on_many_gpus_is_one_reason() -> None:
    grown = edge()
    for each in grown.replicas:
        each.shares[0] = each.shares[0].model_copy(update={"share_bytes": 5_000 * MIB})
    text = diff_text(diff(edge(), grown), color=False)
    assert "  ~ update small-[0-19] on edge-[01-20]/0: no restart\n" in text
    assert "      share of edge-[01-20]/0 4,000 MiB -> 5,000 MiB\n" in text


def test_neighbours_of_one_service_are_one_reason() -> None:
    """A replica more on each of twenty boxes: what stood there tells it once."""
    before, after = edge(), edge()
    comers = [replica(f"chat-{n}", host, [share(0, 9_000)]) for n, host in enumerate(HOSTS)]
    held = [
        each.model_copy(
            update={
                "shares": [each.shares[0].model_copy(update={"share_bytes": 3_000 * MIB})],
                "start_after": [comer.name],
            }
        )
        for each, comer in zip(after.replicas, comers, strict=True)
    ]
    crowded = plan(dict.fromkeys(HOSTS, 1), [*held, *comers])
    text = diff_text(diff(before, crowded), color=False)
    assert text.count("~ update") == 1
    assert "      beside it on edge-[01-20]/0: +chat-[0-19]\n" in text
    assert "      starts after none -> chat-[0-19]\n" in text


def test_what_differs_is_told_apart() -> None:
    before, after = edge(), edge()
    after.replicas[3] = after.replicas[3].model_copy(update={"image": "other:1"})
    after.replicas[7] = after.replicas[7].model_copy(update={"image": "third:1"})
    text = diff_text(diff(before, after), color=False)
    assert (
        "~ update small-3 on edge-04/0: restart, up to 10 min\n      image none -> other:1" in text
    )
    assert (
        "~ update small-7 on edge-08/0: restart, up to 10 min\n      image none -> third:1" in text
    )


def test_who_stands_where_is_kept_when_the_order_differs() -> None:
    shuffled = plan(
        {"a1": 1, "a2": 1, "a3": 1},
        [small(0, "a3"), small(1, "a1"), small(2, "a2")],
    )
    text = diff_text(diff(None, shuffled), color=False)
    assert "+ create small-[0-2] on a3/0, a[1-2]/0\n" in text


def test_equal_hosts_are_one_block_of_the_ledger() -> None:
    text = plan_text_view(edge(), color=False)
    assert (
        text.partition("\n\n")[2]
        == """\
edge-[01-20]  systemd, RAM 2,048 MiB of 57,344 MiB each
  edge-[01-20]/0  rtx-3090  [####................]  4,000 MiB of 22,118 MiB, 18,118 MiB free each
    budget: memory x utilization (24,576 MiB x 0.9)
    small-[0-19]  small (bf16)  vllm 0.33.0  tp 1  4,000 MiB  KV room: 9.4 of 16 full-length requests  0.0.0.0:8000
"""
    )


def test_equal_gpus_of_a_host_are_one_row() -> None:
    eight = plan(
        {"h": 8},
        [replica(f"a-{n}", "h", [share(n, 9_000)], port=8_000 + n) for n in range(6)],
    )
    text = plan_text_view(eight, color=False)
    assert "  h/[0-5]  rtx-3090  [########" in text
    assert "    a-[0-5]  a (bf16)" in text
    assert "0.0.0.0:[8000-8005]" in text
    assert "  h/[6-7]  rtx-3090  [....................]" in text


def test_the_overview_folds_as_well() -> None:
    text = plan_markdown(edge())
    assert "| `edge-[01-20]/0` | `rtx-3090` |" in text
    assert "| `small-[0-19]` | `bf16` |" in text
    assert len(text.splitlines()) < 25


def test_places_of_other_services_are_not_equal() -> None:
    two = plan(
        {"h": 2}, [replica("a-0", "h", [share(0, 9_000)]), replica("b-0", "h", [share(1, 9_000)])]
    )
    assert "| `h/0` |" in plan_markdown(two)
    assert "| `h/1` |" in plan_markdown(two)


@pytest.mark.parametrize(
    ("mib", "bar"),
    [
        (0, "...................."),
        (1, "#..................."),
        (11_059, "##########.........."),
        (22_000, "####################"),
        (22_118, "####################"),
    ],
)
def test_a_used_gpu_shows_something_and_a_full_one_is_full(mib: int, bar: str) -> None:
    held = [replica("a-0", "h", [share(0, mib)])] if mib else []
    assert f"[{bar}]" in plan_text_view(plan({"h": 1}, held), color=False)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    before = plan({"gpu-node-01": 2}, [replica("assistant-0", "gpu-node-01", [share(0, 9_000)])])
    long = replica(
        "assistant-0",
        "gpu-node-01",
        [share(0, 19_000), share(1, 19_000)],
        image="registry.example/some/image:with-a-long-tag",
        argv=["vllm", "serve", "Qwen/Qwen3-8B", "--chat-template", "/a/b c/d"],
        start_after=[f"embedder-{n}" for n in range(8)],
        assumed=["vLLM 0.99 is newer than what was measured, so that " * 3],
    )
    after = plan({"gpu-node-01": 2}, [long])
    texts = [
        plan_text_view(after, color=False, width=width),
        diff_text(diff(before, after), color=False, width=width),
        replicas_text(after, ["assistant-0"], color=False, width=width),
    ]
    for line in (line for text in texts for line in text.splitlines()):
        assert len(line) <= width, line


def test_a_breakdown_wraps_in_its_last_column() -> None:
    rows = [("part", "MiB", "how"), ("weights", "1,024", "layers and an embedding of many tokens")]
    assert columns(rows, right=(1,), width=40) == [
        "part       MiB  how",
        "weights  1,024  layers and an embedding",
        "                of many tokens",
    ]


def test_columns_that_do_not_fit_go_on_below() -> None:
    rows = [("a", "bb", "12", "dddd"), ("aaaa", "b", "1", "d")]
    assert rows_within(rows, right=(2,), width=10) == [
        "a     bb",
        "  12  dddd",
        "aaaa  b",
        "   1  d",
    ]
    assert rows_within(rows, right=(2,), width=None) == columns(rows, right=(2,))


def test_a_long_word_stays_whole() -> None:
    word = "/a/path/that/is/longer/than/any/terminal/is/wide/and/is/to/be/copied"
    assert word in prose(f"it reads {word} at start", width=30)[1]


def test_of_equal_replicas_one_is_shown_and_the_others_are_listed() -> None:
    text = replicas_text(edge(), [f"small-{n}" for n in range(20)], color=False)
    assert text.count("Command\n") == 1
    assert "Equal to it: 19 replicas\n  small-1   edge-02/0  port 8000\n" in text


def test_replicas_that_differ_are_shown_each() -> None:
    mixed = edge()
    mixed.replicas[1] = mixed.replicas[1].model_copy(update={"context": 4_096})
    text = replicas_text(mixed, ["small-0", "small-1", "small-2"], color=False)
    assert text.count("Command\n") == 2
    assert "Equal to it: 1 replica\n  small-2  edge-03/0  port 8000\n" in text


@pytest.mark.parametrize(
    "word",
    [
        *("plain", "", "two words", "it's", '$HOME `id` "x"', "line\nbreak\ttab"),
        *("\u202ex", "::add-mask::x"),
    ],
)
def test_a_command_can_be_copied(word: str, tmp_path: Path) -> None:
    """Bash gets exactly the words and variables that the unit has."""
    show = tmp_path / "show"
    show.write_text('#!/bin/sh\nprintf "%s|%s" "$1" "$VALUE"\n')
    show.chmod(0o755)
    text = "\n".join(command_lines([str(show), word], {"VALUE": word, "OTHER": "1"}))
    assert text.isprintable() or "\n" in text
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == f"{word}|{word}"


def test_a_word_for_a_shell_shows_what_it_holds() -> None:
    assert shell_word("a\x1b[2Jb") == r"$'a\x1b\x5b2Jb'"


def test_a_command_is_told_with_what_its_unit_alone_sets() -> None:
    one = plan(
        {"h": 1},
        [
            replica(
                "a-0",
                "h",
                [share(0, 9_000)],
                env={"HF_HOME": "/srv/models", "VLLM_CACHE_ROOT": "/var/cache/modelc-a-0/vllm"},
                cache_dir="/var/cache/modelc-a-0",
                secrets=["VLLM_API_KEY"],
            )
        ],
    )
    text = replicas_text(one, ["a-0"], color=False)
    assert "Command\n  env HF_HOME=/srv/models \\\n    /opt/vllm/bin/vllm serve" in text
    assert (
        "Set by its unit alone\n  VLLM_CACHE_ROOT=/var/cache/modelc-a-0/vllm\n"
        "  VLLM_API_KEY (secret)\n"
    ) in text


def test_a_terminal_of_eighty_columns_gets_lines_of_eighty(tmp_path: Path) -> None:
    import pty
    import shutil

    root = Path(__file__).resolve().parents[1]
    shutil.copytree(root / "inventories" / "homelab", tmp_path / "homelab")
    ours, theirs = pty.openpty()
    # A terminal's own size has precedence over nothing but COLUMNS.
    environment = {**os.environ, "PYTHONPATH": str(root), "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "compiler", "explain", "embed", "-C", "homelab"]
    chunks = []
    with subprocess.Popen(command, cwd=tmp_path, stdout=theirs, env=environment) as running:
        os.close(theirs)
        while True:
            try:
                chunk = os.read(ours, 1 << 16)
            except OSError:  # Linux says EIO when the last writer is gone.
                break
            chunks.append(chunk)
        assert running.wait() == 0
    os.close(ours)
    lines = b"".join(chunks).decode().replace("\r\n", "\n").splitlines()
    wide = [line for line in lines if len(line.replace("\x1b[1m", "").replace("\x1b[0m", "")) > 80]
    # What is there to be copied stays in one piece.
    assert all(" \\" in line or "/" in line for line in wide), wide
