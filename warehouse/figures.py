"""Numbers about the whole, as the database has them: files, rows, checks, alerts, and how fresh the marts are.

Read in one snapshot, with the rights of the role `api`. No name of a file is in them, and no cell of one. How they are
shown is `serving.metrics`' and the command line's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from warehouse.connections import Warehouse

STATES: Final = ("loading", "loaded", "quarantined", "failed", "retracted")
FATES: Final = ("read", "loaded", "rejected", "duplicate", "held")
STAGES: Final = ("hash", "read", "validate", "load")
# Lags are told of so many files, the last ones.
LAST_FILES: Final = 100
_SECONDS: Final = 10
_QUEUED: Final = ("NOT_STARTED", "QUEUED")
_STARTED: Final = ("STARTING", "STARTED", "CANCELING")

_FILES: Final = """
    select
        state,
        count(*),
        sum(rows_read)::bigint, sum(rows_loaded)::bigint, sum(rows_rejected)::bigint, sum(rows_duplicate)::bigint,
        sum(rows_held)::bigint,
        (sum(rows_read) filter (where today))::bigint, (sum(rows_loaded) filter (where today))::bigint,
        (sum(rows_rejected) filter (where today))::bigint, (sum(rows_duplicate) filter (where today))::bigint,
        (sum(rows_held) filter (where today))::bigint,
        sum((stage_seconds ->> 'hash')::double precision), sum((stage_seconds ->> 'read')::double precision),
        sum((stage_seconds ->> 'validate')::double precision), sum((stage_seconds ->> 'load')::double precision)
    from raw.files
    cross join lateral (select finished_at >= date_trunc('day', now())) as finished (today)
    group by state
"""
_REJECTS: Final = """
    select code, sum(rows::bigint)::bigint
    from raw.files cross join lateral jsonb_each_text(reject_counts) as _ (code, rows)
    group by code
"""
# Of each check what its last run found: of a check that judges file by file, in all files of that run.
_CHECKS: Final = """
    with recursive checks as (
        (
            select schema_name, table_name, name from raw.check_outcomes
            order by schema_name, table_name, name limit 1
        )
        union all
        select next_one.* from checks
        cross join lateral (
            select schema_name, table_name, name from raw.check_outcomes
            where (schema_name, table_name, name) > (checks.schema_name, checks.table_name, checks.name)
            order by schema_name, table_name, name limit 1
        ) as next_one
    ),
    last_runs as (
        select
            checks.*,
            (
                select run_id from raw.check_outcomes as outcomes
                where
                    outcomes.schema_name = checks.schema_name and outcomes.table_name = checks.table_name
                    and outcomes.name = checks.name
                order by decided_at desc limit 1
            ) as run_id
        from checks
    ),
    not_passed as (
        select distinct on (schema_name, table_name, name) layer, severity, status
        from last_runs inner join raw.check_outcomes using (run_id, schema_name, table_name, name)
        where status <> 'passed'
        order by schema_name, table_name, name, severity, status desc
    )
    select layer, severity, status, count(*) from not_passed group by layer, severity, status
"""
_VERSION: Final = "select version, published_at from marts.data_version order by version desc limit 1"
_LAGS: Final = """
    with published as (
        select published_at, unnest(batches) as batch_id
        from (select published_at, batches from marts.data_version order by version desc limit %(files)s) as last_ones
    )
    select extract(epoch from published_at - arrived_at)::double precision
    from published
    inner join raw.batches on published.batch_id = batches.batch_id and batches.kind = 'load'
    inner join raw.files on batches.file_id = files.file_id and batches.batch_id = files.batch_id
    order by published.batch_id desc
    limit %(files)s
"""
_UNPUBLISHED: Final = """
    select count(*), extract(epoch from now() - min(finished_at))::double precision from raw.files
    where batch_id > coalesce((
        select max(batch_id) from unnest((
            select batches from marts.data_version where cardinality(batches) > 0 order by version desc limit 1
        )) as told (batch_id)
    ), 0)
"""
_UNPUBLISHED_AT_ALL: Final = """
    select count(*), extract(epoch from now() - min(finished_at))::double precision from raw.files
    where batch_id is not null
"""
_RUNS: Final = """
    select count(*) filter (where status = any(%(queued)s)), count(*) filter (where status = any(%(started)s))
    from {} where status = any(%(queued)s) or status = any(%(started)s)
