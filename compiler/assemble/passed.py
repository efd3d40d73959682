"""Why a replica runs no better variant, read off the demands."""

from __future__ import annotations

from typing import Literal

from compiler.ir.demand import Demand, Demands, Refused, TooLarge
from compiler.ir.placement import Placement
from compiler.ir.plan import PassedOver, RoomierRung
from compiler.ir.spec import Service


def passed_over(demands: Demands, service: Service, chosen: int) -> list[PassedOver]:
    """The variants before the chosen one, each with what stood in its way."""
    return [_passed(demands, service, position) for position in range(chosen)]


def roomier_rung(demands: Demands, service: Service, placement: Placement) -> RoomierRung | None:
    """The next rung, when with the same share of these GPUs it had more than twice the room."""
    position = placement.variant + 1
    held = _room_permille(placement.demand, _sizes(placement.demand))
    if position == len(service.variants) or held is None:
        return None
    options = [
        option
        for option in demands.options[service.name]
        if option.variant == position
        and placement.host in option.hosts
        and placement.gpus in option.groups
    ]
    rooms = [
        room
        for option in options
        for demand in option.demands
        if not demand.host_layers
        and (room := _room_permille(demand, _sizes(placement.demand))) is not None
    ]
    most = max(rooms, default=0)
    if most <= 2 * held:
        return None
    return RoomierRung(variant=service.variants[position].name, room_permille=most)


def _sizes(demand: Demand) -> list[int]:
    return list(demand.taken_bytes)


def _room_permille(demand: Demand, shares: list[int]) -> int | None:
    """Thousandths of the room wanted that a cache has with these shares; None without a cache or
    where it does not fit.
    """
    if demand.growth is None:
        fits = all(a <= b for a, b in zip(_sizes(demand), shares, strict=True))
        return 1000 if fits and demand.kv_tokens else None
    steps, least = [], max(1, demand.kv_bytes // demand.growth.step_bytes)
    for device, taken, share in zip(demand.devices, demand.taken_bytes, shares, strict=True):
        if share < taken:
            return None
        if device.kv.bytes:
            room = share - taken + device.kv.high_bytes
            steps.append(room * least // device.kv.bytes)
    kv_bytes = min(steps, default=0) * demand.growth.step_bytes
    return min(1000, kv_bytes * 1000 // max(1, demand.growth.max_kv_bytes))


def _passed(demands: Demands, service: Service, position: int) -> PassedOver:
    variant = service.variants[position].name
    options = demands.options[service.name]
    too_large = [each for each in demands.too_large[service.name] if each.variant == position]
    refused = [each for each in demands.refused[service.name] if each.variant == position]
    mine = [option for option in options if option.variant == position]
    if mine or not (too_large or refused):
        whole = not mine or any(o.n_gpus and not d.partial for o in mine for d in o.demands)
        why: Literal["crowded", "offload"] = "crowded" if whole else "offload"
        return PassedOver(variant=variant, why=why, device=None, missing_bytes=0, detail="")
    if too_large:
        best = min(too_large, key=lambda each: (each.total_missing_bytes, each.host, each.gpus))
        return PassedOver(
            variant=variant,
            why="too-large",
            device=_device(best),
            missing_bytes=best.total_missing_bytes,
            detail="",
        )
    return PassedOver(
        variant=variant,
        why="refused",
        device=_device(refused[0]),
        missing_bytes=0,
        detail=refused[0].refusal.detail,
    )


def _device(place: TooLarge | Refused) -> str:
    return f"{place.host}/{','.join(map(str, place.gpus)) or 'cpu'}"
