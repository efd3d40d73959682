"""`modelc init`: what a repository begins with is true, complete, and never in anybody's way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from compiler.cli import run
from compiler.engines.registry import traits_of
from tests.generators.write_locks import example_lock_text
from tests.requires import require_tool
from tests.test_revision import MARK, embed

FILES = [
    ".gitattributes",
    ".github/workflows/modelc-comment.yaml",
    ".github/workflows/modelc.yaml",
    ".gitignore",
    ".gitlab-ci.yml",
    ".pre-commit-config.yaml",
    "README.md",
    "inventory.yaml",
    "models.yaml",
    "renovate.json",
]
COMMENT, WORKFLOW = FILES[1:3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder after `modelc init`, which is the current one."""
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    return tmp_path


@pytest.fixture
def compiled(started: Path) -> Path:
    """The same after `modelc lock`, with the models' published shapes, and `modelc compile`."""
    (started / "modelc.lock").write_text(example_lock_text(started), "utf-8")
    assert run(["compile"]) == 0
    return started


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its text; git's own are left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return document


def steps(folder: Path, name: str = WORKFLOW) -> list[dict[str, Any]]:
    (job,) = load(folder / name)["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def test_every_starter_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init"]) == 0
    assert sorted(files(tmp_path)) == FILES
    assert [text for text in files(tmp_path).values() if re.search("@[A-Z]+@", text)] == []
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "".join(f"{name} is written.\n" for name in FILES)


def test_a_folder_is_made(tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "new" / "fleet")]) == 0
    assert sorted(files(tmp_path / "new" / "fleet")) == FILES


def test_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("Ours.\n", "utf-8")
    (tmp_path / "models.yaml").symlink_to("nowhere")
    assert run(["init"]) == 0
    assert (tmp_path / "README.md").read_text("utf-8") == "Ours.\n"
    assert not (tmp_path / "nowhere").exists()
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [
        f"{name} is there already and stays as it is." for name in ("README.md", "models.yaml")
    ]
    assert said[2:] == [
        f"{name} is written." for name in FILES if name not in {"README.md", "models.yaml"}
    ]


def test_a_file_in_the_way_of_a_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".github").write_text("", "utf-8")
    assert run(["init"]) == 1
    assert capsys.readouterr().err.startswith("error[write-failed]")


@pytest.mark.parametrize("target", ["systemd", "compose", "quadlet", "script"])
def test_the_starters_compile_and_the_first_variant_fits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--target", target]) == 0
    (tmp_path / "modelc.lock").write_text(example_lock_text(tmp_path), "utf-8")
    assert run(["compile"]) == 0
    capsys.readouterr()
    assert run(["lock", "--check"]) == 0
    assert run(["compile", "--check", "--detailed-exitcode", "--ledger"]) == 0
    captured = capsys.readouterr()
    assert "error" not in captured.err
    assert "chat (awq)" in captured.out
    emitted = {"compose": "compose.yaml", "script": "scripts/start.sh"}.get(target, target)
    assert (tmp_path / "compiled" / "example" / emitted).exists()


@pytest.mark.parametrize("target", ["systemd", "compose"])
def test_the_starters_name_the_newest_engines(tmp_path: Path, target: str) -> None:
    assert run(["init", str(tmp_path), "--target", target]) == 0
    inventory = (tmp_path / "inventory.yaml").read_text("utf-8")
    vllm, llamacpp = traits_of("vllm").newest, traits_of("llama.cpp").newest
    assert f"version: {vllm}," in inventory
    assert f"build: {llamacpp}," in inventory
    assert (f"vllm-openai:v{vllm}" in inventory) == (target == "compose")
    assert (f"server-cuda-b{llamacpp}" in inventory) == (target == "compose")


