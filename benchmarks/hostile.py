"""Throws hostile inputs at modelc: `python -m benchmarks.hostile [KIND...] --count N --first SEED`.

Run by hand; tests/test_hostile.py runs a few of every kind. Each attack is named by its kind and
its seed, so that one that is found can be run again.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.generators.hostile import KINDS, attack, attempt

# A memory explosion ends in MemoryError here, and not with the machine.
_MEMORY_LIMIT = 3 << 30
# A hang in a library's own code, where no exception of ours reaches, ends the run with its place.
_HANG_SECONDS = 120


def main() -> int:
    """Runs the attacks and lists the faults; 1 when there are any."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--count", type=int, default=1000, help="attacks in all")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--at-most", type=int, default=20, help="faults after which it ends")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))
    codes: Counter[tuple[str, int]] = Counter()
    seen: set[str] = set()
    n_faults = 0
    for number in range(options.count):
        kind = options.kinds[number % len(options.kinds)]
        seed = options.first + number // len(options.kinds)
        faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True)
        with tempfile.TemporaryDirectory() as name:
            print(f"{kind} {seed}", end="\r", file=sys.stderr, flush=True)
            outcome = attempt(attack(kind, seed, Path(name)))
        codes[kind, outcome.code] += 1
        if outcome.fault:
            n_faults += 1
            where = outcome.fault.strip()[-400:]
            place = next(
                (line for line in reversed(outcome.fault.split("\n")) if "File" in line), where
            )
            if place not in seen:
                seen.add(place)
                print(f"FAULT {kind} {seed}: {outcome.fault.strip()}\n", flush=True)
            if len(seen) >= options.at_most:
                break
    for (kind, code), count in sorted(codes.items()):
        print(f"{kind:12} exit {code}: {count:,}")
    print(f"{sum(codes.values()):,} attacks, {n_faults} faults of {len(seen)} kinds")
    return 1 if n_faults else 0


if __name__ == "__main__":
    sys.exit(main())
