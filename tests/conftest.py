"""What all tests share: the golden switch, and how Hypothesis draws."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# No test is timed: the machine may be busy. In CI the same examples are drawn every time.
settings.register_profile(
    "modelc",
    deadline=None,
    derandomize=bool(os.environ.get("MODELC_REQUIRE_TOOLS")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("modelc")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites expected files; the diff is reviewed like code."""
    parser.addoption("--update-golden", action="store_true", help="Rewrite expected files.")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether expected files are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))
