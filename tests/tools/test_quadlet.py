"""podman's generator judges the container files, and systemd the services it makes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler.emit import starting
from compiler.ir.plan import Plan
from tests.generators.plans import (
    HOSTILE,
    fleet,
    gpu_replica,
    hostile_arguments,
    plan,
    replica,
    vllm_replica,
)
from tests.tools.emitted import write_artifacts
from tests.tools.quadlet_reader import Generated, generate, start_of, variables
from tests.tools.test_systemd import analyze_verify, stub_root

IMAGE = "ghcr.io/ggml-org/llama.cpp@sha256:" + "0" * 64


@pytest.mark.parametrize(
    "made",
    [
        fleet("quadlet"),
        plan([replica(target="quadlet")]),
        plan([], hosts=[("gpu-1", "quadlet")]),
        plan([gpu_replica(f"r-{n}", target="quadlet", start_after=[]) for n in range(3)]),
    ],
    ids=["fleet", "one", "none", "three"],
)
def test_a_service_comes_of_each_and_systemd_finds_nothing_to_say(
    made: Plan, tmp_path: Path
) -> None:
    generated = generate_all(made, tmp_path)
    # The program counts files as it goes; it says something else only of what it does not like.
    assert (generated.code, generated.said) == (0, "")
    assert set(generated.services) == {f"modelc-{r.name}.service" for r in made.replicas}
    root = stub_root(tmp_path / "gpu-1/quadlet", tmp_path / "root")
    for name, text in generated.services.items():
        (root / "etc/systemd/system" / name).write_text(text, encoding="utf-8", newline="")
    assert analyze_verify(root) == (0, "")


def test_the_generator_refuses_another_key(tmp_path: Path) -> None:
    """What judges here reads the keys, and is not an older one that passes over some."""
    write_artifacts(plan([replica(target="quadlet")]), tmp_path)
    file = tmp_path / "gpu-1/quadlet/modelc-small-1.container"
    file.write_text(file.read_text().replace("\nHealthCmd=", "\nHealthCommand="))
    generated = generate(file.parent)
    assert generated.code != 0
    assert "HealthCommand" in generated.said
    assert not generated.services


def test_hostile_texts_reach_the_engine_unchanged(tmp_path: Path) -> None:
    services = generate_all(fleet("quadlet"), tmp_path).services
    podman, engine = start_of(services, "modelc-hostile-1.service", IMAGE)
    assert tuple(engine)[-len(hostile_arguments("quadlet")) :] == hostile_arguments("quadlet")
    given = variables(podman)
    assert [given[f"HOSTILE_{number}"] for number in range(len(HOSTILE))] == list(HOSTILE)


def test_the_engine_starts_with_the_words_of_the_plan(tmp_path: Path) -> None:
    made = vllm_replica(target="quadlet")
    services = generate_all(plan([made]), tmp_path).services
    podman, engine = start_of(services, "modelc-chat-1.service", f"docker.io/{made.image}")
    program = podman[podman.index("--entrypoint") + 1]
    wanted = starting.start_of(made, selects_gpus=False).argv(" ")
    assert [word.split() for word in (program, *engine)] == [word.split() for word in wanted]


def test_podman_is_told_the_devices_secrets_and_limits(tmp_path: Path) -> None:
    made = vllm_replica(target="quadlet")
    services = generate_all(plan([made]), tmp_path).services
    podman, _ = start_of(services, "modelc-chat-1.service", f"docker.io/{made.image}")
    said = " ".join(podman)
    for words in (
        "--name modelc-chat-1",
        "--device nvidia.com/gpu=GPU-6f1c0000-0000-0000-0000-000000000000 --device",
        "--device nvidia.com/gpu=1",
        "--secret HF_TOKEN,type=mount,mode=0400 --secret VLLM_API_KEY,type=mount,mode=0400",
        "--sdnotify=healthy",
        "--health-cmd curl -fsS --noproxy 127.0.0.1 -o /dev/null http://127.0.0.1:8001/health",
        "--health-start-period 900s",
        "--stop-timeout 60",
        "--cap-drop all",
        "--security-opt=no-new-privileges",
        "--read-only",
        "-v /srv/models:/srv/models:ro",
        "-v /srv/models/huggingface:/srv/models/huggingface:rw",
        "-v /var/cache/modelc-chat-1:/var/cache/modelc-chat-1:rw",
        "--publish 0.0.0.0:8001:8001",
        "--shm-size 2147483648",
        "--pids-limit -1",
        "--ulimit memlock=-1:-1",
        "--cgroups=split",
    ):
        assert words in said


def test_the_generated_service_keeps_its_order_slice_and_times(tmp_path: Path) -> None:
    services = generate_all(fleet("quadlet"), tmp_path).services
    unit = services["modelc-code-1.service"].splitlines()
    for line in (
        "After=modelc-chat-1.service",
        "PartOf=modelc.target",
        "Slice=modelc.slice",
        "Type=notify",
        "TimeoutStartSec=120",
        "TimeoutStopSec=90",
        "Restart=on-failure",
    ):
        assert line in unit


def test_longer_than_a_line_is_refused_before_systemd_would_cut_it(tmp_path: Path) -> None:
    """The largest replica that is emitted still comes through whole."""
    long = "é" * 60_000
    largest = replica(
        target="quadlet",
        argv=["/app/llama-server", *[long] * 8],
        image=IMAGE,
        env={"A": "x" * 4000},
    )
    services = generate_all(plan([largest]), tmp_path).services
    lines = services["modelc-small-1.service"].split("\n")
    assert len(max(lines, key=len).encode()) < 1 << 20
    assert start_of(services, "modelc-small-1.service", IMAGE)[1][-8:] == [long] * 8


def generate_all(made: Plan, folder: Path) -> Generated:
    """What the generator makes of the container files of a plan, but for what it always says."""
    write_artifacts(made, folder)
    generated = generate(folder / "gpu-1/quadlet")
    said = re.sub(r"quadlet-generator\[\d+\]: (Loading|Loaded) .*\n", "", generated.said)
    return Generated(generated.code, said, generated.services)
