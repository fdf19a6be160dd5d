"""What /metrics tells equals what SQL finds, in text that Prometheus' own parser reads."""

from __future__ import annotations

import io
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import uvicorn
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from psycopg.types.json import Jsonb
from rich.console import Console

from orchestration.disk_space import folders
from orchestration.jobs import INGEST, RETRACT, correction_config, ingest_config
from orchestration.resources import Footfall
from orchestration.status import _show_figures
from serving.metrics import Observed, build_router, metrics_text
from tests.integration.dropping import csv_of, good_rows
from tests.integration.orchestrating import run_job
from validation.landing import LandingFolder
from warehouse.connections import Warehouse
from warehouse.figures import LAST_FILES, STAGES, read_figures
from warehouse.problems import WarehouseProblem

Samples = dict[tuple[str, tuple[str, ...]], float]


def parsed(text: bytes) -> Samples:
    """The samples by name and labels' values, in the order of the labels' names."""
    return {
        (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.fixture
def observed(footfall: Footfall) -> Observed:
    settings = footfall.settings
    return Observed(
        lambda: footfall.warehouse, lambda: len(LandingFolder(settings.landing).look()), lambda: folders(settings)
    )


@pytest.fixture
def rows(warehouse: Warehouse) -> Callable[..., list[Any]]:
    def ask(query: str) -> list[Any]:
        with warehouse.connect_as_administrator(warehouse.database) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload]

    return ask


def drop(footfall: Footfall, name: str, content: bytes) -> None:
    (footfall.settings.landing / name).write_bytes(content)


def test_what_is_told_equals_what_sql_finds(
    footfall: Footfall, instance: dg.DagsterInstance, observed: Observed, rows: Callable[..., list[Any]]
) -> None:
    good, bad = good_rows(40), ["2024-05-01 10:00:00,,CAM-1,entry", "no time,P,CAM-1,entry"]
    drop(footfall, "good.csv", csv_of([*good, bad[0]]))
    drop(footfall, "again.csv", csv_of([*good[:7], *good_rows(30, "Q")]))
    drop(footfall, 'evil\n"} 1\nfootfall_files{state="forged.csv', csv_of([*bad, *bad]))
    drop(footfall, "gone.csv", csv_of(good_rows(3, "R")))
    assert run_job(footfall, instance, INGEST, ingest_config(_waiting(footfall))).success
    assert run_job(footfall, instance, RETRACT, correction_config(RETRACT, ["gone.csv"])).success
    drop(footfall, "waiting.csv", csv_of(good))
    drop(footfall, ".hidden.csv", csv_of(good))

    text = metrics_text(observed)
    told = parsed(text)
    assert b"evil" not in text
    assert b"CAM-1" not in text
    files = {name[1][0]: value for name, value in told.items() if name[0] == "footfall_files"}
    assert {state: count for state, count in files.items() if count} == dict(
        rows("select state, count(*) from raw.files group by state")
    )
    assert files["quarantined"] == files["retracted"] == 1
    (sums,) = rows(
        "select sum(rows_read), sum(rows_loaded), sum(rows_rejected), sum(rows_duplicate), sum(rows_held)"
        " from raw.files"
    )
    fates = {fate: told["footfall_rows", (fate,)] for fate in ("read", "loaded", "rejected", "duplicate", "held")}
    assert tuple(fates.values()) == sums == (85, 70, 5, 7, 3)
    assert fates.pop("read") == sum(fates.values())
    assert fates["loaded"] == rows("select count(*) from raw.events")[0][0]
    codes = {name[1][0]: value for name, value in told.items() if name[0] == "footfall_rejects"}
    assert codes == dict(rows("select code, count(*) from raw.rejects group by code"))
    assert len(codes) >= 2
    for stage in STAGES:
        ((seconds,),) = rows(f"select sum((stage_seconds ->> '{stage}')::float8) from raw.files")
        assert told["footfall_stage_seconds", (stage,)] == pytest.approx(seconds)
        assert seconds > 0
    ((whole, stages),) = rows(
        "select sum(seconds), sum((select sum(value::float8) from jsonb_each_text(stage_seconds))) from raw.files"
    )
    assert stages == pytest.approx(whole, rel=0.01)
    ((version, published),) = rows(
        "select version, extract(epoch from published_at) from marts.data_version order by 1 desc limit 1"
    )
    assert told["footfall_data_version", ()] == version == 2
    assert told["footfall_data_version_published_timestamp_seconds", ()] == pytest.approx(float(published))
    assert 0 < told["footfall_data_version_age_seconds", ()] < 300
    # Three of the files were loaded; of one the newest batch is its retraction, which no file's arrival led to.
    lags = sorted(
        float(lag)
        for (lag,) in rows(
            "select extract(epoch from min(published_at) - arrived_at) from marts.data_version"
            " join raw.files on files.batch_id = any(batches) where state = 'loaded' group by file_id, arrived_at"
        )
    )
    assert len(lags) == 2
    assert told["footfall_lag_seconds", ("1",)] == pytest.approx(lags[-1])
    assert told["footfall_lag_seconds", ("0.5",)] == pytest.approx(lags[0])
    assert told["footfall_last_lag_seconds", ()] == pytest.approx(lags[0], abs=5)
    assert told["footfall_unpublished_files", ()] == told["footfall_unpublished_seconds", ()] == 0
    assert told["footfall_waiting_files", ()] == 1
    free = shutil.disk_usage(footfall.settings.home).free
    assert told["footfall_disk_free_bytes", ("home",)] == pytest.approx(free, rel=0.05)
    assert told["footfall_database_bytes", ("warehouse",)] > 5_000_000
    assert told["footfall_database_up", ()] == 1
    # files_usable failed, and so did checks of rows; in the last run no file was judged, and they passed.
    not_passed = {name[1]: value for name, value in told.items() if name[0] == "footfall_checks_not_passed"}
    assert not_passed == {
        tuple(labels): count
        for *labels, count in rows(
            """
            select layer, severity, status, count(distinct (schema_name, table_name, name)) from raw.check_outcomes as o
            where status <> 'passed' and run_id = (
                select run_id from raw.check_outcomes as l
                where (l.schema_name, l.table_name, l.name) = (o.schema_name, o.table_name, o.name)
                order by decided_at desc limit 1
            )
            group by layer, severity, status
            """
        )
    }
    assert not_passed

    console = Console(width=500, record=True, file=io.StringIO())
    _show_figures(footfall.warehouse, console)
    shown = console.export_text()
    assert "Rows in all: 85 read, 70 loaded, 5 rejected, 7 duplicate, 3 held" in shown
    assert "Rows today: 85 read" in shown
    assert "Checks not passed: none" not in shown


def _waiting(footfall: Footfall) -> list[str]:
    return [one.shown_name for one in LandingFolder(footfall.settings.landing).look()]


def test_a_load_that_is_not_in_the_marts_is_told(
    footfall: Footfall, instance: dg.DagsterInstance, observed: Observed, rows: Callable[..., list[Any]]
) -> None:
    before = parsed(metrics_text(observed))
    assert ("footfall_data_version", ()) not in before
    assert before["footfall_files", ("loaded",)] == before["footfall_unpublished_files", ()] == 0
    drop(footfall, "one.csv", csv_of(good_rows(3)))
    with footfall.warehouse.connect("owner") as connection:  # a file that was loaded and whose build never came
        connection.execute(
            "insert into raw.files (sha256, file_name, size_bytes, state, arrived_at, finished_at, batch_id, rows_read,"
            " rows_loaded, rows_rejected, rows_duplicate)"
            " values ('ab', 'x.csv', 1, 'loaded', now(), now() - interval '90 s', 1, 0, 0, 0, 0)"
        )
    told = parsed(metrics_text(observed))
    assert told["footfall_unpublished_files", ()] == 1
    assert told["footfall_unpublished_seconds", ()] == pytest.approx(90, abs=30)
    rows("delete from raw.files returning 1")
    assert run_job(footfall, instance, INGEST, ingest_config(["one.csv"])).success
    rows("update raw.files set batch_id = batch_id + 1, finished_at = now() - interval '40 s' returning 1")
    told = parsed(metrics_text(observed))
    assert told["footfall_unpublished_seconds", ()] == pytest.approx(40, abs=30)


def test_alerts_runs_and_checks_are_counted_and_hostile_labels_stay_labels(
    warehouse: Warehouse, observed: Observed
) -> None:
    hostile = 'a"} 7\nfootfall_files{state="x\\'
    with warehouse.connect("owner") as connection:
        for kind, cleared in (("disk_full", "null"), ("disk_full", "null"), ("stale", "now()")):
            connection.execute(
                f"insert into raw.alerts (condition, kind, sentence, cleared_at)"
                f" values (gen_random_uuid()::text, '{kind}', 's', {cleared})".encode()
            )
        connection.execute(
            "insert into raw.files (sha256, file_name, size_bytes, state, arrived_at, reject_counts)"
            " values ('ab', 'x.csv', 1, 'quarantined', now(), %s)",
            [Jsonb({hostile: 3})],
        )
    with psycopg.connect(warehouse.url("dagster", "dagster")) as connection:
        connection.execute("create table runs (status varchar(63))")
        for status in ("QUEUED", "QUEUED", "STARTED", "CANCELING", "SUCCESS", "FAILURE"):
            connection.execute("insert into runs values (%s)", [status])
    told = parsed(metrics_text(observed))
    assert told["footfall_open_alerts", ("disk_full",)] == 2
    assert ("footfall_open_alerts", ("stale",)) not in told
    assert told["footfall_rejects", (hostile,)] == 3
    assert ("footfall_files", ("x",)) not in told
    assert told["footfall_runs", ("queued",)] == told["footfall_runs", ("started",)] == 2


def test_where_postgresql_is_gone_the_rest_is_told(tmp_path: Path) -> None:
    def gone() -> Warehouse:
        raise WarehouseProblem("The embedded PostgreSQL is not running.", "Start it.")

    def unreadable() -> int:
        raise PermissionError

    told = parsed(metrics_text(Observed(gone, unreadable, lambda: {"home": tmp_path})))
    assert told.keys() == {("footfall_database_up", ()), ("footfall_disk_free_bytes", ("home",))}
    assert told["footfall_database_up", ()] == 0


def test_the_page_is_served_as_prometheus_wants_it(observed: Observed) -> None:
    app = FastAPI()
    app.include_router(build_router(observed))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}/metrics", timeout=60) as answer:
                assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
                assert parsed(answer.read())["footfall_database_up", ()] == 1
        finally:
            server.should_exit = True
            thread.join()


