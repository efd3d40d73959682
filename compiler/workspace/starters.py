"""The starter files of `modelc init`: put where there is none of that name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from compiler.engines.registry import engine_names, traits_of
from compiler.ir.inventory import CONTAINER_TARGETS, Target
from compiler.workspace.reading import failure, resource_dir, shown_path
from compiler.workspace.revision import checkout_top

# GitHub and pre-commit look for these at the top of the repository, wherever the fleet lies in it.
_OF_THE_REPOSITORY = (".github", ".pre-commit-config.yaml", "renovate.json")

# What a workflow, a regular expression and a shell all read as it stands.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(/[A-Za-z0-9_][A-Za-z0-9_-]*)*")


def write_starters(folder: Path, target: Target) -> tuple[list[str], list[str]]:
    """Puts the starter files into a folder: those written, and those left as they were.

    The workflow and the hooks go to the top of the repository that the folder lies in. A file that
    is there is never touched. Raises CompileError when one cannot be written.
    """
    top = checkout_top(folder) or folder
    inside = folder.absolute().resolve().relative_to(top.absolute().resolve()).as_posix()
    if inside != "." and not _PLAIN.fullmatch(inside):
        raise failure(
            "unsafe-path",
            f"`{inside}` has signs in it that the workflow and the hooks would read as their own.",
            "Name the folder with letters, digits, `-` and `_`.",
        )
    values = {
        "@FOLDER@": inside,
        "@NAME@": "modelc" if inside == "." else f"modelc {inside}",
        "@WORKFLOW@": _workflow("modelc.yaml", inside),
        "@PREFIX@": "" if inside == "." else f"{inside}/",
        "@TARGET@": f"{target:8}",
        "@ENGINES@": "\n".join(_engine_lines(target)),
    }
    source = resource_dir("templates") / "init"
    written, left = [], []
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        relative = path.relative_to(source)
        place = _place(relative, folder, top, inside)
        text = path.read_text("utf-8")
        for name, value in values.items():
            text = text.replace(name, value)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # Mode x refuses whatever has this name, a broken link included.
            with place.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            left.append(_named(place, folder))
        except OSError as error:
            detail = f"`{shown_path(place)}`: {error.strerror}."
            raise failure("write-failed", detail) from None
        else:
            written.append(_named(place, folder))
    return written, left


def _engine_lines(target: Target) -> Iterator[str]:
    """The newest version of every engine, with its image for containers or its program."""
    for name in engine_names():
        traits = traits_of(name)
        image = f'image: "{traits.image_of(traits.newest)}"'
        where = image if target in CONTAINER_TARGETS else f"bin: {traits.usual_bin}"
        yield f"    {name}: {{{traits.version_key}: {traits.newest}, {where}}}"


def _place(relative: Path, folder: Path, top: Path, inside: str) -> Path:
    if relative.parts[0] not in _OF_THE_REPOSITORY:
        return folder / relative
    if relative.parts[0] == ".github" and inside != ".":
        relative = relative.with_name(_workflow(relative.name, inside))
    # As the user has written the folder, where it is the top itself.
    return (folder if inside == "." else top) / relative


def _workflow(name: str, inside: str) -> str:
    """Each fleet of a repository has workflows of its own."""
    if inside == ".":
        return name
    path = PurePosixPath(name)
    return f"{path.stem}-{inside.replace('/', '-')}{path.suffix}"


def _named(path: Path, folder: Path) -> str:
    return path.as_posix() if path.is_relative_to(folder) else shown_path(path)
