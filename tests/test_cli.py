"""The command line: exit codes, what goes to stdout and what to stderr, and every fault at once."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from compiler.cli import run
from compiler.ir.catalog import builtin_kinds
from compiler.ir.lock import lock_text, read_lock_text
from compiler.ir.units import GIB
from compiler.schemas import schema_text
from tests.generators.models import (
    llama_tensors,
    llama_values,
    qwen3_config,
    qwen3_tensors,
    write_folder,
    write_gguf,
    write_safetensors,
)

ROOT = Path(__file__).parents[1]
COMMANDS = (
    *("compile", "diff", "discover", "init", "lock", "explain", "estimate", "kinds", "schema"),
)
SIZES = {
    "weights_bytes", "kv_bytes", "compute_bytes", "graphs_bytes", "runtime_bytes", "total_bytes",
    "low_bytes", "high_bytes",
}  # fmt: skip


@dataclass(frozen=True)
class Screen:
    """What one call gave."""

    code: int
    out: str
    err: str


Call = Callable[..., Screen]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs modelc in this process."""

    def calling(*arguments: str) -> Screen:
        capsys.readouterr()
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Screen(code, captured.out, captured.err)

    return calling


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small fleet, which is the current one: one GPU, one of two services fits."""
    for name in ("inventory.yaml", "models.yaml", "modelc.lock"):
        shutil.copy(ROOT / "tests" / "golden" / "optional-left-out" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def compiled(fleet: Path, call: Call) -> Path:
    """The compiled/ of that fleet."""
    assert call("compile").code == 0
    return fleet / "compiled"


def process(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs modelc in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "compiler", *arguments], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, check=False, timeout=60,
    )  # fmt: skip


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


# Usage


def test_help_is_data(call: Call) -> None:
    found = call("--help")
    assert (found.code, found.err) == (0, "")
    assert all(f"\n  {command} " in found.out for command in COMMANDS)


def test_help_says_what_each_command_does_in_one_line_of_80(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, _, listed = call("--help").out.partition("\nCommands:\n")
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(call: Call, command: str, flag: str) -> None:
    found = call(command, flag)
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith(f"Usage: modelc {command} ")


def test_the_version_is_data(call: Call) -> None:
    found = call("--version")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("modelc ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("compile", "--frobnicate"),
        ("compile", "a", "b"),
        ("compile", "--format", "xml"),
        ("compile", "models.yaml"),
        ("diff", "a", "b", "c"),
        ("explain",),
        ("schema", "nothing"),
        ("estimate",),
        ("estimate", "./m", "--engine", "tgi"),
        ("estimate", "./m", "--context", "0"),
        ("estimate", "./m", "--concurrency", "many"),
    ],
)
def test_wrong_usage(fleet: Path, call: Call, arguments: tuple[str, ...]) -> None:
    found = call(*arguments)
    assert (found.code, found.out) == (64, "")
    assert "Usage: modelc" in found.err
    assert sorted(path.name for path in fleet.iterdir()) == [
        "inventory.yaml", "modelc.lock", "models.yaml",
    ]  # fmt: skip


def test_an_unknown_command_of_the_process(tmp_path: Path) -> None:
    done = process("frobnicate", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (64, "")
    assert "No such command 'frobnicate'" in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom compiler.cli import run\n"
        "assert run(['--help']) == 0\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert not loaded & {
        *("pydantic", "ortools", "gguf", "huggingface_hub", "transformers", "numpy", "jinja2"),
        *("ruamel", "rich", "pynvml", "httpx", "requests"),
    }


def test_a_bug_says_that_it_is_one(fleet: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "ortools"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('a broken install')")
    done = process("compile", cwd=fleet, PYTHONPATH=f"{broken.parent}:{ROOT}")
    assert done.returncode == 1
    assert "RuntimeError: a broken install" in done.stderr
    assert "This is a bug in modelc; please report it" in done.stderr
    assert not (fleet / "compiled").exists()


# Compile


def test_a_first_compile_then_nothing_to_do(fleet: Path, call: Call) -> None:
    first = call("compile", "--detailed-exitcode")
    assert first.code == 2
    assert first.err.startswith("\ncompiled/ is written: ")
    assert first.out.startswith("Plan: 1 to create,")
    second = call("compile", "--detailed-exitcode")
    assert (second.code, second.err) == (0, "\ncompiled/ is up to date.\n")
    assert call("compile").code == 0
    assert (fleet / "compiled" / "plan.json").is_file()


def test_changes_are_no_failure_unless_asked_for(fleet: Path, call: Call) -> None:
    assert call("compile").code == 0
    edit(
        fleet / "models.yaml", "context: 8192\n    priority: 10", "context: 4096\n    priority: 10"
    )
    assert call("diff").code == 0
    assert call("diff", "--detailed-exitcode").code == 2


def test_the_folder_may_be_named(fleet: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert call("compile", str(fleet)).code == 0
    assert call("compile", str(fleet), "--check").code == 0
    assert (fleet / "compiled" / "plan.json").is_file()


def test_the_output_may_go_elsewhere(fleet: Path, call: Call) -> None:
    assert call("compile", "--out", "deep/er").code == 0
    assert call("compile", "--out", "deep/er", "--check", "--detailed-exitcode").code == 0
    assert not (fleet / "compiled").exists()


def test_the_output_is_not_written_over_the_sources(fleet: Path, call: Call) -> None:
    found = call("compile", "--out", ".")
    assert found.code == 1
    assert "error[unsafe-path]" in found.err
    assert (fleet / "models.yaml").is_file()


def test_a_compile_that_changes_nothing_leaves_the_files_alone(compiled: Path, call: Call) -> None:
    before = {path: path.stat().st_mtime_ns for path in compiled.rglob("*")}
    assert call("compile").code == 0
    assert before == {path: path.stat().st_mtime_ns for path in compiled.rglob("*")}


@pytest.mark.usefixtures("fleet")
def test_check_before_anything_was_compiled(call: Call, fleet: Path) -> None:
    found = call("compile", "--check")
    assert found.code == 1
    assert found.err.count("error[") == 1
    assert "A compile would change 21 files in `compiled`." in found.err
    assert "\n  missing:\n    compiled/MANIFEST\n    compiled/PLAN.md\n" in found.err
    assert not (fleet / "compiled").exists()


def test_check_of_sources_that_changed(compiled: Path, call: Call) -> None:
    edit(Path("models.yaml"), "priority: 10", "priority: 11\n    concurrency: 2")
    before = (compiled / "plan.json").read_bytes()
    found = call("compile", "--check")
    assert found.code == 1
    assert "error[stale-output]" in found.err
    assert "hint: Run `modelc compile` and commit the result." in found.err
    assert "1 to update" in found.out
    assert (compiled / "plan.json").read_bytes() == before
    assert call("compile").code == 0
    assert call("compile", "--check").code == 0


def test_a_comment_makes_nothing_stale(compiled: Path, call: Call) -> None:
    assert compiled.is_dir()
    edit(Path("models.yaml"), "services:", "# A comment.\nservices:")
    assert call("compile", "--check", "--detailed-exitcode").code == 0


def test_check_of_a_file_edited_by_hand(compiled: Path, call: Call) -> None:
    script = next((compiled / "one" / "scripts").glob("run-*.sh"))
    script.write_text(script.read_text() + "# by hand\n")
    found = call("compile", "--check")
    assert found.code == 1
    assert "error[edited-output]" in found.err
    assert f"\n  changed by hand:\n    compiled/one/scripts/{script.name}\n" in found.err
    assert "what was changed by hand is kept beside it." in found.err


def test_check_of_a_file_left_over(compiled: Path, call: Call) -> None:
    edit(Path("models.yaml"), "needed:", "wanted:")
    found = call("compile", "--check")
    gone = "\n  no longer part of the plan:\n    compiled/one/scripts/run-needed-0.sh\n"
    assert gone in found.err
    assert found.err.endswith("\n1 error.\n")
    assert call("compile").code == 0
    assert not list(compiled.rglob("*needed*"))


# Previous plans


@pytest.mark.usefixtures("compiled")
def test_what_a_freeze_holds_back_is_told(call: Call) -> None:
    edit(Path("models.yaml"), "services:\n", "policy: {freeze: [needed]}\nservices:\n")
    assert "warning[frozen]" not in call("compile").err
    spec = Path("models.yaml").read_text("utf-8")
    before, mark, after = spec.partition("  needed:\n")
    Path("models.yaml").write_text(f"{before}{mark}    concurrency: 7\n{after}", "utf-8")
    found = call("compile")
    assert found.code == 0
    assert "Service `needed` is frozen and keeps `concurrency` " in found.err
    assert ", not 7. What is wanted of it now waits for the thaw." in found.err


def test_the_previous_plan_may_be_left_out_of_account(compiled: Path, call: Call) -> None:
    found = call("compile", "--previous", "none", "--detailed-exitcode")
    assert found.code == 2
    assert "1 to create" in found.out
    assert compiled.is_dir()


def test_the_previous_plan_may_be_a_file(compiled: Path, call: Call) -> None:
    shutil.copy(compiled / "plan.json", "before.json")
    edit(Path("models.yaml"), "priority: 10", "priority: 10\n    concurrency: 2")
    assert call("compile").code == 0
    assert call("compile", "--detailed-exitcode").code == 0
    found = call("compile", "--previous", "before.json", "--detailed-exitcode")
    assert found.code == 2
    assert "1 to update" in found.out


def test_the_previous_plan_may_be_of_a_revision(compiled: Path, call: Call) -> None:
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "compiled")
    edit(Path("models.yaml"), "priority: 10", "priority: 10\n    concurrency: 2")
    assert call("compile").code == 0
    assert call("compile", "--previous", "git:HEAD", "--detailed-exitcode").code == 2
    assert call("diff", "git:HEAD", "compiled", "--detailed-exitcode").code == 2
    assert call("diff", "compiled", "compiled/plan.json", "--detailed-exitcode").code == 0
    wrong = call("compile", "--previous", "git:nowhere")
    assert (wrong.code, wrong.out) == (1, "")
    assert "error[previous-missing]" in wrong.err
    assert compiled.is_dir()


def test_an_output_elsewhere_is_compared_with_what_is_committed(
    compiled: Path, call: Call, tmp_path_factory: pytest.TempPathFactory
) -> None:
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "compiled")
    outside = tmp_path_factory.mktemp("outside") / "new"
    for out in (str(outside), "preview"):
        found = call("compile", "--out", out, "--previous", "git:HEAD", "--detailed-exitcode")
        assert found.code == 0
        assert found.err.startswith(f"\n{out}/ is written: ")
        assert "1 kept" in found.out
    # An output that is committed itself is compared with itself.
    git("add", "preview")
    git("rm", "--quiet", "--cached", "-r", "compiled")
    git("commit", "--quiet", "--message", "preview")
    found = call("compile", "--out", "preview", "--previous", "git:HEAD", "--detailed-exitcode")
    assert (found.code, found.err) == (0, "\npreview/ is up to date.\n")
    missing = call("compile", "--out", str(outside), "--previous", "git:HEAD")
    assert missing.code == 1
    assert "compiled/plan.json" in missing.err
    assert "hint: `git log -- compiled/plan.json` lists the revisions" in missing.err
    assert compiled.is_dir()


def test_a_setting_that_nothing_reads_is_a_warning(fleet: Path, call: Call) -> None:
    edit(
        fleet / "models.yaml",
        "  nice:\n",
        "    llama.cpp: {args: {flash_attn: on}}\n  nice:\n",
    )
    found = call("compile")
    assert found.code == 0
    assert "warning[unused-setting]: Nothing reads this setting" in found.err
    assert "--> models.yaml:8:5" in found.err
    assert "Only `llama.cpp` reads `flash_attn`, and service `needed` runs on `vllm`." in found.err
    assert "\n1 warning.\n\ncompiled/ is written: " in found.err
    assert call("lock", "--check").code == 0


def test_a_key_that_stands_twice_hides_no_other_fault(fleet: Path, call: Call) -> None:
    edit(fleet / "inventory.yaml", "  target: script\n", "  target: script\n  target: compose\n")
    edit(fleet / "inventory.yaml", "kind: rtx-4090", "kind: rtx-4o90")
    edit(fleet / "models.yaml", "  nice:\n", "    modl: x\n    context: 1\n  nice:\n")
    found = call("compile")
    assert found.code == 1
    assert [line for line in found.err.splitlines() if line.startswith("error[")] == [
        "error[duplicate-key]: This key stands here twice",
        "error[unknown-gpu-kind]: No GPU kind has this name",
        "error[unknown-key]: This key is not known here",
        "error[duplicate-key]: This key stands here twice",
    ]


def git(*arguments: str) -> None:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *settings, *arguments], check=True)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1]", "schema version None"),
        ('{"version": 99}', "schema version 99"),
        ('{"version": 1}', "`inputs`: Field required"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_corrupt_previous_plan_stops_the_compile(
    compiled: Path, call: Call, text: str, detail: str
) -> None:
    (compiled / "plan.json").write_text(text)
    others = {path: path.read_bytes() for path in compiled.rglob("*") if path.is_file()}
    found = call("compile", "--previous", "compiled/plan.json")
    assert (found.code, found.out) == (1, "")
    assert "error[previous-corrupt]: The previous plan is not valid" in found.err
    assert "--> compiled/plan.json:1:" in found.err
    assert detail in found.err
    assert "hint: Bring it back with git" in found.err
    assert others == {path: path.read_bytes() for path in compiled.rglob("*") if path.is_file()}
    assert call("compile", "--previous", "none").code == 0


def test_a_plan_cut_off_in_the_middle(compiled: Path, call: Call) -> None:
    text = (compiled / "plan.json").read_text()
    (compiled / "plan.json").write_text(text[: len(text) // 2])
    found = call("compile")
    assert (found.code, found.out) == (1, "")
    assert "`compiled/plan.json` is not the plan that modelc wrote there" in found.err
    assert "--previous git:HEAD" in found.err
    assert "error[previous-corrupt]" in call("compile", "--previous", "compiled/plan.json").err


def test_a_plan_that_is_no_text(compiled: Path, call: Call) -> None:
    (compiled / "plan.json").write_bytes(b"{}\n\xff")
    found = call("compile")
    assert (found.code, found.out) == (1, "")
    assert "--> compiled/plan.json:2:1" in found.err


# The lock


def test_without_a_lock_nothing_is_compiled(fleet: Path, call: Call) -> None:
    (fleet / "modelc.lock").unlink()
    found = call("compile")
    assert (found.code, found.out) == (1, "")
    assert "There is no `modelc.lock`." in found.err
    assert "hint: Run `modelc lock` to write it." in found.err
    assert not (fleet / "compiled").exists()


def test_a_source_that_is_not_in_the_lock(fleet: Path, call: Call) -> None:
    edit(fleet / "models.yaml", "model: Qwen/Qwen3-8B\n    context: 8192\n    priority: 90",
         "model: Qwen/Qwen3-4B\n    context: 8192\n    priority: 90")  # fmt: skip
    found = call("compile")
    assert (found.code, found.out) == (1, "")
    assert "error[lock-missing]: A model source is not in modelc.lock" in found.err
    assert "--> models.yaml:9:5\n  Service `nice` uses `Qwen/Qwen3-4B`." in found.err
    checked = call("lock", "--check")
    assert checked.code == 1
    assert "Qwen/Qwen3-4B" in checked.err


def test_a_lock_that_has_everything_passes_its_check(fleet: Path, call: Call) -> None:
    before = (fleet / "modelc.lock").read_bytes()
    content = "modelc.lock holds 1 source; nothing is missing or stale.\n"
    assert call("lock", "--check") == Screen(0, "", content)
    assert (fleet / "modelc.lock").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text.replace('"version": 1', '"version": 2', 1), "lock-version"),
        (lambda text: text.replace('"version": 1', '"version": 0', 1), "lock-version"),
        (lambda text: text.replace('"version": 1', '"version": "1"', 1), "lock-corrupt"),
        (lambda text: text[: len(text) // 2], "lock-corrupt"),
        (lambda text: text.replace('"layers": 36', '"layers": "many"'), "lock-corrupt"),
        (lambda _text: "<<<<<<< HEAD\n", "lock-corrupt"),
        (lambda _text: "", "lock-corrupt"),
    ],
)
def test_a_lock_that_cannot_be_used(
    fleet: Path, call: Call, change: Callable[[str], str], code: str
) -> None:
    text = (fleet / "modelc.lock").read_text()
    assert change(text) != text
    (fleet / "modelc.lock").write_text(change(text))
    found = call("compile")
    assert (found.code, found.out) == (1, "")
    assert f"error[{code}]" in found.err
    assert "--> modelc.lock:1:1" in found.err
    assert "hint: " in found.err
    assert "1 error." in found.err
    assert not (fleet / "compiled").exists()


def test_the_faults_of_all_files_are_reported_together(compiled: Path, call: Call) -> None:
    edit(Path("inventory.yaml"), "kind: rtx-4090", "kind: rtx-4o90")
    edit(Path("models.yaml"), "optional: true", "optinal: true")
    Path("modelc.lock").write_text("{}")
    (compiled / "plan.json").write_text("{}")
    found = call("compile")
    assert (found.code, found.out) == (1, "")
    titles = [line.split(":")[0] for line in found.err.splitlines() if line.startswith("error")]
    assert titles == [
        "error[unknown-gpu-kind]",
        "error[lock-corrupt]",
        "error[unknown-key]",
        "error[edited-output]",
    ]
    assert found.err.endswith("\n4 errors.\n")


def test_all_files_that_are_missing_are_named_together(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = call("compile", "--previous", "nowhere.json")
    assert (found.code, found.out) == (1, "")
    assert "This folder holds no fleet: no inventory.yaml, no models.yaml" in found.err
    assert "hint: Run `modelc init` to begin one there." in found.err
    assert "There is no `nowhere.json`." in found.err
    assert found.err.endswith("\n2 errors.\n")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "models.yaml").write_text("version: 1\n", encoding="utf-8")
    found = call("compile")
    for name in ("inventory.yaml", "modelc.lock"):
        assert f"There is no `{name}`." in found.err


def test_an_empty_folder_is_answered_with_how_to_begin(call: Call, tmp_path: Path) -> None:
    found = call("compile", str(tmp_path / "my fleet"))
    assert f"hint: Run `modelc init '{tmp_path.as_posix()}/my fleet'` to begin one" in found.err


def test_a_compile_ends_with_what_it_wrote_and_what_comes_next(fleet: Path, call: Call) -> None:
    first = call("compile")
    n_files = sum(1 for path in (fleet / "compiled").rglob("*") if path.is_file())
    *_, written, following = first.err.splitlines()
    assert written == f"compiled/ is written: {n_files} files for 1 host."
    assert following.startswith("Next: commit it, ")
    assert call("compile").err.endswith("\ncompiled/ is up to date.\n")
    assert call("compile", "--check").err.endswith("\ncompiled/ is up to date.\n")
    (fleet / "compiled/PLAN.md").unlink()
    assert "up to date" not in call("compile", "--check").err


# Output


@pytest.mark.usefixtures("fleet")
def test_json_on_stdout_is_json_alone(call: Call) -> None:
    edit(Path("inventory.yaml"), "build: 9000", "build: 99999")
    edit(Path("inventory.yaml"), "version: 0.33.0", "version: 0.99.0")
    found = call("compile", "--format", "json")
    assert found.code == 0
    assert "warning[assumed]" in found.err
    assert json.loads(found.out)
    assert json.loads(call("diff", "--format", "json").out)


@pytest.mark.usefixtures("compiled")
def test_markdown_is_data(call: Call) -> None:
    found = call("diff", "none", "compiled", "--format", "markdown")
    assert (found.code, found.err) == (0, "")
    assert "\n| `one/0` | `rtx-4090` | none |" in found.out


def test_a_plan_in_one_and_the_same_state_has_no_diff(compiled: Path, call: Call) -> None:
    plan = str(compiled / "plan.json")
    found = call("diff", plan, plan, "--detailed-exitcode")
    assert found.code == 0
    assert call("diff", plan, "none").code == 64


def test_a_plan_that_is_none_cannot_be_compared(compiled: Path, call: Call) -> None:
    Path("other.json").write_text("{}")
    found = call("diff", str(compiled), "other.json")
    assert (found.code, found.out) == (1, "")
    assert "--> other.json:1:1" in found.err


@pytest.mark.usefixtures("fleet")
def test_the_ledger_comes_before_the_diff(call: Call) -> None:
    found = call("compile", "--ledger")
    assert found.out.index("one/0  rtx-4090") < found.out.index("1 to create")
    found = call("compile", "--previous", "none", "--ledger", "--format", "markdown")
    assert found.out.index("# The fleet at a glance") < found.out.index("**Plan: 1 to create")


@pytest.mark.usefixtures("fleet")
def test_the_ledger_for_programs_is_the_plan_itself(call: Call) -> None:
    found = call("compile", "--ledger", "--format", "json")
    assert (found.code, found.out) == (64, "")
    assert "the ledger for programs is compiled/plan.json" in found.err
    assert not Path("compiled").exists()


def test_no_colour_in_a_pipe(fleet: Path) -> None:
    done = process("compile", cwd=fleet, TERM="xterm-256color")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_at_a_terminal(fleet: Path, environment: dict[str, str], colour: bool) -> None:
    (fleet / "modelc.lock").unlink()
    shown = at_terminal("compile", cwd=fleet, **environment)
    assert bool(re.search(r"\x1b\[[0-9;]+m", shown)) == colour


def at_terminal(*arguments: str, cwd: Path, **environment: str) -> str:
    """What modelc prints when stdout and stderr are a terminal."""
    clean = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "compiler", *arguments], cwd=cwd, stdout=theirs, stderr=theirs,
            env={**clean, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}, check=False,
            timeout=60,
        )  # fmt: skip
        return os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("command", ["schema plan", "compile --ledger"])
def test_a_reader_that_has_seen_enough_is_no_fault(fleet: Path, command: str) -> None:
    # `true` reads nothing at all; the sleep lets it be gone before modelc writes.
    script = f"{{ sleep 0.1; {sys.executable} -m compiler {command}; }} | true"
    done = subprocess.run(
        ["bash", "-c", script], cwd=fleet, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""


def test_the_first_line_may_be_all_that_is_read(fleet: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m compiler schema plan | head -1"], cwd=fleet,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{\n", "")


@pytest.mark.parametrize("name", ["inventory", "models", "plan", "lock", "diff"])
def test_a_schema_is_data(call: Call, name: str) -> None:
    assert call("schema", name) == Screen(0, schema_text(name), "")
    assert json.loads(schema_text(name))


# Explain


def test_the_kinds_that_an_inventory_may_name(fleet: Path, call: Call) -> None:
    listed = call("kinds")
    assert (listed.code, listed.err) == (0, "")
    header, *lines = listed.out.splitlines()
    assert header.split() == ["kind", "memory", "CUDA", "total", "compute", "link", "GB/s"]
    assert [line.split()[0] for line in lines] == list(builtin_kinds())
    assert "rtx-4090" in listed.out
    with (fleet / "inventory.yaml").open("a") as file:
        file.write('gpu_kinds: {lab-card: {memory: 24564MiB, compute: "8.9"}}\n')
    last = json.loads(call("kinds", "--format", "json").out)["kinds"][-1]
    assert last == {
        "kind": "lab-card", "memory_bytes": 24564 << 20, "compute": "8.9", "link": "pcie",
        "cuda_total_bytes": (24564 << 20) * 98 // 100, "mig": False, "bandwidth_bytes": None,
        "assumed": False, "unified": False,
    }  # fmt: skip


def test_an_unknown_kind_is_told_where_all_are_listed(fleet: Path, call: Call) -> None:
    edit(fleet / "inventory.yaml", "rtx-4090", "my-card")
    for found in (call("compile"), call("estimate", "Qwen/Qwen3-8B", "--gpu", "my-card")):
        assert "hint: `modelc kinds` lists every GPU kind there is." in found.err


@pytest.mark.usefixtures("fleet")
def test_explain_says_where_a_service_stands(call: Call) -> None:
    found = call("explain", "needed")
    assert (found.code, found.err) == (0, "")
    assert "needed-0" in found.out
    assert call("explain", "needed", "--on", "one") == found
    assert call("explain", "needed", "--folder", ".") == found


@pytest.mark.usefixtures("fleet")
def test_explain_as_json(call: Call) -> None:
    found = call("explain", "needed", "--format", "json")
    assert (found.code, found.err) == (0, "")
    assert "needed-0" in json.dumps(json.loads(found.out))


@pytest.mark.usefixtures("fleet")
def test_explain_of_an_unknown_service(call: Call) -> None:
    found = call("explain", "neded")
    assert (found.code, found.out) == (1, "")
    assert "error[unknown-service]" in found.err
    assert "hint: Did you mean `needed`?" in found.err


@pytest.mark.usefixtures("fleet")
def test_explain_of_a_host_without_the_service(call: Call) -> None:
    found = call("explain", "needed", "--on", "two")
    assert (found.code, found.out) == (1, "")
    assert "`two`" in found.err
    assert call("explain", "neded", "--on", "one").err.endswith(
        "hint: Did you mean `needed`?\n\n1 error.\n"
    )


def test_explain_of_a_service_that_fits_nowhere_says_what_compile_says(
    fleet: Path, call: Call
) -> None:
    edit(fleet / "inventory.yaml", "kind: rtx-4090", "kind: gtx-1650")
    compiling = call("compile")
    assert (compiling.code, compiling.out) == (1, "")
    assert "error[no-placement]" in compiling.err
    assert call("explain", "needed") == compiling
    assert not (fleet / "compiled").exists()


# Estimate


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a GGUF file and a Hugging Face folder."""
    write_gguf(tmp_path / "tiny.gguf", llama_values(), llama_tensors())
    write_folder(tmp_path / "hf", {"config.json": qwen3_config()})
    write_safetensors(tmp_path / "hf" / "model.safetensors", qwen3_tensors())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def estimated(models: Path, call: Call) -> Callable[..., dict[str, Any]]:
    """The JSON of an estimate."""
    assert models.is_dir()

    def estimating(*arguments: str) -> dict[str, Any]:
        found = call("estimate", *arguments, "--format", "json")
        assert (found.code, found.err) == (0, "")
        document: dict[str, Any] = json.loads(found.out)
        about = {"kv_tokens", "command", "environment", "assumed"}
        assert document.keys() == {"fits", "devices", "host", "unified"} | about
        assert document["host"].keys() == SIZES
        for device in document["devices"]:
            assert device.keys() == SIZES | {"gpu", "budget_bytes", "missing_bytes"}
            assert 0 < device["low_bytes"] <= device["total_bytes"] <= device["high_bytes"]
            parts = SIZES - {"total_bytes", "low_bytes", "high_bytes"}
            assert sum(device[part] for part in parts) == device["total_bytes"]
        return document

    return estimating


