"""What tests of the jobs and sensors share: an installation on a test's warehouse, and what its runs said.

What a run should come to is for the tests to say.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dbt.parser.manifest import extended_mashumaro_encoder

from orchestration.assets.run_log import RunLog
from orchestration.dbt_running import DbtProject
from orchestration.definitions import build_definitions
from orchestration.places import make_places
from orchestration.resources import Footfall
from orchestration.settings import Settings
from tests.integration.modelling import parsed_project
from warehouse.connections import Warehouse


def installation(folder: Path, warehouse: Warehouse, **settings: Any) -> Footfall:
    """A Footfall with its home and landing folder in `folder`, and its data in the test's warehouse."""
    chosen = Settings(home=folder / "a home", landing=folder / "landing", settle_seconds=0.1, **settings)
    make_places(chosen)
    return Footfall(chosen, RunLog, warehouse, quiet=True)


def share_parsing(monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse) -> None:
    """Have the project parsed once per test process: it takes seconds, and each test has a database of its own."""

    def parse(project: DbtProject) -> None:
        manifest = parsed_project(warehouse)
        (project.target / "partial_parse.msgpack").write_bytes(manifest.to_msgpack(extended_mashumaro_encoder))
        manifest.write(str(project.target / "manifest.json"))

    monkeypatch.setattr(DbtProject, "_parse", parse)


def run_job(footfall: Footfall, instance: dg.DagsterInstance, job: str, config: Any = None, **options: Any) -> Any:
    """Run a job to its end, in this process."""
    definitions = build_definitions(footfall)
    return definitions.resolve_job_def(job).execute_in_process(config, instance, **options)


class Ticks:
    """One sensor, tick after tick, its cursor kept."""

    def __init__(
        self,
        build: Callable[[Callable[[], Footfall]], dg.SensorDefinition],
        footfall: Footfall,
        instance: dg.DagsterInstance,
    ) -> None:
        self.sensor = build(lambda: self.footfall)
        self.footfall = footfall
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            definitions=dg.Definitions(),
        )
        result: Any = self.sensor(context)
        self.cursor = result.cursor
        return result


def said(instance: dg.DagsterInstance, result: Any) -> str:
    """All lines that a run wrote into its log."""
    return "\n".join(entry.user_message for entry in instance.all_logs(result.run_id) if not entry.dagster_event)


def value(warehouse: Warehouse, query: str) -> Any:
    """The one value of a query, as a reader of the marts."""
    with warehouse.connect("bi_reader") as connection:
        (one,) = connection.execute(query).fetchone() or (None,)  # type: ignore[call-overload]
    return one


def told(result: Any, key: dg.AssetKey) -> dict[str, Any]:
    """The metadata of an asset's one materialization in a run."""
    (event,) = [e for e in result.all_events if e.is_step_materialization and e.asset_key == key]
    return {name: entry.value for name, entry in event.materialization.metadata.items()}


def checks(result: Any) -> dict[str, Any]:
    """What each check of a run found."""
    return {check.check_name: check for check in result.get_asset_check_evaluations()}
