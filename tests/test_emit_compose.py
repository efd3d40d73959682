"""What stands in the compose file of a host."""

from __future__ import annotations

from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from compiler.emit import emit
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


def test_argv_is_entrypoint_and_command() -> None:
    check_service(
        replica(),
        {
            "entrypoint": ["/usr/local/bin/llama-server"],
            "command": ["--model", "/srv/models/small.gguf"],
        },
    )


def test_secrets_put_a_wrapper_before_the_same_command() -> None:
    expected = ["serve", "Qwen/Qwen3-32B-AWQ", "--port", "8001"]
    check_service(vllm_replica(), {"command": expected, "secrets": ["HF_TOKEN", "VLLM_API_KEY"]})
    check_service(vllm_replica(secrets=[]), {"command": expected, "secrets": None})


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
                "HF_HOME": "/srv/models",
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


def test_models_are_read_only_unless_the_engine_fetches_them() -> None:
    for made, read_only in [(replica(), True), (vllm_replica(), False)]:
        service = compose_file(plan([made.model_copy(update={"target": "compose"})]))
        models, cache = service["services"][made.name]["volumes"]
        assert models["source"] == models["target"] == "/srv/models"
        assert models["read_only"] is read_only
        assert cache["source"] == cache["target"] == made.cache_dir


def test_port_image_and_restart() -> None:
    made = replica()
    expected = {"ports": ["8000:8000"], "image": made.image, "restart": "unless-stopped"}
    check_service(made, {**expected, "mem_limit": None})


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