Estimated = Callable[..., dict[str, Any]]


def test_estimate_of_a_folder(estimated: Estimated) -> None:
    found = estimated("./hf", "--gpu", "l40s", "--context", "2048", "--concurrency", "8")
    assert [device["gpu"] for device in found["devices"]] == ["l40s"]
    assert found["kv_tokens"] >= 2048
    command = found["command"]
    assert command[:3] == ["vllm", "serve", "./hf"]
    assert value(command, "--max-model-len") == "2048"
    assert value(command, "--max-num-seqs") == "8"


def value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_utilization_fills_the_gpu_with_tokens(estimated: Estimated) -> None:
    less = estimated("./hf", "--gpu", "l40s", "--utilization", "0.5")
    more = estimated("./hf", "--gpu", "l40s", "--utilization", "0.9")
    guaranteed = estimated("./hf", "--gpu", "l40s")
    assert guaranteed["kv_tokens"] < less["kv_tokens"] < more["kv_tokens"]
    assert less["devices"][0]["kv_bytes"] < more["devices"][0]["kv_bytes"]
    assert less["devices"][0]["weights_bytes"] == more["devices"][0]["weights_bytes"]


def test_ranks_of_one_kind(estimated: Estimated) -> None:
    found = estimated("./hf", "--gpu", "a100-sxm-80gb", "--tensor-parallel", "2")
    assert [device["gpu"] for device in found["devices"]] == ["a100-sxm-80gb"] * 2
    assert value(found["command"], "--tensor-parallel-size") == "2"
    assert found == estimated("./hf", "--gpu", "a100-sxm-80gb,a100-sxm-80gb")


