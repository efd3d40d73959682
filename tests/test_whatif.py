"""What a change or a loss would do is told, and nothing is written for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from compiler.cli import run
from compiler.ir.outcome import Loss, Sizing, WhatIf

LOCK = Path(__file__).parent / "golden" / "optional-left-out" / "modelc.lock"
INVENTORY = """\
version: 1
defaults: {ram: 64GiB, engines: {vllm: {version: 0.33.0}}}
hosts:
  gpu-[1-3]: {gpus: {kind: rtx-4090, count: 2}}
"""
MODELS = """\
version: 1
services:
  chat: {model: Qwen/Qwen3-8B, context: 8192, replicas: 3, priority: 90}
  extra: {model: Qwen/Qwen3-8B, context: 8192, replicas: 2, optional: true, priority: 10}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five replicas on six RTX 4090, each of which holds one."""
    shutil.copy(LOCK, tmp_path)
    (tmp_path / "inventory.yaml").write_text(INVENTORY, "utf-8")
    (tmp_path / "models.yaml").write_text(MODELS, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:  # noqa: ANN401
    """What a command says, as JSON."""
    assert run([*arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def changed(capsys: pytest.CaptureFixture[str], *arguments: str) -> WhatIf:
    return WhatIf.model_validate(answer(capsys, "whatif", *arguments))


def test_a_lost_host_takes_what_is_least_important(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = changed(capsys, "--without", "gpu-1")
    assert found.code == "loses-replicas"
    (extra,) = found.services
    assert (extra.service, extra.replicas_before, extra.replicas_after) == ("extra", 2, 1)
    assert not (folder / "compiled").exists()


@pytest.mark.usefixtures("folder")
def test_two_lost_hosts_leave_needed_services_short(capsys: pytest.CaptureFixture[str]) -> None:
    found = changed(capsys, "--without", "gpu-1", "--without", "gpu-2")
    assert found.code == "loses-services"
    after = {each.service: each.replicas_after for each in found.services}
    assert after == {"chat": 2, "extra": 0}


@pytest.mark.usefixtures("folder")
def test_a_lost_gpu_is_survived_by_moving(capsys: pytest.CaptureFixture[str]) -> None:
    found = changed(capsys, "--without", "gpu-1/0")
    assert found.code == "moves"
    assert found.diff.counts.move == 1


@pytest.mark.usefixtures("folder")
def test_more_of_a_service_stands_on_an_added_host(capsys: pytest.CaptureFixture[str]) -> None:
    found = changed(capsys, "--set", "chat.replicas=6", "--add", "2xrtx-4090")
    assert found.code == "in-place"
    assert found.diff.counts.create == 3
    places = {change.after for change in found.diff.changes if change.action == "create"}
    assert {"new-1/0", "new-1/1"} <= places


@pytest.mark.usefixtures("folder")
def test_the_loss_of_each_host_and_gpu_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    losses = {each["lost"]: Loss.model_validate(each)
              for each in answer(capsys, "whatif", "--n-1")["losses"]}  # fmt: skip
    assert set(losses) == {
        *("gpu-1", "gpu-1/0", "gpu-1/1", "gpu-2", "gpu-2/0", "gpu-2/1"),
        *("gpu-3", "gpu-3/0", "gpu-3/1"),
    }
    for loss in losses.values():
        # One GPU is idle: what stands on one moves there, what stands on two does not fit.
        assert loss.moves == min(1, len(loss.stood))
        assert (loss.seconds > 0) == (loss.moves > 0)
        lost = max(0, len(loss.stood) - 1) if "/" not in loss.lost else 0
        if loss.lost == "gpu-3":
            assert loss.stood in (["chat-2"], ["chat-2", "extra-1"], ["extra-1"])
            continue
        assert sum(loss.short.values()) == lost


@pytest.mark.usefixtures("folder")
def test_the_text_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["whatif", "--n-1"]) == 0
    assert "survives by moving" in capsys.readouterr().out
    assert run(["whatif", "--without", "gpu-1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("What if: without gpu-1\n\nSome services have fewer replicas.\n")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--without", "gpu-9"], "`--without gpu-9` is not in the inventory."),
        (["--without", "gpu-1/7"], "`--without gpu-1/7` is not in the inventory."),
        (["--add", "2xrtx-9999"], "`--add` names the GPU kind `rtx-9999`."),
        (["--add", "0xrtx-4090"], "`--add 0xrtx-4090` is no number of GPUs of a kind."),
        (["--add", "rtx-4090@nobody"], "`--add` names the host `nobody`."),
        (["--set", "chat"], "`--set chat` is no setting of a service."),
        (["--set", "chatt.replicas=2"], "`--set chatt.replicas=2` names the service `chatt`."),
        (["--set", "chat.replicas=none"], "models.yaml with --set"),
        (["--set", "chat.replicass=2"], "replicass"),
        (["--set", "chat.model.x=2"], "names `x` where there is no such key."),
    ],
)
def test_a_change_that_cannot_be_is_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["whatif", *arguments]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_no_change_at_all_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["whatif"]) == 64
    assert run(["whatif", "--n-1", "--add", "rtx-4090"]) == 64
    assert "--n-1 alone" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_the_fewest_hosts_hold_everything_and_one_fewer_does_not(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    found = answer(capsys, "size", "--kind", "rtx-4090", "--per-host", "2", "--per-host", "4")
    sizes = {each["per_host"]: Sizing.model_validate(each) for each in found["sizes"]}
    assert (sizes[2].hosts, sizes[2].gpus) == (3, 6)
    assert (sizes[4].hosts, sizes[4].gpus) == (2, 8)
    assert sizes[2].at_least <= sizes[2].hosts
    needed = MODELS.replace(", optional: true", "")
    (folder / "models.yaml").write_text(needed, "utf-8")
    for count, code in ((3, 0), (2, 1)):
        text = INVENTORY.replace("gpu-[1-3]", f"gpu-[1-{count}]")
        (folder / "inventory.yaml").write_text(text, "utf-8")
        assert run(["compile"]) == code


@pytest.mark.usefixtures("folder")
def test_a_kind_that_holds_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["size", "--kind", "gtx-1650", "--per-host", "1"]) == 0
    assert "holds no chat and no extra with full room" in capsys.readouterr().out
    assert run(["size", "--kind", "gtx-9999"]) == 1
    assert "`modelc size` is asked about `gtx-9999`." in capsys.readouterr().err
