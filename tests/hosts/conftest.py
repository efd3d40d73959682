"""Fixtures of the tests on hosts: a machine for each module. `make hosts` runs them alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import debian as debian_root
from tests.hosts.machine import Machine, booted
from tests.requires import require_tool

# What fails there shows its values, as it does in a test.
pytest.register_assert_rewrite("tests.hosts.laws")


@pytest.fixture(scope="session")
def debian() -> Path:
    """The root of a Debian host, made where it is not in the cache: about a minute."""
    for tool in ("systemd-nspawn", "mmdebstrap", "nsenter", "setpriv"):
        require_tool(tool)
    if os.geteuid() != 0:
        reason = "only root can boot a machine"
        if os.environ.get("MODELC_REQUIRE_TOOLS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return debian_root.root()


@pytest.fixture(scope="module")
def machine(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host that has only booted; it ends with the module."""
    with booted(debian, tmp_path_factory.mktemp("machine")) as running:
        yield running