def test_estimate_of_a_gguf_on_two_gpus(estimated: Estimated) -> None:
    shutil.copy(ROOT / "inventories" / "homelab" / "modelc.lock", ".")
    source = "unsloth/Qwen2.5-Coder-14B-Instruct-GGUF:Q4_K_M"
    found = estimated(source, "--gpu", "rtx-4090, rtx-3060", "--context", "4096")
    assert [device["gpu"] for device in found["devices"]] == ["rtx-4090", "rtx-3060"]
    command = found["command"]
    assert command[:2] == ["llama-server", "--model"]
    assert value(command, "--n-gpu-layers") == "49"
    larger, smaller = (int(each) for each in value(command, "--tensor-split").split(","))
    assert larger + smaller == 49
    assert larger > smaller > 0


def test_estimate_on_the_cpu(estimated: Estimated) -> None:
    found = estimated("./tiny.gguf")
    assert found == estimated("./tiny.gguf", "--gpu", "cpu")
    assert found["devices"] == []
    assert found["host"]["weights_bytes"] > 0
    assert value(found["command"], "--n-gpu-layers") == "0"


def test_offload_leaves_layers_in_ram(estimated: Estimated) -> None:
    whole = estimated("./tiny.gguf", "--gpu", "rtx-4090")
    part = estimated("./tiny.gguf", "--gpu", "rtx-4090", "--offload", "1")
    assert part["devices"][0]["weights_bytes"] < whole["devices"][0]["weights_bytes"]
    assert part["host"]["weights_bytes"] > whole["host"]["weights_bytes"]


