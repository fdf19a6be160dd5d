"""Which rows expectations judge, as SQL: few of the raw events, and of the marts the buckets alone.

New rows are the events of the files that some runs loaded: found by index, so that they cost what is new and not what
is there. From the marts come days and hours of the last weeks, camera by camera.
"""

# ruff: noqa: S608 - what is put into these queries is our own: numbers, and parts of queries

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from validation.expectations import (
    DAYS_LOOKED_AT,
    SHARE_OF_DAYS,
    SIGNALS_NEEDED,
    WEEKS_ADDED_UP,
    WEEKS_COMPARED,
    WEEKS_NEEDED,
)
from warehouse.connections import Role


@dataclass(frozen=True, slots=True)
class NewFiles:
    """The files that some runs loaded, and the batches in which their events have come.

    An event of a file comes in a batch of that file, or with the correction of another one that stated it as well.
    """

    file_ids: tuple[int, ...]
    batch_ids: tuple[int, ...]

    @classmethod
    def of(cls, connection: psycopg.Connection[Any], run_ids: Sequence[str]) -> NewFiles:
        """Look them up. A file that has been retracted or judged again since is another run's."""
        row = connection.execute(
            """
            with files as (
                select file_id from raw.files
                where run_id = any(%s) and state = 'loaded'
            )

            select
                array(select file_id from files order by file_id),
                array(
                    select batch_id from raw.batches
                    where file_id in (select file_id from files) or (kind <> 'load' and exists (select from files))
                    order by batch_id
                )
            """,
            (list(run_ids),),
        ).fetchone()
        file_ids, batch_ids = row or ((), ())
        return cls(tuple(file_ids), tuple(batch_ids))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to be judged: by whom they may be read, what identifies one of them, and the query."""

    role: Role
    query: str


def rows_of(name: str, new: NewFiles) -> Rows:
    """Return the rows of that name."""
    role: Role = "transformer" if name.startswith("new_") else "bi_reader"
    query = _QUERIES[name].replace("<files>", _array(new.file_ids)).replace("<batches>", _array(new.batch_ids))
    return Rows(role, f"select * from ({query}) as judged")


def _array(numbers: Sequence[int]) -> str:
    return f"'{{{','.join(map(str, numbers))}}}'::bigint[]"


# By the batch, which an exact index leads to: one on files reads everything since the last vacuum.
_OF_NEW_FILES: Final = "events.batch_id = any(<batches>) and events.file_id = any(<files>)"

# Without WITH, so that each question computes no more columns than it needs; OFFSET keeps the rules from being taken
# apart for each event anew.
_NEW_EVENTS: Final = f"""
select
    files.file_name,
    events.row_number,
    events.person_id,
    case
        when
            lower(trim(events.person_id) collate "default") != all(
                array(
                    select lower(trim(listed.person_id) collate "default")
                    from raw.parameters, jsonb_array_elements_text(parameters.value) as listed (person_id)
                    where parameters.name = 'anonymous_ids'
                )
            )
            then events.person_id
    end as named_person,
    events.camera_id,
    case
        when starts_with(events.camera_id, files.site || '/') then substr(events.camera_id, length(files.site) + 2)
        else events.camera_id
    end as camera_name,
    events.event_type,
    events.event_word,
    events.event_time,
    events.end_time,
    events.confidence,
    files.earliest_allowed,
    files.latest_allowed,
    extract(epoch from events.event_time - files.earliest_allowed) as seconds_after_earliest,
    extract(epoch from files.latest_allowed - events.event_time) as seconds_before_latest,
    extract(epoch from events.end_time - events.event_time) as interval_seconds
from raw.events
inner join (
    select
        file_id,
        file_name,
        site,
        (rules ->> 'earliest_event')::timestamptz as earliest_allowed,
        arrived_at + (rules ->> 'future_tolerance_hours')::double precision * interval '1 hour' as latest_allowed
    from raw.files
    where file_id = any(<files>)
    offset 0
) as files on events.file_id = files.file_id
where {_OF_NEW_FILES}
"""

_NEW_FILES: Final = f"""
select
    files.file_name,
    files.rows_loaded,
    coalesce(stored.events, 0) as rows_stored
