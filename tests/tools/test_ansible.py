"""Ansible judges the emitted playbooks, and finds nothing in the data that it would carry out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from compiler.emit import emit
from compiler.emit.ansible import emit_ansible
from compiler.emit.releases import releases_of
from compiler.emit.rendering import load_templates
from compiler.ir.plan import Plan
from compiler.ir.spec import Policy, Spec
from compiler.rollout.waves import rollout
from tests.generators import plans
from tests.requires import require_tool

_LINE = "{{ lookup('ansible.builtin.pipe', 'touch %s') }}"


def project(folder: Path, plan: Plan) -> Path:
    """compiled/ of a plan in a folder; gives its playbooks."""
    templates = load_templates()
    artifacts = emit(plan)
    released = plan.model_copy(update={"releases": releases_of(plan, artifacts, templates)})
    made = rollout(None, released, Spec(services=(), policy=Policy()))
    whole = released.model_copy(update={"rollout": made})
    for artifact in (*artifacts, *emit_ansible(whole, artifacts, templates)):
        path = folder / artifact.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(artifact.text, encoding="utf-8")
    return folder / "ansible"


def fleet(text: str) -> Plan:
    """Two hosts whose replicas have a text wherever they may have any."""
    return plans.plan(
        [
            plans.replica("small-0", host="gpu-1", env={"TEXT": text}, argv=["/bin/x", text]),
            plans.replica("small-1", host="gpu-2", env={"TEXT": text}, argv=["/bin/x", text]),
        ]
    )


def called(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def playbooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("compiled"), fleet("plain"))


def test_the_playbooks_satisfy_the_strictest_profile(playbooks: Path) -> None:
    require_tool("ansible-lint")
    names = ("deliver.yml", "status.yml", "rollback.yml")
    done = called(playbooks, "ansible-lint", "--offline", "--profile", "production", *names)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ansible_reads_the_playbooks_and_the_inventory(playbooks: Path) -> None:
    require_tool("ansible-playbook")
    names = ("deliver.yml", "status.yml", "rollback.yml")
    done = called(playbooks, "ansible-playbook", "--syntax-check", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((playbooks / "inventory.json").read_text(encoding="utf-8"))
    assert document["all"]["children"]["modelc_wave_0"]["hosts"] == {
        "gpu-1": {"ansible_host": "gpu-1"}
    }


def test_what_a_plan_says_is_no_template_to_ansible(tmp_path: Path) -> None:
    """All that is sent is made before the connection, which fails: nothing may have run by then."""
    require_tool("ansible-playbook")
    touched = tmp_path / "touched"
    folder = project(tmp_path / "compiled", fleet(_LINE % touched))
    assert str(touched) in (tmp_path / "compiled/gpu-1/systemd/env/small-0.env").read_text("utf-8")
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexit 255\n")  # As ssh ends when it reaches nobody.
    ssh.chmod(0o755)
    done = called(
        folder,
        "ansible-playbook",
        "deliver.yml",
        "--extra-vars",
        f"ansible_ssh_executable={ssh}",
    )
    assert "UNREACHABLE" in done.stdout, done.stdout + done.stderr
    assert not touched.exists()
    assert "unreachable=1" in done.stdout
