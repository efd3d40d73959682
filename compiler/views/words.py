"""Words for the figures of a plan that more than one view shows."""

from __future__ import annotations

from typing import assert_never

from compiler.ir.counting import counted
from compiler.ir.plan import GpuLedger, Objective, Optimality, Plan, Replica
from compiler.ir.units import budget_mib, show_mib

PROOF_WORDS: dict[Optimality, str] = {
    "optimal": "proven optimal",
    "feasible": "not proven optimal",
    "calm": "what runs stays where it is",
}


# Wide enough to tell a twentieth apart, narrow enough to leave room for words.
BAR_WIDTH = 20


def filled_marks(granted_bytes: int, budget_bytes: int) -> int:
    """How much of a GPU's bar is filled: to the nearest twentieth, and never nothing of something.

    A GPU without a budget has nothing to fill.
    """
    if not budget_bytes or not granted_bytes:
        return 0
    twentieths = (granted_bytes * BAR_WIDTH * 2 + budget_bytes) // (budget_bytes * 2)
    return min(BAR_WIDTH, max(1, twentieths))


def show_budget(size_bytes: int) -> str:
    """MiB of a budget or of what is left of one, rounded down: `12,345 MiB`."""
    return f"{budget_mib(size_bytes):,} MiB"


def bound_words(gpu: GpuLedger) -> str:
    """Which bound gives the budget of a GPU, with its figures."""
    memory = show_budget(gpu.memory_bytes)
    if gpu.unified:
        return f"{_bound(gpu, memory)}, one memory for GPU and RAM"
    return _bound(gpu, memory)


def _bound(gpu: GpuLedger, memory: str) -> str:
    match gpu.binding:
        case "reserved":
            return f"memory - reserved ({memory} - {show_mib(gpu.reserved_bytes)})"
        case "utilization":
            return f"memory x utilization ({memory} x {_share(gpu.utilization_permille)})"
        case "cuda_total":
            return f"CUDA total (of {memory})"
        case _:
            assert_never(gpu.binding)


def split_words(replica: Replica) -> str:
    """How a replica is cut: `tp 2`, `tp 2 on 4 GPUs`, or how many layers the GPUs hold."""
    if not replica.shares:
        return "CPU only"
    if replica.gpu_layers is None:
        # More GPUs are pipeline stages or data parallel engines: the command line tells which.
        n_gpus = len(replica.shares)
        more = f" on {n_gpus} GPUs" if n_gpus > replica.tensor_parallel else ""
        return f"tp {replica.tensor_parallel}{more}"
    text = f"{replica.layers - replica.host_layers} of {replica.layers} layers"
    return text + (f", experts of {replica.host_experts} in RAM" if replica.host_experts else "")


def kv_words(replica: Replica) -> str:
    """How many usual requests the KV cache holds, rounded down to a tenth."""
    if not replica.has_cache:
        return "no KV cache"
    room = f"KV room: {tenths(replica.room_permille)} of {replica.concurrency:,}"
    if replica.typical in (0, replica.context):
        return f"{room} full-length requests"
    return f"{room} requests of {replica.typical:,} tokens"


def tenths(permille: int) -> str:
    """Thousandths as a number with one digit, rounded down: `25.8`."""
    whole, digit = divmod(permille // 100, 10)
    return f"{whole:,}.{digit}"


def roomier_words(replica: Replica) -> str | None:
    """That the next rung would hold more than twice as many requests here; None if it does not."""
    roomier = replica.roomier
    if roomier is None:
        return None
    permille = roomier.room_permille * replica.concurrency
    whole, tenths = divmod(permille // 100, 10)
    wanted = f"{replica.concurrency:,} requests of {replica.typical or replica.context:,} tokens"
    return (
        f"{replica.name} runs {replica.variant}; with {roomier.variant} in the same memory its KV "
        f"cache would hold {whole:,}.{tenths} of {wanted}."
    )


def objective_words(objective: Objective) -> str | None:
    """What a plan could at most have better in one objective; None when it is proven."""
    gap = abs(objective.reached - objective.bound)
    if not gap:
        return None
    of = "" if objective.priority is None else f" of priority {objective.priority}"
    match objective.name:
        case "coverage" | "required":
            return f"at most {counted(gap, 'more replica')}{of}"
        case "rungs":
            rungs = -(-gap // 1000)
            return f"at most {counted(rungs, 'rung')} better in all for replicas{of}"
        case "room":
            return (
                f"at most {counted(gap, 'point')} of room better for replicas{of} (3 for one below "
                "a quarter of what it wants, 1 for one below half)"
            )
        case "gpus":
            # Each GPU of a replica counts 2, and each split over islands 1.
            if gap < 2:  # noqa: PLR2004
                return "at most 1 split over islands fewer"
            return f"at most {counted(gap // 2, 'GPU')} fewer"
        case _:
            assert_never(objective.name)


def gap_lines(plan: Plan) -> list[str]:
    """For each objective that is not proven, what could at most be better."""
    return [words for each in plan.objectives if (words := objective_words(each)) is not None]


def fleet_words(plan: Plan) -> str:
    """The size of a plan and how sure the solver is of it, in a sentence."""
    n_services = len({replica.service for replica in plan.replicas})
    proof = PROOF_WORDS[plan.optimality]
    return (
        f"{counted(len(plan.replicas), 'replica')} of {counted(n_services, 'service')} on "
        f"{counted(len(plan.hosts), 'host')} with {counted(len(plan.gpus), 'GPU')}; {proof}."
    )


def _share(permille: int) -> str:
    whole, thousandths = divmod(permille, 1000)
    return f"{whole}.{thousandths:03}".rstrip("0").rstrip(".")
