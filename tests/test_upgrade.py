"""`modelc diff --engine`: what another version would do to the same fleet, without writing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compiler.cli import run
from compiler.ir.upgrade import Upgrade

ROOT = Path(__file__).parents[1]


@pytest.fixture
def homelab(tmp_path: Path) -> Path:
    """A copy of the example fleet."""
    return Path(shutil.copytree(ROOT / "inventories" / "homelab", tmp_path / "homelab"))


def preview(
    folder: Path, capsys: pytest.CaptureFixture[str], *engines: str, code: int = 0
) -> Upgrade:
    """The preview as programs read it; the folder stays as it is, to the byte."""
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    options = [word for each in engines for word in ("--engine", each)]
    args = ["diff", *options, "-C", str(folder), "--format", "json", "--detailed-exitcode"]
    assert run(args) == code
    assert before == {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return Upgrade.model_validate_json(capsys.readouterr().out)


def edited(folder: Path, old: str, new: str, name: str = "models.yaml") -> None:
    """A file of the folder with one text for another."""
    path = folder / name
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_the_same_version_changes_nothing(
    homelab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = preview(homelab, capsys, "vllm=0.33.0", "llama.cpp=b11390")
    assert found.empty
    assert (found.stopped, found.flags, found.assumed) == ([], [], [])
    assert all(not each.parts for each in found.weighed)


def test_flags_go_and_come_and_memory_differs(
    homelab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = preview(homelab, capsys, "llama.cpp=7000", code=2)
    goes = {each.flag for each in found.flags if each.after is None}
    comes = {each.flag for each in found.flags if each.before is None}
    assert "--fit" in goes
    assert comes == {"--no-mmap"}
    assert {each.service for each in found.weighed} == {"code", "embed"}
    for each in found.weighed:
        change = sum(part.after_bytes - part.before_bytes for part in each.parts)
        assert each.after_bytes - each.before_bytes == change != 0
    # The other engine is left alone.
    kept = [each.replica for each in found.diff.changes if each.action == "keep"]
    assert kept == ["chat-0"]


def test_an_argument_that_the_version_lacks_is_told_and_the_rest_goes_on(
    homelab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(homelab, 'args: {flash_attn: "on"}', 'args: {flash_attn: "on", fit: "off"}')
    edited(homelab, ', fit: "off"', ", cache_ram: 512")
    found = preview(homelab, capsys, "llama.cpp=b5000", code=2)
    (stopped,) = found.stopped
    assert (stopped.service, stopped.why, stopped.others) == ("code", "refused", [])
    assert "cache_ram" in " ".join(stopped.details)
    assert {each.replica: each.action for each in found.diff.changes} == {
        "chat-0": "keep", "code-0": "delete", "embed-0": "update",
    }  # fmt: skip


def test_a_frozen_service_goes_on_in_its_version(
    homelab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = homelab / "models.yaml"
    path.write_text(path.read_text("utf-8") + "policy: {freeze: [code, embed]}\n", "utf-8")
    found = preview(homelab, capsys, "llama.cpp=b5000")
    assert found.empty


def test_an_argument_of_the_other_engine(homelab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = "concurrency: 4\n    vllm: {args: {async_scheduling: true}}\n  code"
    edited(homelab, "concurrency: 4\n  code", more)
    found = preview(homelab, capsys, "vllm=0.9.0", code=2)
    assert [(each.service, each.why) for each in found.stopped] == [("chat", "refused")]


def test_what_no_gpu_holds_any_more(homelab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0.25 takes 900 MiB more than 0.33 to start this service."""
    edited(homelab, "minor: 1}", "minor: 1, utilization: 0.92}", "inventory.yaml")
    rule = "concurrency: 4\n    placement: {gpus: {tensor_parallel: [1]}}\n  code"
    edited(homelab, "concurrency: 4\n  code", rule)
    found = preview(homelab, capsys, "vllm=0.25.0", code=2)
    (chat,) = found.weighed
    assert chat.after_bytes - chat.before_bytes > 800 << 20
    (stopped,) = found.stopped
    assert (stopped.service, stopped.why) == ("chat", "too-large")
    assert (stopped.replicas_before, stopped.replicas_after) == (1, 0)
    assert "It lacks" in stopped.details[0]


def test_an_image_that_names_the_version_names_the_new_one(
    homelab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(homelab, "target: systemd", "target: compose", "inventory.yaml")
    edited(
        homelab, "bin: /opt/vllm/bin/vllm", 'image: "vllm/vllm-openai:v0.33.0"', "inventory.yaml"
    )
    image = 'image: "ghcr.io/ggml-org/llama.cpp:server-cuda-b11390"'
    edited(homelab, "bin: /usr/local/bin/llama-server", image, "inventory.yaml")
    shutil.rmtree(homelab / "compiled")
    found = preview(homelab, capsys, "vllm=0.32.0", code=2)
    images = [
        (reason.before, reason.after)
        for change in found.diff.changes
        for reason in change.reasons
        if reason.kind == "setting-changed" and reason.field == "image"
    ]
    assert images == [("vllm/vllm-openai:v0.33.0", "vllm/vllm-openai:v0.32.0")]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--engine", "vllm"), 64, "is not ENGINE=VERSION"),
        (("--engine", "sglang=0.5"), 64, "is not ENGINE=VERSION"),
        (("--engine", "vllm=0.2.0"), 64, "is older than 0.8.5"),
        (("--engine", "vllm=0.32", "--engine", "vllm=0.31"), 64, "twice"),
        (("--engine", "vllm=0.32", "a", "b"), 64, "no NEW plan"),
    ],
)
def test_wrong_usage(
    homelab: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    assert run(["diff", *arguments, "-C", str(homelab)]) == code
    assert words in capsys.readouterr().err


def test_an_engine_that_no_host_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = ROOT / "tests" / "golden" / "llama-70b-two-4090"
    folder = Path(shutil.copytree(two, tmp_path / "two"))
    edited(folder, "    vllm: {version: 0.33.0}\n", "", "inventory.yaml")
    assert run(["diff", "--engine", "vllm=0.32.0", "-C", str(folder)]) == 1
    assert "No host of the inventory has `vllm`" in capsys.readouterr().err


def test_a_comment_on_a_pull_request(homelab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["diff", "--engine", "llama.cpp=b7000", "-C", str(homelab), "--format", "markdown"]
    assert run(args) == 0
    text = capsys.readouterr().out
    assert text.startswith("**`llama.cpp 11390 -> 7000 on tower; nothing is written`**\n")
    assert "| `code` | default |" in text
