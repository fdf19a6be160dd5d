"""What the page /metrics and `footfall status` look at in this installation."""

from __future__ import annotations

from orchestration.disk_space import folders
from orchestration.settings import Settings
from serving.metrics import Observed
from validation.landing import LandingFolder
from warehouse.connections import Warehouse
from warehouse.opening import open_warehouse


def observed(settings: Settings) -> Observed:
    """Return it; nothing is opened before it is looked at."""

    def warehouse() -> Warehouse:
        return open_warehouse(settings.home, settings.external_url)

    return Observed(warehouse, lambda: len(LandingFolder(settings.landing).look()), lambda: folders(settings))
