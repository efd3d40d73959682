"""The engine that is installed is the engine that is planned for: its names, its limits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from compiler.diagnostics import CompileError, Diagnostic
from compiler.inputs import Inputs
from compiler.ir.plan import plan_text
from compiler.ir.textfile import TextFile
from compiler.pipeline import Compilation, compile_plan
from compiler.workspace import read_text

HOMELAB = Path(__file__).parents[1] / "inventories" / "homelab"
TWO = """
version: 1
services:
  chat: {model: Qwen/Qwen3-32B-AWQ, task: generate, context: 2048, concurrency: 1}
  other: {model: Qwen/Qwen3-32B-AWQ, task: generate, context: 2048, concurrency: 1}
"""
ONE_GPU = """
version: 1
defaults:
  gpu: {reserved: 512MiB}
  ram_reserved: 8GiB
  engines: {vllm: {version: %s, bin: /opt/vllm/bin/vllm}}
hosts:
  big: {ram: 256GiB, target: %s, gpus: [%s]}
"""
LARGE = "{kind: h200-sxm}"


def compiled(inventory: str, spec: str, previous: str | None = None) -> Compilation:
    return compile_plan(
        Inputs(
            inventory=TextFile(path="inventory.yaml", text=inventory),
            spec=TextFile(path="models.yaml", text=spec),
            lock=read_text(HOMELAB / "modelc.lock"),
            previous=TextFile(path="plan.json", text=previous) if previous else None,
        )
    )


def refused(inventory: str, spec: str) -> list[Diagnostic]:
    with pytest.raises(CompileError) as caught:
        compiled(inventory, spec)
    return list(caught.value.diagnostics)


@pytest.mark.parametrize(
    ("written", "other"),
    [("version: 0.33.0", "version: v0.33.0"), ("version: 0.33.0", "version: 0.33"),
     ("version: 0.33.0", "version: v0.33"), ("build: 11390", "build: b11390")],
)  # fmt: skip
def test_another_spelling_of_a_version_restarts_nothing(written: str, other: str) -> None:
    text = read_text(HOMELAB / "inventory.yaml").text
    assert text.count(written) == 1
    spec = read_text(HOMELAB / "models.yaml").text
    running = read_text(HOMELAB / "compiled" / "plan.json").text
    found = compiled(text.replace(written, other), spec, running)
    assert found.diff.empty
    before = {each["name"]: each["engine_version"] for each in json.loads(running)["replicas"]}
    assert {each.name: each.engine_version for each in found.plan.replicas} == before


def test_vllm_0_8_has_its_gpus_to_itself() -> None:
    """It charges to itself what others hold: on two GPUs each gets one, on one they clash."""
    two = compiled(ONE_GPU % ("0.8.5", "script", f"{LARGE}, {LARGE}"), TWO).plan
    assert len({share.gpu for each in two.replicas for share in each.shares}) == 2
    (fault,) = refused(ONE_GPU % ("0.8.5", "script", LARGE), TWO)
    assert fault.code == "fleet-full"
    assert "vllm 0.8.5, which charges to itself what others hold on its GPUs" in fault.detail
    (hint,) = [hint for hint in fault.hints if "one more `h200-sxm`" in hint]
    assert hint == "Put one more `h200-sxm` into `big`, which then has 2 GPUs."


def test_newer_vllm_shares_a_gpu() -> None:
    one = compiled(ONE_GPU % ("0.9.2", "script", LARGE), TWO).plan
    assert [share.gpu for each in one.replicas for share in each.shares] == [0, 0]


SLICE = "{kind: a100-80gb-3g.40gb, uuid: MIG-11111111-2222-4333-8444-555555555555}"


@pytest.mark.parametrize("target", ["systemd", "script"])
def test_an_old_vllm_cannot_be_given_a_slice_outside_of_containers(target: str) -> None:
    spec = re.sub("  other.*\n", "", TWO)
    (fault,) = refused(ONE_GPU % ("0.22.0", target, SLICE), spec)
    assert fault.code == "no-placement"
    assert "compose or quadlet" in fault.detail
    compiled(ONE_GPU % ("0.24.0", target, SLICE), spec)
    boxed = (ONE_GPU % ("0.22.0", "compose", SLICE)).replace(
        "bin: /opt/vllm/bin/vllm", "image: 'vllm/vllm-openai:v0.22.0'"
    )
    compiled(boxed, spec)


def test_what_was_planned_is_what_the_previous_plan_says() -> None:
    """The plan of a fleet compiled under one spelling is the previous plan under another."""
    first = compiled(ONE_GPU % ("0.33", "script", LARGE), TWO)
    again = compiled(ONE_GPU % ("v0.33.0", "script", LARGE), TWO, plan_text(first.plan))
    assert again.diff.empty
