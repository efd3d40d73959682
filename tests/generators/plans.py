"""Plans made by hand, for tests of what comes after a plan."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.ir.inventory import Target
from compiler.ir.names import natural_key
from compiler.ir.plan import (
    GpuLedger,
    HostLedger,
    InputDigests,
    Plan,
    PlannedBreakdown,
    PlannedPart,
    Replica,
    Share,
)

GIB = 1 << 30

# Texts that each of our dialects reads in its own way when they are not quoted for it.
HOSTILE = (
    "",
    " ",
    "-x",
    "--",
    "a b",
    "'\"\\",
    "$HOME ${HOME:-x} $(id) `id` $$",
    "%h %% 100%",
    "{{ x }} {% raw %} {# y #}",
    "a\nExecStartPost=/bin/false\n[Service]",
    "line\\\ncontinued\\",
    "# no comment",
    "; no separator",
    "\t\r\x01\x1b[31m\x7f\x85",
    "\u202eright to left\u2066 \u200b\ufeff\u2028",
    "éé 漢字 🎉",
    '{"a": {"b": [1, "$x%y"]}}',
    "yes",
    "1e3",
    "!!python/object:os.system",
    "*a &b ? - :",
)


def part(size_bytes: int = 0) -> PlannedPart:
    """A part without doubt."""
    return PlannedPart(
        bytes=size_bytes, low_bytes=size_bytes, high_bytes=size_bytes, why="made for a test"
    )


def breakdown(weights_bytes: int = GIB) -> PlannedBreakdown:
    """A breakdown of weights only."""
    return PlannedBreakdown(
        weights=part(weights_bytes), kv=part(), compute=part(), graphs=part(), runtime=part()
    )


def share(gpu: int, uuid: str | None = None, minor: int | None = None) -> Share:
    """A GiB of one GPU."""
    return Share(
        gpu=gpu,
        uuid=uuid,
        minor=minor,
        kind="rtx-3090",
        share_bytes=GIB,
        breakdown=breakdown(),
    )


# What a replica is unless a test says otherwise: llama.cpp on the CPU.
_CPU_REPLICA = Replica(
    name="small-1",
    service="small",
    task="generate",
    variant="default",
    engine="llama.cpp",
    engine_version="9000",
    host="gpu-1",
    target="systemd",
    shares=[],
    ram_bytes=2 * GIB,
    ram_breakdown=breakdown(2 * GIB),
    source="org/small-GGUF:Q4_K_M",
    revision="abc",
    model_path="/srv/models/small.gguf",
    context=4096,
    concurrency=1,
    kv_tokens=4096,
    kv_requests_permille=1000,
    tensor_parallel=1,
    gpu_layers=0,
    host_layers=28,
    layers=28,
    port=8000,
    argv=["/usr/local/bin/llama-server", "--model", "/srv/models/small.gguf"],
    env={},
    device_env=[],
    secrets=[],
    image="ghcr.io/ggml-org/llama.cpp@sha256:" + "0" * 64,
    health_path="/health",
    start_after=[],
    start_timeout_seconds=120,
    shm_bytes=0,
    models_dir="/srv/models",
    cache_dir="/var/cache/modelc-small-1",
    bin_dirs=["/usr/local/bin"],
    assumed=[],
    passed_over=[],
)


def replica(name: str = "small-1", **changes: object) -> Replica:
    """A replica of llama.cpp on the CPU with some fields changed."""
    fields = {"name": name, "cache_dir": f"/var/cache/modelc-{name}", **changes}
    return Replica.model_validate({**dict(_CPU_REPLICA), **fields})


def vllm_replica(name: str = "chat-1", **changes: object) -> Replica:
    """A replica of vLLM split over two GPUs, its model from a hub, with a secret."""
    fields: dict[str, object] = {
        "engine": "vllm",
        "engine_version": "0.33.0",
        "service": "chat",
        "shares": [share(0, "GPU-6f1c0000-0000-0000-0000-000000000000"), share(1)],
        "source": "Qwen/Qwen3-32B-AWQ",
        "model_path": "Qwen/Qwen3-32B-AWQ",
        "tensor_parallel": 2,
        "gpu_layers": None,
        "host_layers": 0,
        "port": 8001,
        "argv": ["/opt/vllm/bin/vllm", "serve", "Qwen/Qwen3-32B-AWQ", "--port", "8001"],
        "env": {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": "GPU-6f1c0000-0000-0000-0000-000000000000,1",
            "HF_HOME": "/srv/models/huggingface",
            "VLLM_CACHE_ROOT": f"/var/cache/modelc-{name}/vllm",
        },
        "device_env": ["CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"],
        "secrets": ["HF_TOKEN", "VLLM_API_KEY"],
        "image": "vllm/vllm-openai:v0.33.0@sha256:" + "1" * 64,
        "start_timeout_seconds": 900,
        "shm_bytes": 2 * GIB,
        "bin_dirs": ["/opt/vllm/bin"],
    }
    return replica(name, **{**fields, **changes})


def gpu_replica(name: str = "code-1", **changes: object) -> Replica:
    """A replica of llama.cpp on GPU 1, which the vLLM replica also uses and starts before."""
    fields: dict[str, object] = {
        "shares": [share(1)],
        "gpu_layers": 29,
        "host_layers": 0,
        "port": 8002,
        "env": {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"},
        "device_env": ["CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"],
        "start_after": ["chat-1"],
    }
    return replica(name, **{**fields, **changes})


def hostile_arguments(target: object) -> tuple[str, ...]:
    """The hostile texts that can be arguments: podman's generator loses an empty one."""
    return tuple(text for text in HOSTILE if text or target != "quadlet")


def hostile_replica(name: str = "hostile-1", **changes: object) -> Replica:
    """A replica whose arguments and variables are all hostile."""
    fields: dict[str, object] = {
        "port": 8003,
        "argv": ["/usr/local/bin/llama-server", *hostile_arguments(changes.get("target"))],
        "env": {f"HOSTILE_{number}": text for number, text in enumerate(HOSTILE)},
    }
    return replica(name, **{**fields, **changes})


def plan(replicas: Sequence[Replica], hosts: Sequence[tuple[str, Target]] = ()) -> Plan:
    """A plan of these replicas; hosts beside theirs may be named."""
    targets = {r.host: r.target for r in replicas} | dict(hosts)
    gpus = {(r.host, s.gpu): s for r in replicas for s in r.shares}
    return Plan(
        inputs=InputDigests(inventory="1" * 64, spec="2" * 64, lock="3" * 64),
        optimality="optimal",
        replicas=sorted(replicas, key=lambda r: natural_key(r.name)),
        gpus=[_gpu_ledger(host, gpus[host, index]) for host, index in sorted(gpus)],
        hosts=[
            HostLedger(
                host=host, target=target, ram_budget_bytes=64 * GIB, ram_granted_bytes=2 * GIB
            )
            for host, target in sorted(targets.items())
        ],
        unplaced=[],
    )


def fleet(target: Target, host: str = "gpu-1") -> Plan:
    """A plan with one replica of each sort on one host."""
    makers = (vllm_replica, gpu_replica, replica, hostile_replica)
    return plan([make(host=host, target=target) for make in makers])


def _gpu_ledger(host: str, on: Share) -> GpuLedger:
    return GpuLedger(
        host=host,
        gpu=on.gpu,
        uuid=on.uuid,
        kind=on.kind,
        memory_bytes=24 * GIB,
        reserved_bytes=GIB,
        utilization_permille=950,
        budget_bytes=22 * GIB,
        binding="utilization",
        granted_bytes=on.share_bytes,
    )
