"""Hypothesis strategies: tiny fleets that a brute force can still try in full."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.generators.fleets import TinyFleet, TinyService

SIZES = st.sampled_from([1, 2, 3, 4, 5, 6, 8, 10])


@st.composite
def services(draw: st.DrawFn, name: str, others: tuple[str, ...]) -> TinyService:
    """A service of one or two variants, the second smaller, on one GPU or two."""
    first = draw(SIZES)
    rungs = [first, *([draw(st.integers(1, first))] if draw(st.booleans()) else [])]
    variants = tuple(
        {1: mib, **({2: (mib + 1) // 2} if draw(st.booleans()) else {})} for mib in rungs
    )
    return TinyService(
        name=name,
        variants=variants,
        replicas=draw(st.integers(1, 2)),
        priority=draw(st.sampled_from([10, 50])),
        optional=draw(st.booleans()),
        spread=draw(st.sampled_from([None, "host", "gpu"])),
        apart_from=draw(st.sampled_from([(), (), others[:1]])),
    )


@st.composite
def fleets(draw: st.DrawFn) -> TinyFleet:
    """One or two hosts of one or two GPUs, and up to three services."""
    budgets = st.sampled_from([4, 6, 8, 10])
    hosts = {
        f"h{number}": tuple(draw(st.lists(budgets, min_size=1, max_size=2)))
        for number in range(draw(st.integers(1, 2)))
    }
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    return TinyFleet(
        hosts=hosts,
        services=tuple(
            draw(services(name, tuple(other for other in names if other != name))) for name in names
        ),
    )
