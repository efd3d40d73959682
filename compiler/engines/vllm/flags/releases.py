"""How vLLM's releases are written: in the inventory, in names of images and folders, and by itself.

`vllm --version` prints what its wheel is called (vllm/entrypoints/cli/main.py, 0.8.5 to 0.33):
`0.33.0`, `0.33.0+cu129`, `0.33.1rc2.dev5+gabc`; log lines of its imports may stand before it.
"""

from __future__ import annotations

import re

from compiler.engines.vllm.versions import OLDEST, Version, parse_version, show_version
from compiler.ir.demand import VersionCheck

# CUDA_VISIBLE_DEVICES is read as integers before (platforms/cuda.py, `device_id_to_physical_...`):
# the images of 0.22.0 raise ValueError, those of 0.24.0 and 0.25.1 resolve; 0.23 was not looked at.
TAKES_UUIDS: Version = (0, 24, 0)

_NUMBERS = re.compile(r"v?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?(.*)")
_IN_TAG = re.compile(r"v?(\d{1,3}\.\d{1,3}(?:\.\d{1,3})?)(?![\d.])")
_IN_PATH = re.compile(r"vllm[-_/@]?v?(\d{1,3}\.\d{1,3}(?:\.\d{1,3})?)(?![\d.])")


def version_problem(text: str) -> str | None:
    """What is wrong with the inventory's version, or None."""
    version = parse_version(text)
    if version is None:
        return f"`{text[:40]}` is not a vLLM version; write it as `0.33.0`"
    if version < OLDEST:
        return (
            f"vLLM {text[:40]} is older than {show_version(OLDEST)}, the first whose flags and "
            "memory are known"
        )
    return None


def release(text: str) -> str:
    """The version with three numbers and no `v`, as `vllm --version` begins."""
    match = _NUMBERS.fullmatch(text.strip())
    if match is None:
        return text
    major, minor, patch, rest = match.groups()
    return f"{int(major)}.{int(minor)}.{int(patch or 0)}{rest}"


def other_release(version: str, text: str) -> str | None:
    """The release that the name of an image or a path holds, where it is not this version.

    Numbers of the user's own (`llm:2.1`, `nvidia/vllm:25.09`) are no releases of vLLM, and a name
    with two numbers (`vllm-0.33`) stands for every patch of it.
    """
    wanted = parse_version(version)
    named = _named(text)
    found = parse_version(named) if named else None
    if wanted is None or named is None or found is None or found[0] != wanted[0]:
        return None
    numbers = named.count(".") + 1
    return None if found[:numbers] == wanted[:numbers] else named


def _named(text: str) -> str | None:
    if text.startswith("/"):
        match = _IN_PATH.search(text)
        return match[1] if match else None
    name, _, tag = text.partition("@")[0].rpartition("/")[2].partition(":")
    match = _IN_TAG.match(tag) if "vllm" in name else None
    return match[1] if match else None


def version_check(version: str) -> VersionCheck:
    """The line of `vllm --version` that is this version's, and one that is any version's."""
    found = parse_version(version)
    if found is None:
        raise ValueError(version)
    numbers = re.escape(show_version(found))
    return VersionCheck(
        wanted=f"^(vllm )?v?{numbers}([^0-9].*)?$", readable=r"^(vllm )?v?[0-9]+\.[0-9]+\.[0-9]"
    )
