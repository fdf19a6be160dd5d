"""What the good rows of a loaded file say as events: cameras, gaps, silences, and what the marts made of them.

Reads `raw` and `marts` in the transaction of the caller, who may make temporary tables there (the role `maintainer`).
The file's rows are gathered once, so that the cost follows the file and not what is stored besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from validation.report_facts import Bar, CameraLine, Events, Links, Silence, Unit

# The same hour of the same weekday, this many weeks back; heard in so many of them, a camera usually speaks then.
WEEKS_BACK: Final = 6
WEEKS_HEARD: Final = 3
# A camera belongs to a source if it is in so many of the files before, and in more than half of them.
FILES_WITH_CAMERA: Final = 3
# Of a longer file the last days are looked at for silences.
_DAYS_LOOKED_AT: Final = 31
# An hour counts that the file covers this much of.
_COVERED: Final = timedelta(minutes=30)
_NAMES: Final = 1000

_UNITS: Final[tuple[tuple[timedelta, Unit], ...]] = (
    (timedelta(days=3), "hour"),
    (timedelta(days=90), "day"),
    (timedelta(days=730), "week"),
)


def gather_rows(connection: psycopg.Connection[Any], file_id: int) -> None:
    """Gather the file's good rows in the temporary table `report_rows`: its events, and its rows that restate others.

    An event of the file is of its first batch or a later one, by which a new file's are found; those of an old one lie
    together.
    """
    connection.execute(
        """
        create temporary table report_rows on commit drop as
        select person_id, camera_id, event_time, event_id, end_time, event_type, event_word
        from raw.events
        where file_id = %(file_id)s
            and batch_id >= (select min(batch_id) from raw.batches where file_id = %(file_id)s)
        union all
        select person_id, camera_id, event_time, event_id, end_time, event_type, event_word
        from raw.duplicates
        where file_id = %(file_id)s
        """,
        {"file_id": file_id},
    )
    connection.execute("analyze report_rows")


def words_and_cameras(connection: psycopg.Connection[Any]) -> tuple[set[str], set[str]]:
    """Return the event words and the cameras of the gathered rows."""
    rows = connection.execute("select distinct event_word, camera_id from report_rows").fetchall()
    return {word for word, _ in rows}, {camera for _, camera in rows}


def words_and_cameras_of(
    connection: psycopg.Connection[Any], file_ids: Sequence[int]
) -> tuple[set[str], dict[str, int]]:
    """Return the event words of these files, and in how many of them each camera is."""
    rows = connection.execute(
        """
        select distinct file_id, event_word, camera_id from raw.events where file_id = any(%(ids)s)
        union
        select distinct file_id, event_word, camera_id from raw.duplicates where file_id = any(%(ids)s)
        """,
        {"ids": list(file_ids)},
    ).fetchall()
    cameras: dict[str, set[int]] = {}
    for file_id, _, camera in rows:
        cameras.setdefault(camera, set()).add(file_id)
    return {word for _, word, _ in rows}, {camera: len(files) for camera, files in cameras.items()}


def new_cameras(connection: psycopg.Connection[Any], file_id: int) -> tuple[str, ...]:
    """Return the cameras of which no earlier file has an event that is older than the newest in this one."""
    rows = connection.execute(
        """
        with cameras as (
            select camera_id, max(event_time) as last_time from report_rows group by camera_id
            order by camera_id limit %s
        )
        select camera_id from cameras
        where not exists (
            select from marts.camera_events as known
            where known.camera_id = cameras.camera_id and known.event_time <= cameras.last_time and known.file_id < %s
        )
        order by camera_id
        """,
        (_NAMES, file_id),
    ).fetchall()
    return tuple(camera for (camera,) in rows)


def read_events(
    connection: psycopg.Connection[Any],
    *,
    in_marts: bool,
    earlier_files: int,
    cameras_before: dict[str, int],
) -> Events:
    """Describe the gathered rows; `in_marts`: the newest data version tells of them."""
    rows, persons, hours, first, last = connection.execute(
        """
        select
            count(*), count(distinct person_id), count(distinct date_trunc('hour', event_time)),
            min(event_time), max(event_time)
        from report_rows
        """
    ).fetchone() or (0, 0, 0, None, None)
    if first is None or last is None:
        return Events(silences_unknown="the file has no event")
    unit = _unit(last - first)
    bars = connection.execute(
        "select date_trunc(%s, event_time), count(*) from report_rows group by 1 order by 1", (unit,)
    ).fetchall()
    by_camera = _links(connection) if in_marts else {}
    silences, unknown = _silences(
        connection, first, last, _expected(connection, earlier_files, cameras_before), in_marts=in_marts
    )
    return Events(
        rows,
        persons,
        hours,
        unit,
        tuple(Bar(*bar) for bar in bars),
        tuple(_cameras(connection, by_camera)),
        silences,
        unknown,
        _sum(by_camera) if in_marts else None,
    )


def _unit(span: timedelta) -> Unit:
    return next((unit for longest, unit in _UNITS if span <= longest), "month")


def _cameras(connection: psycopg.Connection[Any], links: dict[str, Links]) -> list[CameraLine]:
    """Describe each camera, the one with most events first."""
    rows = connection.execute(
        """
        with gaps as (
            select
                camera_id, event_time, end_time,
                lag(event_time) over (partition by camera_id order by event_time) as time_before
            from report_rows
        ),

        longest as (
            select distinct on (camera_id) camera_id, time_before as gap_from, event_time as gap_to
            from gaps
            where time_before < event_time
            order by camera_id, event_time - time_before desc, event_time
        ),

        cameras as (
            select
                camera_id,
                count(*) as events,
                min(event_time) as first_time,
                max(greatest(event_time, end_time)) as last_time,
                percentile_cont(0.5) within group (order by event_time - time_before) as usual_gap
            from gaps
            group by camera_id
        )

        select camera_id, events, first_time, last_time, gap_from, gap_to, usual_gap
        from cameras
        left join longest using (camera_id)
        order by events desc, camera_id
        """
    ).fetchall()
    return [
        CameraLine(camera, events, first, last, gap_from, gap_to, usual_gap, links.get(camera))
        for camera, events, first, last, gap_from, gap_to, usual_gap in rows
    ]


def _links(connection: psycopg.Connection[Any]) -> dict[str, Links]:
    """Look up what the file's events, each once, came to in the marts.

    They are gathered first: how many they are is beyond the planner's guess.
    """
    connection.execute(
        """
        create temporary table report_linked on commit drop as
        select camera_id, session_id, is_entry, is_exit, is_repeat, is_ignored, is_unmatched_exit, dwell_seconds
        from (select distinct person_id, camera_id, event_time, event_id from report_rows) as stated
        inner join marts.camera_events using (person_id, camera_id, event_time, event_id)
        """
    )
    connection.execute("analyze report_linked")
    rows = connection.execute(
        """
        /* Only a session knows whether it may still find its exit. */
        with unclosed as materialized (
            select session_id, sessions.status
            from (
                select distinct session_id from report_linked where is_entry and dwell_seconds is null
            ) as entered
            inner join marts.person_sessions as sessions using (session_id)
        )

        select
            camera_id,
            count(*) filter (where is_entry and not is_repeat and not is_ignored),
            count(*) filter (where is_exit and not is_repeat and not is_ignored),
            count(distinct session_id),
            count(*) filter (where unclosed.status = 'missing_exit'),
            count(*) filter (where unclosed.status = 'open'),
            count(*) filter (where is_unmatched_exit)
        from report_linked
        left join unclosed using (session_id)
        group by camera_id
        """
    ).fetchall()
    return {camera: Links(*counts) for camera, *counts in rows}


def _sum(by_camera: dict[str, Links]) -> Links:
    all_of = by_camera.values()
    return Links(
        sum(one.entries for one in all_of),
        sum(one.exits for one in all_of),
        sum(one.sessions for one in all_of),
        sum(one.without_exit for one in all_of),
        sum(one.still_open for one in all_of),
        sum(one.unmatched_exits for one in all_of),
    )


def _expected(connection: psycopg.Connection[Any], earlier_files: int, cameras_before: dict[str, int]) -> list[str]:
    """Return the cameras that the file should tell of: its own, and those that the files before it mostly had."""
    _, own = words_and_cameras(connection)
    usual = {
        camera for camera, files in cameras_before.items() if files >= FILES_WITH_CAMERA and files > earlier_files / 2
    }
    return sorted(own | usual)[:_NAMES]


def _silences(
    connection: psycopg.Connection[Any], first: datetime, last: datetime, cameras: list[str], *, in_marts: bool
) -> tuple[tuple[Silence, ...] | None, str]:
    """Find hours within the file in which a camera usually has events, and the marts have none; or say why not."""
    if not in_marts:
        return None, "the marts do not tell of the file yet"
    first = max(first, last - timedelta(days=_DAYS_LOOKED_AT))
    values = {
        "cameras": cameras,
        "first": first,
        "last": last,
        "covered": _COVERED,
        "weeks": WEEKS_BACK,
        "heard": WEEKS_HEARD,
    }
    (known,) = connection.execute(
        """
        select exists (
            select from marts.camera_hourly
            where camera_id = any(%(cameras)s) and bucket_start <= %(first)s - make_interval(weeks => %(heard)s)
        )
        """,
        values,
    ).fetchone() or (False,)
    if not known:
        return None, f"its cameras have no events of {WEEKS_HEARD} weeks before to compare with"
    with connection.cursor(row_factory=class_row(Silence)) as cursor:
        found = cursor.execute(
            """
            with hours as (
                select
                    hourly.camera_id, hourly.events, cameras.timezone,
                    hourly.bucket_start at time zone cameras.timezone as local_start
                from marts.camera_hourly as hourly
                inner join marts.dim_cameras as cameras using (camera_id)
                where hourly.camera_id = any(%(cameras)s) and hourly.events > 0
                    and hourly.bucket_start >= %(first)s - make_interval(days => 7 * %(weeks)s + 1)
                    and hourly.bucket_start <= %(last)s
            ),

            usual as (
                select
                    camera_id, timezone, local_start + weeks.back * interval '7 days' as local_start,
                    avg(events)::double precision as events
                from hours
                cross join generate_series(1, %(weeks)s) as weeks (back)
                group by 1, 2, 3
                having count(distinct weeks.back) >= %(heard)s
            ),

            silent as (
                select usual.camera_id, usual.events, usual.local_start at time zone usual.timezone as hour_start
                from usual
                where not exists (
                    select from hours
                    where hours.camera_id = usual.camera_id and hours.local_start = usual.local_start
                )
            ),

            /* Hours on end have the same distance to their number. */
            stretches as (
                select
                    camera_id, events, hour_start,
                    hour_start - row_number() over (partition by camera_id order by hour_start) * interval '1 hour'
                        as stretch
                from silent
                where least(hour_start + interval '1 hour', %(last)s) - greatest(hour_start, %(first)s) >= %(covered)s
            )

            select
                camera_id, min(hour_start) as "start", max(hour_start) + interval '1 hour' as "end",
                avg(events) as usual_events
            from stretches
            group by camera_id, stretch
            order by 2, 1
            """,
            values,
        ).fetchall()
    return tuple(found), ""
