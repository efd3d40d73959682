"""Every read and write of the user's tree: inputs in, compiled/ out as one change."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from compiler.diagnostics import CompileError, Diagnostic, Location
from compiler.ir.artifact import Artifact
from compiler.ir.manifest import MANIFEST_NAME, parse_manifest
from compiler.ir.textfile import TextFile

# No input of modelc comes near this; a larger file is something else.
MAX_FILE_BYTES = 64 << 20

PLAN_NAME = "plan.json"
OVERVIEW_NAME = "PLAN.md"
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
            return read_optional(_standing(compiled) / PLAN_NAME)
        except OSError as error:
            detail = f"`{_shown(compiled.parent)}`: {error.strerror}."
            raise _error("file-unreadable", detail) from None
    if previous.startswith("git:"):
        return _read_revision(root, compiled, previous.removeprefix("git:"))
    path = Path(previous)
    if os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises for a name that is too long.
        path /= PLAN_NAME
    plan = read_optional(path)
    if plan is None:
        raise _error("previous-missing", f"There is no `{_shown(path)}`.")
    return plan


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


def remove_file(path: Path) -> None:
    """Takes a file away if it is there."""
    path.unlink(missing_ok=True)


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


def stale_files(compiled: Path, artifacts: tuple[Artifact, ...]) -> list[Diagnostic]:
    """How compiled/ differs from the artifacts, each difference a diagnostic."""
    try:
        return _stale_files(compiled, artifacts)
    except OSError as error:
        detail = f"`{_shown(Path(error.filename or compiled))}`: {error.strerror}."
        raise _error("file-unreadable", detail) from None


def _stale_files(compiled: Path, artifacts: tuple[Artifact, ...]) -> list[Diagnostic]:
    _refuse_links(compiled)
    expected = {artifact.path: artifact for artifact in artifacts}
    digests = _manifest_digests(compiled)
    found = []
    for path, artifact in sorted(expected.items()):
        file = compiled / path
        shown = Location(_shown(file), 1, 1)
        if not file.is_file():
            detail = f"`{shown.path}` is missing."
            found.append(
                Diagnostic(code="stale-output", detail=detail, location=shown, hints=(_RECOMPILE,))
            )
            continue
        data = file.read_bytes()
        if data == artifact.text.encode():
            if artifact.executable and not file.stat().st_mode & stat.S_IXUSR:
                detail = f"`{shown.path}` cannot be executed."
                found.append(
                    Diagnostic(
                        code="stale-output", detail=detail, location=shown, hints=(_RECOMPILE,)
                    )
                )
            continue
        edited = path in digests and hashlib.sha256(data).hexdigest() != digests[path]
        code = "edited-output" if edited else "stale-output"
        detail = (
            f"`{shown.path}` is not what modelc wrote there."
            if edited
            else f"`{shown.path}` is not what the sources give."
        )
        found.append(Diagnostic(code=code, detail=detail, location=shown, hints=(_RECOMPILE,)))
    for path in sorted(_owned(compiled) - expected.keys()):
        detail = f"`{_shown(compiled / path)}` is no longer part of the plan."
        found.append(Diagnostic(code="stale-output", detail=detail, hints=(_RECOMPILE,)))
    return found


_RECOMPILE = "Run `modelc compile` and commit the result."


def _missing_hint(path: Path) -> str:
    if path.name == "modelc.lock":
        return "Run `modelc lock` to write it."
    return "Name the folder that holds inventory.yaml and models.yaml."


def _read_revision(root: Path, compiled: Path, revision: str) -> TextFile:
    """compiled/plan.json as it is in a git revision."""
    if not revision or revision.startswith("-"):
        raise _error("previous-missing", f"`{revision}` is no git revision.")
    relative = os.path.relpath(compiled / PLAN_NAME, root)
    command = ["git", "-C", str(root), "show", f"{revision}:./{relative}"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _error("previous-missing", f"git cannot be run: {error}.") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["git failed"]
        raise _error("previous-missing", f"git: {lines[-1].rstrip('.')}.")
    return TextFile(path=f"git:{revision}:{relative}", text=done.stdout.decode("utf-8", "replace"))


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
    ours = {artifact.path for artifact in artifacts}
    foreign = []
    for path in _files(compiled):
        if path in owned:
            continue
        in_the_way = path in ours or any(each.startswith(f"{path}/") for each in ours)
        if in_the_way or any(parent.as_posix() in ours for parent in Path(path).parents):
            raise _error(
                "unsafe-path",
                f"`{_shown(compiled / path)}` is not listed in a MANIFEST, and modelc would "
                "overwrite it.",
                "Move the file away.",
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


def _manifest_digests(compiled: Path) -> dict[str, str]:
    """sha256 of each file that the manifests list, by its path in compiled/."""
    found = {}
    for manifest in _manifests(compiled):
        folder = manifest.parent.relative_to(compiled).as_posix()
        try:
            entries = parse_manifest(manifest.read_text("utf-8"))
        except ValueError as error:
            detail = f"`{_shown(manifest)}`: {error}."
            hint = "Bring it back with git, or remove the folder and compile again."
            raise _error("edited-output", detail, hint) from None
        found.update({f"{folder}/{entry.path}": entry.sha256 for entry in entries})
    return found


def _manifests(compiled: Path) -> list[Path]:
    return sorted(path for path in compiled.glob(f"*/{MANIFEST_NAME}") if path.is_file())


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
