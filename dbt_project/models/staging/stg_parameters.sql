with

parameters as (
    select * from {{ source('raw', 'parameters') }}
),

pivoted as (
    select
        (max(value #>> '{}') filter (where name = 'max_session_hours'))::double precision as max_session_hours,
        (max(value #>> '{}') filter (where name = 'repeat_seconds'))::double precision as repeat_seconds,
        (max(value #>> '{}') filter (where name = 'visit_gap_minutes'))::double precision as visit_gap_minutes,
        (max(value #>> '{}') filter (where name = 'bounce_seconds'))::double precision as bounce_seconds,
        max(value #>> '{}') filter (where name = 'default_timezone') as default_timezone,
        (max(value #>> '{}') filter (where name = 'min_confidence'))::double precision as min_confidence,
        max(value #>> '{}') filter (where name = 'excluded_ids') as excluded_ids,
        max(value #>> '{}') filter (where name = 'anonymous_ids') as anonymous_ids
    from parameters
),

final as (
    select
        max_session_hours * interval '1 hour' as max_session,
        repeat_seconds * interval '1 second' as repeat_distance,
        visit_gap_minutes * interval '1 minute' as visit_gap,
        bounce_seconds * interval '1 second' as bounce,
        default_timezone,
        min_confidence,
        {{ folded_ids('excluded_ids') }} as excluded_ids,
        {{ folded_ids('anonymous_ids') }} as anonymous_ids
    from pivoted
)

select * from final
