"""A third engine, which lives in tests/tiny: nothing but its folder and its row makes it one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent

TARGETS = {
    "boxes": ("compose", "compose.yaml"),
    "pods": ("quadlet", "modelc-on-pods-0.container"),
    "units": ("systemd", "modelc-on-units-0.service"),
    "hands": ("script", "*on-hands-0*"),
}
GPU = "{kind: rtx-4090}"

LOCK: dict[str, Any] = {
    "version": 1,
    "sources": [
        {
            "source": "org/small",
            "repository": "org/small",
            "revision": "0" * 40,
            "files": [{"name": "model.safetensors", "bytes": 2 << 30}],
            "facts": {
                "format": "safetensors",
                "architecture": "SmallForCausalLM",
                "task": "generate",
                "parameters": 1 << 30,
                "layers": 16,
                "vocabulary": 1000,
                "position_limit": 32768,
                "quantization": "bf16",
                "header": {},
                "tensors": [
                    {
                        "name": "weight",
                        "dtype": "BF16",
                        "shape": [1 << 15, 1 << 15],
                        "bytes": 2 << 30,
                    }
                ],
            },
        }
    ],
}


def modelc(folder: Path, *arguments: str, code: int = 0) -> str:
    """What modelc with the third engine says in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.tiny.modelc", *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A host of each target with the engine, and a service for each."""
    hosts = "".join(
        f"  {host}: {{target: {target}, ram: 64GiB, gpus: [{GPU}, {GPU}]}}\n"
        for host, (target, _) in TARGETS.items()
    )
    (tmp_path / "inventory.yaml").write_text(
        "version: 1\n"
        'defaults: {engines: {tiny: {version: 1.2, image: "example.org/tiny:1.2"}}}\n'
        f"hosts:\n{hosts}"
    )
    services = "".join(
        f"  on-{host}:\n    model: org/small\n    engine: tiny\n    context: 4096\n"
        f"    placement: {{hosts: {{name: {host}}}}}\n"
        "    tiny: {args: {words_file: /srv/words.txt}}\n"
        for host in TARGETS
    )
    (tmp_path / "models.yaml").write_text(f"version: 1\nservices:\n{services}")
    (tmp_path / "modelc.lock").write_text(json.dumps(LOCK))
    return tmp_path


def test_it_compiles_for_every_target_and_is_recounted(fleet: Path) -> None:
    modelc(fleet, "compile")
    plan = json.loads((fleet / "compiled" / "plan.json").read_text())
    assert {replica["engine"] for replica in plan["replicas"]} == {"tiny"}
    for replica in plan["replicas"]:
        assert replica["argv"][2:4] == ["--name", replica["service"]]
        assert replica["health_path"] == "/alive"
        assert replica["shares"][0]["breakdown"]["weights"]["bytes"] == 2 << 30
    for host, file in TARGETS.items():
        text = next((fleet / "compiled" / host).rglob(file[1])).read_text()
        assert "tiny" in text
        assert "words" in text, "files of arguments are shown to the replica"


def test_its_changes_are_told(fleet: Path) -> None:
    modelc(fleet, "compile")
    spec = fleet / "models.yaml"
    spec.write_text(spec.read_text().replace("context: 4096", "context: 8192", 1))
    said = modelc(fleet, "diff")
    assert "on-boxes" in said
    assert "2,064  ->  2,080" in said
    assert modelc(fleet, "compile", "--check", code=1)


def test_its_place_is_explained(fleet: Path) -> None:
    modelc(fleet, "compile")
    assert "1 KiB a token" in modelc(fleet, "explain", "on-units")


def test_what_is_too_large_is_explained_with_what_would_fit(fleet: Path) -> None:
    spec = fleet / "models.yaml"
    spec.write_text(
        spec.read_text().replace("context: 4096", "context: 32768\n    concurrency: 4000", 1)
    )
    said = modelc(fleet, "compile", code=1)
    assert "on-boxes" in said
    assert "concurrency" in said


def test_a_wrong_argument_and_a_wrong_version_are_told(fleet: Path) -> None:
    spec = fleet / "models.yaml"
    spec.write_text(spec.read_text().replace("words_file: /srv/words.txt", "colour: red", 1))
    assert "Tiny has no `colour`" in modelc(fleet, "compile", code=1)
    inventory = fleet / "inventory.yaml"
    inventory.write_text(inventory.read_text().replace("version: 1.2", "version: new"))
    assert "is no version of Tiny" in modelc(fleet, "compile", code=1)


def test_it_is_estimated_alone_and_in_the_schemas_and_starters(fleet: Path) -> None:
    said = modelc(fleet, "estimate", "org/small", "--engine", "tiny", "--gpu", "rtx-4090")
    assert "tiny-server" in said
    assert "Flags for tiny-server" in modelc(fleet, "schema", "models")
    assert "How Tiny is installed" in modelc(fleet, "schema", "inventory")
    modelc(fleet, "init", "new")
    starter = (fleet / "new" / "inventory.yaml").read_text()
    assert "tiny: {version: 1.2, bin: /opt/tiny/tiny-server}" in starter
