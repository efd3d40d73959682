"""bash and shellcheck judge the scripts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from compiler.ir.plan import Plan
from tests.generators.plans import fleet, plan
from tests.requires import require_tool
from tests.tools.emitted import write_artifacts

PLANS = {"fleet": fleet("script"), "none": plan([], hosts=[("gpu-1", "script")])}


@pytest.fixture(params=PLANS.values(), ids=list(PLANS))
def scripts(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    made = request.param
    assert isinstance(made, Plan)
    write_artifacts(made, tmp_path)
    return sorted(str(path) for path in tmp_path.rglob("*.sh"))


def test_bash_can_parse_them(scripts: list[str]) -> None:
    for script in scripts:
        subprocess.run([require_tool("bash"), "-n", script], check=True)


@pytest.mark.parametrize("options", [[], ["--external-sources", "--source-path=SCRIPTDIR"]])
def test_shellcheck_finds_nothing_to_say(scripts: list[str], options: list[str]) -> None:
    command = [require_tool("shellcheck"), *options, *scripts]
    result = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (result.returncode, result.stdout) == (0, "")


def test_each_stops_at_the_first_error(scripts: list[str]) -> None:
    for script in scripts:
        assert "\nset -euo pipefail\n" in Path(script).read_text()
