"""compiled/ changes as one: modelc's own files in it are exchanged, and all others stay.

A new tree is built in a work folder beside the old one, with whatever is not modelc's carried over,
and exchanged with it, so that whoever looks sees one or the other. What a manifest lists with the
digest that the file has is modelc's own. A listed file that has another digest was edited by hand,
and is kept; a file that no manifest lists is never replaced.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from compiler.ir.artifact import Artifact
from compiler.ir.manifest import KeptFiles
from compiler.workspace.reading import failure, shown_path
from compiler.workspace.saving import exclusive, sync_folder, umask, write_through
from compiler.workspace.standing import (
    ASIDE,
    WORK_MARKER,
    WORK_TEXT,
    Standing,
    is_as_listed,
    look,
    standing,
    work_folders,
    work_prefix,
)

# What a file that was edited by hand is called when another one takes its place. No tool that reads
# folders of compiled/ (systemd, podman, a shell's *.sh) takes a file of this name.
EDITED = ".edited"

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carried:
    """What of the old tree comes into the new one: the path there, by the path here."""

    files: dict[str, str]
    folders: frozenset[str]
    kept: KeptFiles


def write_artifacts(compiled: Path, artifacts: tuple[Artifact, ...]) -> KeptFiles:
    """Makes compiled/ hold these artifacts and the files that modelc does not own, as one change.

    Gives what was edited by hand. Raises CompileError, with compiled/ as it was, when that cannot
    be done.
    """
    try:
        _refuse_unsafe(compiled)
        compiled.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(compiled.parent):
            _recover(compiled)
            for left in work_folders(compiled):
                _clear(left)
            old = look(compiled)
            carried = _carried(compiled, old, artifacts)
            with _work_folder(compiled) as work:
                new = work / "new"
                _build(new, artifacts, compiled, old, carried)
                strays = _exchange(new, compiled, old)
        return KeptFiles(
            folder=shown_path(compiled),
            moved=carried.kept.moved,
            left=carried.kept.left,
            strays=strays,
        )
    except OSError as error:
        where = f" `{shown_path(Path(error.filename))}`" if error.filename else ""
        detail = (
            f"Writing{where} failed: {error.strerror or error}. The old files stay as they are."
        )
        raise failure("write-failed", detail) from None


def _refuse_unsafe(compiled: Path) -> None:
    """Nothing but a folder of its own can be exchanged for another one."""
    if compiled.is_symlink():
        raise failure(
            "unsafe-path",
            f"`{shown_path(compiled)}` is a symbolic link.",
            "Replace it by a real folder or file.",
        )
    if os.path.lexists(compiled) and not compiled.is_dir():
        raise failure(
            "unsafe-path",
            f"`{shown_path(compiled)}` is not a folder.",
            "Replace it by a real folder or file.",
        )
    if Path.cwd().is_relative_to(compiled.resolve()):
        raise failure(
            "unsafe-path",
            f"`{shown_path(compiled)}` holds the current folder, which a write would take away.",
            "Run modelc from another folder, or write to another one with `--out`.",
        )


def _recover(compiled: Path) -> None:
    """Brings the old tree back if a write was killed between its two renames."""
    found = standing(compiled)
    if found != compiled:
        found.rename(compiled)


def _carried(compiled: Path, old: Standing, artifacts: tuple[Artifact, ...]) -> _Carried:
    """What stays of the old tree; raises CompileError for what is in the way of an artifact."""
    new = {artifact.path: artifact for artifact in artifacts}
    needed = {folder for path in new for folder in _parents(path)}
    files: dict[str, str] = {}
    moved: list[tuple[str, str]] = []
    left: list[str] = []
    shared: set[str] = set()
    for path, found in old.files.items():
        if is_as_listed(compiled, path, old) or _is_artifact(compiled, path, old, new):
            shared.update(_parents(path))
            continue
        listed = path in old.listed and stat.S_ISREG(found.st_mode)
        if listed and path in new:
            name = _beside(compiled, path, old, new)
            moved.append((path, name))
            files[path] = name
            shared.update(_parents(path))
        elif path in new or path in needed or not new.keys().isdisjoint(_parents(path)):
            raise failure(
                "unsafe-path",
                f"`{shown_path(compiled / path)}` is not listed in a MANIFEST, and modelc would "
                "overwrite it.",
                "Bring the MANIFEST back with git if it is lost, or else move the file away.",
            )
        else:
            files[path] = path
            left += [path] if listed else []
    folders = old.folders.keys() - shared
    for path in sorted(folders):
        if path in new or not new.keys().isdisjoint(_parents(path)):
            raise failure(
                "unsafe-path",
                f"`{shown_path(compiled / path)}` is a folder that modelc did not make, in the "
                "way of a file.",
                "Move it away, or write to another folder with `--out`.",
            )
    return _Carried(
        files=files,
        folders=frozenset(folders),
        kept=KeptFiles(folder="", moved=tuple(moved), left=tuple(left), strays=()),
    )


def _is_artifact(compiled: Path, path: str, old: Standing, new: dict[str, Artifact]) -> bool:
    """Whether a file is there to the byte: it is ours, and the manifest that says so is lost."""
    artifact = new.get(path)
    if artifact is None or not stat.S_ISREG(old.files[path].st_mode):
        return False
    text = artifact.text.encode()
    return len(text) == old.files[path].st_size and (compiled / path).read_bytes() == text


def _beside(compiled: Path, path: str, old: Standing, new: dict[str, Artifact]) -> str:
    """A free name for an edited file; the one under which the same edit is kept already."""
    content = (compiled / path).read_bytes()
    names = (f"{path}{EDITED}{f'-{n}' if n else ''}" for n in (0, *range(2, 1 << 20)))
    for name in names:
        found = old.files.get(name)
        if found is None and name not in old.folders and name not in new:
            return name
        same = found and stat.S_ISREG(found.st_mode) and found.st_size == len(content)
        if same and (compiled / name).read_bytes() == content:
            return name
    raise AssertionError(path)


def _parents(path: str) -> list[str]:
    return [parent.as_posix() for parent in PurePosixPath(path).parents][:-1]


@contextlib.contextmanager
def _work_folder(compiled: Path) -> Iterator[Path]:
    """A folder beside compiled/ for one write."""
    work = Path(tempfile.mkdtemp(prefix=work_prefix(compiled), dir=compiled.parent))
    try:
        (work / WORK_MARKER).write_text(WORK_TEXT, "utf-8")
        yield work
    finally:
        # Without its marker it holds what came into the old tree during the write.
        if (work / WORK_MARKER).exists():
            _clear(work)


def _clear(work: Path) -> None:
    """Removes a work folder, its marker last, so that the rest is still ours if we are killed."""
    for path in work.iterdir():
        if path.name != WORK_MARKER:
            shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        (work / WORK_MARKER).unlink(missing_ok=True)
        work.rmdir()


def _build(
    new: Path, artifacts: tuple[Artifact, ...], compiled: Path, old: Standing, carried: _Carried
) -> None:
    new.mkdir()
    for artifact in artifacts:
        target = new / artifact.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_artifact(target, artifact)
    for path in sorted(carried.folders):
        (new / path).mkdir(parents=True, exist_ok=True)
    for path, name in carried.files.items():
        target = new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            _carry(compiled / path, target, old.files[path])
    for place, _, _ in os.walk(new, topdown=False):
        folder = Path(place)
        path = folder.relative_to(new).as_posix()
        sync_folder(folder)
        if path in carried.folders:
            _as_before(compiled / path, folder, old.folders[path])
        elif path in old.folders or (path == "." and compiled.is_dir()):
            folder.chmod((compiled / path).stat().st_mode & 0o7777)


def _write_artifact(path: Path, artifact: Artifact) -> None:
    with path.open("wb") as file:
        write_through(file.fileno(), artifact.text)
    path.chmod((0o777 if artifact.executable else 0o666) & ~umask())


def _carry(old: Path, new: Path, found: os.stat_result) -> None:
    """The very same file in both trees, or a copy where the file system has no links."""
    try:
        new.hardlink_to(old)
    except OSError:
        if not stat.S_ISREG(found.st_mode):
            raise
        shutil.copy2(old, new)
        _own(new, found)


def _as_before(old: Path, new: Path, found: os.stat_result) -> None:
    """A folder of somebody else's: mode, owner, times and what else the system knows of it."""
    shutil.copystat(old, new)
    _own(new, found)


