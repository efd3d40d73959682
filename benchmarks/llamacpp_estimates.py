"""How long the memory law of llama.cpp takes for a fleet: 200 variants on 6 kinds of GPU.

    python benchmarks/llamacpp_estimates.py [--offload none|auto]

The variants are the published GGUF models of the tests under contexts and numbers of requests that
are drawn with a fixed seed. Prints CPU seconds in all, and the slowest single answer.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from compiler.engines.registry import engine_of, traits_of  # noqa: E402
from compiler.ir.catalog import builtin_kinds  # noqa: E402
from compiler.ir.demand import Request, Site  # noqa: E402
from tests.generators.published import locked, sources  # noqa: E402

VARIANTS = 200
KINDS = ("rtx-4090", "rtx-3090", "l40s", "a100-sxm-80gb", "h100-sxm", "t4")
CONTEXTS = (2048, 4096, 8192, 16384, 32768)
CONCURRENCIES = (1, 2, 4, 8)


def main() -> None:
    """Time every variant on every kind, one after another."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--offload", choices=("none", "auto"), default="none")
    offload = parser.parse_args().offload
    models = [locked(source).facts for source in sources() if "gguf" in source.lower()]
    drawn = random.Random(1)  # noqa: S311  A fixed draw of work to time.
    requests = [
        Request(
            engine="llama.cpp",
            version=traits_of("llama.cpp").newest,
            facts=facts,
            task=facts.task,
            context=drawn.choice(CONTEXTS),
            concurrency=drawn.choice(CONCURRENCIES),
            offload=offload,
        )
        for _, facts in zip(range(VARIANTS), (models * VARIANTS), strict=False)
    ]
    catalog = builtin_kinds()
    engine = engine_of("llama.cpp")
    times: list[tuple[float, str]] = []
    for request in requests:
        for name in KINDS:
            kind = catalog[name]
            start = time.process_time()
            engine.demands(request, Site(kinds=(kind,), budgets_bytes=(kind.memory_bytes,)))
            times.append((time.process_time() - start, request.facts.architecture))
    total = sum(seconds for seconds, _ in times)
    slowest, architecture = max(times)
    print(f"{len(models)} models, {VARIANTS} variants, {len(KINDS)} kinds, offload {offload}")
    print(f"in all {total:.2f} s CPU; slowest {slowest * 1000:.0f} ms ({architecture})")


if __name__ == "__main__":
    main()
