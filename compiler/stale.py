"""What a compile would change in compiled/: one diagnostic for all files, by what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from compiler.diagnostics import Diagnostic, Group, Severity
from compiler.ir.artifact import Artifact
from compiler.ir.manifest import KeptFiles, WrittenTree
from compiler.ir.plan import digest

State = Literal["outdated", "edited", "missing", "not-executable", "left-over", "foreign"]

_TITLES: dict[State, str] = {
    "outdated": "not what the sources give",
    "edited": "changed by hand",
    "missing": "missing",
    "not-executable": "not executable",
    "left-over": "no longer part of the plan",
    "foreign": "not written by modelc, and in its way",
}


def stale_output(tree: WrittenTree, artifacts: tuple[Artifact, ...]) -> list[Diagnostic]:
    """How compiled/ differs from the artifacts: nothing, or a diagnostic that lists every file."""
    states = dict(_states(tree, artifacts))
    if not states:
        return []
    groups = tuple(
        Group(title=title, names=tuple(f"{tree.folder}/{path}" for path in paths))
        for state, title in _TITLES.items()
        if (paths := sorted(path for path, found in states.items() if found == state))
    )
    files = "1 file" if len(states) == 1 else f"{len(states):,} files"
    return [
        Diagnostic(
            code="edited-output" if set(states.values()) == {"edited"} else "stale-output",
            detail=f"A compile would change {files} in `{tree.folder}`.",
            hints=tuple(_hints(set(states.values()))),
            groups=groups,
        )
    ]


def kept_files(kept: KeptFiles) -> list[Diagnostic]:
    """What a compile found edited by hand and did not destroy: nothing, or one warning."""
    groups = tuple(
        Group(title=title, names=names)
        for title, names in (
            (
                "replaced, and kept as it was",
                tuple(f"{kept.folder}/{path} -> {kept.folder}/{name}" for path, name in kept.moved),
            ),
            (
                "no longer part of the plan, and left",
                tuple(f"{kept.folder}/{path}" for path in kept.left),
            ),
            ("changed while modelc wrote, and put aside", kept.strays),
        )
        if names
    )
    if not groups:
        return []
    n_files = sum(len(group.names) for group in groups)
    return [
        Diagnostic(
            code="edited-output",
            detail=f"{'1 file' if n_files == 1 else f'{n_files:,} files'} in `{kept.folder}` "
            "changed by hand since modelc wrote there.",
            hints=(
                "Say in inventory.yaml or models.yaml what should stay, and remove these files.",
            ),
            groups=groups,
            severity=Severity.WARNING,
        )
    ]


def _hints(states: set[State]) -> Iterator[str]:
    kept = "; what was changed by hand is kept beside it" if "edited" in states else ""
    yield f"Run `modelc compile` and commit the result{kept}."
    if "foreign" in states:
        yield "Move away first what modelc did not write: it is never overwritten."


def _states(tree: WrittenTree, artifacts: tuple[Artifact, ...]) -> Iterator[tuple[str, State]]:
    for artifact in artifacts:
        state = _state(tree, artifact)
        if state:
            yield artifact.path, state
    expected = {artifact.path for artifact in artifacts}
    for path in tree.owned - expected:
        yield path, "left-over"


def _state(tree: WrittenTree, artifact: Artifact) -> State | None:
    file = tree.files.get(artifact.path)
    if file is None:
        return "missing"
    if file.sha256 == digest(artifact.text):
        return "not-executable" if artifact.executable and not file.executable else None
    if artifact.path not in tree.owned:
        return "foreign"
    # With both sides of a merge in the manifest, git has mixed the files as well.
    listed = tree.listed.get(artifact.path, {file.sha256})
    return "outdated" if file.sha256 in listed or len(listed) > 1 else "edited"
