"""Footfall's code location: all that Dagster is told.

`definitions` is what Dagster calls; `build_definitions` takes other resources, for tests and the command line.
Importing this module does nothing; calling it reads the settings and, where the dbt project changed, parses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration.assets.events import LANDING, load_files
from orchestration.assets.models import build_models_asset, read_manifest
from orchestration.assets.run_log import RunLog
from orchestration.jobs import build_jobs
from orchestration.places import make_places
from orchestration.resources import Footfall, fresh_footfall
from orchestration.schedules import build_schedules
from orchestration.sensors import build_sensors
from orchestration.settings import load_settings


def build_definitions(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Put everything together; `resource_overrides` replaces resources by name."""
    resources = dict(resource_overrides or {})
    footfall: Footfall = resources.get("footfall") or Footfall(load_settings(), RunLog)
    resources.setdefault("footfall", fresh_footfall(footfall.settings, RunLog, load_settings))
    make_places(footfall.settings)
    return dg.Definitions(
        assets=[LANDING, load_files, build_models_asset(read_manifest(footfall))],
        jobs=build_jobs(),
        sensors=build_sensors(),
        schedules=build_schedules(),
        resources=resources,
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """Return what a Dagster process loads."""
    return build_definitions()