# Inside a repository


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository after `modelc init fleets/llm` at its top."""
    monkeypatch.chdir(tmp_path)
    subprocess.run([require_tool("git"), "init", "-q"], check=True)
    assert run(["init", "fleets/llm"]) == 0
    return tmp_path


def test_workflow_and_hooks_lie_where_they_are_looked_for(inside: Path) -> None:
    fleet = {name for name in FILES if not name.startswith((".github", ".pre-commit", "renovate"))}
    assert set(files(inside)) == {
        ".github/workflows/modelc-comment-fleets-llm.yaml",
        ".github/workflows/modelc-fleets-llm.yaml",
        ".pre-commit-config.yaml",
        "renovate.json",
        *(f"fleets/llm/{name}" for name in fleet),
    }
    assert load(inside / ".github/workflows/modelc-fleets-llm.yaml")["env"]["FLEET"] == "fleets/llm"
    for hook in load(inside / ".pre-commit-config.yaml")["repos"][0]["hooks"]:
        assert hook["entry"].endswith(" fleets/llm")
        assert re.search(hook["files"], "fleets/llm/models.yaml")
        assert not re.search(hook["files"], "models.yaml")
        assert not re.search(hook["files"], "other/fleets/llm/models.yaml")


def test_from_a_folder_below_it_is_the_same(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(inside)
    shutil.rmtree(inside / ".github")
    monkeypatch.chdir(inside / "fleets" / "llm")
    assert run(["init"]) == 0
    assert files(inside) == before


@pytest.mark.parametrize("name", ["a b", "a'$(id)", "${{ x }}", "a.*", "-a", "a\nb"])
def test_a_folder_that_a_workflow_would_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([require_tool("git"), "init", "-q"], check=True)
    assert run(["init", "--", name]) == 1
    assert files(tmp_path) == {}


def test_what_git_does_with_the_files(compiled: Path) -> None:
    git = require_tool("git")
    subprocess.run([git, "init", "-q"], check=True)
    (compiled / ".modelc.lock.partial").touch()
    said = subprocess.run(
        [git, "status", "--porcelain", "-uall"], check=True, capture_output=True, text=True
    ).stdout
    assert "partial" not in said
    names = ["compiled/example/systemd/modelc.target", "compiled/PLAN.md", "modelc.lock"]
    told = subprocess.run(
        [git, "check-attr", "merge", "linguist-generated", "--", *names],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert told.count("merge: unset") == 3
    assert "compiled/PLAN.md: linguist-generated: unset" in told
    assert told.count("linguist-generated: set") == 2


# The workflow


def test_the_workflow_is_one(inside: Path, started: Path) -> None:
    tool = require_tool("check-jsonschema")
    paths = [
        inside / ".github/workflows" / f"modelc{name}-fleets-llm.yaml" for name in ("", "-comment")
    ]
    for path in (started / WORKFLOW, started / COMMENT, *paths):
        subprocess.run([tool, "--builtin-schema", "vendor.github-workflows", path], check=True)
    pipeline = started / ".gitlab-ci.yml"
    subprocess.run([tool, "--builtin-schema", "vendor.gitlab-ci", pipeline], check=True)
    renovate = started / "renovate.json"
    subprocess.run([tool, "--builtin-schema", "vendor.renovate", renovate], check=True)


def test_the_workflow_installs_nothing_by_itself(started: Path) -> None:
    assert load(started / WORKFLOW)["env"] == {"MODELC": "", "MODELC_SHA256": "", "FLEET": "."}


def test_the_workflow_may_only_read_and_its_shell_expands_nothing(started: Path) -> None:
    document = load(started / WORKFLOW)
    assert document["permissions"] == {"contents": "read"}
    assert set(document["on"]) == {"pull_request", "merge_group", "push"}
    assert [step["run"] for step in steps(started) if "${{" in step.get("run", "")] == []
    actions = [step["uses"] for step in steps(started) if "uses" in step]
    assert [action for action in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []
    assert steps(started)[0]["with"] == {"fetch-depth": 0, "persist-credentials": False}


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A step as GitHub runs it."""
    return subprocess.run(
        [require_tool("bash"), "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, **variables}, check=False, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("what", "sha256", "said"),
    [
        ("", "", "MODELC is not set"),
        ("modelc", "", "is neither"),
        ("modelc==0.1.0", "", "is neither"),
        ("modelc-llm", "", "is neither"),
        ("git+https://example.com/modelc", "", "is neither"),
        ("git+https://example.com/modelc@main", "", "is neither"),
        (f"git+http://example.com/modelc@{COMMIT}", "", "is neither"),
        (f"git+https://example.com/modelc@{COMMIT} modelc", "", "is neither"),
        (f"--index-url=x git+https://example.com/modelc@{COMMIT}", "", "is neither"),
        ("missing.whl", "", "is neither"),
        ("ours.whl", "", "is not the wheel"),
        ("ours.whl", "0" * 64, "is not the wheel"),
        (f"git+https://example.com/team/modelc@{COMMIT}", "", None),
        ("ours.whl", hashlib.sha256(b"wheel").hexdigest(), None),
    ],
)
def test_only_what_cannot_be_a_strangers_is_installed(
    started: Path, what: str, sha256: str, said: str | None
) -> None:
    (started / "ours.whl").write_bytes(b"wheel")
    tools = started / "tools"
    tools.mkdir()
    # A Python that makes an environment whose Python writes down what it is asked.
    (tools / "python3").write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\n'
        'printf "#!/bin/sh\\necho \\"\\$@\\" >asked\\n" >"$3/bin/python"\n'
        'chmod +x "$3/bin/python"\n'
    )
    (tools / "python3").chmod(0o755)
    done = shell(
        steps(started)[1]["run"], started, MODELC=what, MODELC_SHA256=sha256,
        PATH=f"{tools}:{os.environ['PATH']}", RUNNER_TEMP=str(started / "temp"),
        GITHUB_PATH=str(started / "path"),
    )  # fmt: skip
    assert (done.returncode == 0) == (said is None), done.stderr
    assert (started / "asked").exists() == (said is None)
    if said:
        assert done.stdout.startswith("::error::")
        assert said in done.stdout
    else:
        asked = (started / "asked").read_text().split()
        assert asked[:4] == ["-m", "pip", "install", "--quiet"]
        assert asked[4:] == [what if what.startswith("git") else str(started / what)]


