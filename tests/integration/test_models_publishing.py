"""Publishing: a build ends with a new data version if anything changed and every check passed, and else as it began.

Building everything takes seconds, so the tests share a warehouse: each goes by what was published when it began.
"""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import class_row

from orchestration.assets.selecting import WHAT_DATA_CHANGE
from tests.integration.modelling import PROJECT, Models, account_of, other_project, parsed_project, stay
from warehouse.connections import Warehouse
from warehouse.preparing import prepare

NAME = "model.footfall.data_version"
AFTER = "model.footfall.present_state"
_persons = itertools.count(1)


@pytest.fixture(scope="module")
def models(template: Warehouse) -> Iterator[Models]:
    """Models that are built, and published as version 1."""
    names = {"fresh": sql.Identifier("footfall_publishing"), "template": sql.Identifier(template.database)}
    fresh = replace(template, database="footfall_publishing", dagster_database="footfall_publishing")
    with template.connect_as_administrator("postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("create database {fresh} template {template} owner footfall_owner").format(**names))
        prepare(fresh)
        with closing(Models(fresh)) as models:
            load(models)
            models.build()
            assert versions(models) == [(1, [1])]
            yield models
        connection.execute(sql.SQL("drop database {fresh} with (force)").format(**names))


def versions(models: Models) -> list[tuple[int, list[int]]]:
    return models.rows("data_version", "version, batches")


def load(models: Models) -> int:
    """A file of one more person; returns its batch."""
    models.load(stay(f"person {next(_persons)}", "CAM", "2024-05-01 12:00:00", 600))
    return newest_batch(models)


def newest_batch(models: Models) -> int:
    found = models.owner.execute("select max(batch_id) from raw.batches").fetchone()
    assert found is not None
    return int(found[0])


def transform(models: Models, *statements: str) -> None:
    """As who owns the marts."""
    with models.warehouse.connect("transformer", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]


def message(result: Any, name: str) -> str:
    """What dbt says of one of a run's nodes."""
    (found,) = [str(each.message) for each in result.result.results if each.node.name == name]
    return found


def test_everything_that_readers_see_and_that_is_checked_is_built_before_the_version(models: Models) -> None:
    manifest = parsed_project(models.warehouse)
    manifest.build_parent_and_child_maps()
    before = set()
    waiting = [NAME]
    while waiting:
        parents = set(manifest.parent_map.get(waiting.pop(), [])) - before
        before |= parents
        waiting += parents
    nodes = manifest.nodes.values()
    made = {node.unique_id for node in nodes if node.resource_type == "model"} | manifest.functions.keys()
    assert made - before == {NAME, AFTER}, "not upstream of data_version"
    stored = {node.unique_id for node in nodes if node.config.materialized in {"incremental", "table"}}
    assert stored - set(manifest.nodes[NAME].depends_on.nodes) == set(), "to be named in data_version itself"
    # dbt holds a node back for a check only if all that the check reads is upstream of the node.
    tests = [node for node in nodes if node.resource_type == "test"]
    assert len(tests) > 10
    assert [test.name for test in tests if not before.issuperset(test.depends_on.nodes)] == []
    assert {test.config.severity.lower() for test in tests} == {"error"}
    marts = {node.unique_id for node in nodes if node.resource_type == "model" and node.schema == "marts"}
    for exposure in manifest.exposures.values():
        assert set(exposure.depends_on.nodes) == marts, exposure.name


def test_new_data_make_a_version_and_nothing_new_makes_none(models: Models) -> None:
    before = versions(models)
    batches = [load(models), load(models)]
    models.build()
    after = versions(models)
    assert after == [*before, (len(before) + 1, batches)]
    models.build()
    assert versions(models) == after
    times = [time for (time,) in models.rows("data_version", "published_at", "version")]
    assert times == sorted(times)


def test_a_retraction_and_a_full_refresh_make_one_that_tells_of_the_batch(models: Models) -> None:
    load(models)
    models.retract(newest_batch(models))  # here a file's number is that of its batch
    before = versions(models)
    models.build("--full-refresh")
    assert versions(models) == [*before, (len(before) + 1, [newest_batch(models) - 1, newest_batch(models)])]


def test_a_parameter_that_only_a_view_reads_makes_a_version(models: Models) -> None:
    before = versions(models)
    models.set_parameters(bounce_seconds=10.0)
    models.build()
    assert versions(models) == [*before, (len(before) + 1, [])]


def test_the_fingerprint_tells_of_whatever_readers_might_see_otherwise(models: Models) -> None:
    result = models.dbt("compile", "--select", "data_version")
    (compiled,) = [each.node.compiled_code for each in result.result.results]  # type: ignore[union-attr]
    changes = {
        "a stored table's rows": "update intermediate.model_states set revision = default where model = 'dim_sites'",
        "a parameter": "update raw.parameters set value = '1' where name = 'bounce_seconds'",
        "an account": "update raw.files set rows_rejected = 1, rows_read = rows_read + 1 where file_id = 1",
        "a view": "create or replace view marts.unmatched_exits as"
        " select event_id, person_id, camera_id, event_time as exit_time from intermediate.int_linked_events",
        "the project that made a view": "update intermediate.view_states set project = 'x' where model = 'kpis'",
        "a function": "alter function marts.kpis_between volatile",
        "a new function": "create function marts.answer() returns integer language sql as 'select 42'",
    }
    with models.warehouse.connect_as_administrator(models.warehouse.database) as connection:
        connection.execute("create temporary table claimed (batch_id bigint)")

        def fingerprint() -> Any:
            return connection.execute(f"select fingerprint from ({compiled}) as next_one").fetchone()  # type: ignore[arg-type]

        before = fingerprint()
        for what, change in changes.items():
            with connection.transaction(force_rollback=True):
                connection.execute(change)  # type: ignore[arg-type]
                assert fingerprint() != before, what
        assert fingerprint() == before
        connection.rollback()


def test_what_fails_keeps_the_version_until_it_is_put_right(models: Models) -> None:
    before = versions(models)
    # A session too few: the law that every entry is one session no longer holds.
    transform(
        models,
        "create table intermediate.kept as table intermediate.int_sessions",
        "delete from intermediate.int_sessions where person_id = 'person 1'",
    )
    batches = [load(models)]
    result = models.dbt("build")
    assert not result.success
    assert message(result, "entries_are_sessions").startswith("Got 1 result")
    assert versions(models) == before
    transform(
        models,
        "insert into intermediate.int_sessions table intermediate.kept except table intermediate.int_sessions",
        "drop table intermediate.kept",
        "alter table marts.camera_hourly add constraint full_disk check (events < 0) not valid",
    )
    batches.append(load(models))
    assert not models.dbt("build").success
    assert versions(models) == before
    transform(models, "alter table marts.camera_hourly drop constraint full_disk")
    models.build()
    assert versions(models) == [*before, (len(before) + 1, batches)]


def test_a_place_that_no_dimension_knows_is_found(models: Models) -> None:
    transform(
        models, "create table intermediate.kept as table marts.site_daily", "update marts.site_daily set site_id = 'x'"
    )
    result = models.dbt("build")
    assert not result.success
    assert message(result, "places_are_known").startswith("Got 1 result")
    transform(models, "truncate marts.site_daily", "insert into marts.site_daily table intermediate.kept")
    transform(models, "drop table intermediate.kept")
    models.build()


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ("marts.camera_hourly", "bucket_end = bucket_start"),
        ("marts.camera_daily", "entries = events + 1"),
        ("marts.camera_weekly", "sessions_started = events + 1"),
        ("marts.site_hourly", "completed_sessions = sessions_started + 1"),
        ("marts.site_daily", "dwell_seconds_avg = null"),
        ("marts.site_weekly", "dwell_seconds_median = dwell_seconds_p90 + 1"),
        ("marts.demographics_daily", "dwell_seconds_max = dwell_seconds_total + 1"),
        ("marts.site_daily", "avg_occupancy = peak_occupancy + 1"),
        ("marts.site_daily", "peak_occupancy = unique_visitors + 1"),
        ("intermediate.int_visits", "dwell_microseconds = -1"),
        ("intermediate.int_visits", "camera_count = session_count + 1"),
    ],
)
def test_a_row_that_contradicts_itself_cannot_be_written(models: Models, table: str, wrong: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        transform(models, f"update {table} set {wrong}")


def test_who_leaves_out_a_check_publishes_nothing(models: Models) -> None:
    before = versions(models)
    load(models)
    for arguments in (
        ["run"],
        ["build", "--exclude", "entries_are_sessions"],
        ["build", "--select", "data_version"],
    ):
        result = models.dbt(*arguments)
        assert result.success
        assert message(result, "data_version") == "NOT PUBLISHED"
    assert versions(models) == before


@pytest.mark.soak
def test_views_that_the_same_project_has_made_may_be_left_out(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTFALL_DB_PROJECT", "this one")
    models.build()
    before = versions(models)
    batches = [load(models)]
    models.build(*WHAT_DATA_CHANGE)
    assert versions(models) == [*before, (len(before) + 1, batches)]
    # Made by another project, or by who knows which.
    before = versions(models)
    batches = [load(models)]
    for project in ("another", ""):
        monkeypatch.setenv("FOOTFALL_DB_PROJECT", project)
        result = models.dbt("build", *WHAT_DATA_CHANGE)
        assert result.success
        assert message(result, "data_version") == "NOT PUBLISHED"
    # A check of a view belongs to the view; one of stored tables to every build.
    monkeypatch.setenv("FOOTFALL_DB_PROJECT", "this one")
    for check in ("accepted_values_person_sessions_status__complete__open__missing_exit", "places_are_known"):
        result = models.dbt("build", "--exclude", check)
        assert result.success
        assert message(result, "data_version") == "NOT PUBLISHED"
    assert versions(models) == before
    models.build(*WHAT_DATA_CHANGE)
    assert versions(models) == [*before, (len(before) + 1, batches)]


def test_what_is_left_out_with_the_views_are_their_checks_alone(models: Models) -> None:
    manifest = parsed_project(models.warehouse)
    result = models.dbt("ls", *WHAT_DATA_CHANGE, "--resource-type", "model", "test", "--output", "name")
    built = set(result.result)  # type: ignore[arg-type]
    nodes = {node.unique_id: node for node in manifest.nodes.values() if node.resource_type in {"model", "test"}}
    views = {unique_id for unique_id, node in nodes.items() if node.config.materialized == "view"}
    left_out = {unique_id for unique_id, node in nodes.items() if node.name not in built}
    assert left_out >= views
    for unique_id in left_out - views:
        assert views.intersection(nodes[unique_id].depends_on.nodes), unique_id
    assert {"entries_are_sessions", "buckets_conserve_time", "buckets_conserve_dwell", "places_are_known"} <= built


def test_what_another_build_changes_meanwhile_is_for_that_one_to_publish(models: Models) -> None:
    before = versions(models)
    load(models)

    def change_sessions(event: Any) -> None:
        if event.info.name == "LogModelResult" and event.data.node_info.node_name == "kpis":
            transform(models, "update intermediate.model_states set revision = default where model = 'int_sessions'")

    result = models.dbt("build", on_event=change_sessions)
    assert result.success
    assert message(result, "data_version") == "NOT PUBLISHED"
    assert versions(models) == before
    with models.warehouse.connect("transformer") as connection:
        assert connection.execute("select count(*) from intermediate.revisions_seen").fetchone() == (0,)


def test_a_batch_counts_as_consumed_once_every_model_has_taken_it(models: Models) -> None:
    models.build()
    before = versions(models)
    batch = load(models)

    def take_back(event: Any) -> None:
        if event.info.name == "LogModelResult" and event.data.node_info.node_name == "camera_hourly":
            transform(
                models,
                f"delete from intermediate.consumed_batches where (model, batch_id) = ('camera_hourly', {batch})",
            )

    assert models.dbt("build", on_event=take_back).success
    assert versions(models) == [*before, (len(before) + 1, [])]
    models.build()
    assert versions(models) == [*before, (len(before) + 1, []), (len(before) + 2, [batch])]


def build_elsewhere(warehouse: Warehouse, manifest: Any, folder: str) -> None:
    """A build in a process of its own."""
    tempfile.tempdir = folder
    # On the way between processes a manifest's look-up tables are mixed up; its copy makes them anew.
    result = Models(warehouse).dbt("build", manifest=manifest.deepcopy())
    assert result.success, account_of(result)


def open_when_two_wait(warehouse: Warehouse, gate: psycopg.Connection[Any]) -> None:
    waiting = "select count(*) from pg_locks where relation = 'marts.camera_hourly'::regclass and not granted"
    try:
        with warehouse.connect("transformer", autocommit=True) as connection:
            for _ in range(600):
                if connection.execute(waiting).fetchone() == (2,):
                    break
                time.sleep(0.1)
    finally:
        gate.commit()


@pytest.mark.soak
def test_two_builds_at_once_publish_every_batch_once(models: Models, tmp_path: Path) -> None:
    models.build()
    before = versions(models)
    batch = load(models)
    manifest = parsed_project(models.warehouse)
    other = multiprocessing.get_context("spawn").Process(
        target=build_elsewhere, args=(models.warehouse, manifest, str(tmp_path))
    )
    with models.warehouse.connect("transformer") as gate:
        # Both come past here, but neither before the other is here.
        gate.execute("lock table marts.camera_hourly in share row exclusive mode")
        opener = threading.Thread(target=open_when_two_wait, args=(models.warehouse, gate))
        opener.start()
        other.start()
        try:
            models.build()
            other.join(120)
            assert other.exitcode == 0
        finally:
            other.kill()
            opener.join()
    assert versions(models) == [*before, (len(before) + 1, [batch])]


@dataclass(frozen=True)
class State:
    version: int | None
    published_at: datetime | None
    is_settled: bool
    views: str


def present_state(models: Models) -> State:
    """As the API sees it."""
    with models.warehouse.connect("api", row_factory=class_row(State)) as connection:
        (state,) = connection.execute("select * from marts.present_state").fetchall()
    return state


def states_after(models: Models, *names: str, arguments: tuple[str, ...] = ()) -> dict[str, State]:
    """Build, and look at the state as soon as each of these models has committed."""
    seen: dict[str, State] = {}

    def look(event: Any) -> None:
        if event.info.name == "LogModelResult" and event.data.node_info.node_name in names:
            seen[event.data.node_info.node_name] = present_state(models)

    result = models.dbt("build", *arguments, on_event=look)
    assert result.success, account_of(result)
    assert seen.keys() == set(names)
    return seen


def is_settled(models: Models) -> bool:
    return present_state(models).is_settled


def newest(models: Models) -> int:
    return versions(models)[-1][0]


def test_marts_are_settled_from_a_publication_to_the_next_change(models: Models) -> None:
    models.build()
    before = present_state(models)
    assert (before.version, before.is_settled) == (newest(models), True)
    assert models.rows("data_version", "published_at", "version desc")[0] == (before.published_at,)
    load(models)
    assert present_state(models) == before, "nothing that readers see has changed yet"
    seen = states_after(models, "stg_events", "int_linked_events", "site_weekly", "data_version")
    assert seen["stg_events"] == before, "the same view again"
    for name in ("int_linked_events", "site_weekly"):
        assert seen[name] == replace(before, is_settled=False), name
    after = present_state(models)
    assert after == seen["data_version"]
    assert (after.version, after.is_settled, after.views) == (newest(models), True, before.views)
    assert after.version != before.version
    idle = states_after(models, "int_linked_events", "site_weekly", "data_version", "present_state")
    assert {*idle.values(), present_state(models)} == {after}


def test_marts_are_not_settled_from_a_failed_check_to_the_next_good_build(models: Models) -> None:
    before = newest(models)
    lost = "from intermediate.int_sessions where person_id = 'person 1'"
    transform(models, f"create table intermediate.kept as select * {lost}", f"delete {lost}")
    load(models)
    assert not models.dbt("build").success
    assert (present_state(models).version, is_settled(models)) == (before, False)
    assert not models.dbt("build").success
    assert not is_settled(models)
    transform(models, "insert into intermediate.int_sessions table intermediate.kept", "drop table intermediate.kept")
    models.build()
    assert (present_state(models).version, is_settled(models)) == (before + 1, True)


@pytest.mark.soak
def test_a_setting_or_who_publishes_nothing_unsettles_the_marts(models: Models) -> None:
    models.build()
    assert is_settled(models)
    models.set_parameters(bounce_seconds=11.0)
    assert not is_settled(models), "views heed it already"
    load(models)
    result = models.dbt("run")
    assert result.success
    assert message(result, "data_version") == "NOT PUBLISHED"
    assert not is_settled(models)
    models.build()
    assert is_settled(models)


@pytest.mark.soak
def test_a_table_that_is_filled_anew_unsettles_the_marts(models: Models) -> None:
    listed = {"camera_id": "CAM", "site_id": "default", "timezone": "UTC"}
    models.set_cameras(listed)
    models.build()
    assert is_settled(models)
    # No camera moves, so that nothing else is to be filled anew.
    models.set_cameras({**listed, "capacity": 5})
    assert models.dbt("run", "--select", "dim_cameras", "--full-refresh").success
    assert models.rows("dim_cameras", "camera_id, capacity") == [("CAM", 5)]
    assert not is_settled(models)
    models.build()
    assert is_settled(models)


@pytest.mark.soak
def test_views_of_another_project_unsettle_the_marts(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTFALL_DB_PROJECT", "an old one")
    models.build()
    before = present_state(models)
    assert before.is_settled
    monkeypatch.setenv("FOOTFALL_DB_PROJECT", "a new one")
    seen = states_after(models, "stg_events", "kpis", "data_version")
    assert not seen["stg_events"].is_settled
    assert not seen["kpis"].is_settled
    assert seen["data_version"].is_settled
    after = present_state(models)
    assert (after.version, after.is_settled) == (newest(models), True)
    assert len({before.views, seen["stg_events"].views, after.views}) == 3
    idle = states_after(models, "stg_events", "data_version", "present_state")
    assert set(idle.values()) == {after}


@pytest.mark.soak
def test_a_view_that_who_knows_which_project_made_anew_unsettles_the_marts(models: Models, tmp_path: Path) -> None:
    models.build()
    assert is_settled(models)
    project = tmp_path / "dbt_project"
    shutil.copytree(PROJECT, project)
    view = project / "models" / "marts" / "visitors.sql"
    view.write_text(view.read_text() + "where true\n")
    with other_project(project, tmp_path / "target"):
        assert models.dbt("run", "--select", "visitors").success
    assert not is_settled(models)
    models.build()
    assert is_settled(models), "as it was published"


def test_before_anything_is_published_there_is_no_version(models: Models) -> None:
    with models.warehouse.connect("transformer") as connection:
        connection.execute("delete from marts.data_version")
        told = connection.execute("select version, published_at, is_settled from marts.present_state").fetchall()
        connection.rollback()
    assert told == [(None, None, False)]
