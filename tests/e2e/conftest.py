"""Fixtures of the end-to-end tests: they build real engines, and `make e2e` runs them alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import vllm_install
from tests.oracle import llamacpp_build


@pytest.fixture(scope="session")
def llama_server() -> Path:
    """llama-server, built from source where it is not in the cache: some ten minutes."""
    return llamacpp_build.server()


@pytest.fixture(scope="session")
def vllm() -> Path:
    """The CPU build of vLLM, installed where it is not in the cache: some minutes."""
    return vllm_install.vllm()
