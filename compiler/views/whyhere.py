"""Why a replica stands where it stands, in words: one sentence for each code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from compiler.ir.counting import counted
from compiler.ir.names import folded
from compiler.ir.units import show_mib
from compiler.ir.whyhere import Barred, Elsewhere, Full, Idle, IdleUse, Reasons, RungPrice, WhyHere
from compiler.views.terminal import paint, prose

# A sentence names so many GPUs or services at most; the rest is counted.
_MOST_LISTED = 4

_RULES = {
    "spread": "`spread` keeps replicas of this service apart",
    "apart_from": "`apart_from` keeps it off who is there",
    "ram": "its RAM is taken",
    "ports": "its ports are taken",
}


def here_lines(
    reasons: Reasons, why: WhyHere, *, color: bool, width: int | None
) -> list[str]:  # fmt: skip
    """The block `Why here` of one replica."""
    sentences = [*_decided(why), *(_else_words(reasons, why, each) for each in why.elsewhere)]
    sentences += [_full_words(why.full)] if why.full else []
    sentences += [_barred_words(each) for each in why.barred]
    inner = None if width is None else width - 2
    lines = [line for each in sentences for line in prose(each, width=inner, hanging=2)]
    return [paint("Why here", "bold", color=color), *(f"  {line}" for line in lines)]


def idle_lines(reasons: Reasons, *, color: bool, width: int | None) -> list[str]:
    """The block about GPUs that stand idle while a cache is short; none where that is not so."""
    idle = reasons.idle
    if idle is None:
        return []
    inner = None if width is None else width - 2
    sentences = [_idle_words(reasons, idle), *(_use_words(reasons, use) for use in idle.uses)]
    if not idle.uses:
        sentences.append("No change that was tried would use them for it.")
    lines = [line for each in sentences for line in prose(each, width=inner, hanging=2)]
    title = paint("Idle GPUs while its KV cache is short", "bold", color=color)
    return [title, *(f"  {line}" for line in lines)]


def price_words(reasons: Reasons | None, variant: str) -> str:
    """What a better variant would cost, to stand behind why it is not run; maybe nothing."""
    price = next((each for each in reasons.rungs if each.variant == variant), None) if (
        reasons is not None
    ) else None  # fmt: skip
    return f"; {_price_words(price)}" if price is not None else ""


def _decided(why: WhyHere) -> list[str]:
    """What decided, as the first sentence."""
    text = _code_words(why)
    if why.stays and why.code not in ("frozen", "pinned"):
        text = f"It goes on as it runs: nothing is moved without need. {text}"
    if why.possible > 1:
        n_open = counted(why.open, "place") if why.open == 1 else f"{why.open:,} places"
        text += f" Of {why.possible:,} places that could hold it, {n_open} "
        text += (
            "has room beside the others."
            if why.open == 1
            else ("have room beside the others, its own among them.")
        )
    return [text]


def _code_words(why: WhyHere) -> str:  # noqa: C901, PLR0912  One a code.
    match why.code:
        case "frozen":
            return "`policy.freeze` holds it as it runs."
        case "pinned":
            return "`placement.pin` says so."
        case "only-place":
            return "It is the only place that its rules and its memory allow."
        case "only-kind":
            return "Its rules and its memory allow one kind of GPU alone, and no other has room."
        case "only-room":
            return "It is the only place with room beside the other replicas."
        case "rung":
            return "Only here it has room for this variant."
        case "moves":
            return "It keeps its GPUs: elsewhere it would have to move."
        case "room":
            return "Here its KV cache has most room."
        case "gpus":
            return "Here it takes the fewest GPUs."
        case "islands":
            return "Here it is in one NVLink island."
        case "same-host":
            return "Here it stands on another host than the other replicas of its service."
        case "same-gpu":
            return "Here it stands on other GPUs than the other replicas of its service."
        case "squeezes":
            return "Here it leaves its neighbours most room for their KV caches."
        case "crowds":
            return "Here replicas share a GPU up to half of what they want, and not beyond."
        case "shares-gpu":
            return "Here it has a GPU that was idle."
        case "larger-gpus":
            return "These are the smallest GPUs that give it the room that it has."
        case "more-in-use":
            return "Here it takes no further GPU into use, as `policy.prefer: pack` asks."
        case "name":
            return "Others would do as well, and this is the first by name."
        case "better":
            if why.stays:
                return "Another place would be better now, but not worth a move."
            return "Another place would be better by itself; the search did not take it."
        case _:
            assert_never(why.code)


def _else_words(reasons: Reasons, why: WhyHere, each: Elsewhere) -> str:
    kinds = _kinds(each.kinds)
    more = f", and {counted(each.alike, 'place')} like it" if each.alike else ""
    first = each is why.elsewhere[0]
    head = f"{'Next best' if first else 'Then'}: {each.place}{kinds}{more}: "
    return head + _worse_words(reasons, why, each) + "."


def _kinds(kinds: Sequence[str]) -> str:
    names = list(dict.fromkeys(kinds))
    return f" ({' and '.join(names)})" if names else ""


def _worse_words(  # noqa: C901, PLR0912  One a code.
    reasons: Reasons, why: WhyHere, each: Elsewhere
) -> str:
    match each.code:
        case "rung":
            in_ram = " with layers in RAM" if each.in_ram else ""
            return f"there it would run as {each.variant}{in_ram}"
        case "moves":
            return "it would have to move"
        case "room":
            return _room_there(reasons, why, each)
        case "gpus":
            return f"it would take {counted(each.amount, 'GPU')} more"
        case "islands":
            return "it would be cut over two islands"
        case "same-host":
            return "it would stand on one host with another replica of its service"
        case "same-gpu":
            return "it would stand on one GPU with another replica of its service"
        case "squeezes":
            return f"it would take {each.amount:,} MiB that KV caches of others could use"
        case "crowds":
            return f"it would want {each.amount:,} MiB beyond half of a GPU that others share"
        case "shares-gpu":
            return f"it would stand beside {counted(each.amount, 'other replica')}"
        case "larger-gpus":
            return f"larger by {each.amount:,} MiB, which is left for what needs it"
        case "more-in-use":
            return f"it would take {counted(each.amount, 'further GPU')} into use"
        case "name":
            return "as good"
        case "better":
            return f"better{_holding(reasons, each)}; `policy.consolidate: true` lets it move"
        case _:
            assert_never(each.code)


def _room_there(reasons: Reasons, why: WhyHere, each: Elsewhere) -> str:
    there, here = each.room_permille, why.room_permille
    if there is None or here is None or there >= here:
        return "its KV cache would have less room"
    n = reasons.concurrency
    return (
        f"its KV cache would hold {_requests(there, n)} of {n:,} requests, not {_requests(here, n)}"
    )


def _holding(reasons: Reasons, each: Elsewhere) -> str:
    if each.room_permille is None:
        return ""
    n = reasons.concurrency
    return f", with room for {_requests(each.room_permille, n)} of {n:,} requests"


def _requests(permille: int, concurrency: int) -> str:
    whole, tenths = divmod(permille * concurrency // 100, 10)
    return f"{whole:,}.{tenths}"


def _full_words(full: Full) -> str:
    place = f"{full.place}{_kinds(full.kinds)}"
    held = [f"{name} {mib:,} MiB" for name, mib in full.held.items()]
    held += [f"{full.kept_mib:,} MiB that are kept for the loss of a host"] if full.kept_mib else []
    beside = f" beside {_listed(held)}" if held else ""
    if full.rule:
        return f"No room at {place}{beside}: {_RULES[full.rule]}."
    return f"No room at {place}: {full.missing_mib:,} MiB missing{beside}."


def _barred_words(each: Barred) -> str:
    on = _listed(each.on)
    match each.code:
        case "hosts":
            return f"Not on {on}: `placement.hosts` asks for other labels."
        case "pin":
            return f"Not on {on}: it is pinned elsewhere."
        case "engine":
            return f"Not on {on}: its engine is not there, or has no image for containers."
        case "drained":
            return f"Not on {on}: drained."
        case "kinds":
            return f"Not on {on}: not among `placement.gpus.kinds`."
        case "min_compute":
            return f"Not on {on}: below `placement.gpus.min_compute`."
        case "broken":
            return f"Not on {on}: broken."
        case "refused":
            return f"Not on {on}: {each.detail.rstrip('.')}."
        case "too-large":
            return f"Not on {on}: {show_mib(each.missing_bytes)} missing even if empty."
        case _:
            assert_never(each.code)


def _price_words(price: RungPrice) -> str:
    if not price.fits:
        return "with it, no plan was found for all that is needed"
    parts = []
    if price.fewer:
        parts.append(f"{counted(price.fewer, 'replica')} of it would find no place")
    if price.left_out:
        names = [f"{n} of {name}" for name, n in price.left_out.items()]
        parts.append(f"{_listed(names)} would be left out")
    for name, variant in list(price.lower.items())[:_MOST_LISTED]:
        parts.append(f"{name} would run as {variant}")
    if price.moves:
        parts.append(f"{counted(price.moves, 'more replica')} would move")
    if price.less_room:
        parts.append(f"{_listed(price.less_room)} would have less than half of their room")
    if not parts:
        return "with it, all would still find a place"
    return f"with it, {', '.join(parts)}"


def _idle_words(reasons: Reasons, idle: Idle) -> str:
    n = reasons.concurrency
    stand = "stands" if len(idle.gpus) == 1 else "stand"
    return (
        f"{_listed([folded(idle.gpus)])} {stand} idle, and its poorest replica has room for "
        f"{_requests(idle.room_permille, n)} of {n:,} requests."
    )


def _use_words(reasons: Reasons, use: IdleUse) -> str:
    n = reasons.concurrency
    holds = f"would hold {_requests(use.room_permille, n)} of {n:,} requests."
    match use.code:
        case "tensor_parallel":
            return f"`placement: {{gpus: {{tensor_parallel: [{use.value}]}}}}` {holds}"
        case "rule":
            return f"`placement` without its `{use.value}` {holds}"
        case "consolidate":
            return f"`policy: {{consolidate: true}}` {holds}"
        case _:
            assert_never(use.code)


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_MOST_LISTED])
    if len(names) > _MOST_LISTED:
        shown.append(f"{len(names) - _MOST_LISTED} more")
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
