"""The compose specification and docker compose itself judge the compose file."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compiler.ir.plan import Plan
from tests.generators.plans import HOSTILE, fleet, plan
from tests.requires import missing_tool, require_tool
from tests.tools.emitted import write_artifacts

PLANS = {"fleet": fleet("compose"), "none": plan([], hosts=[("gpu-1", "compose")])}


@pytest.fixture(params=PLANS.values(), ids=list(PLANS))
def compose_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = request.param
    assert isinstance(made, Plan)
    write_artifacts(made, tmp_path)
    return tmp_path / "gpu-1" / "compose.yaml"


def test_the_specification_allows_it(compose_file: Path) -> None:
    check_jsonschema(compose_file)


def test_the_specification_refuses_another_key(tmp_path: Path) -> None:
    """The schema that judges here has not become a stub."""
    write_artifacts(fleet("compose"), tmp_path)
    path = tmp_path / "gpu-1" / "compose.yaml"
    path.write_text(path.read_text().replace("restart:", "restarts:"))
    with pytest.raises(subprocess.CalledProcessError):
        check_jsonschema(path)


def test_docker_compose_reads_it(compose_file: Path) -> None:
    docker_compose_config(compose_file)


def test_docker_compose_gives_hostile_texts_back(tmp_path: Path) -> None:
    write_artifacts(fleet("compose"), tmp_path)
    service = docker_compose_config(tmp_path / "gpu-1/compose.yaml")["services"]["hostile-1"]
    assert service["command"] == [doubled(text) for text in HOSTILE]
    assert service["environment"] == {
        "NVIDIA_VISIBLE_DEVICES": "void",
        **{f"HOSTILE_{number}": doubled(text) for number, text in enumerate(HOSTILE)},
    }


def test_another_plan_restarts_no_container(tmp_path: Path) -> None:
    """Docker compose restarts what has another hash; provenance must not be part of it."""
    made = fleet("compose")
    other = made.model_copy(update={"optimality": "feasible"})
    hashes = []
    for number, each in enumerate((made, other)):
        write_artifacts(each, tmp_path / str(number))
        file = tmp_path / str(number) / "gpu-1" / "compose.yaml"
        hashes.append(run_docker_compose(file, "--hash", "*"))
    assert hashes[0] == hashes[1]
    assert "chat-1 " in hashes[0]


def check_jsonschema(file: Path) -> None:
    """Compares a file with the schema of the compose specification, without a network."""
    schema = ("--builtin-schema", "vendor.compose-spec")
    command = [require_tool("check-jsonschema"), *schema, str(file)]
    subprocess.run(command, check=True, capture_output=True)


def docker_compose_config(file: Path) -> dict[str, Any]:
    """The file as docker compose understands it; it writes every `$` twice again."""
    document: dict[str, Any] = json.loads(run_docker_compose(file, "--format", "json"))
    return document


def run_docker_compose(file: Path, *arguments: str) -> str:
    """What `docker compose config` prints, run in the folder of the file."""
    command = [*docker_compose(), "--file", str(file), "config", *arguments]
    result = subprocess.run(command, check=True, capture_output=True, cwd=file.parent)
    return result.stdout.decode()


def docker_compose() -> list[str]:
    """The command of docker compose, version 2 or later, which not every distribution has."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            asked = [*command, "version", "--short"]
            version = subprocess.run(asked, check=False, capture_output=True, text=True)
            if version.returncode == 0 and not version.stdout.startswith("1."):
                return command
    return missing_tool("docker compose")


def doubled(text: str) -> str:
    """A text with every `$` written twice."""
    return text.replace("$", "$$")
