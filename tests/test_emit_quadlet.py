"""What stands in the container files of a host, and what cannot stand there."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from compiler.diagnostics import CompileError, Diagnostic
from compiler.emit import emit
from compiler.ir.plan import Replica
from tests.generators.plans import gpu_replica, plan, replica, share, vllm_replica


def check_container(made: Replica, has: str = "", lacks: str = "") -> None:
    """Looks for whole lines in the container file of a replica, and for the starts of lines."""
    lines = text_of(made, f"modelc-{made.name}.container").splitlines()
    for line in filter(None, has.split("\n")):
        assert line.strip() in [found.strip() for found in lines]
    for start in lacks.split():
        assert not [found for found in lines if found.startswith(start)]


def text_of(made: Replica, end: str) -> str:
    """The one artifact whose path ends so."""
    here = made.model_copy(update={"target": "quadlet"})
    (artifact,) = (a for a in emit(plan([here])) if a.path.endswith(end))
    return artifact.text


def fault_of(changes: Mapping[str, object]) -> Diagnostic:
    """The one fault for which a replica with these changes is refused."""
    with pytest.raises(CompileError) as caught:
        emit(plan([replica().model_copy(update={"target": "quadlet", **changes})]))
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


def test_a_shell_becomes_the_engine() -> None:
    check_container(
        replica(),
        'Entrypoint=/bin/sh\nExec="-c" \\\n"/usr/local/bin/llama-server" \\\n"--model" \\\n'
        '"/srv/models/small.gguf"\nRestartPreventExitStatus=78',
    )


@pytest.mark.parametrize(
    ("listen", "published"),
    [
        ("127.0.0.1", "PublishPort=127.0.0.1:8000:8000"),
        ("0.0.0.0", "PublishPort=0.0.0.0:8000:8000"),  # noqa: S104
        ("fd00::5", "PublishPort=[fd00::5]:8000:8000"),
    ],
)
def test_a_port_is_published_at_the_address_of_the_plan(listen: str, published: str) -> None:
    check_container(replica(listen=listen), published)


def test_a_port_for_other_containers_is_not_published() -> None:
    check_container(replica(listen="none"), lacks="PublishPort=")


def test_a_gpu_replica_gets_its_gpus_by_their_names_for_containers() -> None:
    check_container(
        vllm_replica(),
        "AddDevice=nvidia.com/gpu=GPU-6f1c0000-0000-0000-0000-000000000000\n"
        "AddDevice=nvidia.com/gpu=1",
    )


def test_podman_selects_devices_and_variables_only_order_them() -> None:
    check_container(
        gpu_replica(),
        'Environment="CUDA_DEVICE_ORDER=PCI_BUS_ID"',
        lacks='Environment="CUDA_VISIBLE_DEVICES Environment="NVIDIA_VISIBLE_DEVICES',
    )


def test_models_outside_models_dir_are_mounted() -> None:
    check_container(replica(read_dirs=["/data/x"]), "Volume=/data/x:/data/x:ro")


def test_a_cpu_replica_gets_no_gpu_whatever_its_image_asks_for() -> None:
    check_container(replica(), 'Environment="NVIDIA_VISIBLE_DEVICES=void"', lacks="AddDevice=")


def test_a_replica_starts_after_those_on_its_gpus_are_healthy() -> None:
    check_container(vllm_replica(), "Notify=healthy")
    check_container(
        gpu_replica(), "After=modelc-chat-1.service", lacks="Requires= BindsTo= Requisite="
    )


def test_a_replica_has_the_time_of_its_plan_to_start() -> None:
    check_container(vllm_replica(), "TimeoutStartSec=900\nHealthStartPeriod=900s")


def test_systemd_waits_longer_than_podman_for_the_end() -> None:
    check_container(replica(), "StopTimeout=60\nTimeoutStopSec=90")


def test_models_are_read_only_unless_the_engine_fetches_them() -> None:
    check_container(replica(), "Volume=/srv/models:/srv/models:ro")
    fetched = "/srv/models/huggingface"
    check_container(
        vllm_replica(), f"Volume=/srv/models:/srv/models:ro\nVolume={fetched}:{fetched}:rw"
    )
    assert "d /srv/models - - - -\n" in text_of(replica(), "tmpfiles.d/modelc.conf")
    assert f"d {fetched} 0755 root root -\n" in text_of(vllm_replica(), "tmpfiles.d/modelc.conf")


def test_caches_persist_and_are_all_that_can_be_written() -> None:
    check_container(
        replica(),
        """
        ReadOnly=true
        Volume=/var/cache/modelc-small-1:/var/cache/modelc-small-1:rw
        Environment="HOME=/var/cache/modelc-small-1"
        Environment="XDG_CACHE_HOME=/var/cache/modelc-small-1"
        """,
    )
    folder = "d /var/cache/modelc-small-1 0700 root root -\n"
    assert folder in text_of(replica(), "tmpfiles.d/modelc.conf")


def test_a_variable_of_the_user_wins() -> None:
    check_container(
        replica(env={"HOME": "/root"}), 'Environment="HOME=/root"', lacks='Environment="HOME=/var'
    )


def test_secrets_are_podmans_by_name() -> None:
    check_container(
        vllm_replica(),
        "Entrypoint=/bin/sh\nSecret=HF_TOKEN,type=mount,mode=0400",
        lacks='Environment="HF_TOKEN',
    )
    check_container(replica(), lacks="Secret=")


def test_every_replica_is_in_the_slice_of_the_host_and_wanted_by_its_target() -> None:
    check_container(replica(), "Slice=modelc.slice\nPartOf=modelc.target")
    assert "Wants=modelc-small-1.service\n" in text_of(replica(), "modelc.target")
    assert "[Slice]\n" in text_of(replica(), "modelc.slice")


def test_memory_is_not_limited() -> None:
    check_container(replica(), lacks="MemoryMax= MemoryHigh= Memory=")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("vllm/vllm-openai:v0.33.0@sha256:" + "1" * 64, "docker.io/vllm/vllm-openai:v0.33.0@"),
        ("llama:b9000", "docker.io/library/llama:b9000"),
        ("ghcr.io/ggml-org/llama.cpp:b9000", "ghcr.io/ggml-org/llama.cpp:b9000"),
        ("localhost/mine:1", "localhost/mine:1"),
        ("registry:5000/mine:1", "registry:5000/mine:1"),
    ],
)
def test_an_image_names_its_registry(image: str, expected: str) -> None:
    assert f"\nImage={expected}" in text_of(replica(image=image), "small-1.container")


@pytest.mark.parametrize("argument", ["", ";"])
def test_an_argument_that_the_generator_loses_is_refused(argument: str) -> None:
    fault = fault_of({"argv": ["/app/llama-server", "--x", argument, "--y"]})
    assert fault.code == "unsafe-text"
    assert f"{argument!r} as an argument of its own is lost" in fault.detail
    assert "another `target`" in fault.hints[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"argv": ["vllm", "a\x80b"]}, "U+0080"),
        ({"env": {"A": "a\x80b"}}, "U+0080"),
        ({"image": "localhost/mine.image"}, "needs a tag"),
        ({"image": "a b"}, "name of an image"),
        ({"health_path": "/health?a=b c"}, "URL of a health check"),
        ({"models_dir": "/srv/a:b"}, "absolute path"),
        ({"cache_dir": "/var/cache/%h"}, "absolute path"),
        ({"shares": [share(0, "MIG-GPU-6f1c0000/1/0")]}, "name of a GPU"),
        ({"argv": ["vllm", *["x" * 100_000] * 11]}, "1 MiB"),
        ({"argv": ["vllm"], "env": {f"V{n}": "x" * 100_000 for n in range(11)}}, "1 MiB"),
    ],
)
def test_what_cannot_stand_in_a_container_file_is_refused(
    changes: dict[str, object], words: str
) -> None:
    fault = fault_of(changes)
    assert fault.code == "unsafe-text"
    assert words in fault.detail


def test_what_another_target_carries_is_refused_for_this_one_alone() -> None:
    for argument in ("", ";", "\x80"):
        assert emit(plan([replica(argv=["/app/llama-server", argument])]))
