"""Every read and write of the user's tree: inputs in, compiled/ out as one change."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from compiler.diagnostics import CompileError, Diagnostic, Location
from compiler.ir.artifact import Artifact
from compiler.ir.manifest import (
    MANIFEST_NAME,
    OVERVIEW_NAME,
    PLAN_NAME,
    WrittenFile,
    WrittenTree,
    listed_digests,
)
from compiler.ir.plan import digest
from compiler.ir.textfile import TextFile, conflict_line
from compiler.revision import read_revision

# No input of modelc comes near this; a larger file is something else.
MAX_FILE_BYTES = 64 << 20

COMPILED = "compiled"

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def resource_dir(name: str) -> Path:
    """The folder of schemas or templates: inside the package if installed, else beside it."""
    package = Path(__file__).resolve().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def read_text(path: Path) -> TextFile:
    """One input file; raises CompileError when it is missing, unreadable, too large or not text."""
    shown = _shown(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _error("file-missing", f"There is no `{shown}`.", _missing_hint(path)) from None
    except OSError as error:
        raise _error("file-unreadable", f"`{shown}`: {error.strerror}.") from None
    if len(data) > MAX_FILE_BYTES:
        raise _error("file-too-large", f"`{shown}` is over {MAX_FILE_BYTES >> 20} MiB.")
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


def read_optional(path: Path) -> TextFile | None:
    """One input file, or None when there is none."""
    try:
        return read_text(path)
    except CompileError as error:
        if [fault.code for fault in error.diagnostics] == ["file-missing"]:
            return None
        raise


def read_previous(root: Path, compiled: Path, previous: str | None) -> TextFile | None:
    """The previous plan's text: compiled/plan.json, a file, `git:REV`, or none at all."""
    if previous == "none":
        return None
    if previous is None:
        try:
            return _own_plan(_standing(compiled))
        except OSError as error:
            detail = f"`{_shown(compiled.parent)}`: {error.strerror}."
            raise _error("file-unreadable", detail) from None
    if previous.startswith("git:"):
        # An output that is written elsewhere, to be looked at, is compared with what is committed.
        places = (compiled / PLAN_NAME, root / COMPILED / PLAN_NAME)
        return read_revision(root, places, previous.removeprefix("git:"))
    path = Path(previous)
    if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises for a name that is too long.
        path /= PLAN_NAME
    plan = read_optional(path)
    if plan is None:
        raise _error("previous-missing", f"There is no `{_shown(path)}`.")
    return plan


def _own_plan(compiled: Path) -> TextFile | None:
    """The plan of this tree; raises CompileError when it is not the one that modelc wrote there."""
    plan = read_optional(compiled / PLAN_NAME)
    if plan is None or conflict_line(plan.text):
        return plan
    listed = _listed(compiled, compiled / MANIFEST_NAME).get(PLAN_NAME)
    if listed is None or digest(plan.text) in listed:
        return plan
    raise _error(
        "edited-output",
        f"`{plan.path}` is not the plan that modelc wrote there, and would be taken for what runs.",
        f"Bring it back with git, or say what runs: `--previous git:HEAD`, or `--previous "
        f"{plan.path}` if the file is right as it is.",
    )


def write_file(path: Path, text: str) -> None:
    """Writes modelc.lock or inventory.yaml as one change; what a link points to, if it is one."""
    path = path.resolve() if path.is_symlink() else path
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            _write_plain(temporary, text, executable=False)
            if path.exists():
                temporary.chmod(path.stat().st_mode & 0o7777)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        detail = f"`{_shown(path)}`: {error.strerror}. The old file stays as it is."
        raise _error("write-failed", detail) from None


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
            detail = f"`{_shown(target)}`: {error.strerror}."
            raise _error("write-failed", detail) from None
        else:
            written.append(target.as_posix())
    return written, left


def replace_file(path: Path, before: str, text: str) -> None:
    """Writes a file that was read as `before`, which is empty where there was none.

    What is there already is not written again. Raises CompileError, and leaves the file as it is,
    when somebody else has written something else since.
    """
    if before == text:
        return
    try:
        with _exclusive(path.parent):
            found = read_optional(path)
            now = found.text if found else ""
            if now not in (before, text):
                detail = f"`{_shown(path)}` has changed since this run began, and stays as it is."
                raise _error("write-failed", detail, "Run the command again.")
            if now != text:
                write_file(path, text)
    except OSError as error:
        detail = f"`{_shown(path)}`: {error.strerror}. The old file stays as it is."
        raise _error("write-failed", detail) from None


def remove_file(path: Path) -> None:
    """Takes a file away if it is there."""
    # A folder that is mounted read-only refuses even where there is nothing to remove.
    if not os.path.lexists(path):
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _error("write-failed", f"`{_shown(path)}`: {error.strerror}.") from None


