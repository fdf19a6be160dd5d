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
    select max(last_event_time) as event_time from {{ ref('dim_cameras') }}
),

/* Who asks for neither site nor status does not wait for them: PostgreSQL then leaves out the left join and the
   subqueries. */
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
                and (select newest.event_time from newest) - sessions.entry_time
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
    left join cameras on sessions.camera_id = cameras.camera_id
)

select * from final
