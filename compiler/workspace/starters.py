"""The starter files of `modelc init`: put where there is none of that name."""

from __future__ import annotations

from pathlib import Path

from compiler.workspace.reading import failure, resource_dir, shown_path


def write_starters(folder: Path) -> tuple[list[str], list[str]]:
    """Puts the starter files into a folder: those written, and those left as they were.

    A file that is there is never touched.
    """
    source = resource_dir("templates") / "init"
    written, left = [], []
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        target = folder / path.relative_to(source)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # Mode x refuses whatever has this name, a broken link included.
            with target.open("x", encoding="utf-8", newline="\n") as file:
                file.write(path.read_text("utf-8"))
        except FileExistsError:
            left.append(target.as_posix())
        except OSError as error:
            detail = f"`{shown_path(target)}`: {error.strerror}."
            raise failure("write-failed", detail) from None
        else:
            written.append(target.as_posix())
    return written, left