def after_installing(
    folder: Path, name: str, event: str, before: str = ""
) -> tuple[list[int], str]:
    """Exit codes of the steps after the installation, run as GitHub does, and the summary."""
    summary, environment = folder.parent / "summary.md", folder.parent / "environment"
    summary.write_text("")
    environment.write_text("")
    codes: list[int] = []
    for step in steps(folder, name)[2:]:
        if "run" not in step or (any(codes) and "cancelled()" not in step.get("if", "")):
            continue
        if "event_name == 'pull_request'" in step.get("if", "") and event != "pull_request":
            continue
        told = dict(line.split("=", 1) for line in environment.read_text().splitlines())
        done = shell(
            step["run"], folder, GITHUB_EVENT_NAME=event, BEFORE=before,
            RUNNER_TEMP=str(folder.parent),
            GITHUB_STEP_SUMMARY=str(summary), GITHUB_ENV=str(environment), NUMBER="7",
            PATH=f"{Path(require_tool('modelc')).parent}:/usr/bin:/bin",
            FLEET=load(folder / name)["env"]["FLEET"], **told,
        )  # fmt: skip
        codes.append(done.returncode)
    return codes, summary.read_text("utf-8")


def commit(folder: Path) -> str:
    git = [require_tool("git"), "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


# The comment

GH = """\
#!/usr/bin/env bash
# Stands in for GitHub's command: answers from files, and writes down what it is asked to write.
here=$(dirname "$0")
case "$1 $2" in
  "run download") mkdir -p "$9" && cp "$here"/saved/* "$9" ;;
  "api repos/o/r/pulls/7") cat "$here/head" ;;
  "api --paginate") jq -r "$5" "$here/comments.json" ;;
  "api --method") echo "$3 $4" >>"$here/written"; cp "${6#body=@}" "$here/body" ;;
  *) exit 1 ;;
esac
"""


def commented(started: Path, *, head: str = COMMIT, diff: str | None = None) -> tuple[int, str]:
    """The last two steps of the comment's workflow: exit code, and what was asked of GitHub."""
    tools = started / "tools"
    (tools / "saved").mkdir(parents=True, exist_ok=True)
    (tools / "gh").write_text(GH)
    (tools / "gh").chmod(0o755)
    (tools / "head").write_text(f"{head}\n")
    (tools / "saved/number").write_text("7; touch /tmp/run\n")
    empty = run_diff(started) if diff is None else diff
    (tools / "saved/diff.json").write_text(empty)
    (tools / "written").unlink(missing_ok=True)
    environment = started / "environment"
    environment.write_text("")
    modelc = Path(require_tool("modelc")).parent
    code = 0
    for step in steps(started, COMMENT)[-2:]:
        told = dict(line.split("=", 1) for line in environment.read_text().splitlines())
        if "NUMBER" in step.get("if", "") and "NUMBER" not in told:
            continue
        done = shell(
            step["run"], started, PATH=f"{tools}:{modelc}:{os.environ['PATH']}", FLEET=".",
            REPOSITORY="o/r", CHECK="1", COMMIT=COMMIT, RUNNER_TEMP=str(started),
            GITHUB_ENV=str(environment),
            **told,
        )  # fmt: skip
        code = code or done.returncode
    written = tools / "written"
    return code, written.read_text() if written.exists() else ""


def run_diff(folder: Path) -> str:
    """The diff of the compiled starter against nothing, as its check saves it."""
    done = subprocess.run(
        [require_tool("modelc"), "diff", "-C", folder, "none", "--format", "json"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


def comments(started: Path, *those: tuple[int, str, str]) -> None:
    """What stands in the pull request: number, who wrote it, text."""
    told = [{"id": number, "user": {"login": who}, "body": body} for number, who, body in those]
    (started / "tools").mkdir(exist_ok=True)
    (started / "tools/comments.json").write_text(json.dumps(told), "utf-8")


MARKER = "<!-- modelc diff of . -->"
BOT = "github-actions[bot]"


def test_a_first_comment_is_posted_and_later_ones_replace_it(compiled: Path) -> None:
    require_tool("jq")
    comments(compiled, (1, "somebody", f"I know the marker\n{MARKER}"), (2, BOT, "Of another tool"))
    assert commented(compiled) == (0, "POST repos/o/r/issues/7/comments\n")
    body = (compiled / "tools/body").read_text("utf-8")
    assert body.startswith("**Plan: 2 to create")
    assert body.endswith(f"{MARKER}\n")
    comments(compiled, (1, "somebody", MARKER), (3, BOT, body.rstrip("\n")))
    assert commented(compiled) == (0, "PATCH repos/o/r/issues/comments/3\n")


def test_a_check_of_another_commit_or_with_no_diff_comments_nothing(compiled: Path) -> None:
    require_tool("jq")
    comments(compiled)
    code, written = commented(compiled, head="f" * 40)
    assert (code != 0, written) == (True, "")
    for hostile in ("", "{}", "[]", '{"format_version": "9.0"}', "**Approved**"):
        code, written = commented(compiled, diff=hostile)
        assert (code != 0, written) == (True, "")


def test_the_comment_takes_no_code_of_the_pull_request(started: Path) -> None:
    document = load(started / COMMENT)
    assert set(document["on"]) == {"workflow_run"}
    assert document["permissions"] == {
        "actions": "read", "contents": "read", "pull-requests": "write",
    }  # fmt: skip
    assert [step["run"] for step in steps(started, COMMENT) if "${{" in step.get("run", "")] == []
    assert [step["uses"] for step in steps(started, COMMENT) if "uses" in step] == [
        steps(started)[0]["uses"]
    ]
    assert steps(started, COMMENT)[0]["with"] == {"persist-credentials": False}
    # One modelc checks and comments, and is installed in one way.
    install = [step for step in steps(started, COMMENT) if step.get("name") == "Install modelc"]
    assert install == [step for step in steps(started) if step.get("name") == "Install modelc"]


@pytest.mark.parametrize("folder", [".", "fleets/llm"])
def test_the_comment_uses_the_modelc_of_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([require_tool("git"), "init", "-q"], check=True)
    assert run(["init", folder]) == 0
    suffix = "" if folder == "." else "-fleets-llm"
    check = tmp_path / f".github/workflows/modelc{suffix}.yaml"
    check.write_text(
        check.read_text("utf-8").replace('MODELC: ""', f'MODELC: "git+https://x@{COMMIT}"')
    )
    step = steps(tmp_path, f".github/workflows/modelc-comment{suffix}.yaml")[1]
    environment = tmp_path / "environment"
    assert shell(step["run"], tmp_path, GITHUB_ENV=str(environment)).returncode == 0
    assert environment.read_text().splitlines() == [
        f"MODELC=git+https://x@{COMMIT}", "MODELC_SHA256=",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "sha256", "said"),
    [
        ("", "", "Set MODELC"),
        ("modelc-llm", "", "Set MODELC"),
        ("git+https://example.com/modelc@main", "", "Set MODELC"),
        (f"git+https://example.com/modelc@{COMMIT} x", "", "signs of a shell"),
        ("ours.whl", "0" * 64, "is not the wheel"),
        (f"git+https://example.com/modelc@{COMMIT}", "", ""),
        ("ours.whl", hashlib.sha256(b"wheel").hexdigest(), ""),
    ],
)
def test_gitlab_installs_only_what_cannot_be_a_strangers(
    started: Path, what: str, sha256: str, said: str
) -> None:
    (started / "ours.whl").write_bytes(b"wheel")
    choose = pipeline(started)["before_script"][1]
    done = shell(
        f'{choose}echo "what=$what"', started, MODELC=what, MODELC_SHA256=sha256,
        CI_PROJECT_DIR=str(started),
    )  # fmt: skip
    assert (done.returncode == 0) == (not said)
    assert said in done.stdout
    if not said:
        assert f"what={what if what.startswith('git') else started / what}" in done.stdout


def test_gitlab_tells_what_changes_and_fails_on_what_is_stale(inside: Path) -> None:
    fleet = inside / "fleets/llm"
    (fleet / "modelc.lock").write_text(example_lock_text(fleet), "utf-8")
    assert run(["compile", "fleets/llm"]) == 0
    first = commit(inside)
    models = fleet.joinpath("models.yaml").read_text("utf-8")
    fleet.joinpath("models.yaml").write_text(models[: models.index("  embed:")], "utf-8")
    commit(inside)
    job = pipeline(fleet)
    script = "\n".join([job["before_script"][-1], *job["script"]])
    done = shell(
        script, inside, FLEET="fleets/llm", CI_MERGE_REQUEST_DIFF_BASE_SHA=first,
        PATH=f"{Path(require_tool('modelc')).parent}:{os.environ['PATH']}",
    )  # fmt: skip
    assert done.returncode == 1
    report = json.loads((inside / "terraform.json").read_text("utf-8"))
    assert report["delete"] == 1
    assert "1 to delete" in (inside / "diff.md").read_text("utf-8")
    codes = [
        each["check_name"] for each in json.loads((inside / "codequality.json").read_text("utf-8"))
    ]
    assert codes == ["stale-output"]
    assert "<testsuites" in (inside / "junit.xml").read_text("utf-8")


def pipeline(folder: Path) -> dict[str, Any]:
    """The one job of the starter for GitLab."""
    (job,) = load(folder / ".gitlab-ci.yml").values()
    assert isinstance(job, dict)
    return job


def test_renovate_finds_versions_images_and_revisions(started: Path) -> None:
    managers = json.loads((started / "renovate.json").read_text("utf-8"))["customManagers"]
    inventory = (
        'vllm: {version: 0.33.0, image: "vllm/vllm-openai:v0.33.0"}\n'
        "llama.cpp: {build: 11390, bin: /usr/local/bin/llama-server}\n"
    )
    models = f"model: Qwen/Qwen3-8B@{COMMIT}\nmodel: Qwen/Qwen3-14B\n"
    found = [
        match.groupdict()
        for manager, text in zip(managers, [inventory, inventory, inventory, models], strict=True)
        for pattern in manager["matchStrings"]
        for match in re.finditer(pattern.replace("(?<", "(?P<"), text)
    ]
    assert found == [
        {"currentValue": "0.33.0"},
        {"currentValue": "11390"},
        {"depName": "vllm/vllm-openai", "currentValue": "v0.33.0", "currentDigest": None},
        {"depName": "Qwen/Qwen3-8B", "currentDigest": COMMIT},
    ]


@pytest.mark.parametrize("event", ["pull_request", "push"])
def test_what_the_workflow_runs_does_what_it_says(inside: Path, event: str) -> None:
    name = ".github/workflows/modelc-fleets-llm.yaml"
    fleet = inside / "fleets" / "llm"
    empty = commit(inside)
    (fleet / "modelc.lock").write_text(example_lock_text(fleet), "utf-8")
    assert run(["compile", "fleets/llm"]) == 0
    first = commit(inside)
    # A pull request saves its diff for the comment, too.
    saves = [0] if event == "pull_request" else []
    codes, summary = after_installing(inside, name, event, empty)
    assert (codes, "2 to create" in summary) == ([0, 0, 0, 0, *saves], True)
    models = fleet.joinpath("models.yaml").read_text("utf-8")
    fleet.joinpath("models.yaml").write_text(models[: models.index("  embed:")], "utf-8")
    # Not compiled: the check fails, and the summary says all the same what would change.
    commit(inside)
    codes, summary = after_installing(inside, name, event, first)
    assert (codes, "1 to delete" in summary) == ([0, 0, 1, 0, *saves], True)
    assert run(["compile", "fleets/llm"]) == 0
    subprocess.run([require_tool("git"), "reset", "-q", "--soft", first], check=True)
    second = commit(inside)
    codes, summary = after_installing(inside, name, event, first)
    assert (codes, "1 to delete" in summary) == ([0, 0, 0, 0, *saves], True)
    if event == "pull_request":
        return
    fleet.joinpath("models.yaml").write_text("services: [", "utf-8")
    commit(inside)
    codes, summary = after_installing(inside, name, event, second)
    assert (codes[1] == 0, codes[-1], "error[" in summary) == (False, 0, True)


def test_a_repository_among_the_files_is_not_asked_by_the_workflow(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = inside / "fleets" / "llm"
    (fleet / "modelc.lock").write_text(example_lock_text(fleet), "utf-8")
    assert run(["compile", "fleets/llm"]) == 0
    before = commit(inside)
    for folder in (inside, fleet):
        embed(folder)
    commit(inside)
    monkeypatch.setenv("MARK", str(inside.parent / MARK))
    name = ".github/workflows/modelc-fleets-llm.yaml"
    codes, _ = after_installing(inside, name, "push", before)
    assert codes == [0, 0, 0, 0]
    assert not (inside.parent / MARK).exists()


def test_the_hooks_are_commands_of_ours(compiled: Path) -> None:
    (repository,) = load(compiled / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        name, *arguments = hook["entry"].split()
        assert name == "modelc"
        assert run(arguments) == 0
        assert hook["language"] == "system"
        assert re.search(hook["files"], "models.yaml")
    assert (compiled / "modelc.lock").is_file()
