"""What stands in the compose file of a host."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import Any

import pytest
from ruamel.yaml import YAML

from compiler.emit import emit
from compiler.emit.starting import start_of
from compiler.ir.plan import Plan, Replica
from tests.generators.plans import GIB, fleet, gpu_replica, plan, replica, vllm_replica


def check_service(made: Replica, expected: dict[str, object]) -> None:
    """Compares these keys of a replica's service; None stands for a key that must not be there."""
    service = compose_file(plan([made.model_copy(update={"target": "compose"})]))["services"][
        made.name
    ]
    assert {key: service.get(key) for key in expected} == expected


def compose_file(made: Plan) -> dict[str, Any]:
    """The compose file of a plan with one host, as YAML reads it."""
    (text,) = (a.text for a in emit(made) if a.path.endswith("compose.yaml"))
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(StringIO(text))
    return document


def doubled(words: Iterable[str]) -> list[str]:
    return [word.replace("$", "$$") for word in words]


@pytest.mark.parametrize("made", [replica(), vllm_replica(target="compose")])
def test_the_command_is_the_engines_and_the_entrypoint_what_becomes_it(made: Replica) -> None:
    start = start_of(made, selects_gpus=False)
    check_service(
        made,
        {
            "entrypoint": doubled(start.argv()[: -len(start.arguments)]),
            "command": doubled(made.argv[1:]),
            "secrets": made.secrets or None,
        },
    )


def test_secrets_are_files_of_the_host() -> None:
    secrets = compose_file(plan([vllm_replica(target="compose")]))["secrets"]
    assert secrets["HF_TOKEN"] == {"file": "/etc/modelc/secrets/HF_TOKEN"}


def test_gpus_are_reserved_by_uuid_or_else_by_index() -> None:
    ids = ["GPU-6f1c0000-0000-0000-0000-000000000000", "1"]
    device = {"driver": "nvidia", "device_ids": ids, "capabilities": ["gpu"]}
    deploy = {"resources": {"reservations": {"devices": [device]}}}
    check_service(vllm_replica(), {"deploy": deploy})
    check_service(replica(), {"deploy": None})


def test_the_container_runtime_selects_devices_and_variables_only_order_them() -> None:
    check_service(
        vllm_replica(),
        {
            "environment": {
                "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                "HF_HOME": "/srv/models/huggingface",
                "VLLM_CACHE_ROOT": "/var/cache/modelc-chat-1/vllm",
            }
        },
    )
    check_service(gpu_replica(), {"environment": {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}})


def test_a_replica_without_gpus_asks_for_none_whatever_its_image_says() -> None:
    check_service(replica(), {"environment": {"NVIDIA_VISIBLE_DEVICES": "void"}, "deploy": None})


def test_shared_memory_has_the_size_of_the_plan() -> None:
    check_service(vllm_replica(), {"shm_size": 2 * GIB})
    check_service(replica(), {"shm_size": None})


def test_a_replica_waits_for_those_on_its_gpus() -> None:
    check_service(gpu_replica(), {"depends_on": {"chat-1": {"condition": "service_healthy"}}})
    check_service(replica(), {"depends_on": None})


def test_the_health_check_has_no_blank_in_a_word_and_waits_for_the_start() -> None:
    url = "http://127.0.0.1:8001/health"
    check_service(
        vllm_replica(),
        {
            "healthcheck": {
                "test": ["CMD", "curl", "-fsS", "--noproxy", "127.0.0.1", "-o", "/dev/null", url],
                "interval": "5s",
                "timeout": "5s",
                "retries": 6,
                "start_period": "900s",
            }
        },
    )


def test_a_replica_writes_its_cache_and_what_it_fetches_and_nothing_else() -> None:
    fetched = ["/srv/models/huggingface"]
    for made, writable in [(replica(), []), (vllm_replica(), fetched)]:
        service = compose_file(plan([made.model_copy(update={"target": "compose"})]))
        volumes = service["services"][made.name]["volumes"]
        assert all(volume["source"] == volume["target"] for volume in volumes)
        assert [volume["source"] for volume in volumes if "read_only" in volume] == ["/srv/models"]
        free = [volume["source"] for volume in volumes if "read_only" not in volume]
        assert free == [*writable, made.cache_dir]


@pytest.mark.parametrize(
    ("listen", "ports"),
    [
        ("127.0.0.1", ["127.0.0.1:8000:8000"]),
        ("0.0.0.0", ["0.0.0.0:8000:8000"]),  # noqa: S104
        ("::1", ["[::1]:8000:8000"]),
        ("fd00::5", ["[fd00::5]:8000:8000"]),
        ("none", None),
    ],
)
def test_a_port_is_published_at_the_address_of_the_plan(
    listen: str, ports: list[str] | None
) -> None:
    check_service(replica(listen=listen), {"ports": ports})


def test_image_restart_and_rights() -> None:
    made = replica()
    check_service(
        made,
        {
            "image": made.image,
            "restart": "unless-stopped",
            "cap_drop": ["ALL"],
            "cap_add": ["DAC_OVERRIDE"],
            "mem_limit": None,
        },
    )


def test_provenance_stands_at_the_top_only() -> None:
    document = compose_file(fleet("compose"))
    assert set(document) == {"name", "x-modelc", "services", "secrets"}
    assert not [key for s in document["services"].values() for key in s if key.startswith("x-")]


def test_a_host_without_replicas_has_no_services() -> None:
    assert compose_file(plan([], hosts=[("spare", "compose")]))["services"] == {}


def test_models_outside_models_dir_are_mounted() -> None:
    made = replica(target="compose", read_dirs=["/data/a: $b"])
    volumes = compose_file(plan([made]))["services"][made.name]["volumes"]
    (found,) = (each for each in volumes if each["source"].startswith("/data"))
    assert found == {
        "type": "bind",
        "source": "/data/a: $$b",
        "target": "/data/a: $$b",
        "read_only": True,
        "bind": {"create_host_path": False},
    }
