"""Why a replica runs no better variant, read off the demands."""

from __future__ import annotations

from typing import Literal

from compiler.ir.demand import Demands, Refused, TooLarge
from compiler.ir.plan import PassedOver
from compiler.ir.spec import Service


def passed_over(demands: Demands, service: Service, chosen: int) -> list[PassedOver]:
    """The variants before the chosen one, each with what stood in its way."""
    return [_passed(demands, service, position) for position in range(chosen)]


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
