"""Times the GGUF header walk beside other readers, on a header with 150,000 tokens and merges.

    python benchmarks/gguf_header.py [--node-modules FOLDER]

Each reader runs in a process of its own: CPU seconds of the reading alone (imports are done before)
and the peak memory that it adds. `FOLDER` is where `npm install @huggingface/gguf` put its modules.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TOKENS = 150_000

PYTHON = """
import resource, sys, time
from pathlib import Path
{imports}
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
{read}
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

READERS = {
    "modelc": (
        """
from compiler.resolve.gguf import read_gguf
from compiler.resolve.gguf_facts import gguf_facts
from compiler.resolve.ranges import LocalFile
""",
        "gguf_facts([read_gguf(LocalFile(path, path.name))])",
    ),
    "gguf.GGUFReader": ("from gguf import GGUFReader", "GGUFReader(path)"),
}

# Its CPU time includes the just-in-time compiler's; the module is loaded before.
NODE = """
const { gguf } = await import(process.argv[1]);
const rss = process.memoryUsage().rss, start = process.cpuUsage();
await gguf(process.argv[2], { allowLocalFile: true });
const used = process.cpuUsage(start);
console.log((used.user + used.system) / 1e6, (process.resourceUsage().maxRSS - rss / 1024) | 0);
"""


def write_model(folder: Path) -> Path:
    """A small llama with a vocabulary of the size that current models have."""
    from tests.generators.models import llama_tensors, llama_values, write_gguf

    values = llama_values(
        **{
            "tokenizer.ggml.tokens": [f"token{number:06}" for number in range(TOKENS)],
            "tokenizer.ggml.scores": [0.0] * TOKENS,
            "tokenizer.ggml.token_type": [1] * TOKENS,
            "tokenizer.ggml.merges": [f"to{number % 999} ken" for number in range(TOKENS)],
        }
    )
    return write_gguf(folder / "large.gguf", values, llama_tensors())


def measured(command: list[str]) -> tuple[float, float]:
    """CPU seconds and MiB added, the best of three runs."""
    runs = []
    for _ in range(3):
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT, env=_environment()
        )
        seconds, kib = done.stdout.split()
        runs.append((float(seconds), float(kib) / 1024))
    return min(runs)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def main() -> None:
    """Print one line a reader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node-modules", type=Path)
    modules = parser.parse_args().node_modules
    with tempfile.TemporaryDirectory() as folder:
        path = write_model(Path(folder))
        print(f"header of {path.stat().st_size / 1e6:.1f} MB, {TOKENS:,} tokens and merges")
        commands = {
            name: [sys.executable, "-c", PYTHON.format(imports=imports, read=read), str(path)]
            for name, (imports, read) in READERS.items()
        }
        node = shutil.which("node")
        if modules is not None and node is not None:
            entry = modules / "@huggingface" / "gguf"
            main_file = json.loads((entry / "package.json").read_text(encoding="utf-8"))["module"]
            script = [
                "--input-type=module",
                "-e",
                NODE,
                str((entry / main_file).resolve()),
                str(path),
            ]
            commands["@huggingface/gguf"] = [node, *script]
        for name, command in commands.items():
            seconds, mib = measured(command)
            print(f"{name:20} {seconds * 1000:10,.0f} ms CPU {mib:8,.0f} MiB")


if __name__ == "__main__":
    main()
