"""The memory law of llama.cpp against libllama itself, on GPUs that are not there.

    python benchmarks/oracle.py [--quick] [--seed N] [--draws N] [--version V] [--build BUILD]

builds llama.cpp from the source distribution of llama-cpp-python (once, some 10 minutes), asks
libllama what it allocates for a grid of models, flags and GPUs and for random draws beside it, and
prints for each architecture how many devices the law knows exactly, within 1 MiB, or not. A new
llama.cpp is a matter of another --version. Exit status 1: the law is off where it says it is exact.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from compiler.engines.llamacpp.flags.builds import STUDIED_BUILD, Build, parse_build  # noqa: E402
from compiler.engines.llamacpp.model.architectures import with_trait  # noqa: E402
from compiler.ir.units import MIB  # noqa: E402
from tests.oracle import cases, compare, llamacpp_build, probe  # noqa: E402
from tests.oracle.compare import Row  # noqa: E402
from tests.oracle.probe import Case  # noqa: E402

KINDS = ("exact", "within 1 MiB", "off")


def main() -> int:
    """Print the tables; 1 when a known architecture is off on a GPU."""
    asked = _arguments()
    build = parse_build(asked.build)
    if build is None:
        raise SystemExit(f"`{asked.build}` is no build")
    llamacpp_build.memory_probe(asked.version)
    refused: list[tuple[Case, str]] = []
    with tempfile.TemporaryDirectory(prefix="modelc-oracle-") as name:
        folder = Path(name)
        drawn = cases.draws(folder, count=asked.draws, seed=asked.seed)
        sections = {
            "flags": _law(cases.grid(folder, quick=asked.quick), folder, build, asked, refused),
            f"random draws, seed {asked.seed}": _law(drawn, folder, build, asked, refused),
            "demands of the engine": _demands(folder, build, asked, refused),
        }
        # In this order: the grid writes the models' files.
        found = {title: _report(title, rows, asked.misses) for title, rows in sections.items()}
    _report_refused(refused)
    off = [row for row in chain(*found.values()) if row.kind == "off" and row.device != "host"]
    return 1 if any(row.arch in with_trait("exact") for row in off) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one flag set a model: two minutes")
    parser.add_argument("--seed", type=int, default=1, help="of the random draws")
    parser.add_argument("--draws", type=int, help="how many random cases")
    parser.add_argument("--version", default=llamacpp_build.VERSION, help="of llama-cpp-python")
    parser.add_argument("--build", default=f"b{STUDIED_BUILD}", help="as the law is to take it")
    parser.add_argument("--misses", type=int, default=3, help="shown in full, an architecture")
    asked = parser.parse_args()
    if asked.draws is None:
        asked.draws = 150 if asked.quick else 1500
    return asked


def _law(
    asked_cases: Iterable[Case],
    folder: Path,
    build: Build,
    asked: argparse.Namespace,
    refused: list[tuple[Case, str]],
) -> Iterator[Row]:
    for case, answer in probe.ask(asked_cases, folder, asked.version):
        if answer.error:
            refused.append((case, answer.error))
            continue
        if compare.attention(case, answer) != case.options.flash_attention:
            print(
                f"  under auto flash attention is {answer.flash_attention}: {describe(case)}",
                flush=True,
            )
        yield from compare.rows(case, answer, folder, build)


def _demands(
    folder: Path, build: Build, asked: argparse.Namespace, refused: list[tuple[Case, str]]
) -> Iterator[Row]:
    rungs = 0 if asked.quick else 4  # A whole ladder is what takes time.
    demands = list(compare.requests(folder, build, seed=asked.seed, rungs=rungs))
    demands.sort(key=lambda each: each.case.options.gpus)
    answers = probe.ask([each.case for each in demands], folder, asked.version)
    for each, (case, answer) in zip(demands, answers, strict=True):
        if answer.error:
            refused.append((case, answer.error))
        else:
            yield from compare.demand_rows(each, answer)


def _report(title: str, rows: Iterable[Row], misses: int) -> list[Row]:
    """Print one table and the worst misses; gives the rows."""
    started = time.perf_counter()
    found = list(rows)
    print(f"{title}: {len({row.case for row in found})} cases", end="")
    print(f" in {time.perf_counter() - started:.0f} s")
    print(f"{'GPUs':16}" + "".join(f"{kind:>14}" for kind in KINDS), end="")
    print(f"{'out of band':>14}{'host: exact':>16}{'off':>8}")
    for arch in [*sorted({row.arch for row in found}), ""]:
        _print_line(arch, [row for row in found if arch in ("", row.arch)])
    for arch in sorted({row.arch for row in found}):
        for row in _telling([row for row in found if row.arch == arch and row.error], misses):
            print(_miss(row))
    print(flush=True)
    return found


def _print_line(arch: str, rows: list[Row]) -> None:
    gpus = [row for row in rows if row.device != "host"]
    count = Counter(row.kind for row in gpus)
    host = Counter(row.kind for row in rows if row.device == "host")
    line = f"{arch or 'all':16}" + "".join(f"{count[kind]:14}" for kind in KINDS)
    outside = sum(not row.in_band for row in gpus)
    print(f"{line}{outside:14}{host['exact']:16}{host['within 1 MiB'] + host['off']:8}")


def _telling(missed: list[Row], count: int) -> list[Row]:
    """The worst miss, and those under the fewest flags; GPUs before the host."""
    plainest = sorted(missed, key=lambda row: (row.device == "host", len(describe(row.case))))
    worst = sorted(missed, key=lambda row: -row.error)
    return list(dict.fromkeys((*worst[:1], *plainest)))[:count]


def _miss(row: Row) -> str:
    differences = [
        f"{name} {ours:,} for {theirs:,} ({(ours - theirs) / MIB:+.2f} MiB)"
        for name, ours, theirs in (
            ("weights", row.ours.weights, row.theirs.weights),
            ("cache", row.ours.cache, row.theirs.cache),
            ("compute", row.ours.compute, row.theirs.compute),
        )
        if ours != theirs
    ]
    return f"  {row.arch} {describe(row.case)} {row.device}: {'; '.join(differences)}"


def describe(case: Case) -> str:
    """A case in llama-server's words, as far as it differs from the plainest one."""
    options = case.options
    words = [case.file_name.removesuffix(".gguf")]
    words += [f"-c {options.cells} -np {options.slots} -b {options.batch} -ub {options.ubatch}"]
    words += [f"gpus={options.gpus} -ngl {options.gpu_layers}" if options.gpus else "no GPU"]
    words += ["-kvu"] if options.unified else []
    words += [f"-fa {case.flash}"] if case.flash != "on" else []
    words += [f"-ts {','.join(map(str, options.tensor_split))}"] if options.tensor_split else []
    words += [f"-sm none -mg {options.main_gpu}"] if options.split_mode == "none" else []
    if (options.cache_type_k, options.cache_type_v) != ("f16", "f16"):
        words.append(f"-ctk {options.cache_type_k} -ctv {options.cache_type_v}")
    words += ["--swa-full"] if options.sliding_full else []
    words += [] if options.kv_on_gpu else ["-nkvo"]
    words += [] if options.op_offload else ["--no-op-offload"]
    words += ["--cpu-moe"] if options.moves.cpu_moe else []
    layers = options.moves.cpu_moe_layers
    words += [f"--n-cpu-moe {layers}"] if layers else []
    words += [f"-ot {rule.pattern}=CPU" for rule in options.moves.overrides]
    words += [options.mode] if options.mode != "generate" else []
    words += ["mmap"] if options.memory_map else []
    words += [f"cc={case.compute}"] if case.compute != 89 else []
    return " ".join(words)


def _report_refused(refused: list[tuple[Case, str]]) -> None:
    """Why libllama refuses some cases: mostly shapes that lack what it asks for."""
    print(f"refused by libllama: {len(refused)} cases")
    reasons = Counter((case.model, error[:150]) for case, error in refused)
    for (model, error), count in reasons.most_common(25):
        print(f"  {count:5} x {model}: {error}")
    for case, error in refused[:3]:
        print(f"  such as {describe(case)}: {error[:150]}")


if __name__ == "__main__":
    sys.exit(main())
