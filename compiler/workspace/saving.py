"""One file of the user's written as one change: modelc.lock, its draft, inventory.yaml."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compiler.workspace.reading import failure, read_bytes, read_optional, shown_path

# Between the name of the file and eight characters that differ from run to run. A run that is
# killed may leave one such file behind; the next run takes it away.
_MARK = ".modelc-tmp-"


def write_file(path: Path, text: str) -> None:
    """Writes modelc.lock or inventory.yaml as one change; what a link points to, if it is one."""
    path = path.resolve() if path.is_symlink() else path
    try:
        _sweep(path)
        # The lock on it tells a run that sweeps that somebody is still at work.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}{_MARK}", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                write_through(file.fileno(), text)
                temporary.chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~umask())
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        detail = f"`{shown_path(path)}`: {error.strerror}. The old file stays as it is."
        raise failure("write-failed", detail) from None


def write_own(path: Path, text: str) -> None:
    """Writes a file of modelc's own into the user's settings, with the folders on the way."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failure("write-failed", f"`{shown_path(path.parent)}`: {error.strerror}.") from None
    write_file(path, text)


def write_marked(path: Path, text: str, marker: str) -> None:
    """Writes a file that begins with a marker, and never over one that does not.

    Raises CompileError, and leaves what is there, when it is not a file of ours.
    """
    try:
        found = read_bytes(path) if os.path.lexists(path) else None
    except FileNotFoundError:
        found = None
    except OSError as error:
        raise failure("write-failed", f"`{shown_path(path)}`: {error.strerror}.") from None
    if found and not found.startswith(marker.encode()):
        raise failure(
            "unsafe-path",
            f"`{shown_path(path)}` is there, and modelc did not write it.",
            "Move it away, or write elsewhere with `--out`.",
        )
    write_file(path, text)


def replace_file(path: Path, before: str, text: str) -> None:
    """Writes a file that was read as `before`, which is empty where there was none.

    What is there already is not written again. Raises CompileError, and leaves the file as it is,
    when somebody else has written something else since.
    """
    if before == text:
        return
    try:
        with exclusive(path.parent):
            found = read_optional(path)
            now = found.text if found else ""
            if now not in (before, text):
                detail = (
                    f"`{shown_path(path)}` has changed since this run began, and stays as it is."
                )
                raise failure("write-failed", detail, "Run the command again.")
            if now != text:
                write_file(path, text)
    except OSError as error:
        detail = f"`{shown_path(path)}`: {error.strerror}. The old file stays as it is."
        raise failure("write-failed", detail) from None


def remove_file(path: Path) -> None:
    """Takes a file away if it is there, with what killed runs have left of it."""
    try:
        _sweep(path)
        # A folder that is mounted read-only refuses even where there is nothing to remove.
        if os.path.lexists(path):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise failure("write-failed", f"`{shown_path(path)}`: {error.strerror}.") from None


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Only one modelc writes here at a time."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise failure(
                "write-failed", f"Another modelc writes in `{shown_path(folder)}`."
            ) from None
        yield
    finally:
        os.close(handle)


def write_through(handle: int, text: str) -> None:
    """Writes all of a text and waits until the disk has it."""
    left = memoryview(text.encode())
    while left:
        left = left[os.write(handle, left) :]
    os.fsync(handle)


def sync_folder(path: Path) -> None:
    """Waits until the disk has the names of a folder."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def umask() -> int:
    """The mode bits that new files do not get."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sweep(path: Path) -> None:
    """Takes away what killed runs have left of writing this file; not what others still write."""
    ours = re.compile(re.escape(f".{path.name}{_MARK}") + "[a-z0-9_]{8}")
    for left in path.parent.glob(f".*{_MARK}*"):
        if not ours.fullmatch(left.name) or not stat.S_ISREG(left.lstat().st_mode):
            continue
        # One that another user has left, or that is being written, stays.
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink(missing_ok=True)
