with

sites as (
    select * from {{ ref('dim_sites') }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

placed_sessions as (
    {% if is_incremental() %}
    {{ sessions_in_touched_spans() }}
    {% else %}
    select
        sessions.*,
        cameras.site_id
    from {{ ref('int_sessions') }} as sessions
    inner join {{ ref('dim_cameras') }} as cameras on sessions.camera_id = cameras.camera_id
    {% endif %}
),

/* A session without exit is the instant of its entry. */
bounded_sessions as (
    select
        session_id,
        person_id,
        camera_id,
        site_id,
        entry_time,
        coalesce(exit_time, entry_time) as end_time,
        exit_time is not null as has_exit
    from placed_sessions
),

sessions_with_reach as (
    select
        *,
        max(end_time) over (
            partition by person_id, site_id
            order by entry_time, session_id
            rows between unbounded preceding and 1 preceding
        ) as end_so_far
    from bounded_sessions
),

/* A session adds to the dwell the time after all ends before its own; one without exit is too short to add any. */
judged_sessions as (
    select
        sessions.*,
        coalesce(sessions.entry_time > sessions.end_so_far + parameters.visit_gap, true) as begins_visit,
        {{ microseconds('''greatest(sessions.end_time, sessions.end_so_far)
            - greatest(sessions.entry_time, sessions.end_so_far)''') }} as added_microseconds
    from sessions_with_reach as sessions
    cross join parameters
),

numbered_sessions as (
    select
        *,
        count(*) filter (where begins_visit) over (
            partition by person_id, site_id
            order by entry_time, session_id
            rows between unbounded preceding and current row
        ) as visit_number
    from judged_sessions
),

visits as (
    select
        person_id,
        site_id,
        (array_agg(session_id) filter (where begins_visit))[1] as visit_id,
        min(entry_time) as start_time,
        max(end_time) as end_time,
        sum(added_microseconds)::bigint as dwell_microseconds,
        count(*) as session_count,
        count(distinct camera_id) as camera_count,
        bool_and(has_exit) as is_complete
    from numbered_sessions
    group by person_id, site_id, visit_number
),

final as (
    select
        visits.visit_id,
        visits.person_id,
        visits.site_id,
        visits.start_time,
        visits.end_time,
        visits.dwell_microseconds,
        visits.session_count,
        visits.camera_count,
        visits.is_complete,
        ({{ bucket_start('day', 'visits.start_time', 'sites.timezone') }} at time zone sites.timezone)::date
            as visit_date
    from visits
    inner join sites on visits.site_id = sites.site_id
)

select * from final