def _own(path: Path, before: os.stat_result) -> None:
    now = path.stat()
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        os.chown(path, before.st_uid, before.st_gid)


def _exchange(new: Path, compiled: Path, old: Standing) -> tuple[str, ...]:
    """Puts the new tree in the old one's place, and takes the old one apart."""
    if not os.path.lexists(compiled):
        new.rename(compiled)
        sync_folder(compiled.parent)
        return ()
    aside = new
    if not _rename_exchange(new, compiled):
        aside = new.parent / ASIDE
        compiled.rename(aside)
        try:
            new.rename(compiled)
        except OSError:
            aside.rename(compiled)
            raise
    sync_folder(compiled.parent)
    return _take_apart(aside, old)


def _rename_exchange(new: Path, old: Path) -> bool:
    """Linux's renameat2 exchanges two folders at once; False where there is no such thing."""
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "renameat2", None)
    if call is None:
        return False
    done = call(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE)
    return bool(done == 0)


def _take_apart(aside: Path, old: Standing) -> tuple[str, ...]:
    """Removes the old tree but what came into it, or was changed in it, since it was looked at."""
    strays = []
    for place, folders, files in os.walk(aside, topdown=False):
        folder = Path(place)
        # Removing needs the right to write, which somebody's folder may not give.
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
        for path in (folder / name for name in files):
            if _is_seen(path, old.files.get(path.relative_to(aside).as_posix())):
                # What cannot be removed now is removed by the next write.
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                strays.append(path)
        for path in (folder / name for name in folders):
            if path.is_symlink():
                strays.append(path)
                continue
            # A folder that holds a stray stays with it.
            with contextlib.suppress(OSError):
                path.rmdir()
    if strays:
        (aside.parent / WORK_MARKER).unlink()
    return tuple(map(shown_path, sorted(strays)))


def _is_seen(path: Path, before: os.stat_result | None) -> bool:
    now = path.lstat()
    if before is None or (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
        return False
    # With a second link the file lives on in the new tree, whatever is in it by now.
    changed = (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
    return now.st_nlink > 1 or not changed
