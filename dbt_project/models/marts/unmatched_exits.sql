with

linked_events as (
    select * from {{ ref('int_linked_events') }}
),

final as (
    select
        event_id,
        person_id,
        camera_id,
        event_time as exit_time
    from linked_events
    where is_unmatched_exit
)

select * from final
