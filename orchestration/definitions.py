"""Footfall's code location: all that Dagster is told.

`definitions` is what Dagster calls; `build_definitions` takes another Footfall, for tests and the command line.
Importing this module does nothing; calling it reads the settings and, where the dbt project changed, parses it.
"""

from __future__ import annotations

from typing import Final

import dagster as dg

from orchestration.alerting import build_alert_sensor
from orchestration.assets.events import LANDING, load_files
from orchestration.assets.models import build_models_asset, read_manifest
from orchestration.assets.quality import check_expectations, write_reports
from orchestration.assets.run_log import RunLog
from orchestration.change_sensor import build_change_sensor
from orchestration.jobs import build_jobs
from orchestration.places import make_places
from orchestration.report_sensor import build_report_sensor
from orchestration.resources import Footfall, FreshFootfall
from orchestration.schedules import build_schedules
from orchestration.sensors import build_landing_sensor
from orchestration.settings import load_settings

_SENSORS: Final = (build_landing_sensor, build_change_sensor, build_report_sensor, build_alert_sensor)


def build_definitions(footfall: Footfall | None = None) -> dg.Definitions:
    """Put everything together, around the given Footfall or around one that is made for each run and tick."""
    if footfall is None:
        footfall = Footfall(load_settings(), RunLog)
        fresh = FreshFootfall(footfall.settings, RunLog, load_settings)
        resource, for_tick = fresh.for_run(), fresh.for_tick
    else:
        resource, for_tick = dg.ResourceDefinition.hardcoded_resource(footfall), lambda: footfall
    make_places(footfall.settings)
    return dg.Definitions(
        assets=[LANDING, load_files, build_models_asset(read_manifest(footfall)), write_reports],
        asset_checks=[check_expectations],
        jobs=build_jobs(),
        sensors=[build(for_tick) for build in _SENSORS],
        schedules=build_schedules(for_tick),
        resources={"footfall": resource},
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """Return what a Dagster process loads."""
    return build_definitions()
