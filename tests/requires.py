"""Finds the outside tools and packages that judge what we read and emit."""

import importlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest


def require_tool(name: str) -> str:
    """The path of a tool; without it the test is skipped, or fails if MODELC_REQUIRE_TOOLS=1.

    The folder of this interpreter comes first, so that the tools in .venv are found without it
    being activated.
    """
    beside_python = str(Path(sys.executable).parent)
    path = shutil.which(name, path=os.pathsep.join([beside_python, os.environ.get("PATH", "")]))
    return path if path is not None else missing_tool(name)


def require_package(name: str) -> Any:  # noqa: ANN401 (a module)
    """A package that only tests use; without it the test is skipped or fails as with a tool."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        missing_tool(name)


def missing_tool(name: str) -> NoReturn:
    """Ends the test: skipped on a laptop, failed where every tool must be there."""
    if os.environ.get("MODELC_REQUIRE_TOOLS") == "1":
        pytest.fail(f"`{name}` is not installed, and MODELC_REQUIRE_TOOLS=1 asks for it")
    pytest.skip(f"`{name}` is not installed")
