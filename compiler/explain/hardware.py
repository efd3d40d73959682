"""Changes of the hardware that would let everything find a place: bounds, RAM, more GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from compiler.explain.settings import gpu_counts
from compiler.explain.trials import Case
from compiler.ir.catalog import builtin_kinds
from compiler.ir.inventory import Gpu, Host, Inventory
from compiler.ir.placement import FitsNowhere
from compiler.ir.remedy import Remedy
from compiler.ir.spec import Service
from compiler.ir.units import MIB, show_mib
from compiler.load.inventory_file import DEFAULT_RESERVED_BYTES

Spend = Callable[[], None]

# Servers with more GPUs on one board are rare; a fleet that has one may be offered as many.
_MOST_GPUS = 8

# Above this vLLM itself fails now and then: other processes of the host come and go.
_MOST_UTILIZATION = 980
# Of one memory for GPU and RAM: beyond, such a host hangs sooner or later.
_MOST_POOL_UTILIZATION = 870

_BOUND = 900
_RAM = 5000
_MORE_GPUS = 5000
_MORE_HOSTS = 5600
_OTHER_GPUS = 6000


def of_group(
    case: Case, members: list[Service], devices: list[str], spend: Spend
) -> Iterator[Remedy]:
    """For services that do not fit beside each other on these devices."""
    names = frozenset(service.name for service in members)
    for device in devices:
        yield from _bounds(case, names, device, spend)
    yield from more_gpus(case, names, spend)


def of_homeless(
    case: Case, service: Service, conflict: FitsNowhere, spend: Spend
) -> Iterator[Remedy]:
    """For a service that not even an empty fleet holds."""
    names = frozenset({service.name})
    yield from _more_ram(case, names, conflict, spend)
    places = [place for place in conflict.too_large if any(place.missing_bytes)]
    if places:
        best = min(places, key=lambda place: (place.total_missing_bytes, place.host, place.gpus))
        for gpu, missing in zip(best.gpus, best.missing_bytes, strict=True):
            if missing and len(best.gpus) == 1:
                yield from _bounds(case, names, f"{best.host}/{gpu}", spend)
    found = list(more_gpus(case, names, spend))
    yield from found
    # What they have already is offered before what they would have to buy anew.
    yield from () if found else _other_gpus(case, service, spend)


def _bounds(case: Case, members: frozenset[str], device: str, spend: Spend) -> Iterator[Remedy]:
    """A smaller reserve, or a larger utilization, of the GPU that lacks memory."""
    name, _, index = device.rpartition("/")
    gpu = case.inventory.host(name).gpus[int(index)]
    if gpu.binding == "reserved" and gpu.reserved_bytes > DEFAULT_RESERVED_BYTES:

        def with_reserved(steps: int) -> Gpu:
            return replace(gpu, reserved_bytes=gpu.reserved_bytes - steps * 64 * MIB)

        steps = (gpu.reserved_bytes - DEFAULT_RESERVED_BYTES) // (64 * MIB)
        least = _least(case, members, (name, with_reserved), steps, spend)
        if least:
            value = with_reserved(least).reserved_bytes
            yield Remedy(
                code="reserved", subject=device, value=str(value), now=str(gpu.reserved_bytes),
                cost=_BOUND,
            )  # fmt: skip
    most = _MOST_POOL_UTILIZATION if gpu.kind.unified else _MOST_UTILIZATION
    if gpu.binding == "utilization" and gpu.utilization_permille < most:

        def with_utilization(steps: int) -> Gpu:
            return replace(gpu, utilization_permille=gpu.utilization_permille + steps * 5)

        steps = (most - gpu.utilization_permille) // 5
        least = _least(case, members, (name, with_utilization), steps, spend)
        if least:
            value = with_utilization(least).utilization_permille
            yield Remedy(
                code="utilization", subject=device, value=f"{value / 1000:g}",
                now=f"{gpu.utilization_permille / 1000:g}", cost=_BOUND,
            )  # fmt: skip


def _least(
    case: Case,
    members: frozenset[str],
    gpu: tuple[str, Callable[[int], Gpu]],
    most: int,
    spend: Spend,
) -> int:
    """The fewest steps of a bound that are enough, 0 if not even all of them are."""
    host, changed = gpu

    def fits(steps: int) -> bool:
        spend()
        return case.fits_on(_with_gpu(case.inventory, host, changed(steps)), members)

    if most < 1 or not fits(most):
        return 0
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle
    return high


def _with_gpu(inventory: Inventory, host: str, gpu: Gpu) -> Inventory:
    def changed(each: Host) -> Host:
        if each.name != host:
            return each
        gpus = tuple(gpu if old.index == gpu.index else old for old in each.gpus)
        return replace(each, gpus=gpus)

    return Inventory(hosts=tuple(map(changed, inventory.hosts)))


def _more_ram(
    case: Case, members: frozenset[str], conflict: FitsNowhere, spend: Spend
) -> Iterator[Remedy]:
    """The least RAM with which a place would do whose GPUs are large enough."""
    places = [
        place
        for place in conflict.too_large
        if not any(place.missing_bytes) and not place.demand.site.unified
    ]
    if places:
        best = min(places, key=lambda place: (place.missing_ram_bytes, place.host))
        host = case.inventory.host(best.host)
        larger = replace(host, ram_bytes=host.ram_bytes + best.missing_ram_bytes)
        hosts = tuple(larger if each is host else each for each in case.inventory.hosts)
        spend()
        if case.fits_on(Inventory(hosts=hosts), members):
            missing = show_mib(best.missing_ram_bytes)
            yield Remedy(code="more-ram", subject=best.host, value=missing, cost=_RAM)


def more_gpus(case: Case, members: frozenset[str], spend: Spend) -> Iterator[Remedy]:
    """GPUs of a kind that they have: more of them in one host, or one more host like it."""
    seen: set[tuple[str, ...]] = set()
    hosts = sorted(case.inventory.hosts, key=lambda host: -len(host.gpus))
    most = max(_MOST_GPUS, len(hosts[0].gpus) if hosts else 0)
    for host in hosts:
        kinds = tuple(gpu.kind.name for gpu in host.gpus)
        if kinds in seen or len(set(kinds)) != 1 or host.state != "ready" or host.gpus[0].kind.mig:
            continue
        seen.add(kinds)
        for more in (1, 2, 4, 6) if host.pool is None else ():
            if len(kinds) + more > most:
                break
            spend()
            if case.fits_on(_with_more(case.inventory, host, more), members):
                yield Remedy(
                    code="more-gpus", subject=host.name, value=f"{more} x {kinds[0]}",
                    now=str(len(kinds)), cost=_MORE_GPUS + 100 * more,
                )  # fmt: skip
                break
        spend()
        if case.fits_on(_with_host_like(case.inventory, host), members):
            yield Remedy(
                code="more-hosts", subject=host.name, value=f"{len(kinds)} x {kinds[0]}", now="",
                cost=_MORE_HOSTS + 100 * len(kinds),
            )  # fmt: skip


def _with_more(inventory: Inventory, host: Host, count: int) -> Inventory:
    last = host.gpus[-1]
    added = tuple(
        replace(last, index=len(host.gpus) + position, uuid=None, minor=None, state="ready")
        for position in range(count)
    )
    grown = replace(host, gpus=(*host.gpus, *added))
    return Inventory(hosts=tuple(grown if h is host else h for h in inventory.hosts))


def _with_host_like(inventory: Inventory, host: Host) -> Inventory:
    # A name that no host can have, and that comes last.
    gpus = tuple(replace(gpu, uuid=None, minor=None, state="ready") for gpu in host.gpus)
    added = replace(host, name=f"{host.name}~", address=f"{host.name}~", gpus=gpus)
    return Inventory(hosts=(*inventory.hosts, added))


def _other_gpus(case: Case, service: Service, spend: Spend) -> Iterator[Remedy]:
    """The smallest kind of which one GPU would do, or two, or four, or as many as a rule says."""
    rules = service.placement
    kinds = sorted(
        (kind for kind in builtin_kinds().values() if not (kind.mig or kind.assumed)),
        key=lambda kind: (kind.memory_bytes, kind.name),
    )
    # A kind without memory of its own is a whole host, and no GPU that one adds to another.
    kinds = [
        kind
        for kind in kinds
        if not kind.unified
        and kind.compute >= (rules.min_compute or (7, 0))
        and (not rules.kinds or kind.name in rules.kinds)
    ]
    for count in gpu_counts(service):
        if count > _MOST_GPUS:
            return
        low, high = 0, len(kinds)
        # Fitting grows with memory, but for compute capability: bisect, then try the answer.
        while low < high:
            middle = (low + high) // 2
            spend()
            if case.fits_kind(service, kinds[middle], count):
                high = middle
            else:
                low = middle + 1
        if low < len(kinds) and case.fits_kind(service, kinds[low], count):
            kind = kinds[low]
            yield Remedy(
                code="other-gpus", subject=service.name, value=f"{count} x {kind.name}",
                cost=_OTHER_GPUS,
            )  # fmt: skip
            return
