"""Fixtures that all tests share: the golden switch."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites expected files; the diff is reviewed like code."""
    parser.addoption("--update-golden", action="store_true", help="Rewrite expected files.")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether expected files are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))
