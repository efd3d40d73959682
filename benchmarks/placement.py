"""Places made-up fleets of six sizes at four loads, beside the policies that people use today.

    .venv/bin/python benchmarks/placement.py S M --loads 60,90,98,110 --seeds 1,2,3,4,5

Prints for each fleet, by priority from the top: replicas placed of the most that could be, rungs
given up and points of room missing with their bounds; then CPU seconds and peak memory. Below it
the same figures for first fit in the order of the spec, for GPUStack's policy (fewest GPUs, then
the emptiest place, in the order of the spec) and for best fit decreasing on the smallest rung.
S, M, L and XL are 15, 200, 2,000 and 8,000 replicas on 20, 300, 3,000 and 12,000 GPUs; 15/23 and
30/80 are services and GPUs. Load is the smallest footprint of all wanted replicas over all budgets;
requests are made so large that it is met. CPU seconds are those of
this process, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import resource
from dataclasses import dataclass

from compiler.ir.demand import (
    Breakdown,
    Demand,
    Demands,
    Growth,
    Option,
    Part,
    Request,
    Site,
    Split,
)
from compiler.ir.facts import ModelFacts
from compiler.ir.inventory import Gpu, GpuKind, Host, Inventory
from compiler.ir.plan import Objective
from compiler.ir.spec import PlacementRules, Policy, Service, Spec, Variant
from compiler.ir.units import GIB, MIB
from compiler.place.construct import SMALLEST, Taste, construct
from compiler.place.dice import Dice
from compiler.place.placing import How, place
from compiler.place.problem import Problem
from compiler.place.running import problem_of
from compiler.place.score import Weights, goals_of, score_of
from compiler.place.state import State

SIZES = {
    "S": (20, 15, None), "15/23": (23, None, 15), "30/80": (80, None, 30), "M": (300, 200, None),
    "L": (3000, 2000, None), "XL": (12_000, 8000, None),
}  # fmt: skip
"""GPUs, and replicas or services that are wanted."""

# Kind, MiB, GPUs of a host, and how many hosts in a hundred are of it.
KINDS = (
    ("h100", 77_300, 8, 22), ("a100", 77_300, 8, 22), ("a100-40", 38_600, 4, 12),
    ("l40s", 43_700, 4, 18), ("a10", 21_900, 4, 14), ("t4", 14_500, 2, 12),
)  # fmt: skip
# GiB of weights in 16 bits, MiB of a request, and how many services in a hundred.
MODELS = (
    (140.0, 10_240, 8), (64.0, 8192, 16), (28.0, 4096, 20), (15.0, 2048, 26), (6.0, 1024, 18),
    (1.5, 0, 12),
)  # fmt: skip
# Share of the weights that each rung keeps.
RUNGS = ((100,), (100, 55), (100, 55, 32))
FACTS = ModelFacts(
    format="config", architecture="made-up", task="generate", parameters=1, layers=1, vocabulary=1,
    position_limit=4096, quantization="", header={},
)  # fmt: skip


@dataclass(frozen=True)
class Fleet:
    """What the place pass is given."""

    inventory: Inventory
    spec: Spec
    demands: Demands


def fleet_of(size: str, load: int, seed: int) -> Fleet:
    """A fleet of a size, with as many wishes as the size says, so large that the load is met."""
    gpus, replicas, services = SIZES[size]
    dice = Dice(seed * 1000 + load + len(size))
    hosts: list[Host] = []
    while (left := gpus - sum(len(host.gpus) for host in hosts)) > 0:
        hosts.append(_host(len(hosts), _drawn(dice, KINDS), left))
    capacity = sum(gpu.budget_bytes for host in hosts for gpu in host.gpus) // MIB
    by_shape: dict[tuple[str, int], list[Host]] = {}
    for host in hosts:
        by_shape.setdefault((host.gpus[0].kind.name, len(host.gpus)), []).append(host)
    shapes = [(of[0].gpus[0].budget_bytes // MIB, len(of[0].gpus)) for of in by_shape.values()]
    wishes: list[_Wish] = []
    low, high = 0, 1 << 14
    while high - low > 1:
        # A request is so many 64ths of what the model's table says.
        part = (low + high) // 2
        wishes = _wishes(Dice(seed * 77 + load), part, shapes, (replicas, services))
        needed = sum(wish.least(shapes) * wish.replicas for wish in wishes)
        low, high = (low, part) if needed * 100 > capacity * load else (part, high)
    found = [_service(number, wish, by_shape) for number, wish in enumerate(wishes)]
    empty: dict[str, tuple[()]] = {service.name: () for service, _ in found}
    demands = Demands(
        options={service.name: options for service, options in found},
        too_large=dict(empty),
        refused=dict(empty),
    )
    spec = Spec(services=tuple(service for service, _ in found), policy=Policy())
    return Fleet(Inventory(hosts=tuple(hosts)), spec, demands)


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """A service to be: GiB of weights, MiB of one request, and what is wanted."""

    weights: float
    request: int
    rungs: tuple[int, ...]
    wanted: int
    replicas: int
    priority: int
    apart: bool

    def mib(self, rung: int, size: int) -> int:
        """On each of so many GPUs, with a cache for one request."""
        rest = int(self.weights * rung * 1024 / 100) // size + 1500 + (400 if size > 1 else 0)
        return rest - (-self.request // size)

    def least(self, shapes: list[tuple[int, int]]) -> int:
        """MiB of the smallest footprint on any host; 0 when none holds it."""
        return min(
            (
                self.mib(rung, size) * size
                for budget, count in shapes
                for rung in self.rungs
                for size in (1, 2, 4, 8)
                if size <= count and self.mib(rung, size) <= budget
            ),
            default=0,
        )


def _wishes(
    dice: Dice, part: int, shapes: list[tuple[int, int]], many: tuple[int | None, int | None]
) -> list[_Wish]:
    """Services until there are as many as wanted; those that no host holds are drawn anew."""
    found: list[_Wish] = []
    replicas, services = many
    count = 0
    while (services is None or len(found) < services) and (replicas is None or count < replicas):
        row = _drawn(dice, MODELS)
        wish = _Wish(
            weights=float(str(row[0])),
            request=int(str(row[1])) * part // 64,
            rungs=RUNGS[dice.below(3)],
            wanted=(2, 4, 8, 16)[dice.below(4)],
            replicas=min(1 + dice.below(4), replicas - count if replicas else 4),
            priority=10 * (1 + dice.below(5)),
            apart=not dice.below(4),
        )
        if wish.least(shapes):
            found.append(wish)
            count += wish.replicas
    return found


def _drawn(dice: Dice, table: tuple[tuple[object, ...], ...]) -> tuple[object, ...]:
    at = dice.below(100)
    for row in table:
        at -= int(str(row[-1]))
        if at < 0:
            return row
    return table[-1]


def _host(number: int, row: tuple[object, ...], most: int) -> Host:
    name, mib, count = str(row[0]), int(str(row[1])), min(most, int(str(row[2])))
    kind = GpuKind(name=name, memory_bytes=mib * MIB, cuda_total_bytes=mib * MIB, compute=(8, 0))
    gpus = tuple(
        Gpu(index=n, kind=kind, reserved_bytes=0, utilization_permille=1000, island=0)
        for n in range(count)
    )
    return Host(
        name=f"h{number:04}", address="", target="script", ram_bytes=1024 * GIB,
        ram_reserved_bytes=0, ports=(8000, 8999), models_dir="/srv", engines={}, gpus=gpus,
    )  # fmt: skip


def _service(
    number: int, wish: _Wish, by_shape: dict[tuple[str, int], list[Host]]
) -> tuple[Service, tuple[Option, ...]]:
    name = f"s{number:04}"
    found = []
    for variant, rung in enumerate(wish.rungs):
        for (_, count), hosts in sorted(by_shape.items()):
            budget = hosts[0].gpus[0].budget_bytes // MIB
            for size in (1, 2, 4, 8):
                if size <= count and wish.mib(rung, size) <= budget:
                    groups = tuple(
                        tuple(range(first, first + size))
                        for first in range(0, count - size + 1, size)
                    )
                    found.append(
                        Option(
                            service=name, variant=variant, groups=groups, one_island=True,
                            hosts=tuple(host.name for host in hosts),
                            demands=(_demand(wish, rung, size),),
                        )
                    )  # fmt: skip
    service = Service(
        name=name, task="generate", replicas=wish.replicas, priority=wish.priority, optional=True,
        placement=PlacementRules(spread="host" if wish.apart else None),
        variants=tuple(
            Variant(
                name=f"v{n}", model="m", engine="vllm", context=1024, concurrency=wish.wanted,
                kv_tokens=None, offload="none",
            )
            for n in range(len(wish.rungs))
        ),
    )  # fmt: skip
    return service, tuple(found)


def _demand(wish: _Wish, rung: int, size: int) -> Demand:
    kv = -(-wish.request // size)
    rest = wish.mib(rung, size) - kv
    device = Breakdown(weights=Part.exact(rest * MIB, ""), kv=Part.exact(kv * MIB, ""))
    return Demand(
        request=Request(
            engine="vllm", version="0", facts=FACTS, task="generate", context=1024,
            concurrency=wish.wanted,
        ),
        site=Site(), split=Split(tensor_parallel=size), devices=(device,) * size,
        host=Breakdown(weights=Part.exact(4 * GIB, "")), kv_tokens=1024,
        growth=Growth(step_bytes=MIB, max_kv_bytes=kv * wish.wanted * MIB) if kv else None,
    )  # fmt: skip


# What people do today


def first_fit(problem: Problem, *, emptiest: bool = False) -> State:
    """In the order of the spec, each on its best rung that finds room; the fewest GPUs first."""
    state = State(problem)
    for i in range(len(problem.services)):
        ways = sorted(problem.least[i], key=lambda way: (way.loss, way.size))
        while len(state.of[i]) < problem.possible[i]:
            found = None
            for way in ways:
                at = state.best(way, emptiest=emptiest)
                if at is not None:
                    found = (way, at[1])
                    break
            if found is None:
                break
            state.put(*found)
    return state


def decreasing(problem: Problem) -> State:
    """Best fit, the most important and largest first, each at its smallest."""
    flat = [500] * len(problem.families)
    return construct(problem, Weights(problem), flat, Taste(factor=SMALLEST))


def told(state: State) -> str:
    """The figures of a state, without bounds."""
    for _ in state.raise_all(sorted(state.placed)):
        pass
    found: dict[str, list[str]] = {}
    for (kind, priority), value in zip(goals_of(state.problem), score_of(state), strict=True):
        if priority is not None:
            size = -value if kind == "coverage" else value // 1000 if kind == "rungs" else value
            found.setdefault(kind, []).append(str(size))
    return "   ".join(f"{kind} {' '.join(values)}" for kind, values in found.items())


def told_with_bounds(objectives: tuple[Objective, ...]) -> str:
    """The figures of a plan, each with its bound."""
    found: dict[str, list[str]] = {}
    for each in objectives:
        unit = 1000 if each.name == "rungs" else 1
        pair = f"{each.reached // unit}/{each.bound // unit}"
        found.setdefault(each.name, []).append(pair)
    return "   ".join(f"{kind} {' '.join(values)}" for kind, values in found.items())


def cpu() -> float:
    """CPU seconds of this process."""
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="+", choices=SIZES)
    parser.add_argument("--loads", default="60,90,98,110")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--effort", default="normal", choices=("low", "normal", "high"))
    asked = parser.parse_args()
    for size in asked.sizes:
        for load in map(int, asked.loads.split(",")):
            for seed in map(int, asked.seeds.split(",")):
                fleet = fleet_of(size, load, seed)
                start = cpu()
                how = How(effort=asked.effort)
                answer = place(fleet.inventory, fleet.spec, fleet.demands, None, how)
                spent = cpu() - start
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
                gpus = sum(len(host.gpus) for host in fleet.inventory.hosts)
                print(
                    f"{size} {load} % seed {seed}: {len(fleet.spec.services)} services on {gpus} "
                    f"GPUs, {spent:.1f} s, {peak} MiB, {answer.optimality}"
                )
                print(f"  modelc      {told_with_bounds(answer.objectives)}")
                problem = problem_of(fleet.inventory, fleet.spec, fleet.demands)
                print(f"  first fit   {told(first_fit(problem))}")
                print(f"  GPUStack    {told(first_fit(problem, emptiest=True))}")
                print(f"  decreasing  {told(decreasing(problem))}", flush=True)


if __name__ == "__main__":
    main()
