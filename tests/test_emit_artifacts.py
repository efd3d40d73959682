"""Which files there are for a plan, who owns them, and what their digests see."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from compiler.diagnostics import CompileError
from compiler.emit import emit
from compiler.emit.rendering import TEMPLATE_NAMES, meaning
from compiler.ir.artifact import Artifact
from compiler.ir.inventory import Target
from compiler.ir.manifest import parse_manifest
from compiler.ir.plan import InputDigests, Plan, digest
from compiler.workspace import resource_dir
from tests.generators.plans import fleet, gpu_replica, plan, replica, vllm_replica

TARGETS: tuple[Target, ...] = ("systemd", "compose", "quadlet", "script")


def check_paths(target: Target, expected: str) -> None:
    """Compares the paths of a host with two replicas."""
    made = plan([replica(target=target), vllm_replica(target=target)])
    assert [artifact.path for artifact in emit(made)] == expected.split()


def test_systemd_files() -> None:
    check_paths(
        "systemd",
        """
        gpu-1/MANIFEST
        gpu-1/systemd/env/chat-1.env
        gpu-1/systemd/env/small-1.env
        gpu-1/systemd/modelc-chat-1.service
        gpu-1/systemd/modelc-small-1.service
        gpu-1/systemd/modelc.slice
        gpu-1/systemd/modelc.target
        gpu-1/systemd/sysusers.d/modelc.conf
        gpu-1/systemd/tmpfiles.d/modelc.conf
        """,
    )


def test_compose_files() -> None:
    check_paths("compose", "gpu-1/MANIFEST gpu-1/compose.yaml")


def test_quadlet_files() -> None:
    check_paths(
        "quadlet",
        """
        gpu-1/MANIFEST
        gpu-1/quadlet/modelc-chat-1.container
        gpu-1/quadlet/modelc-small-1.container
        gpu-1/quadlet/modelc.slice
        gpu-1/quadlet/modelc.target
        gpu-1/quadlet/tmpfiles.d/modelc.conf
        """,
    )


def test_script_files() -> None:
    check_paths(
        "script",
        """
        gpu-1/MANIFEST
        gpu-1/scripts/lib.sh
        gpu-1/scripts/run-chat-1.sh
        gpu-1/scripts/run-small-1.sh
        gpu-1/scripts/start.sh
        gpu-1/scripts/status.sh
        gpu-1/scripts/stop.sh
        """,
    )


def test_each_host_has_its_own_folder_and_target() -> None:
    made = plan([replica(), replica("b-1", host="tower", target="script")])
    assert {path.split("/")[0] for path in by_path(made)} == {"gpu-1", "tower"}
    assert "tower/scripts/run-b-1.sh" in by_path(made)


@pytest.mark.parametrize("target", TARGETS)
def test_a_host_without_replicas_still_has_a_manifest(target: Target) -> None:
    assert "spare/MANIFEST" in by_path(plan([replica()], hosts=[("spare", target)]))


@pytest.mark.parametrize("target", TARGETS)
def test_only_scripts_can_be_executed(target: Target) -> None:
    assert all(a.executable == a.path.endswith(".sh") for a in emit(fleet(target)))


@pytest.mark.parametrize("target", TARGETS)
def test_the_manifest_lists_every_other_file_with_its_digests(target: Target) -> None:
    artifacts = by_path(fleet(target))
    entries = parse_manifest(artifacts.pop("gpu-1/MANIFEST").text)
    assert {f"gpu-1/{e.path}": (e.sha256, e.semantic_digest) for e in entries} == {
        path: (digest(artifact.text), artifact.semantic_digest)
        for path, artifact in artifacts.items()
    }


@pytest.mark.parametrize("target", TARGETS)
def test_every_file_names_its_semantic_digest(target: Target) -> None:
    artifacts = by_path(fleet(target))
    del artifacts["gpu-1/MANIFEST"]
    for artifact in artifacts.values():
        assert f"lost. Digest: {artifact.semantic_digest}\n" in artifact.text


@pytest.mark.parametrize("target", TARGETS)
def test_a_change_of_one_host_touches_no_file_of_another(target: Target) -> None:
    def texts(*flags: str) -> dict[str, str]:
        changing = replica(host="a", target=target, argv=["/usr/local/bin/llama-server", *flags])
        made = plan([changing, gpu_replica(host="b", target=target, start_after=[])])
        return {path: artifact.text for path, artifact in by_path(made).items()}

    before, after = texts(), texts("--mlock")
    changed_paths = {path for path, text in after.items() if before[path] != text}
    assert {path.split("/")[0] for path in changed_paths} == {"a"}


@pytest.mark.parametrize("target", TARGETS)
def test_an_engine_that_is_upgraded_in_its_place_means_a_restart(target: Target) -> None:
    other = vllm_replica(target=target)
    before = plan([replica(target=target), other])
    after = plan([replica(target=target, engine_version="9001"), other])
    started = {
        "systemd": "systemd/modelc-small-1.service",
        "compose": "compose.yaml",
        "quadlet": "quadlet/modelc-small-1.container",
        "script": "scripts/run-small-1.sh",
    }
    assert changed(before, after) == ["gpu-1/MANIFEST", f"gpu-1/{started[target]}"]


@pytest.mark.parametrize("version", ["9000\nExecStart=x", "%h", "$x"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    for target in TARGETS:
        assert codes(plan([replica(target=target, engine_version=version)])) == ["unsafe-text"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_plan_gives_the_same_bytes(target: Target) -> None:
    assert emit(fleet(target)) == emit(fleet(target))


@pytest.mark.parametrize("target", TARGETS)
def test_another_plan_with_the_same_replicas_means_the_same(target: Target) -> None:
    made = fleet(target)
    inputs = InputDigests(inventory="4" * 64, spec="2" * 64, lock="3" * 64)
    other = made.model_copy(update={"inputs": inputs})
    assert emit(made) == emit(other)


def test_another_argument_changes_the_meaning_of_one_unit() -> None:
    before = plan([replica(), vllm_replica()])
    after = plan([replica(argv=["/usr/local/bin/llama-server", "--mlock"]), vllm_replica()])
    assert changed(before, after) == ["gpu-1/MANIFEST", "gpu-1/systemd/modelc-small-1.service"]


def test_another_variable_changes_the_meaning_of_one_file() -> None:
    before, after = plan([replica(env={"A": "1"})]), plan([replica(env={"A": "2"})])
    assert changed(before, after) == ["gpu-1/MANIFEST", "gpu-1/systemd/env/small-1.env"]


def test_a_value_that_looks_like_a_comment_has_a_meaning() -> None:
    before, after = plan([replica(env={"A": "x\n# 1"})]), plan([replica(env={"A": "x\n# 2"})])
    assert changed(before, after) == ["gpu-1/MANIFEST", "gpu-1/systemd/env/small-1.env"]


@pytest.mark.parametrize("name", TEMPLATE_NAMES)
def test_how_a_template_looks_has_no_meaning(name: str) -> None:
    source = (resource_dir("templates") / f"{name}.j2").read_text(encoding="utf-8")
    for written in (
        source.replace("Written by modelc", "Made by another modelc"),
        re.sub(r"^(# Written .*\n)", r"\1# More.\n  # And more.\n\n", source, flags=re.MULTILINE),
        re.sub(r"\n\n+", "\n", source),
        re.sub(r"$", "  ", source, flags=re.MULTILINE),
        f"{source}\n\n",
    ):
        assert written != source or "\n\n" not in source
        assert meaning(written) == meaning(source)


@pytest.mark.parametrize("line", ["#!/bin/sh", "A=1 # 2", "A='x#y'"])
def test_what_is_no_line_of_comment_has_a_meaning(line: str) -> None:
    assert meaning(f"{line}\n") == f"{line}\n"


def test_ram_is_a_comment_and_has_no_meaning() -> None:
    before, after = plan([replica()]), plan([replica(ram_bytes=1)])
    assert by_path(before).keys() == by_path(after).keys()
    assert changed(before, after) == []


@pytest.mark.parametrize("target", TARGETS)
def test_no_secret_is_given_a_value(target: Target) -> None:
    """The only assignment to a secret's name is of what a shell has read from its file."""
    for artifact in emit(fleet(target)):
        assert not re.search(r'(HF_TOKEN|VLLM_API_KEY)=(?!"\$value")', artifact.text)


