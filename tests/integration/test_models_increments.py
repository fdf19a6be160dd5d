"""Increments: whatever the batches, the marts are those of one full refresh; and what stays, stays untouched."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest

from tests.integration.modelling import CAMERAS, Models, Signal, at, random_signals, stay, unchanged
from tests.integration.transcripts import Replay


def assert_equal_to_full_refresh(models: Models) -> None:
    with unchanged(models.warehouse):
        models.run("--full-refresh")


@pytest.mark.parametrize("seed", range(4))
def test_any_batching_gives_the_tables_of_a_full_refresh(models: Models, seed: int) -> None:
    chance = random.Random(seed)
    models.set_parameters(excluded_ids=["staff"], min_confidence=0.2)
    models.set_cameras({"camera_id": "C1", "site_id": "shop", "timezone": "Europe/Berlin"})
    loaded: list[int] = []
    for step in range(5):
        for _ in range(chance.choice([1, 1, 2])):
            site = chance.choice([None, None, "out"])
            signals = random_signals(chance, chance.choice([1, 3, 30]), CAMERAS if site is None else CAMERAS[2:])
            loaded.append(models.load(signals, site=site))
            if chance.random() < 0.5:
                models.restate(chance.choice(signals), confidence=chance.choice([0.1, 0.95]))
        if step and chance.random() < 0.6:
            file_id = loaded.pop(chance.randrange(len(loaded)))
            if chance.random() < 0.5:
                models.retract(file_id)
            else:
                models.retract_and_drop_elsewhere(file_id, chance.choice([None, "out"]))
        models.run()
        if chance.random() < 0.3:
            assert_equal_to_full_refresh(models)
    assert_equal_to_full_refresh(models)


@pytest.mark.soak
def test_a_second_build_writes_nothing(models: Models) -> None:
    models.load(random_signals(random.Random(1), 60))
    models.build()
    before = models.row_versions()
    models.build()
    assert models.row_versions() == before


def test_an_increment_writes_only_what_differs(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600) + stay("q", "CAM", "2024-05-01 10:00:00", 60))
    models.load(stay("p", "CAM", "2024-05-02 10:00:00", 600))
    models.run()
    before = models.row_versions()
    models.load(stay("p", "CAM", "2024-05-02 20:00:00", 600))
    models.run()
    after = models.row_versions()
    written = {table: len(rows - before[table]) for table, rows in after.items()}
    assert written == {
        "intermediate.int_linked_events": 2,
        "intermediate.int_sessions": 1,
        "intermediate.int_visits": 1,
        "intermediate.int_first_visits": 0,
        "marts.dim_cameras": 1,  # its newest event
        "marts.dim_sites": 0,
        "marts.camera_hourly": 1,
        "marts.camera_daily": 1,
        "marts.camera_weekly": 1,
        "marts.site_hourly": 1,
        "marts.site_daily": 1,
        "marts.site_weekly": 1,
        "marts.demographics_daily": 1,
    }


def test_retracting_all_events_of_a_camera_takes_it_out_of_every_table(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    file_id = models.load(stay("p", "out/CAM", "2024-05-01 10:00:00", 7200), site="out")
    models.run()
    assert models.rows("dim_sites", "site_id") == [("default",), ("out",)]
    models.retract(file_id)
    models.build()
    assert models.rows("dim_sites", "site_id") == [("default",)]
    assert models.rows("camera_hourly", "camera_id") == [("CAM",)]
    assert models.rows("site_daily", "site_id") == [("default",)]
    assert models.rows("person_sessions", "camera_id") == [("CAM",)]


def test_a_session_that_shrinks_leaves_the_hours_it_covered(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:30:00", 3 * 3600))
    models.run()
    assert len(models.rows("camera_hourly")) == 4
    models.load([Signal("p", "CAM", "exit", at("2024-05-01 10:40:00"))])
    models.run()
    occupied = models.rows("camera_hourly", "extract(hour from bucket_start at time zone 'UTC')::int, occupied_seconds")
    assert occupied == [(10, 600.0), (13, 0.0)]  # at 13 the exit, now unmatched
    assert_equal_to_full_refresh(models)


def test_an_edited_camera_list_moves_cameras_between_sites(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 22:30:00", 3600))
    models.run()
    assert models.rows("site_daily", "site_id, bucket_date::text", "2") == [
        ("default", "2024-05-01"),
    ]
    before = models.row_versions()
    models.set_cameras({"camera_id": "CAM", "site_id": "shop", "timezone": "Asia/Tokyo"})
    models.run()
    assert models.rows("site_daily", "site_id, bucket_date::text", "2") == [("shop", "2024-05-02")]
    assert models.rows("person_sessions", "site_id") == [("shop",)]
    assert models.row_versions()["intermediate.int_linked_events"] == before["intermediate.int_linked_events"]
    before = models.row_versions()
    models.set_cameras({"camera_id": "CAM", "site_id": "shop", "timezone": "Asia/Tokyo", "camera_name": "Door"})
    models.run()
    assert models.rows("dim_cameras", "camera_name") == [("Door",)]
    assert models.row_versions()["marts.site_daily"] == before["marts.site_daily"]
    assert_equal_to_full_refresh(models)


def camera_sites(models: Models) -> dict[str, str]:
    """Where each camera stands; the sites that have days are the same."""
    sites: dict[str, str] = dict(models.rows("dim_cameras", "camera_id, site_id"))
    assert set(sites.values()) == {site for (site,) in models.rows("site_daily", "site_id")}
    return sites


def test_a_camera_called_as_if_in_a_subfolder_moves_there_with_the_first_file(models: Models) -> None:
    models.load(stay("p", "hall/door", "2024-05-01 10:00:00", 600))
    models.run()
    assert camera_sites(models) == {"hall/door": "default"}
    file_id = models.load(stay("p", "hall/gate", "2024-05-02 10:00:00", 600), site="hall")
    models.run()
    assert camera_sites(models) == {"hall/door": "hall", "hall/gate": "hall"}
    assert {site for (site,) in models.rows("person_sessions", "site_id")} == {"hall"}
    assert_equal_to_full_refresh(models)
    models.retract(file_id)  # its content is still known to have been in that folder
    models.run()
    assert camera_sites(models) == {"hall/door": "hall"}
    models.retract_and_drop_elsewhere(file_id, None)
    models.build()
    assert camera_sites(models) == {"hall/door": "default"}
    assert_equal_to_full_refresh(models)


def test_a_camera_may_go_just_as_its_site_comes_or_goes(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    top_level = models.load(stay("p", "hall/door", "2024-05-02 10:00:00", 600))
    models.run()
    models.retract(top_level)
    in_hall = models.load(stay("p", "hall/gate", "2024-05-03 10:00:00", 600), site="hall")
    models.run()
    assert camera_sites(models) == {"CAM": "default", "hall/gate": "hall"}
    days = "site_id, bucket_date::text"
    assert models.rows("site_daily", days, "2") == [("default", "2024-05-01"), ("hall", "2024-05-03")]
    models.retract_and_drop_elsewhere(in_hall, None)
    models.run()
    assert models.rows("site_daily", days) == [("default", "2024-05-01")]
    assert_equal_to_full_refresh(models)


def test_the_first_file_of_a_new_site_leaves_the_other_sites_rows_untouched(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600) + stay("p", "yard/CAM", "2024-05-01 10:00:00", 600))
    models.run()
    before = models.row_versions()
    models.load(stay("p", "hall/gate", "2024-05-01 10:00:00", 600), site="hall")
    models.run()
    after = models.row_versions()
    assert camera_sites(models) == {"CAM": "default", "hall/gate": "hall", "yard/CAM": "default"}
    for table in ("marts.camera_hourly", "marts.site_daily"):
        assert before[table] < after[table]


def test_a_batch_that_comes_between_two_models_waits_for_both(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    models.load(stay("q", "CAM", "2024-05-01 10:00:00", 600))
    models.run("--select", "staging int_linked_events")
    models.load(stay("r", "CAM", "2024-05-01 10:00:00", 600))
    models.run("--exclude", "int_linked_events")
    assert [row["unique_visitors"] for row in models.records("camera_hourly")] == [2]
    models.run()
    assert [row["unique_visitors"] for row in models.records("camera_hourly")] == [3]
    assert_equal_to_full_refresh(models)


def test_a_batch_that_only_one_parent_has_taken_waits(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    models.load(stay("q", "CAM", "2024-05-01 11:00:00", 7200))
    models.run("--select", "int_linked_events")
    models.run("--select", "camera_hourly", "site_daily")  # not yet: the sessions do not know of the batch
    models.run()
    assert [row["peak_occupancy"] for row in models.records("camera_hourly", "bucket_start")] == [1, 1, 1, 0]
    assert_equal_to_full_refresh(models)


def test_a_refreshed_model_has_its_children_refreshed(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    models.load(stay("q", "CAM", "2024-05-01 11:00:00", 600))
    models.run("--full-refresh", "--select", "int_linked_events")
    models.run()
    assert len(models.rows("person_sessions")) == 2
    assert_equal_to_full_refresh(models)


def test_a_failed_model_is_made_up_for_by_the_next_run(models: Models) -> None:
    models.load(random_signals(random.Random(2), 40))
    models.run()
    models.load(random_signals(random.Random(3), 40))
    with models.warehouse.connect("transformer", autocommit=True) as connection:
        connection.execute("alter table marts.camera_hourly add constraint full_disk check (events < 0) not valid")
        result = models.dbt("run")
        assert not result.success
        connection.execute("alter table marts.camera_hourly drop constraint full_disk")
    models.run()
    assert_equal_to_full_refresh(models)


def test_views_of_others_survive_increments_and_full_refreshes(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    with models.warehouse.connect("owner", autocommit=True) as connection:
        # Whoever may read the marts may build upon them, in a schema of their own.
        connection.execute("create schema reports")
        connection.execute("grant usage, create on schema reports to bi_reader")
    with models.warehouse.connect("bi_reader", autocommit=True) as reader:
        for mart in ("camera_hourly", "dim_cameras", "person_sessions", "camera_events", "kpis"):
            reader.execute(f"create view reports.{mart} as select * from marts.{mart}")  # type: ignore[arg-type]
        for arguments in ([], ["--full-refresh"]):
            models.load(stay(f"q{len(arguments)}", "CAM", "2024-05-01 11:00:00", 600))
            models.run(*arguments)
        sessions = reader.execute("select count(*) from reports.person_sessions").fetchone()
        visitors = reader.execute("select max(unique_visitors) from reports.camera_hourly").fetchone()
    assert (sessions, visitors) == ((3,), (2,))


def test_a_reader_sees_the_old_rows_until_the_new_ones_are_there(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    with models.warehouse.connect("bi_reader") as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert reader.execute("select count(*) from marts.dim_sites").fetchone() == (1,)
        models.load(stay("q", "CAM", "2024-05-01 11:00:00", 600))
        models.run("--full-refresh")  # neither waits for the reader nor empties the table under it
        assert reader.execute("select count(*) from marts.camera_hourly").fetchone() == (1,)


def test_what_the_increments_no_longer_need_is_forgotten(models: Models) -> None:
    models.load(stay("p", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    models.load(stay("q", "CAM", "2024-05-01 10:00:00", 600))
    models.run()
    with models.warehouse.connect("transformer") as connection:
        for table in ("int_linked_events_changes", "int_sessions_changes"):
            rows: Any = connection.execute(f"select count(*) from intermediate.{table}").fetchone()  # type: ignore[arg-type]
            assert rows == (0,)


def test_tables_are_documented_indexed_and_sorted_alike_on_every_machine(models: Models) -> None:
    models.run()
    with models.warehouse.connect("transformer") as connection:
        undocumented = connection.execute(
            "select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0"
            " where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'v')"
            " and (col_description(c.oid, a.attnum) is null or obj_description(c.oid) is null)"
        ).fetchall()
        collations = connection.execute(
            "select distinct a.attname, o.collname from pg_attribute a join pg_class c on c.oid = a.attrelid"
            " join pg_collation o on o.oid = a.attcollation where c.relkind in ('r', 'v')"
            " and a.attname in ('person_id', 'camera_id', 'site_id')"
            " and c.relnamespace in ('marts'::regnamespace, 'intermediate'::regnamespace)"
        ).fetchall()
        indexes = connection.execute(
            "select tablename, count(*) from pg_indexes where schemaname in ('marts', 'intermediate')"
            " and tablename in ('int_linked_events', 'int_sessions', 'camera_hourly', 'site_daily', 'dim_cameras')"
            " group by 1"
        ).fetchall()
    assert undocumented == []
    assert {collation for _, collation in collations} == {"C"}, collations
    assert dict(indexes) == {
        "int_linked_events": 2,
        "int_sessions": 3,
        "camera_hourly": 1,
        "site_daily": 1,
        "dim_cameras": 1,
    }


def test_an_increment_does_not_read_all_sessions_for_a_length_that_none_has(models: Models, replay: Replay) -> None:
    """Almost all are of one length, and nobody has vacuumed yet: where a plan that reads the table looks cheap."""
    with models.owner.transaction():
        models.load(stay("p", "CAM 0", "2024-05-01 10:00:00", 600))
        models.owner.execute(
            "insert into raw.events (event_id, person_id, camera_id, event_type, event_word, event_time, file_id,"
            " row_number, batch_id)"
            " select gen_random_uuid(), 'p' || stay, 'CAM ' || stay % 20, word, word,"
            " timestamptz '2024-01-01 00:00:00Z' + (stay * 7919 % 100000) * interval '60 seconds' + length,"
            " file_id, stay, batch_id"
            " from raw.events as first, generate_series(1, 20000) as stay,"
            " (values ('entry', interval '0'), ('exit', interval '600 seconds')) as kinds (word, length)"
            " where first.event_type = 'entry'"
        )
        models.owner.execute("analyze raw.events")
    replay.connection.execute("alter table intermediate.int_sessions set (autovacuum_enabled = false)")
    models.run("--full-refresh")
    models.load(stay("late", "CAM 1", "2024-02-01 10:00:00", 600))
    scans: dict[str, int] = {}

    def look(table: str, _: int) -> None:
        (number,) = replay.connection.execute(
            "select seq_scan from pg_stat_xact_user_tables where relname = 'int_sessions'"
        ).fetchone() or (0,)
        scans[table] = max(scans.get(table, 0), number)

    replay.connection.execute("select pg_stat_force_next_flush()")
    replay.increment(look)
    sizes = ("_hourly", "_daily", "_weekly")
    buckets = {name: number for name, number in scans.items() if name.endswith(sizes) and name != "quality_daily"}
    assert len(buckets) == 7
    assert max(buckets.values()) == 0, buckets
