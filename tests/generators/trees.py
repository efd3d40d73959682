"""Small trees of artifacts, written as a compile would; light enough for a process of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from compiler.ir.artifact import Artifact
from compiler.ir.manifest import MANIFEST_NAME, KeptFiles, ManifestEntry, manifest_text
from compiler.workspace import write_artifacts

Tree = dict[str, str]

OLD: Tree = {"plan.json": "old plan", "PLAN.md": "old", "h/a.service": "old", "h/b.service": "old"}
NEW: Tree = {"plan.json": "new plan", "PLAN.md": "new", "h/a.service": "new", "g/c.service": "new"}


def artifacts(files: Mapping[str, str]) -> tuple[Artifact, ...]:
    """These files as artifacts, with a manifest for the tree itself and for each host."""
    made = [
        Artifact(path=path, text=text, executable=path.endswith(".sh"), semantic_digest="0" * 64)
        for path, text in files.items()
    ]
    for host in sorted({path.rpartition("/")[0].split("/")[0] for path in files}):
        entries = tuple(
            ManifestEntry(
                path=path.removeprefix(f"{host}/"),
                sha256=hashlib.sha256(text.encode()).hexdigest(),
                semantic_digest="0" * 64,
            )
            for path, text in files.items()
            if path.rpartition("/")[0].split("/")[0] == host
        )
        path = f"{host}/{MANIFEST_NAME}".removeprefix("/")
        made.append(Artifact(path=path, text=manifest_text(entries), semantic_digest="0" * 64))
    return tuple(made)


def write(compiled: Path, files: Mapping[str, str]) -> KeptFiles:
    """Makes the folder hold these files, as a compile does."""
    return write_artifacts(compiled, artifacts(files))


def generation(number: int) -> Tree:
    """A tree of which every file says which one it is."""
    names = ["plan.json", *(f"h{i % 3}/{i}" for i in range(20)), f"h0/only-{number}"]
    return dict.fromkeys(names, str(number))
