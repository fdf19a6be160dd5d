with

events as (
    select * from {{ ref('int_linked_events') }}
    where not is_ignored
),

sessions as (
    select * from {{ ref('int_sessions') }}
),

cameras as (
    select * from {{ ref('dim_cameras') }}
),

sites as (
    select * from {{ ref('dim_sites') }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

event_totals as (
    select
        count(*) as events,
        count(distinct camera_id) as active_cameras,
        count(distinct person_id) filter (where not is_anonymous) as unique_visitors
    from events
),

session_totals as (
    select
        count(*) as sessions,
        count(dwell_microseconds) as completed_sessions,
        count(distinct person_id) filter (where dwell_microseconds is not null) as persons,
        sum(dwell_microseconds) as dwell_total,
        percentile_cont(0.5) within group (order by dwell_microseconds) as dwell_median,
        max(dwell_microseconds) as dwell_max
    from sessions
),

sessions_with_reach as (
    select
        sessions.person_id,
        cameras.site_id,
        sessions.entry_time,
        max(coalesce(sessions.exit_time, sessions.entry_time)) over (
            partition by sessions.person_id, cameras.site_id
            order by sessions.entry_time, sessions.exit_time
            rows between unbounded preceding and 1 preceding
        ) as end_so_far
    from sessions
    inner join cameras on sessions.camera_id = cameras.camera_id
),

/* The first session of each visit: one that begins more than the gap after the latest end so far. */
visit_starts as (
    select
        reach.person_id,
        reach.site_id,
        {{ bucket_start('day', 'reach.entry_time', 'sites.timezone') }} as day_start
    from sessions_with_reach as reach
    inner join sites on reach.site_id = sites.site_id
    cross join parameters
    where reach.end_so_far is null or reach.entry_time > reach.end_so_far + parameters.visit_gap
),

repeat_visitors as (
    select count(distinct person_id) as repeat_visitors
    from (
        select person_id
        from visit_starts
        group by person_id, site_id
        having min(day_start) < max(day_start)
    ) as persons
),

final as (
    select
        events.unique_visitors,
        {{ seconds('sessions.dwell_total', divisor='nullif(sessions.persons, 0)') }} as dwell_seconds_avg_per_person,
        {{ seconds('sessions.dwell_total', divisor='nullif(sessions.completed_sessions, 0)') }} as dwell_seconds_avg,
        {{ seconds('sessions.dwell_median') }} as dwell_seconds_median,
        {{ seconds('sessions.dwell_max') }} as dwell_seconds_max,
        events.events,
        events.active_cameras,
        visitors.repeat_visitors,
        visitors.repeat_visitors::double precision / nullif(events.unique_visitors, 0) as repeat_visitor_share,
        sessions.sessions,
        (sessions.sessions - sessions.completed_sessions)::double precision
        / nullif(sessions.sessions, 0) as share_without_exit
    from event_totals as events
    cross join session_totals as sessions
    cross join repeat_visitors as visitors
)

select * from final
