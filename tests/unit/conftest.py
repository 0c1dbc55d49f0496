"""Fixtures of the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.hub_driver import HubDriver


@pytest.fixture
def hub(tmp_path: Path) -> HubDriver:
    """A Hub with the model org/m and the token of alice, who may do everything."""
    driver = HubDriver(tmp_path / "data")
    driver.create()
    return driver
