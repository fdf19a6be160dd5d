"""What all tests share."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("footfall", deadline=None)
settings.load_profile("footfall")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and database defaults of whoever runs the tests out of them."""
    for name in os.environ:
        if name.startswith(("FOOTFALL_", "PG")) and not name.startswith("FOOTFALL_TEST_"):
            monkeypatch.delenv(name)
