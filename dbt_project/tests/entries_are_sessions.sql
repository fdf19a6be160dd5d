{{ config(meta={'dagster': {'ref': {'name': 'int_linked_events'}}}) }}

/* Conservation: every entry of a named person that is not a repeat is one session, and every such exit closes one or
   is unmatched. */
with

events as (
    select * from {{ ref('int_linked_events') }}
    where not is_ignored and not is_anonymous
),

sessions as (
    select * from {{ ref('int_sessions') }}
    where not is_interval
),

signals as (
    select
        count(*) filter (where event_type = 'entry' and not is_repeat) as entries,
        count(*) filter (where event_type = 'exit' and not is_repeat) as exits,
        count(*) filter (where is_unmatched_exit) as unmatched_exits
    from events
),

paired as (
    select
        count(*) as sessions,
        count(exit_time) as complete_sessions
    from sessions
)

select
    signals.entries,
    paired.sessions,
    signals.exits,
    paired.complete_sessions,
    signals.unmatched_exits
from signals
cross join paired
where signals.entries != paired.sessions or signals.exits != paired.complete_sessions + signals.unmatched_exits