def test_an_automatic_offload_is_the_first_rung_that_fits(estimated: Estimated) -> None:
    shutil.copy(ROOT / "inventories" / "homelab" / "modelc.lock", ".")
    source = "unsloth/Qwen2.5-Coder-14B-Instruct-GGUF:Q4_K_M"
    asked = (source, "--gpu", "rtx-3060", "--context", "32768", "--offload")
    assert estimated(*asked, "none")["devices"][0]["high_bytes"] > 12 * GIB
    found = estimated(*asked, "auto")
    layers = int(value(found["command"], "--n-gpu-layers"))
    assert 0 < layers < 49
    assert found["devices"][0]["high_bytes"] < 12 * GIB
    more = estimated(*asked, str(layers + 1))
    assert more["devices"][0]["high_bytes"] > builtin_kinds()["rtx-3060"].cuda_total_bytes


def test_an_argument_that_is_costed_stands_on_the_command_line(estimated: Estimated) -> None:
    plain = estimated("./tiny.gguf", "--gpu", "rtx-4090", "--arg", "flash_attn=on")
    packed = estimated(
        *("./tiny.gguf", "--gpu", "rtx-4090", "--arg", "--cache-type-k=q8_0"),
        *("--arg", "cache_type_v=q8_0", "--arg", "flash_attn=on"),
    )
    assert value(packed["command"], "--cache-type-k") == "q8_0"
    assert packed["devices"][0]["kv_bytes"] < plain["devices"][0]["kv_bytes"]


