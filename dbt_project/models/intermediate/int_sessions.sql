with

opening_events as (
    {% if is_incremental() %}
    select * from {{ touched_rows(ref('int_linked_events'), ['person_id', 'camera_id', 'event_time', 'event_id']) }}
    {% else %}
    select * from {{ ref('int_linked_events') }}
    {% endif %}
    where opens_session
),

final as (
    select
        session_id,
        person_id,
        camera_id,
        event_time as entry_time,
        exit_time,
        dwell_microseconds,
        {{ length_class('dwell_microseconds') }} as length_class,
        event_type = 'appearance' as is_interval,
        is_last_signal,
        {{ age_group_of('age_group', 'age') }} as age_group,
        {{ gender_of('gender') }} as gender
    from opening_events
)

select * from final
