with

opening_events as (
    select events.* from {{ ref('int_linked_events') }} as events
    {% if is_incremental() %}
    inner join {{ touched() }} as touched
        on
            events.person_id = touched.person_id
            and events.camera_id = touched.camera_id
            and events.event_time = touched.event_time
            and events.event_id = touched.session_id
    {% endif %}
    where events.opens_session
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