"""


@dataclass(frozen=True)
class Figures:
    """What the warehouse says of itself at one moment.

    `rows` counts the rows of all files by their fate, `rows_today` those of files decided since midnight UTC;
    `stage_seconds` sums where the loading of the files in the ledger took its time; `lags` are the seconds from arrival
    to published marts of the last files, the newest first; `unpublished` counts files whose last batch is in no data
    version yet, `unpublished_seconds` says how long the oldest has been waiting for that; `checks_not_passed` counts
    checks by layer, severity and status.
    """

    files: Mapping[str, int]
    rows: Mapping[str, int]
    rows_today: Mapping[str, int]
    rejects: Mapping[str, int]
    stage_seconds: Mapping[str, float]
    lags: tuple[float, ...]
    unpublished: int
    unpublished_seconds: float
    version: int | None
    published_at: datetime | None
    checks_not_passed: Mapping[tuple[str, str, str], int]
    open_alerts: Mapping[str, int]
    now: datetime
    bytes_used: int


@dataclass(frozen=True)
class Runs:
    """What Dagster's storage says of its runs, and how large it is (None where the warehouse's database holds it)."""

    queued: int = 0
    started: int = 0
    bytes_used: int | None = None


def read_figures(warehouse: Warehouse) -> Figures:
    """Read all of them. Raises `psycopg.Error` where the database does not answer."""
    with warehouse.connect("api", connect_timeout=_SECONDS) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        files, rows, today, stages = _files(connection)
        version, lags, unpublished = _freshness(connection)
        now, size = _row(connection, "select now(), pg_database_size(current_database())")
        return Figures(
            files=files,
            rows=rows,
            rows_today=today,
            rejects=dict(connection.execute(_REJECTS).fetchall()),
            stage_seconds=stages,
            lags=lags,
            unpublished=unpublished[0],
            unpublished_seconds=max(unpublished[1] or 0.0, 0.0),
            version=version and version[0],
            published_at=version and version[1],
            checks_not_passed={(a, b, c): count for a, b, c, count in connection.execute(_CHECKS).fetchall()},
            open_alerts=dict(
                connection.execute(
                    "select kind, count(*) from raw.alerts where cleared_at is null group by kind"
                ).fetchall()
            ),
            now=now,
            bytes_used=size,
        )


def read_runs(warehouse: Warehouse) -> Runs:
    """Read what Dagster has to do; nothing before its tables are made. Raises `psycopg.Error` as `read_figures`.

    No other role may look into Dagster's database; this connection cannot write.
    """
    url = warehouse.url("dagster", "dagster")
    with psycopg.connect(url, application_name="footfall", connect_timeout=_SECONDS) as connection:
        connection.read_only = True
        (size,) = _row(connection, "select pg_database_size(current_database())")
        used = None if warehouse.shares_database else int(size)
        if _row(connection, "select to_regclass('runs') is null") == (True,):
            return Runs(bytes_used=used)
        numbers = {"queued": list(_QUEUED), "started": list(_STARTED)}
        queued, started = connection.execute(sql.SQL(_RUNS).format(sql.Identifier("runs")), numbers).fetchone() or (
            0,
            0,
        )
        return Runs(queued, started, used)


def _files(
    connection: psycopg.Connection[Any],
) -> tuple[dict[str, int], dict[str, int], dict[str, int], dict[str, float]]:
    files, stages = dict.fromkeys(STATES, 0), dict.fromkeys(STAGES, 0.0)
    rows, today = dict.fromkeys(FATES, 0), dict.fromkeys(FATES, 0)
    for state, count, *sums in connection.execute(_FILES).fetchall():
        files[state] = count
        told: list[tuple[dict[str, Any], str]] = [
            *((rows, fate) for fate in FATES),
            *((today, fate) for fate in FATES),
            *((stages, stage) for stage in STAGES),
        ]
        for (figures, name), total in zip(told, sums, strict=True):
            figures[name] += total or 0
    return files, rows, today, stages


def _freshness(
    connection: psycopg.Connection[Any],
) -> tuple[tuple[int, datetime] | None, tuple[float, ...], tuple[int, float | None]]:
    if _row(connection, "select to_regclass('marts.data_version') is null") == (True,):
        count, seconds = _row(connection, _UNPUBLISHED_AT_ALL)
        return None, (), (count, seconds)
    version = connection.execute(_VERSION).fetchone()
    lags = connection.execute(_LAGS, {"files": LAST_FILES}).fetchall()
    count, seconds = _row(connection, _UNPUBLISHED)
    return (version and (version[0], version[1])), tuple(lag for (lag,) in lags), (count, seconds)


def _row(connection: psycopg.Connection[Any], query: LiteralString) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate, or an expression
    return tuple(row)
