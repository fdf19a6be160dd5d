{{ config(meta={'dagster': {'ref': {'name': 'camera_hourly'}}}) }}

/* Conservation: the dwell in buckets of any size, per camera, per site or per group of persons, is that of all
   sessions. One pass over the sessions and one over each bucket table. */
with

totals as (
    {% for table in [
        'camera_hourly', 'camera_daily', 'camera_weekly', 'site_hourly', 'site_daily', 'site_weekly', 'demographics_daily',
    ] %}
    select
        '{{ table }}' as told_by,
        sum(sessions_started) as sessions,
        sum(completed_sessions) as completed_sessions,
        sum(round((dwell_seconds_total * 1000000)::numeric)) as dwell_microseconds
    from {{ ref(table) }}
    union all
    {% endfor %}
    select
        'int_sessions' as told_by,
        count(*) as sessions,
        count(dwell_microseconds) as completed_sessions,
        sum(dwell_microseconds) as dwell_microseconds
    from {{ ref('int_sessions') }}
)

select totals.*
from totals
inner join totals as all_sessions on all_sessions.told_by = 'int_sessions'
where
    coalesce(totals.sessions, 0) != all_sessions.sessions
    or coalesce(totals.completed_sessions, 0) != all_sessions.completed_sessions
    or coalesce(totals.dwell_microseconds, 0) != coalesce(all_sessions.dwell_microseconds, 0)