from raw.files
left join (
    select
        events.file_id,
        count(*) as events
    from raw.events
    where {_OF_NEW_FILES}
    group by events.file_id
) as stored on files.file_id = stored.file_id
where files.file_id = any(<files>)
"""

# A day is over once it was over when the newest of the loaded files arrived. Compared with are the days of the same
# weekday that have any events: a day on which a site is closed is not one of them.
_NEWEST_DAYS: Final = f"""
arrivals as materialized (
    select max(arrived_at) as newest
    from marts.file_quality
    where state = 'loaded'
),

sites as materialized (
    select
        site_id,
        timezone
    from marts.dim_sites
),

days as materialized (
    select
        sites.timezone,
        newest_day.*,
        former.dates,
        former.usual_events
    from sites
    cross join arrivals
    cross join lateral (
        select
            site_id,
            bucket_start,
            bucket_end,
            bucket_date,
            events,
            entries,
            exits
        from marts.site_daily
        where site_daily.site_id = sites.site_id and site_daily.bucket_end <= arrivals.newest
        order by site_daily.bucket_start desc
        limit 1
    ) as newest_day
    cross join lateral (
        select
            array_agg(same_weekday.bucket_date) as dates,
            percentile_cont(0.5) within group (order by same_weekday.events) as usual_events
        from marts.site_daily as same_weekday
        where
            same_weekday.site_id = sites.site_id
            and same_weekday.bucket_start >= newest_day.bucket_start - interval '{7 * WEEKS_COMPARED + 1} days'
            and same_weekday.bucket_start < newest_day.bucket_start
            and same_weekday.bucket_date >= newest_day.bucket_date - {7 * WEEKS_COMPARED}
            and mod(newest_day.bucket_date - same_weekday.bucket_date, 7) = 0
            and same_weekday.events > 0
    ) as former
)
"""

_VOLUMES: Final = f"""
with

{_NEWEST_DAYS}

select
    site_id,
    bucket_date,
    events,
    entries,
    exits,
    usual_events,
    case when cardinality(dates) >= {WEEKS_NEEDED} then events / usual_events end as share_of_usual,
    case
        when entries + exits >= {SIGNALS_NEEDED}
            then least(entries, exits)::double precision / greatest(entries, exits)
    end as balance
from days
"""

_SITE_DAYS: Final = f"""
with

cameras as materialized (
    select
        camera_id,
        site_id
    from marts.dim_cameras
),

site_days as materialized (
    select recent.*
    from (select distinct site_id from cameras) as sites
    cross join lateral (
        select
            site_id,
            bucket_start,
            bucket_date,
            unique_visitors
        from marts.site_daily
        where site_daily.site_id = sites.site_id
        order by site_daily.bucket_start desc
        limit {DAYS_LOOKED_AT}
    ) as recent
)

select
    site_days.site_id,
    site_days.bucket_date,
    site_days.unique_visitors,
    max(camera_daily.unique_visitors) as most_at_one_camera,
    sum(camera_daily.unique_visitors) as at_all_cameras
from site_days
inner join cameras on site_days.site_id = cameras.site_id
inner join marts.camera_daily
    on cameras.camera_id = camera_daily.camera_id and site_days.bucket_start = camera_daily.bucket_start
group by site_days.site_id, site_days.bucket_date, site_days.unique_visitors
"""

_CAMERA_DAYS: Final = f"""
with

cameras as materialized (
    select
        camera_id,
        capacity
    from marts.dim_cameras
)

select
    recent.*,
    cameras.capacity
from cameras
cross join lateral (
    select
        camera_id,
        bucket_date,
        peak_occupancy,
        dwell_seconds_avg,
        dwell_seconds_max
    from marts.camera_daily
    where camera_daily.camera_id = cameras.camera_id
    order by camera_daily.bucket_start desc
    limit {DAYS_LOOKED_AT}
) as recent
"""

# Hours of the local clock: the two of an autumn night are one.
_SILENCES: Final = f"""
with

{_NEWEST_DAYS},