def write_artifacts(compiled: Path, artifacts: tuple[Artifact, ...]) -> None:
    """Makes compiled/ hold these artifacts and the files that modelc does not own, as one change.

    A new tree is built beside the old one and exchanged with it, so that whoever looks sees one or
    the other. Raises CompileError, with compiled/ as it was, when that cannot be done.
    """
    try:
        _refuse_unsafe(compiled)
        compiled.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(compiled.parent):
            _recover(compiled)
            _sweep(compiled)
            foreign = _foreign(compiled, artifacts)
            new = Path(tempfile.mkdtemp(prefix=_new_prefix(compiled), dir=compiled.parent))
            try:
                _build(new, artifacts, compiled, foreign)
                _exchange(new, compiled)
            finally:
                shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        where = f" `{_shown(Path(error.filename))}`" if error.filename else ""
        detail = (
            f"Writing{where} failed: {error.strerror or error}. The old files stay as they are."
        )
        raise _error("write-failed", detail) from None


def read_tree(compiled: Path, paths: Iterable[str]) -> WrittenTree:
    """What stands in compiled/: of these paths, and of all that modelc owns there."""
    try:
        _refuse_links(compiled)
        owned = _owned(compiled)
        return WrittenTree(
            folder=_shown(compiled),
            files={
                path: _written(compiled / path)
                for path in sorted({*paths, *owned})
                if (compiled / path).is_file()
            },
            owned=frozenset(owned),
            listed=_manifest_digests(compiled),
        )
    except OSError as error:
        detail = f"`{_shown(Path(error.filename or compiled))}`: {error.strerror}."
        raise _error("file-unreadable", detail) from None


def _written(path: Path) -> WrittenFile:
    return WrittenFile(
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        executable=bool(path.stat().st_mode & stat.S_IXUSR),
    )


def _missing_hint(path: Path) -> str:
    if path.name == "modelc.lock":
        return "Run `modelc lock` to write it."
    return "Name the folder that holds inventory.yaml and models.yaml."


def _build(new: Path, artifacts: tuple[Artifact, ...], old: Path, foreign: list[str]) -> None:
    for artifact in artifacts:
        target = new / artifact.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_plain(target, artifact.text, executable=artifact.executable)
    for path in foreign:
        target = new / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(old / path)
        except OSError:
            shutil.copy2(old / path, target)
    for place, _, _ in os.walk(new, topdown=False):
        folder = Path(place)
        before = old / folder.relative_to(new)
        _sync_folder(folder)
        if before.is_dir():
            folder.chmod(before.stat().st_mode & 0o7777)
        elif folder == new:
            # mkdtemp made it for its owner alone.
            folder.chmod(0o777 & ~_umask())


def _exchange(new: Path, old: Path) -> None:
    """Puts the new tree in the old one's place; the old one is swept away afterwards."""
    if not old.exists():
        new.rename(old)
    elif not _rename_exchange(new, old):
        aside = Path(tempfile.mkdtemp(prefix=_old_prefix(old), dir=old.parent)) / old.name
        old.rename(aside)
        try:
            new.rename(old)
        except OSError:
            aside.rename(old)
            raise
    _sync_folder(old.parent)
    _sweep(old)


def _rename_exchange(new: Path, old: Path) -> bool:
    """Linux's renameat2 exchanges two folders at once; False where there is no such thing."""
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "renameat2", None)
    if call is None:
        return False
    done = call(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE)
    return bool(done == 0)


def _new_prefix(compiled: Path) -> str:
    return f".{compiled.name}.new-"


def _old_prefix(compiled: Path) -> str:
    return f".{compiled.name}.old-"


def _leftovers(compiled: Path, prefix: str) -> list[Path]:
    """Folders of killed writes of this tree, beside it."""
    if not compiled.parent.is_dir():
        return []
    return sorted(path for path in compiled.parent.iterdir() if path.name.startswith(prefix))


def _standing(compiled: Path) -> Path:
    """Where the tree is: aside, if a write was killed between its two renames."""
    if not os.path.lexists(compiled):
        for left in _leftovers(compiled, _old_prefix(compiled)):
            if (left / compiled.name).is_dir():
                return left / compiled.name
    return compiled


def _recover(compiled: Path) -> None:
    """Brings the old tree back if a write was killed between its two renames."""
    standing = _standing(compiled)
    if standing != compiled:
        standing.rename(compiled)


def _sweep(compiled: Path) -> None:
    """Takes away what writes leave behind; nobody else is writing while we hold the lock."""
    for prefix in (_new_prefix(compiled), _old_prefix(compiled)):
        for left in _leftovers(compiled, prefix):
            shutil.rmtree(left, ignore_errors=True)


