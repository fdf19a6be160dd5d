{# An increment knows stretches of histories only, and lets none look into another. #}
{% set is_increment = is_incremental() %}
{% set history = 'person_id, camera_id' ~ (', stretch' if is_increment) %}
{# Before it executes a model, dbt learns what it reads: both. #}
{% set all_events = ref('stg_events') %}
{% set events = events_of_stretches() if is_increment or not execute else all_events %}
with

events as (
    select * from {{ events }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

/* The entries and exits that the rules look at, each with what its instant holds. */
signals as (
    select
        event_id,
        {{ history }},
        event_type,
        event_time,
        bool_or(event_type = 'entry') over instant as instant_has_entry,
        bool_or(event_type = 'exit') over instant as instant_has_exit,
        event_time - first_value(event_time) over instant_before as since_instant_before
    from events
    where event_type in ('entry', 'exit') and not is_anonymous and not is_ignored
    window
        instant as (
            partition by {{ history }} order by event_time
            groups between current row and current row
        ),
        instant_before as (
            partition by {{ history }} order by event_time
            groups between 1 preceding and 1 preceding
        )
),

/* Going back over mixed instants ends at one that tells whether the person is inside: one that holds only entries
   says yes; one that holds only exits says no, as does a mixed one with nothing near enough before it. */
answers as (
    select
        signals.*,
        signals.instant_has_entry and signals.instant_has_exit as is_mixed,
        max(signals.event_time) filter (
            where not signals.instant_has_exit
        ) over history as last_yes,
        max(signals.event_time) filter (
            where
            not signals.instant_has_entry
            or (
                signals.instant_has_exit
                and coalesce(signals.since_instant_before > parameters.max_session, true)
            )
        ) over history as last_no
    from signals
    cross join parameters
    window history as (partition by {{ history }} order by signals.event_time)
),

/* At a mixed instant the exits come first if the person is inside, else the entries do. */
places as (
    select
        *,
        case
            when not is_mixed then 1
            when (event_type = 'exit') = coalesce(last_yes > coalesce(last_no, '-infinity'), false) then 1
            else 2
        end as place_in_instant
    from answers
),

ordered as (
    select
        places.event_id,
        {{ history }},
        places.event_type,
        places.event_time,
        places.place_in_instant,
        coalesce(
            places.event_type = lag(places.event_type) over history
            and places.event_time - lag(places.event_time) over history <= parameters.repeat_distance
            and parameters.repeat_distance > interval '0',
            false
        ) as is_repeat
    from places
    cross join parameters
    window history as (
        partition by {{ history }}
        order by places.event_time, places.place_in_instant, places.event_id
    )
),

neighbours as (
    select
        event_id,
        event_type,
        event_time,
        lag(event_type) over history as type_before,
        lag(event_time) over history as time_before,
        lag(event_id) over history as id_before,
        lead(event_type) over history as type_after,
        lead(event_time) over history as time_after
    from ordered
    where not is_repeat
    window history as (
        partition by {{ history }}
        order by event_time, place_in_instant, event_id
    )
),

pairs as (
    select
        neighbours.*,
        coalesce(
            neighbours.event_type = 'entry' and neighbours.type_after = 'exit'
            and neighbours.time_after - neighbours.event_time <= parameters.max_session,
            false
        ) as is_closed,
        coalesce(
            neighbours.event_type = 'exit' and neighbours.type_before = 'entry'
            and neighbours.event_time - neighbours.time_before <= parameters.max_session,
            false
        ) as closes
    from neighbours
    cross join parameters
),

links as (
    select
        event_id,
        false as is_repeat,
        event_type = 'exit' and not closes as is_unmatched_exit,
        event_type = 'entry' as opens_session,
        event_type = 'entry' and type_after is null as is_last_signal,
        case
            when event_type = 'entry' then event_id
            when closes then id_before
        end as session_id,
        case
            when is_closed then event_time
            when closes then time_before
        end as entry_time,
        case
            when is_closed then time_after
            when closes then event_time
        end as exit_time
    from pairs
    union all
    select
        event_id,
        true as is_repeat,
        false as is_unmatched_exit,
        false as opens_session,
        false as is_last_signal,
        null as session_id,
        null as entry_time,
        null as exit_time
    from ordered
    where is_repeat
    union all
    /* An interval row is a session by itself; of identical ones the smallest id names it. */
    select
        event_id,
        false as is_repeat,
        false as is_unmatched_exit,
        event_id = first_value(event_id) over identical as opens_session,
        false as is_last_signal,
        first_value(event_id) over identical as session_id,
        event_time as entry_time,
        end_time as exit_time
    from events
    where event_type = 'appearance' and end_time is not null and not is_anonymous and not is_ignored
    window identical as (partition by {{ history }}, event_time, end_time order by event_id)
),

final as (
    select
        events.event_id,
        events.person_id,
        events.camera_id,
        events.event_type,
        events.event_word,
        events.event_time,
        events.end_time,
        events.zone,
        events.confidence,
        events.age,
        events.age_group,
        events.gender,
        events.attributes,
        events.file_id,
        events.row_number,
        events.is_anonymous,
        events.is_ignored,
        events.is_after_arrival,
        coalesce(links.is_repeat, false) as is_repeat,
        coalesce(links.is_unmatched_exit, false) as is_unmatched_exit,
        coalesce(links.opens_session, false) as opens_session,
        coalesce(links.is_last_signal, false) as is_last_signal,
        links.session_id,
        links.exit_time,
        {{ microseconds('links.exit_time - links.entry_time') }} as dwell_microseconds
    from events
    left join links on events.event_id = links.event_id
    {% if is_increment %}
    where not events.is_beyond
    {% endif %}
)

select * from final
