"""What was added in one place is named in every other one where it must be decided."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from compiler.emit import EMITTERS
from compiler.ir.engine_name import EngineName
from compiler.ir.inventory import Target
from compiler.ir.spec import PlacementRules

ROOT = Path(__file__).parent.parent

# Entries of the repository's root; whoever needs another one says here what it is for.
IN_ROOT = {
    *(".ci", ".gitignore", "LICENSE", "Makefile", "pyproject.toml"),
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"),
    *("benchmarks", "compiler", "docs", "inventories", "policies", "schemas", "tables"),
    *("templates", "tests"),
    *("requirements.in", "requirements.lock"),
}


def text_of(*places: str) -> str:
    """All Python of files and folders of the compiler."""
    files = []
    for place in places:
        path = ROOT / "compiler" / place
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("rule", [field.name for field in fields(PlacementRules)])
def test_a_rule_is_read_obeyed_recounted_and_loosened(rule: str) -> None:
    # `with_daemons` spells this one out before any pass sees it.
    if rule != "one_per_host":
        for pass_ in (
            ("verify.py", "engines/vllm/recount.py"),
            ("ir/rules.py", "estimate.py", "place"),
        ):
            assert re.search(rf"\b{rule}\b", text_of(*pass_)), pass_
    assert re.search(rf"\b{rule}\b", text_of("load/spec.py"))


@pytest.mark.parametrize("target", get_args(Target))
def test_a_target_is_emitted_documented_and_tried(target: str) -> None:
    assert target in EMITTERS
    assert target in (ROOT / "docs" / "targets.md").read_text(encoding="utf-8")
    inventories = (ROOT / "tests" / "golden").glob("*/inventory.yaml")
    text = "\n".join(path.read_text(encoding="utf-8") for path in inventories)
    assert f"target: {target}" in text or target == "systemd", "the default is not written out"


@pytest.mark.parametrize("engine", get_args(EngineName))
def test_an_engine_has_a_golden_fleet(engine: str) -> None:
    inventories = (ROOT / "tests" / "golden").glob("*/inventory.yaml")
    assert any(f"{engine}:" in path.read_text(encoding="utf-8") for path in inventories)


@pytest.mark.parametrize(
    "heading",
    [
        *("An engine", "A version of vLLM", "A build of llama.cpp", "A kind of GPU", "A target"),
        *("An architecture of llama.cpp", "A rule in models.yaml", "A command"),
    ],
)
def test_a_recipe_names_files_that_are_there(heading: str) -> None:
    text = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    named = re.findall(r"`((?:compiler|tests|docs|templates)/[\w./-]+)`", section)
    named += re.findall(r"(tests/[\w./-]+)", section)
    assert named
    for path in named:
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ([\w.]+)", section):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_the_root_holds_what_is_known() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {path.partition("/")[0] for path in listed} <= IN_ROOT
