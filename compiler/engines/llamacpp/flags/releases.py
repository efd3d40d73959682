"""How llama.cpp's builds are written: in the inventory, in names, and by itself.

`llama-server --version` prints `version: 11390 (0c1e57098)`, and from the first releases on
`version: 0.5.0-dev (build 11312, commit 0c1e57098)` (common/arg.cpp). Sources without git make
build 0, of which nothing can be told.
"""

from __future__ import annotations

import re

from compiler.engines.llamacpp.flags.builds import known_release
from compiler.ir.demand import VersionCheck

_BUILD = re.compile(r"b?([0-9]{1,6})")
_UNNAMED = re.compile(r"v?0\.0\.([0-9]{1,6})")
_RELEASE = re.compile(r"v?([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,5}))?(.*)")

_NAMED_BUILD = re.compile(
    r"(?<![A-Za-z0-9])b([0-9]{3,6})(?![A-Za-z0-9])"
    r"|llama(?:[.]cpp|-cpp|-server)?[-_/]b?([0-9]{3,6})(?![0-9.])"
)
_NAMED_RELEASE = re.compile(
    r"(?<![A-Za-z0-9.])v?(0\.[1-9][0-9]{0,2}\.[0-9]{1,5}(?:-dev)?)(?![0-9.])"
)


def release(text: str) -> str:
    """A build as its number alone, a release with three numbers and no `v`."""
    stripped = text.strip()
    if match := _BUILD.fullmatch(stripped) or _UNNAMED.fullmatch(stripped):
        return str(int(match[1]))
    match = _RELEASE.fullmatch(stripped)
    if match is None:
        return text
    major, minor, patch, rest = match.groups()
    return f"{int(major)}.{int(minor)}.{int(patch or 0)}{rest}"


def other_release(version: str, text: str) -> str | None:
    """The build that the name of an image or a path holds, where it is not this version's.

    Of a build number and a release it is known for some whether they are the same.
    """
    named = _named(text)
    if named is None:
        return None
    first, second = release(version), release(named)
    if ("." in first) != ("." in second):
        builds = [known_release(each) if "." in each else int(each) for each in (first, second)]
        return None if None in builds or builds[0] == builds[1] else named
    return None if first == second else named


def _named(text: str) -> str | None:
    name = text if text.startswith("/") else text.partition("@")[0]
    if build := _NAMED_BUILD.search(name):
        return f"b{build[1] or build[2]}"
    found = _NAMED_RELEASE.search(name)
    return found[1] if found else None


def version_check(version: str) -> VersionCheck:
    """The line of `llama-server --version` that is this version's, and one that says any."""
    wanted = release(version)
    if "." not in wanted:
        return VersionCheck(
            wanted=f"^version: (b?{wanted}|.*build:? b?{wanted})([^0-9].*)?$",
            readable=r"^version: ([1-9]|.*build:? b?[1-9])",
        )
    lines = [f"v?{re.escape(wanted)}"]
    if number := known_release(wanted):
        lines.append(f"b?{number}")
    return VersionCheck(
        wanted=f"^version: ({'|'.join(lines)})([ ,].*)?$", readable=r"^version: v?[0-9.]*[1-9]"
    )
