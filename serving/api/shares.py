"""The share of sessions without exit, which stands beside every figure: how far what it says of stays goes."""

from __future__ import annotations

from serving.api.choosing import Chosen
from serving.database import Connection

# Whole days are read off the marts, what is before and after them off the sessions.
_OF_ALL = """
with cameras as (
    select cameras.camera_id, cameras.site_id
    from marts.dim_cameras as cameras
    where cameras.camera_id = any(%(cameras)s)
),

whole as (
    select
        cameras.camera_id,
        min(days.bucket_start) as first_start,
        max(days.bucket_end) as last_end,
        sum(days.sessions_started) as sessions,
        sum(days.completed_sessions) as completed
    from cameras
    inner join marts.camera_daily as days on cameras.camera_id = days.camera_id
    where
        (%(start)s::timestamptz is null or days.bucket_start >= %(start)s)
        and (%(end)s::timestamptz is null or days.bucket_end <= %(end)s)
    group by cameras.camera_id
),

edges as (
    select
        count(*) as sessions,
        count(sessions.dwell_seconds) as completed
    from cameras
    left join whole on cameras.camera_id = whole.camera_id
    inner join marts.person_sessions as sessions on cameras.camera_id = sessions.camera_id
    where
        (%(start)s::timestamptz is null or sessions.entry_time >= %(start)s)
        and (%(end)s::timestamptz is null or sessions.entry_time < %(end)s)
        and (
            whole.first_start is null
            or sessions.entry_time < whole.first_start
            or sessions.entry_time >= whole.last_end
        )
        and (%(start)s::timestamptz is not null or %(end)s::timestamptz is not null)
)

select
    (coalesce((select sum(sessions) from whole), 0) + edges.sessions)::bigint as sessions,
    (coalesce((select sum(completed) from whole), 0) + edges.completed)::bigint as completed
from edges
"""
_OF_SOME = """
select count(*) as sessions, count(dwell_seconds) as completed
from marts.person_sessions
where
    camera_id = any(%(cameras)s)
    and (%(start)s::timestamptz is null or entry_time >= %(start)s)
    and (%(end)s::timestamptz is null or entry_time < %(end)s)
    and (%(persons)s::text[] is null or person_id = any(%(persons)s))
    and (%(age_groups)s::text[] is null or age_group = any(%(age_groups)s))
    and (%(genders)s::text[] is null or gender = any(%(genders)s))
"""


async def share_without_exit(connection: Connection, chosen: Chosen) -> float | None:
    """Return the share, from 0 to 1, of the chosen sessions that have no exit; None without sessions."""
    values = {
        "cameras": chosen.camera_ids,
        "start": chosen.start,
        "end": chosen.end,
        "persons": chosen.persons,
        "age_groups": chosen.age_groups,
        "genders": chosen.genders,
    }
    row = await (await connection.execute(_OF_ALL if chosen.everybody else _OF_SOME, values)).fetchone()
    if row is None or not row["sessions"]:
        return None
    return float((row["sessions"] - row["completed"]) / row["sessions"])