cameras as materialized (
    select
        dim_cameras.camera_id,
        days.*
    from marts.dim_cameras
    inner join days on dim_cameras.site_id = days.site_id
),

expected as materialized (
    select
        cameras.camera_id,
        cameras.timezone,
        cameras.bucket_start,
        cameras.bucket_end,
        usual.hour
    from cameras
    cross join lateral (
        select extract(hour from camera_hourly.bucket_start at time zone cameras.timezone)::integer as hour
        from marts.camera_hourly
        where
            camera_hourly.camera_id = cameras.camera_id
            and camera_hourly.bucket_start >= cameras.bucket_start - interval '{7 * WEEKS_COMPARED + 1} days'
            and camera_hourly.bucket_start < cameras.bucket_start
            and camera_hourly.events > 0
            and (camera_hourly.bucket_start at time zone cameras.timezone)::date = any(cameras.dates)
        group by hour
        having
            count(distinct (camera_hourly.bucket_start at time zone cameras.timezone)::date)
            >= {SHARE_OF_DAYS} * cardinality(cameras.dates)
    ) as usual
    where cardinality(cameras.dates) >= {WEEKS_NEEDED}
),

heard as (
    select
        expected.camera_id,
        expected.hour,
        exists (
            select from marts.camera_hourly
            where
                camera_hourly.camera_id = expected.camera_id
                and camera_hourly.bucket_start >= expected.bucket_start
                and camera_hourly.bucket_start < expected.bucket_end
                and camera_hourly.events > 0
                and extract(hour from camera_hourly.bucket_start at time zone expected.timezone) = expected.hour
        ) as is_heard
    from expected
),

numbered as (
    select
        *,
        count(*) filter (where is_heard) over (partition by camera_id order by hour) as stretch
    from heard
),

stretches as (
    select
        camera_id,
        stretch,
        count(*) filter (where not is_heard) as silent_hours,
        min(hour) filter (where not is_heard) as first_hour
    from numbered
    group by camera_id, stretch
),

longest as (
    select distinct on (camera_id) *
    from stretches
    order by camera_id, silent_hours desc, first_hour
)

select
    cameras.camera_id,
    cameras.site_id,
    cameras.bucket_date,
    longest.silent_hours,
    longest.first_hour || ' h' as silent_from
from cameras
left join longest on cameras.camera_id = longest.camera_id
"""

# A bucket's seconds are whole microseconds over a million, which rounding finds again: they add up alike in any order.
_CAMERA_SUMS: Final = f"""
with

cameras as materialized (
    select camera_id from marts.dim_cameras
)

select
    cameras.camera_id,
    by_day.events as events_by_day,
    by_hour.events as events_by_hour,
    by_day.occupied as occupied_by_day,
    by_hour.occupied as occupied_by_hour
from cameras
cross join lateral (
    select bucket_start
    from marts.camera_daily
    where camera_daily.camera_id = cameras.camera_id
    order by camera_daily.bucket_start desc
    limit 1
) as newest
cross join lateral (
    select
        min(camera_daily.bucket_start) as since,
        sum(camera_daily.events)::bigint as events,
        sum(round((camera_daily.occupied_seconds * 1000000)::numeric)) / 1000000 as occupied
    from marts.camera_daily
    where
        camera_daily.camera_id = cameras.camera_id
        and camera_daily.bucket_start > newest.bucket_start - interval '{7 * WEEKS_ADDED_UP} days'
) as by_day
cross join lateral (
    select
        coalesce(sum(camera_hourly.events), 0)::bigint as events,
        coalesce(sum(round((camera_hourly.occupied_seconds * 1000000)::numeric)), 0) / 1000000 as occupied
    from marts.camera_hourly
    where camera_hourly.camera_id = cameras.camera_id and camera_hourly.bucket_start >= by_day.since
) as by_hour
"""

_QUERIES: Final = {
    "new_events": _NEW_EVENTS,
    "new_files": _NEW_FILES,
    "newest_days": _VOLUMES,
    "site_days": _SITE_DAYS,
    "camera_days": _CAMERA_DAYS,
    "camera_silences": _SILENCES,
    "camera_sums": _CAMERA_SUMS,
}
