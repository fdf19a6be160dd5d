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

newest as (
    select max(last_event_time) as event_time from cameras
),

final as (
    select
        sessions.session_id,
        sessions.person_id,
        sessions.camera_id,
        cameras.site_id,
        sessions.entry_time,
        sessions.exit_time,
        case
            when sessions.exit_time is not null then 'complete'
            when
                sessions.is_last_signal
                and newest.event_time - sessions.entry_time <= parameters.max_session
                then 'open'
            else 'missing_exit'
        end as status,
        {{ seconds('sessions.dwell_microseconds') }} as dwell_seconds,
        sessions.is_interval
    from sessions
    inner join cameras on sessions.camera_id = cameras.camera_id
    cross join newest
    cross join parameters
)

select * from final
