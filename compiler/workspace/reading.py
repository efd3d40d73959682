"""Input files: text, of a size that can be, and never a pipe that is waited for."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from compiler.diagnostics import CompileError, Diagnostic, Location
from compiler.ir.textfile import TextFile

# No input of modelc comes near this; a larger file is something else.
MAX_FILE_BYTES = 64 << 20


def resource_dir(name: str) -> Path:
    """The folder of schemas or templates: inside the package if installed, else beside it."""
    package = Path(__file__).resolve().parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def read_text(path: Path, *, pipe: bool = False) -> TextFile:
    """One input file; raises CompileError when it is missing, unreadable, too large or not text.

    Only where the user names the file himself may it be a pipe, such as `<(...)` of a shell: one
    that lies in a folder would be waited for without end.
    """
    shown = shown_path(path)
    try:
        data = read_bytes(path, pipe=pipe)
    except FileNotFoundError:
        raise failure("file-missing", f"There is no `{shown}`.", _missing_hint(path)) from None
    except OSError as error:
        raise failure("file-unreadable", f"`{shown}`: {error.strerror or error}.") from None
    if len(data) > MAX_FILE_BYTES:
        raise failure("file-too-large", f"`{shown}` is over {MAX_FILE_BYTES >> 20} MiB.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.object` is what was decoded: a byte order mark at the start is not part of it.
        *earlier, last = error.object[: error.start].split(b"\n")
        place = Location(shown, len(earlier) + 1, len(last.decode()) + 1)
        detail = f"`{shown}` is not UTF-8 text."
        raise CompileError(
            [Diagnostic(code="file-unreadable", detail=detail, location=place)]
        ) from None
    return TextFile(path=shown, text=text)


def read_optional(path: Path, *, pipe: bool = False) -> TextFile | None:
    """One input file, or None when there is none."""
    try:
        return read_text(path, pipe=pipe)
    except CompileError as error:
        if [fault.code for fault in error.diagnostics] == ["file-missing"]:
            return None
        raise


def read_bytes(path: Path, *, pipe: bool = False) -> bytes:
    """The content of a file up to one byte beyond MAX_FILE_BYTES; OSError if it is none."""
    # Without O_NONBLOCK the open itself waits for somebody who writes into the pipe.
    handle = os.open(
        path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (0 if pipe else os.O_NONBLOCK)
    )
    with os.fdopen(handle, "rb") as file:
        if not pipe and not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(0, "This is no file but a folder, a pipe or a device", str(path))
        return file.read(MAX_FILE_BYTES + 1)


def shown_path(path: Path) -> str:
    """The path as the user would write it: relative to here when it is below here.

    Of a link it is the link's own name and not where it leads.
    """
    with contextlib.suppress(ValueError, OSError):
        return (path.parent.resolve() / path.name).relative_to(Path.cwd()).as_posix()
    return str(path)


def failure(code: str, detail: str, *hints: str) -> CompileError:
    """One fault of the user's tree, to be raised."""
    return CompileError([Diagnostic(code=code, detail=detail, hints=hints)])


def _missing_hint(path: Path) -> str:
    if path.name == "modelc.lock":
        return "Run `modelc lock` to write it."
    if path.name not in {"inventory.yaml", "models.yaml"}:
        return "Write the path of a file that is there."
    return "Name the folder that holds inventory.yaml and models.yaml; `modelc init` begins one."