def test_ten_thousand_files_do_not_make_it_slow(warehouse: Warehouse, observed: Observed) -> None:
    with warehouse.connect("owner") as connection:
        connection.execute(
            """
            insert into raw.files (
                sha256, file_name, size_bytes, state, arrived_at, finished_at, batch_id, rows_read, rows_loaded,
                rows_rejected, rows_duplicate, reject_counts, header, rules, time_formats, notices, stage_seconds
            )
            select
                md5(i::text), 'a file with a name ' || i, 1, 'loaded', now(), now(), i, 1000, 990, 5, 5,
                '{"missing_person_id": 3, "unreadable_time": 2}', jsonb_build_array(repeat('x', 300)),
                jsonb_build_object('rules', repeat('x', 300)), '{}', '[]',
                '{"hash": 0.1, "read": 0.2, "validate": 0.3, "load": 0.4}'
            from generate_series(1, 10000) as _ (i)
            """
        )
        connection.execute("insert into raw.batches (kind, file_id) select 'load', file_id from raw.files")
    with warehouse.connect("transformer") as connection:
        connection.execute(
            "create table marts.data_version as select i::bigint as version, now() as published_at,"
            " array[i]::bigint[] as batches from generate_series(1, 10000) as _ (i)"
        )
        connection.execute("create unique index on marts.data_version (version)")
    with warehouse.connect("owner") as connection:
        connection.execute(
            """
            insert into raw.check_outcomes
                (run_id, file_id, schema_name, table_name, name, title, layer, severity, status, sentence, decided_at)
            select i::text, i, 'raw', 'events', 'check ' || c, 't', 'rows', 'warning',
                case when c % 3 = 0 then 'failed' else 'passed' end, 's', now() + i * interval '1 s'
            from generate_series(1, 10000) as _ (i), generate_series(1, 20) as __ (c)
            """
        )
    with warehouse.connect_as_administrator(warehouse.database, autocommit=True) as connection:
        connection.execute("analyze")
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        text = metrics_text(observed)
        seconds.append(time.perf_counter() - began)
    told = parsed(text)
    assert told["footfall_checks_not_passed", ("rows", "warning", "failed")] == 6
    assert told["footfall_rejects", ("missing_person_id",)] == 30_000
    assert len(read_figures(warehouse).lags) == LAST_FILES
    # Some 40 ms where the machine has nothing else to do, which a test cannot rely on.
    assert min(seconds) < 0.5
