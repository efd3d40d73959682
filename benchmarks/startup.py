"""Prints what commands cost as whole processes: CPU and wall time, the best of several runs.

Called as `python benchmarks/startup.py [runs]`.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELC = (sys.executable, "-m", "compiler")


def main(n_runs: int) -> None:
    """Print one line a command."""
    with tempfile.TemporaryDirectory() as scratch:
        out = ("--out", f"{scratch}/compiled", "--previous", "none")
        examples = sorted(path.parent.name for path in ROOT.glob("inventories/*/models.yaml"))
        commands = {
            "python -c pass": (sys.executable, "-c", "pass"),
            "modelc --help": (*MODELC, "--help"),
            **{f"compile {name}": (*MODELC, "compile", f"inventories/{name}", *out)
               for name in examples},
        }  # fmt: skip
        print(f"{'command':24} {'CPU ms':>8} {'wall ms':>8}")
        for name, command in commands.items():
            figures = [measure(command) for _ in range(n_runs)]
            cpu, wall = (min(column) for column in zip(*figures, strict=True))
            print(f"{name:24} {cpu:8.0f} {wall:8.0f}")


def measure(command: tuple[str, ...]) -> tuple[float, float]:
    """CPU and wall milliseconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * cpu, 1000 * wall


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
