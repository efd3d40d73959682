"""Source trees of many llama.cpp builds: the npm package node-llama-cpp carries one each.

A release of node-llama-cpp holds the tree of a tagged llama.cpp as a git bundle
(`llama/gitRelease.bundle`) and says which tag it is (`llama/llama.cpp.info.json`). From August 2026
on llama.cpp also tags releases; the build that a release is, is what its `--version` prints.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.oracle import llamacpp_build
from tests.oracle.llamacpp_build import folder

# The source that the memory law transcribes, 0c1e57098 of 2026-10-01, as its `--version` prints.
STUDIED = 11312

# Build of llama.cpp: release of node-llama-cpp, and its tag where that is not the build.
RELEASES = {
    3889: ("3.1.1", "b3889"),
    3995: ("3.2.0", "b3995"),
    4234: ("3.3.0", "b4234"),
    4291: ("3.3.2", "b4291"),
    4529: ("3.4.1", "b4529"),
    4600: ("3.5.0", "b4600"),
    4753: ("3.6.0", "b4753"),
    4980: ("3.7.0", "b4980"),
    5415: ("3.8.1", "b5415"),
    5590: ("3.9.0", "b5590"),
    5640: ("3.10.0", "b5640"),
    6122: ("3.12.0", "b6122"),
    6301: ("3.12.4", "b6301"),
    6431: ("3.13.0", "b6431"),
    6673: ("3.14.0", "b6673"),
    6845: ("3.14.2", "b6845"),
    7324: ("3.14.4", "b7324"),
    7347: ("3.14.5", "b7347"),
    7698: ("3.15.0", "b7698"),
    7836: ("3.15.1", "b7836"),
    8095: ("3.16.0", "b8095"),
    8179: ("3.17.1", "b8179"),
    8352: ("3.18.0", "b8352"),
    8390: ("3.18.1", "b8390"),
    9842: ("3.19.0", "b9842"),
    10068: ("3.19.1", "b10068"),
    10361: ("3.20.0", "b10361"),
    10809: ("3.21.1", "v0.4.0"),
    11146: ("3.22.1", "v0.5.0"),
}


def source(build: int) -> Path:
    """The source tree of a build, fetched if it is not in the cache."""
    if build == STUDIED:
        return llamacpp_build.source()
    result = folder(f"b{build}") / "source"
    if not result.exists():
        result.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=result.parent) as partial:
            tree = Path(partial) / "source"
            fetch(build, tree)
            tree.rename(result)  # Last, so that an interrupted call leaves no half of a tree.
    return result


def fetch(build: int, tree: Path) -> None:
    """Writes the source tree of a build to a folder that is not there yet."""
    release, tag = RELEASES[build]
    with TemporaryDirectory() as temporary:
        packed = Path(temporary)
        _run("npm", "pack", "--silent", f"node-llama-cpp@{release}", "--pack-destination", packed)
        (archive,) = packed.glob("*.tgz")
        with tarfile.open(archive) as tar:
            tar.extractall(packed, filter="data")
        llama = packed / "package" / "llama"
        info = json.loads((llama / "llama.cpp.info.json").read_text(encoding="utf-8"))
        if info["tag"] != tag:
            raise ValueError(f"node-llama-cpp {release} carries {info['tag']}, not {tag}")
        _run("git", "clone", "--quiet", llama / "gitRelease.bundle", tree)
    shutil.rmtree(tree / ".git")


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
