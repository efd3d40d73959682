"""A file as it is in a git revision, read so that nothing of the repository can run.

A folder under review may hold plain files that git takes for a bare repository, whose `config`
names commands. Discovery by git itself is therefore never used: the checkout is the nearest folder
upwards with a `.git`, a name that git never checks out. And even that repository's configuration
is not trusted with a command: git is started on a repository of our own, made for the moment, which
borrows objects and references and has no configuration but the few settings that revisions need.
So there are no hooks, filters, monitors, helpers, includes or remotes that could be asked for a
missing object, whatever the version of git.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from compiler.diagnostics import CompileError, Diagnostic
from compiler.ir.textfile import TextFile
from compiler.workspace.reading import MAX_FILE_BYTES, failure, read_text

_TIMEOUT_SECONDS = 60

# What revisions are resolved with: the formats of objects and references, and for `@{upstream}`
# which branch follows which. The rest of a configuration stays behind.
_SETTINGS = (
    r"^(extensions\.(objectformat|refstorage)|branch\..*\.(remote|merge)|remote\..*\.fetch)$"
)

# Folders and files that hold references, beside the HEAD, MERGE_HEAD and so on.
_REFERENCES = ("refs", "packed-refs", "logs", "reftable", "shallow")

_REVISIONS_HINT = (
    "`git log -- compiled/plan.json` lists the revisions that have a plan; `--previous none` "
    "starts afresh."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checkout:
    """A repository and the folder that it is checked out to."""

    top: Path
    git_dir: Path
    """Of this checkout alone: its HEAD."""
    common_dir: Path
    """Of all checkouts of the repository: objects, branches and tags."""


def read_revision(root: Path, places: Iterable[Path], revision: str) -> TextFile:
    """The first of these files that the revision has; root is a folder of the repository.

    Raises CompileError when there is no such revision, no git, or none of the files.
    """
    if not revision or revision.startswith("-"):
        raise _missing(f"`{revision}` is no git revision.")
    try:
        checkout = _checkout(root)
        with tempfile.TemporaryDirectory(prefix="modelc-git-") as folder:
            repository = _borrow(checkout, Path(folder).resolve())
            commit = _git(repository, "rev-parse", "--verify", revision)
            fault = ""
            for place in dict.fromkeys(places):
                path = os.path.relpath(place.parent.resolve() / place.name, checkout.top)
                shown = os.path.relpath(place, root)
                try:
                    blob = _git(repository, "rev-parse", "--verify", f"{commit}^{{commit}}:{path}")
                except _GitError:
                    fault = f"path '{path}' does not exist in '{revision}'"
                    continue
                return _blob(repository, blob, f"git:{revision}:{shown}")
    except _GitError as error:
        raise _missing(f"git: {error}.") from None
    except OSError as error:
        raise _missing(f"git: {error.strerror or error}.") from None
    raise _missing(f"git: {fault}.")


def checkout_top(folder: Path) -> Path | None:
    """The top of the checkout that a folder lies in, or will lie in; None outside of any."""
    folder = folder.absolute()
    try:
        return _checkout(next(each for each in (folder, *folder.parents) if each.is_dir())).top
    except (OSError, StopIteration, _GitError):
        return None


class _GitError(Exception):
    """What git said before it gave up."""


def _checkout(root: Path) -> _Checkout:
    """The checkout that a folder is part of, found as git does: upwards, on one file system."""
    root = root.resolve()
    ceilings = {*os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep)}
    device = root.stat().st_dev
    for top in (root, *root.parents):
        if top.stat().st_dev != device or (top != root and str(top) in ceilings):
            break
        git_dir = _git_dir(top / ".git")
        if git_dir:
            return _Checkout(
                top=top, git_dir=git_dir, common_dir=_pointed_to(git_dir / "commondir") or git_dir
            )
    raise _GitError("not a git repository (or any of the parent directories): .git")


def _git_dir(path: Path) -> Path | None:
    """The folder of a `.git`, which is a file in linked worktrees and submodules."""
    found = _pointed_to(path, "gitdir: ") if path.is_file() else path
    return found if found and (found / "HEAD").exists() else None


def _pointed_to(file: Path, keyword: str = "") -> Path | None:
    """The folder that a file names, seen from the folder it lies in; None where there is none."""
    if not file.is_file():
        return None
    text = read_text(file).text.rstrip("\n")
    if not text.startswith(keyword):
        return None
    return (file.parent / text.removeprefix(keyword)).resolve()


def _borrow(checkout: _Checkout, folder: Path) -> Path:
    """A repository without a configuration, with the objects and references of the checkout."""
    common = folder / "common"
    _borrow_references(checkout.common_dir, common)
    (common / "objects").symlink_to(checkout.common_dir / "objects")
    config = common / "config"
    config.write_text("[core]\n\trepositoryformatversion = 1\n\tbare = true\n", "utf-8")
    settings = _settings(common, checkout.common_dir / "config")
    config.write_text(config.read_text("utf-8") + settings, "utf-8")
    if checkout.git_dir == checkout.common_dir:
        return common
    own = folder / "own"
    _borrow_references(checkout.git_dir, own)
    (own / "commondir").write_text(f"{common}\n", "utf-8")
    return own


def _borrow_references(git_dir: Path, mirror: Path) -> None:
    mirror.mkdir()
    for name in _REFERENCES:
        if (git_dir / name).exists():
            (mirror / name).symlink_to(git_dir / name)
    if not (mirror / "refs").exists():
        (mirror / "refs").mkdir()
    # Git takes no repository for one whose HEAD is a link, unless it leads to a branch.
    for path in git_dir.glob("*HEAD"):
        if path.is_symlink():
            (mirror / path.name).symlink_to(path.readlink())
        elif path.is_file():
            (mirror / path.name).write_text(read_text(path).text, "utf-8")


def _settings(repository: Path, config: Path) -> str:
    """The settings that revisions need, as the text of a configuration."""
    command = ("config", "--file", str(config), "--no-includes", "--null", "--get-regexp")
    try:
        said = _git(repository, *command, _SETTINGS)
    except _GitError:
        # Git says nothing and fails where no setting matches.
        return ""
    lines = []
    for entry in filter(None, said.split("\0")):
        name, _, value = entry.partition("\n")
        section, _, rest = name.partition(".")
        subsection, _, key = rest.rpartition(".")
        title = f"{section} {_quoted(subsection)}" if subsection else section
        lines.append(f"[{title}]\n\t{key} = {_quoted(value)}\n")
    return "".join(lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def commit_of(folder: Path) -> str | None:
    """The last commit that has changed a folder; None where git does not tell."""
    try:
        checkout = _checkout(folder)
        path = os.path.relpath(folder.resolve(), checkout.top)
        with tempfile.TemporaryDirectory(prefix="modelc-git-") as place:
            repository = _borrow(checkout, Path(place).resolve())
            return _git(repository, "log", "-1", "--format=%H", "HEAD", "--", path) or None
    except (_GitError, OSError, CompileError):
        return None


def _blob(repository: Path, blob: str, shown: str) -> TextFile:
    try:
        size = int(_git(repository, "cat-file", "-s", blob))
    except _GitError:
        detail = f"`{shown}` is in the history, but its content is not on this machine."
        raise _missing(
            detail, "Fetch it: a partial clone leaves out what it has not shown."
        ) from None
    if size > MAX_FILE_BYTES:
        raise failure("file-too-large", f"`{shown}` is over {MAX_FILE_BYTES >> 20} MiB.")
    data = _run(repository, "cat-file", "blob", blob)
    try:
        return TextFile(path=shown, text=data.decode("utf-8"))
    except UnicodeDecodeError:
        raise failure("file-unreadable", f"`{shown}` is not UTF-8 text.") from None


def _git(repository: Path, *arguments: str) -> str:
    return os.fsdecode(_run(repository, *arguments)).removesuffix("\n")


def _run(repository: Path, *arguments: str) -> bytes:
    """What git prints, started on the borrowed repository and inside of it."""
    command = ["git", f"--git-dir={repository}", *arguments]
    try:
        # The folder is ours and empty of programs: a relative entry of PATH finds none in it.
        done = subprocess.run(  # noqa: S603
            command, cwd=repository, env=dict(_environment()), stdin=subprocess.DEVNULL,
            capture_output=True, check=False, timeout=_TIMEOUT_SECONDS,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise _missing(f"git cannot be run: {error}.") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["git failed"]
        raise _GitError(said[-1].removeprefix("fatal: ").rstrip("."))
    return done.stdout


def _environment() -> Iterator[tuple[str, str]]:
    """The environment without what steers git, and with all shut that it could reach or run."""
    yield from (pair for pair in os.environ.items() if not pair[0].startswith("GIT_"))
    yield "LC_ALL", "C"
    yield "GIT_CONFIG_NOSYSTEM", "1"
    yield "GIT_CONFIG_GLOBAL", os.devnull
    yield "GIT_NO_REPLACE_OBJECTS", "1"
    yield "GIT_OPTIONAL_LOCKS", "0"
    # Without remotes nothing is fetched; these say so once more, for gits to come.
    yield "GIT_NO_LAZY_FETCH", "1"
    yield "GIT_ALLOW_PROTOCOL", "none"
    yield "GIT_TERMINAL_PROMPT", "0"


def _missing(detail: str, hint: str = _REVISIONS_HINT) -> CompileError:
    return CompileError([Diagnostic(code="previous-missing", detail=detail, hints=(hint,))])
