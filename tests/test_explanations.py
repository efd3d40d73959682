"""Why a service is left out or fits nowhere: who comes before it, which rule, which setting."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from compiler.cli import run

SHORTAGE = re.compile(
    r"closest with (\d+) MiB on `one/0` \(budget (\d+) MiB\): `needed` \(not optional\) takes "
    r"(\d+) MiB; (\d+) MiB missing\."
)
CASE = Path(__file__).parent / "golden" / "optional-left-out"
NO_SPAN = (
    "it needs 2 GPUs of one host, as a replica never spans hosts, and the largest in its reach has "
    "1."
)
ROOMY = "version: 1\ndefaults: {target: script, engines: {vllm: {version: 0.33.0}}}\nhosts:\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One RTX 4090, which holds one Qwen3-8B."""
    for name in ("inventory.yaml", "modelc.lock"):
        shutil.copy(CASE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explained(
    folder: Path, capsys: pytest.CaptureFixture[str], service: str, **services: str
) -> str:
    """What `modelc explain` says of a service; each service is one 8B model with these keys."""
    entries = [
        f"  {name}: {{model: Qwen/Qwen3-8B, context: 8192{more}}}"
        for name, more in services.items()
    ]
    text = "\n".join(["version: 1", "services:", *entries, ""])
    (folder / "models.yaml").write_text(text, "utf-8")
    assert run(["explain", service]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error[left-out]: An optional service is left out" in captured.err
    assert f"Service `{service}` is optional, and the plan leaves it out." in captured.err
    return captured.err


def test_a_needed_service_comes_first_whatever_its_priority(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = explained(
        folder, capsys, "nice", nice=", priority: 90, optional: true", needed=", priority: 10"
    )
    assert "Service `nice` (priority 90) finds no place beside the other replicas." in shown
    need, budget, taken, missing = map(int, SHORTAGE.findall(shown.replace(",", ""))[0])
    assert missing == need + taken - budget > 0


def test_of_optional_services_the_higher_priority_comes_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services = {
        name: f", priority: {priority}, optional: true"
        for name, priority in (("first", 90), ("second", 50), ("third", 10))
    }
    shown = explained(folder, capsys, "second", **services)
    assert "`first` (priority 90) takes" in shown
    assert "`third`" not in shown


def test_a_change_that_is_told_keeps_what_comes_before(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "inventory.yaml").write_text(
        f"{ROOMY}  one: {{ram: 640GiB, gpus: [{{kind: rtx-6000-ada, utilization: 0.738}}]}}\n"
    )
    shown = explained(
        folder, capsys, "second",
        first=", priority: 90, optional: true", second=", priority: 50, optional: true",
    )  # fmt: skip
    hint = next(line for line in shown.splitlines() if "hint: Lower `context`" in line)
    context = int(hint.split(" to ")[1].split()[0])
    path = folder / "models.yaml"
    first, second = path.read_text("utf-8").split("  second:")
    path.write_text(f"{first}  second:{second.replace('context: 8192', f'context: {context}')}")
    assert run(["compile"]) == 0
    assert "2 to create" in capsys.readouterr().out


def test_a_rule_that_keeps_a_service_out_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "inventory.yaml").write_text(f"{ROOMY}  one: {{ram: 640GiB, gpus: [{{kind: b300}}]}}")
    shown = explained(
        folder, capsys, "nice",
        needed="", nice=", optional: true, placement: {apart_from: [needed]}",
    )  # fmt: skip
    assert "`apart_from` between `needed` and `nice`" in shown
    assert "hint: Take one service out of `apart_from`." in shown


def test_more_replicas_than_gpus_to_spread_over_is_told_where_it_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "inventory.yaml").write_text(f"{ROOMY}  one: {{ram: 640GiB, gpus: [{{kind: b300}}]}}")
    (folder / "models.yaml").write_text(
        "version: 1\nservices:\n"
        "  a: {model: Qwen/Qwen3-8B, context: 8192, placement: {spread: gpu}}\n"
        "  b: {model: Qwen/Qwen3-8B, context: 8192, replicas: 2, placement: {spread: gpu}}\n"
    )
    assert run(["compile"]) == 1
    shown = capsys.readouterr().err
    assert "--> models.yaml:4:69" in shown
    assert "`spread` of `b` and the replicas of `b` cannot all hold." in shown


@pytest.mark.parametrize(
    ("setting", "why", "hint"),
    [
        (
            "offload: cpu",
            "with `offload: cpu` vLLM runs only on hosts that have no GPU.",
            "Take out `offload: cpu`.",
        ),
        (
            "placement: {gpus: {tensor_parallel: [2]}}",
            NO_SPAN,
            "Widen `placement`",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_service_without_any_place_to_try(
    capsys: pytest.CaptureFixture[str], setting: str, why: str, hint: str
) -> None:
    text = f"version: 1\nservices:\n  a: {{model: Qwen/Qwen3-8B, context: 8192, {setting}}}\n"
    Path("models.yaml").write_text(text, "utf-8")
    assert run(["compile"]) == 1
    shown = capsys.readouterr().err
    assert f"Variant `default` has no place to try: {why}" in shown
    assert f"hint: {hint}" in shown


def told(capsys: pytest.CaptureFixture[str], inventory: str, spec: str, *command: str) -> str:
    """What a command that fails says of these hosts and services."""
    engines = "engines: {vllm: {version: 0.33.0}, llama.cpp: {build: 11312}}"
    head = f"version: 1\ndefaults: {{target: script, {engines}}}\nhosts:\n"
    Path("inventory.yaml").write_text(f"{head}  {inventory}\n", "utf-8")
    Path("models.yaml").write_text(f"version: 1\nservices:\n{spec}\n", "utf-8")
    assert run([*(command or ("compile",))]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("n_gpus", "setting", "why", "hint"),
    [
        (
            2,
            "placement: {gpus: {tensor_parallel: [3]}}",
            "its reach has 2; besides, 32 attention heads cannot be cut over 3 GPUs.",
            "Widen `placement`: without its `tensor_parallel` the service finds a place.",
        ),
        (
            4,
            "placement: {gpus: {tensor_parallel: [3]}}",
            "32 attention heads cannot be cut over 3 GPUs.",
            "Widen `placement`: without its `tensor_parallel` the service finds a place.",
        ),
        (
            2,
            "placement: {gpus: {tensor_parallel: [4]}}",
            "it needs 4 GPUs of one host, as a replica never spans hosts",
            "Put 2 more `rtx-4090` into `one`, which then has 4 GPUs.",
        ),
        (
            2,
            "vllm: {args: {pipeline_parallel_size: 3}}",
            "it needs at least 3 GPUs of one host, as a replica never spans hosts",
            "Take `pipeline_parallel_size` out: it then fits the GPUs of one host.",
        ),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_number_of_gpus_that_cannot_be(
    capsys: pytest.CaptureFixture[str], n_gpus: int, setting: str, why: str, hint: str
) -> None:
    shown = told(
        capsys,
        f"one: {{ram: 256GiB, gpus: {{kind: rtx-4090, count: {n_gpus}}}}}",
        f"  a: {{model: Qwen/Qwen3-8B, context: 8192, {setting}}}",
    )
    assert why in shown
    assert f"  hint: {hint}" in shown
    assert "fewer bits" not in shown
    if "[3]" in setting:
        assert "It would fit" not in shown


@pytest.mark.usefixtures("folder")
def test_missing_ram_is_asked_for_and_no_gpu_that_would_miss_it_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    host = "one: {ram: 10GiB, ram_reserved: 9GiB, gpus: [{kind: rtx-4090}]}"
    shown = told(capsys, host, "  a: {model: Qwen/Qwen3-8B, context: 8192}")
    assert "of RAM on `one` (budget 1,024 MiB)" in shown
    missing = shown.split("budget 1,024 MiB): ")[1].split(" MiB missing")[0]
    assert f"hint: Give `one` {missing} MiB more RAM." in shown
    assert "It would fit" not in shown


def test_a_freeze_without_which_all_is_placed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "inventory.yaml").write_text(
        f"{ROOMY}  one: {{ram: 64GiB, gpus: [{{kind: rtx-a6000}}]}}\n"
    )
    spec = "version: 1\nservices:\n  chat: {model: Qwen/Qwen3-8B, context: 8192, concurrency: 16}\n"
    (folder / "models.yaml").write_text(spec)
    assert run(["compile"]) == 0
    grown = f"{spec}  big: {{model: Qwen/Qwen3-8B, context: 8192}}\n"
    (folder / "models.yaml").write_text(f"{grown}policy: {{freeze: [chat]}}\n")
    assert run(["compile"]) == 1
    shown = capsys.readouterr().err
    assert "`chat` (frozen) takes" in shown
    assert "hint: Take `chat` out of `policy.freeze`: everything then finds a place." in shown
    assert "fewer bits" not in shown
    (folder / "models.yaml").write_text(grown)
    assert run(["compile"]) == 0


def test_what_is_missing_of_a_service_that_runs_in_part(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "models.yaml").write_text(
        "version: 1\nservices:\n"
        "  nice: {model: Qwen/Qwen3-8B, context: 8192, optional: true, replicas: 2}\n"
    )
    assert run(["explain", "nice"]) == 0
    captured = capsys.readouterr()
    assert "nice-0 on one/0" in captured.out
    assert "warning[left-out]" in captured.err
    assert "is optional, and the plan leaves 1 of its 2 replicas out." in captured.err
    assert "its own replicas take" in captured.err
    assert "hint: Lower `replicas` to 1." in captured.err
