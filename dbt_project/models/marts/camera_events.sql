with

linked_events as (
    select * from {{ ref('int_linked_events') }}
),

final as (
    select
        event_id,
        person_id,
        camera_id,
        event_type,
        event_word,
        event_time,
        end_time,
        event_type = 'entry' as is_entry,
        event_type = 'exit' as is_exit,
        is_repeat,
        is_unmatched_exit,
        is_anonymous,
        is_ignored,
        session_id,
        {{ seconds('dwell_microseconds') }} as dwell_seconds,
        zone,
        confidence,
        age,
        age_group,
        gender,
        attributes,
        file_id,
        row_number,
        opens_session,
        {{ age_group_of('age_group', 'age') }} as age_band
    from linked_events
)

select * from final