@pytest.mark.parametrize("name", ["../etc", "a/b", ".hidden", "-x", "a b", "", "x" * 300, "é"])
def test_a_name_that_cannot_be_a_path_is_refused(name: str) -> None:
    assert codes(plan([replica(name)])) == ["unsafe-path"]
    assert codes(plan([replica(host=name)])) == ["unsafe-path"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_text_that_cannot_be_carried_is_refused(target: Target) -> None:
    assert codes(plan([replica(target=target, env={"A": "a\0b"})])) == ["unsafe-text"]
    assert codes(plan([replica(target=target, env={"A B": "a"})])) == ["unsafe-text"]
    assert codes(plan([replica(target=target, secrets=["A/../B"])])) == ["unsafe-text"]


@pytest.mark.parametrize("target", TARGETS)
def test_what_cannot_be_carried_is_said_of_its_replica(target: Target) -> None:
    made = plan([replica(target=target), replica("b-1", target=target, env={"A": "a\0b"})])
    with pytest.raises(CompileError, match="replica `b-1`: '"):
        emit(made)


def test_faults_of_all_hosts_are_reported_at_once() -> None:
    bad = {"A": "a\0b"}
    assert codes(plan([replica(env=bad), replica("b-1", host="b", env=bad)])) == ["unsafe-text"] * 2


@pytest.mark.parametrize("target", ["compose", "quadlet"])
def test_a_container_without_an_image_is_our_fault(target: Target) -> None:
    assert codes(plan([replica(target=target, image=None)])) == ["internal"]


def test_importing_the_emitters_does_not_import_the_template_engine() -> None:
    program = "import compiler.emit, sys; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def by_path(made: Plan) -> dict[str, Artifact]:
    """The artifacts of a plan."""
    return {artifact.path: artifact for artifact in emit(made)}


def meanings(made: Plan) -> dict[str, str]:
    """The semantic digests of a plan's artifacts."""
    return {artifact.path: artifact.semantic_digest for artifact in emit(made)}


def changed(before: Plan, after: Plan) -> list[str]:
    """The artifacts that mean something else in the second plan."""
    old, new = meanings(before), meanings(after)
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def codes(made: Plan) -> list[str]:
    """The codes of the faults for which a plan is refused."""
    with pytest.raises(CompileError) as caught:
        emit(made)
    return [diagnostic.code for diagnostic in caught.value.diagnostics]