def _refuse_links(compiled: Path) -> None:
    """What a link points to can be another file tomorrow, or on another machine."""
    if compiled.is_symlink():
        raise _unsafe(compiled, "is a symbolic link")
    if compiled.is_dir():
        for _ in _files(compiled):
            pass


def _refuse_unsafe(compiled: Path) -> None:
    """Nothing but a folder of its own can be exchanged for another one."""
    if compiled.is_symlink():
        raise _unsafe(compiled, "is a symbolic link")
    if os.path.lexists(compiled) and not compiled.is_dir():
        raise _unsafe(compiled, "is not a folder")
    if Path.cwd().is_relative_to(compiled.resolve()):
        raise _error(
            "unsafe-path",
            f"`{_shown(compiled)}` holds the current folder, which a write would take away.",
            "Run modelc from another folder, or write to another one with `--out`.",
        )


def _foreign(compiled: Path, artifacts: tuple[Artifact, ...]) -> list[str]:
    """Files in compiled/ that modelc does not own; they stay."""
    if not compiled.exists():
        return []
    owned = _owned(compiled)
    ours = {artifact.path: artifact.text.encode() for artifact in artifacts}
    foreign = []
    for path in _files(compiled):
        # What is there to the byte is ours: the manifest that says so is lost.
        if path in owned or (path in ours and (compiled / path).read_bytes() == ours[path]):
            continue
        in_the_way = path in ours or any(each.startswith(f"{path}/") for each in ours)
        if in_the_way or any(parent.as_posix() in ours for parent in Path(path).parents):
            raise _error(
                "unsafe-path",
                f"`{_shown(compiled / path)}` is not listed in a MANIFEST, and modelc would "
                "overwrite it.",
                "Bring the MANIFEST back with git if it is lost, or else move the file away.",
            )
        foreign.append(path)
    return foreign


def _files(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder, onerror=_raise):
        for name in sorted([*folders, *files]):
            path = Path(place) / name
            if path.is_symlink():
                raise _unsafe(path, "is a symbolic link, which modelc does not follow")
            if name in files:
                yield path.relative_to(folder).as_posix()


def _raise(error: OSError) -> None:
    # A folder that cannot be listed may hold files that are not ours.
    raise error


def _owned(compiled: Path) -> set[str]:
    """Files that modelc wrote: the plan, and what the manifests list."""
    fixed = {PLAN_NAME, OVERVIEW_NAME}
    listed = set(_manifest_digests(compiled))
    manifests = {path.relative_to(compiled).as_posix() for path in _manifests(compiled)}
    return {path for path in fixed | listed | manifests if (compiled / path).is_file()}


def _manifest_digests(compiled: Path) -> dict[str, frozenset[str]]:
    """sha256 of each file that the manifests list, by its path in compiled/."""
    found: dict[str, frozenset[str]] = {}
    for manifest in _manifests(compiled):
        found |= _listed(compiled, manifest)
    return found


def _listed(compiled: Path, manifest: Path) -> dict[str, frozenset[str]]:
    """What a manifest lists, by path in compiled/; nothing where it is not there."""
    if not manifest.is_file():
        return {}
    try:
        listed = listed_digests(manifest.read_text("utf-8"))
    except ValueError as error:
        detail = f"`{_shown(manifest)}`: {error}."
        hint = "Bring it back with git, or remove the folder and compile again."
        raise _error("edited-output", detail, hint) from None
    folder = manifest.parent.relative_to(compiled)
    return {(folder / path).as_posix(): digests for path, digests in listed.items()}


def _manifests(compiled: Path) -> list[Path]:
    places = (compiled / MANIFEST_NAME, *sorted(compiled.glob(f"*/{MANIFEST_NAME}")))
    return [path for path in places if path.is_file()]


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Only one modelc writes here at a time."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _error("write-failed", f"Another modelc writes in `{_shown(folder)}`.") from None
        yield
    finally:
        os.close(handle)


def _write_plain(path: Path, text: str, *, executable: bool) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    path.chmod((0o777 if executable else 0o666) & ~_umask())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _shown(path: Path) -> str:
    """The path as the user would write it: relative to here when it is below here.

    Of a link it is the link's own name and not where it leads.
    """
    with contextlib.suppress(ValueError, OSError):
        return (path.parent.resolve() / path.name).relative_to(Path.cwd()).as_posix()
    return str(path)


def _unsafe(path: Path, why: str) -> CompileError:
    return _error("unsafe-path", f"`{_shown(path)}` {why}.", "Replace it by a real folder or file.")


def _error(code: str, detail: str, *hints: str) -> CompileError:
    return CompileError([Diagnostic(code=code, detail=detail, hints=hints)])
