"""What stands on each GPU and in the RAM of each host of one plan, part by part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler.ir.demand import PART_NAMES
from compiler.ir.plan import GpuLedger, HostLedger, Plan, PlannedBreakdown, PlannedPart, Replica
from compiler.views.words import bound_words, kv_words, split_words

# A GPU by host and index, or the RAM of a host by host and None.
Place = tuple[str, int | None]

RAM = "RAM"
"""What the RAM of a host is called where a GPU has its kind."""

LAYERS = (*PART_NAMES, "band", "free", "reserved")
"""What a bar is made of, from left to right; the first six are of a replica."""

NAMES: Mapping[str, str] = {
    "weights": "weights",
    "kv": "KV cache",
    "compute": "compute",
    "graphs": "graphs",
    "runtime": "runtime",
    "band": "band",
    "free": "free",
    "reserved": "reserved",
}
"""The layers in words for people."""

MEANINGS: Mapping[str, str] = {
    "weights": "tensors as the engine holds them",
    "kv": "KV cache and recurrent state",
    "compute": "activations, buffers and workspaces",
    "graphs": "CUDA graphs",
    "runtime": "CUDA context, NCCL and libraries; in RAM the process itself",
    "band": "kept for the doubt about the estimate",
    "free": "left of the budget",
    "reserved": "beyond the budget, never given to a replica",
}


@dataclass(frozen=True, slots=True)
class Held:
    """What one replica holds of one device."""

    replica: Replica
    size_bytes: int
    breakdown: PlannedBreakdown
    like: Hashable
    """What it has in common with replicas of its service that differ in size alone."""
    alike: Hashable
    """What is equal of two replicas on equal devices that are shown as one."""

    def layers(self) -> Iterator[tuple[str, int]]:
        """Its parts, and what is kept for the doubt about them."""
        for name, part in self.breakdown.parts():
            yield name, part.bytes
        yield "band", max(0, self.size_bytes - self.breakdown.total_bytes)


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU or the RAM of a host, and who holds how much of it."""

    what: str
    """The kind of the GPU, or RAM."""
    total_bytes: int
    budget_bytes: int
    granted_bytes: int
    bound: str
    """Where the budget comes from, in words."""
    broken: bool
    held: tuple[Held, ...]

    @property
    def free_bytes(self) -> int:
        """What the budget has left."""
        return max(0, self.budget_bytes - self.granted_bytes)

    @property
    def reserved_bytes(self) -> int:
        """What is there and is not to be given."""
        return max(0, self.total_bytes - max(self.budget_bytes, self.granted_bytes))

    @property
    def alike(self) -> Hashable:
        """What is equal of two devices that are shown as one."""
        sizes = self.total_bytes, self.budget_bytes, self.granted_bytes
        return self.what, sizes, self.bound, self.broken, tuple(held.alike for held in self.held)

    def layers(self) -> dict[str, int]:
        """All of its memory by layer."""
        found = dict.fromkeys(LAYERS, 0)
        for held in self.held:
            for name, size_bytes in held.layers():
                found[name] += size_bytes
        return {**found, "free": self.free_bytes, "reserved": self.reserved_bytes}


def hosts_with_ram(plan: Plan | None) -> set[str]:
    """The hosts where any RAM is granted that is no GPU's memory as well."""
    hosts = plan.hosts if plan else ()
    return {host.host for host in hosts if host.ram_granted_bytes and not host.unified}


def devices_of(plan: Plan | None, ram_of: Collection[str]) -> dict[Place, Device]:
    """Every GPU of a plan, and the RAM of these hosts."""
    if plan is None:
        return {}
    held = _held(plan)
    found: dict[Place, Device] = {
        (gpu.host, gpu.gpu): _gpu(gpu, held.get((gpu.host, gpu.gpu), ())) for gpu in plan.gpus
    }
    for host in plan.hosts:
        if host.host in ram_of and not host.unified:
            found[host.host, None] = _ram(host, held.get((host.host, None), ()))
    return found


def _gpu(gpu: GpuLedger, held: Sequence[Held]) -> Device:
    broken = gpu.state == "broken"
    return Device(
        what=gpu.kind,
        total_bytes=gpu.memory_bytes,
        budget_bytes=gpu.budget_bytes,
        granted_bytes=gpu.granted_bytes,
        bound="broken: nothing is placed here" if broken else bound_words(gpu),
        broken=broken,
        held=tuple(held),
    )


def _ram(host: HostLedger, held: Sequence[Held]) -> Device:
    return Device(
        what=RAM,
        total_bytes=host.ram_budget_bytes,
        budget_bytes=host.ram_budget_bytes,
        granted_bytes=host.ram_granted_bytes,
        bound="RAM - reserved",
        broken=False,
        held=tuple(held),
    )


def _held(plan: Plan) -> Mapping[Place, Sequence[Held]]:
    """Who holds what of each place; of one memory for GPU and RAM each replica's as one."""
    pools = {gpu.host: gpu.gpu for gpu in plan.gpus if gpu.unified}
    found: dict[Place, list[Held]] = defaultdict(list)
    for replica in plan.replicas:
        shares: dict[Place, tuple[int, PlannedBreakdown]] = {
            (replica.host, share.gpu): (share.share_bytes, share.breakdown)
            for share in replica.shares
        }
        if replica.ram_bytes:
            place = replica.host, pools.get(replica.host)
            ram = replica.ram_bytes, replica.ram_breakdown
            shares[place] = _both(shares[place], ram) if place in shares else ram
        for place, (size_bytes, breakdown) in shares.items():
            found[place].append(_alone(replica, place, size_bytes, breakdown))
    return found


def _both(
    gpu: tuple[int, PlannedBreakdown], ram: tuple[int, PlannedBreakdown]
) -> tuple[int, PlannedBreakdown]:
    """What a replica holds of one memory, for its GPU and of its RAM."""
    parts = {
        name: PlannedPart(
            bytes=one.bytes + other.bytes,
            low_bytes=one.low_bytes + other.low_bytes,
            high_bytes=one.high_bytes + other.high_bytes,
            why=" RAM: ".join(filter(None, (one.why, other.why))) if other.bytes else one.why,
        )
        for (name, one), (_, other) in zip(gpu[1].parts(), ram[1].parts(), strict=True)
    }
    return gpu[0] + ram[0], PlannedBreakdown(**parts)


def _alone(replica: Replica, place: Place, size_bytes: int, breakdown: PlannedBreakdown) -> Held:
    engine = replica.engine, replica.engine_version
    where = RAM if place[1] is None else ""
    like = (where, replica.service, replica.variant, *engine, split_words(replica))
    alike = (like, kv_words(replica), size_bytes, breakdown.model_dump_json())
    return Held(replica, size_bytes, breakdown, like, alike)
