"""Small plans that hang together: builders for examples, and a strategy for laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from compiler.ir.demand import Breakdown, Demand, Part, Request, Site, Split
from compiler.ir.facts import ModelFacts
from compiler.ir.inventory import GpuKind
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
    Unplaced,
)
from compiler.ir.units import GIB, MIB

MEMORY_BYTES = 24_576 * MIB
BUDGET_BYTES = 22_118 * MIB
RAM_BUDGET_BYTES = 56 * GIB


def part(mib: int, why: str = "", *, spread: int = 0) -> PlannedPart:
    """A part of so many MiB, give or take the spread."""
    low, high = (mib - spread) * MIB, (mib + spread) * MIB
    return PlannedPart(bytes=mib * MIB, low_bytes=low, high_bytes=high, why=why)


def breakdown(
    weights: int = 0, kv: int = 0, compute: int = 0, runtime: int = 0
) -> PlannedBreakdown:
    """A breakdown in MiB."""
    return PlannedBreakdown(
        weights=part(weights, "sum of the tensors"),
        kv=part(kv, "16 blocks"),
        compute=part(compute, "activations", spread=compute // 10),
        graphs=part(0),
        runtime=part(runtime, "CUDA context"),
    )


def share(gpu: int, mib: int, **changes: object) -> Share:
    """A share of so many MiB, three quarters of it weights."""
    fields = {
        "gpu": gpu,
        "uuid": None,
        "kind": "rtx-3090",
        "share_bytes": mib * MIB,
        "breakdown": breakdown(mib * 3 // 4, mib // 8, mib // 16, mib // 32),
    }
    return Share.model_validate({**fields, **changes})


def replica(name: str, host: str, shares: Sequence[Share] = (), **changes: object) -> Replica:
    """A vLLM replica on these shares; anything else by keyword."""
    service = name.rpartition("-")[0]
    fields = {
        "name": name,
        "service": service,
        "task": "generate",
        "variant": "bf16",
        "engine": "vllm",
        "engine_version": "0.33.0",
        "host": host,
        "target": "systemd",
        "shares": list(shares),
        "ram_bytes": 2_048 * MIB,
        "ram_breakdown": breakdown(runtime=2_048),
        "source": "Qwen/Qwen3-8B",
        "revision": "b968826d",
        "model_path": "Qwen/Qwen3-8B",
        "context": 8_192,
        "concurrency": 16,
        "kv_tokens": 77_004,
        "kv_requests_permille": 9_400,
        "tensor_parallel": max(1, len(shares)),
        "gpu_layers": None,
        "host_layers": 0,
        "layers": 36,
        "port": 8_000,
        "argv": ["/opt/vllm/bin/vllm", "serve", "Qwen/Qwen3-8B", "--max-model-len", "8192"],
        "env": {"CUDA_VISIBLE_DEVICES": ",".join(str(held.gpu) for held in shares)},
        "device_env": ["CUDA_VISIBLE_DEVICES"],
        "secrets": [],
        "image": None,
        "health_path": "/health",
        "start_after": [],
        "start_timeout_seconds": 600,
        "shm_bytes": 64 * MIB,
        "models_dir": "/srv/models",
        "cache_dir": f"/var/cache/modelc-{name}",
        "bin_dirs": ["/opt/vllm/bin"],
        "assumed": [],
        "passed_over": [],
    }
    return Replica.model_validate({**fields, **changes})


def plan(hosts: Mapping[str, int], replicas: Sequence[Replica] = (), **changes: object) -> Plan:
    """A plan over hosts with so many GPUs; the ledgers are counted from the replicas."""
    fields = {
        "inputs": InputDigests(inventory="1" * 64, spec="2" * 64, lock="3" * 64),
        "optimality": "optimal",
        "replicas": sorted(replicas, key=lambda one: natural_key(one.name)),
        "gpus": [
            _gpu_ledger(host, gpu, replicas)
            for host in sorted(hosts, key=natural_key)
            for gpu in range(hosts[host])
        ],
        "hosts": [_host_ledger(host, replicas) for host in sorted(hosts, key=natural_key)],
        "unplaced": [],
    }
    return Plan.model_validate({**fields, **changes})


def demand() -> Demand:
    """A model on one GPU."""
    facts = ModelFacts(
        format="gguf",
        architecture="qwen3",
        task="generate",
        parameters=8_190_735_360,
        layers=36,
        vocabulary=151_936,
        position_limit=40_960,
        quantization="Q4_K_M",
        header={},
    )
    kind = GpuKind(
        name="rtx-3090",
        memory_bytes=24_576 * MIB,
        cuda_total_bytes=24_126 * MIB,
        compute=(8, 6),
    )
    compute = Part(bytes=301 * MIB, low_bytes=300 * MIB, high_bytes=330 * MIB, why="graph of 512")
    return Demand(
        request=Request(
            engine="llama.cpp",
            version="9000",
            facts=facts,
            task="generate",
            context=8_192,
            concurrency=4,
        ),
        site=Site(kinds=(kind,), budgets_bytes=(22 * GIB,)),
        split=Split(gpu_layers=37),
        devices=(Breakdown(weights=Part.exact(4_455 * MIB + 1, "398 tensors"), compute=compute),),
        host=Breakdown(weights=Part.exact(333 * MIB, "token_embd")),
        kv_tokens=32_768,
        assumed=("The driver is recent.",),
    )


def _gpu_ledger(host: str, gpu: int, replicas: Sequence[Replica]) -> GpuLedger:
    granted = [
        held.share_bytes
        for one in replicas
        if one.host == host
        for held in one.shares
        if held.gpu == gpu
    ]
    return GpuLedger(
        host=host,
        gpu=gpu,
        uuid=None,
        kind="rtx-3090",
        memory_bytes=MEMORY_BYTES,
        reserved_bytes=512 * MIB,
        utilization_permille=900,
        budget_bytes=BUDGET_BYTES,
        binding="utilization",
        granted_bytes=sum(granted),
    )


def _host_ledger(host: str, replicas: Sequence[Replica]) -> HostLedger:
    return HostLedger(
        host=host,
        target="systemd",
        ram_budget_bytes=RAM_BUDGET_BYTES,
        ram_granted_bytes=sum(one.ram_bytes for one in replicas if one.host == host),
    )


_HOSTS = ("alpha", "beta", "gamma")
_WORDS = st.lists(
    st.sampled_from(["--a", "--b", "--a=1", "-n", "1", "-1", "two words", "serve"]), max_size=5
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Plans over a few names, so that two of them share hosts, services and replicas."""
    hosts = draw(
        st.dictionaries(st.sampled_from(_HOSTS), st.integers(0, 3), min_size=1, max_size=3)
    )
    names = [f"{service}-{number}" for service in ("chat", "embed") for number in (0, 1)]
    chosen = draw(st.sets(st.sampled_from(names)))
    replicas = [draw(_replicas(name, hosts)) for name in sorted(chosen)]
    short = draw(st.booleans())
    unplaced = [Unplaced(service="batch", wanted=2, placed=draw(st.integers(0, 1)))]
    return plan(hosts, replicas, unplaced=unplaced if short else [])


@st.composite
def _replicas(draw: st.DrawFn, name: str, hosts: Mapping[str, int]) -> Replica:
    host = draw(st.sampled_from(sorted(hosts)))
    indices = draw(st.lists(st.integers(0, 2), unique=True)) if hosts[host] else []
    shares = [share(gpu, draw(st.integers(1, 4)) * 1_024) for gpu in indices if gpu < hosts[host]]
    return replica(
        name,
        host,
        shares,
        variant=draw(st.sampled_from(["bf16", "awq"])),
        engine=draw(st.sampled_from(["vllm", "llama.cpp"])),
        revision=draw(st.sampled_from([None, "b968826d"])),
        port=draw(st.integers(8_000, 8_002)),
        kv_tokens=draw(st.sampled_from([0, 77_004])),
        argv=["/opt/engine", *draw(_WORDS)],
        secrets=draw(st.lists(st.sampled_from(["HF_TOKEN", "API_KEY"]), unique=True)),
    )
