with

sessions as (
    select * from {{ ref('int_sessions') }}
),

cameras as (
    select * from {{ ref('dim_cameras') }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

/* DISTINCT changes nothing, but tells PostgreSQL so: who does not ask for the site then does not wait for it. */
sites as (
    select distinct on (camera_id)
        camera_id,
        site_id
    from cameras
),

final as (
    select
        sessions.session_id,
        sessions.person_id,
        sessions.camera_id,
        sites.site_id,
        sessions.entry_time,
        sessions.exit_time,
        case
            when sessions.exit_time is not null then 'complete'
            when
                sessions.is_last_signal
                and (select max(cameras.last_event_time) from cameras) - sessions.entry_time
                <= (select parameters.max_session from parameters)
                then 'open'
            else 'missing_exit'
        end as status,
        {{ seconds('sessions.dwell_microseconds') }} as dwell_seconds,
        sessions.is_interval,
        sessions.age_group,
        sessions.gender,
        sessions.length_class
    from sessions
    left join sites on sessions.camera_id = sites.camera_id
)

select * from final