def test_a_switch_needs_no_value(estimated: Estimated) -> None:
    found = estimated("./hf", "--gpu", "l40s", "--arg", "enforce_eager")
    assert "--enforce-eager" in found["command"]
    assert found["devices"][0]["graphs_bytes"] == 0


@pytest.mark.usefixtures("models")
def test_an_estimate_for_people(call: Call) -> None:
    found = call("estimate", "./hf", "--gpu", "l40s")
    assert (found.code, found.err) == (0, "")
    assert "GPU 0  l40s" in found.out
    assert "\x1b" not in found.out


def test_facts_come_from_the_lock_of_the_folder(fleet: Path, estimated: Estimated) -> None:
    assert (fleet / "modelc.lock").is_file()
    found = estimated("Qwen/Qwen3-8B", "--gpu", "rtx-4090")
    assert found["devices"][0]["weights_bytes"] > 15_000_000_000


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--gpu", "rtx-4o90"), "unknown-gpu-kind", "hint: Did you mean `rtx-4090`?"),
        (("--gpu", ""), "unknown-gpu-kind", "is not in the built-in catalog"),
        (("--gpu", "l40s", "--engine-version", "new"), "bad-engine-version", "`new`"),
        (("--gpu", "l40s", "--arg", "nope=1"), "unknown-argument", "nope"),
        (("--gpu", "l40s", "--arg", "port=1"), "managed-argument", "port"),
        (("--gpu", "l40s", "--arg", "max_num_batched_tokens=few"), "wrong-argument", "few"),
        (("--gpu", "l40s", "--engine", "llama.cpp"), "engine-format", "GGUF"),
        (("--gpu", "l40s", "--tensor-parallel", "8"), "no-placement", "4"),
    ],
)
@pytest.mark.usefixtures("models")
def test_an_estimate_that_cannot_be_made(
    call: Call, arguments: tuple[str, ...], code: str, text: str
) -> None:
    found = call("estimate", "./hf", *arguments)
    assert (found.code, found.out) == (1, "")
    assert f"error[{code}]" in found.err
    assert text in found.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--arg", "=5"),
        ("--arg", "--=5"),
        ("--utilization", "1.5"),
        ("--utilization", "-0.1"),
        ("--utilization", "nan"),
        ("--utilization", "0.12345"),
        ("--offload", "most"),
        ("--offload", "²"),
        ("--offload", "9" * 5000),
        ("--gpu", "l40s,l40s", "--tensor-parallel", "4"),
        ("--tensor-parallel", "2"),
    ],
)
@pytest.mark.usefixtures("models")
def test_an_estimate_asked_for_in_a_wrong_way(call: Call, arguments: tuple[str, ...]) -> None:
    found = call("estimate", "./hf", *arguments)
    assert (found.code, found.out) == (64, "")
    assert "Error: Invalid value for --" in found.err


@pytest.mark.usefixtures("models")
def test_an_argument_is_json_or_else_text(call: Call) -> None:
    found = call("estimate", "./hf", "--gpu", "l40s", "--arg", "nope=" + "[" * 100_000)
    assert found.code == 1
    assert "error[unknown-argument]" in found.err


@pytest.mark.usefixtures("models")
def test_a_model_that_is_not_there(call: Call) -> None:
    found = call("estimate", "./none.gguf")
    assert (found.code, found.out) == (1, "")
    assert "error[source-missing]" in found.err


# Lock


def test_local_models_are_locked_and_compiled(models: Path, call: Call, fleet: Path) -> None:
    assert models == fleet
    edit(fleet / "models.yaml", "Qwen/Qwen3-8B", "./hf")
    edit(fleet / "models.yaml", "8192", "2048")
    (fleet / "modelc.lock").unlink()
    first = call("lock")
    assert (first.code, first.out) == (0, "")
    assert "modelc.lock: 1 source." in first.err
    text = (fleet / "modelc.lock").read_text()
    assert lock_text(read_lock_text(text)) == text
    assert "up to date" in call("lock").err
    assert call("compile").code == 0
