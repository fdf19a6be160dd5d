{# What an increment must recompute, found from the batches it has claimed. Pre-hooks of the incremental models. #}

{#
  The stretches of histories (a person at a camera) whose events' links the claimed batches can alter: `first_time`, and
  `next_time`, at which the next stretch would begin. The events at `next_time` must be read, too: the last signal of
  a stretch may have to know that another follows.

  Signals are the entries and exits that the rules look at; an instant is a time at which a history has any. Of two
  instants a < b that follow each other and are the same as ever, b may begin another stretch (a "cut") if no link of an
  event on one side depends on more of the other side than that there is something:

  - a holds only exits and b only entries. The last non-repeat signal up to a is an exit, as repeats follow their like:
    it asks for nothing after it. An entry after an exit repeats nothing and closes nothing, and the person is inside
    for any mixed instant that follows.
  - More than R lies between, and b holds only entries. None of them repeats what comes before, whatever it is; else as
    above. Whatever comes last up to a is followed by an entry, which closes nothing.
  - More than R lies between, and both hold only exits. None at b is a repeat; the first is unmatched, as an exit
    precedes it, and for mixed instants that follow the person is outside.
  - More than the greater of L and R lies between. Nothing is repeated, closed or inside over such a distance.

  A changed instant may be or have been anything: there is no cut on either side of it, so the instants next to it
  are in the stretch in any case. From there the search goes on in both directions, instant by instant, up to a cut,
  each step one search of the index of raw.events. It may meet another changed instant, or pass one at which nothing is
  left; the stretch of that one then overlaps this one, by the instants next to it, and the two become one.

  Changed instants that neither hold nor held signals (appearances, those of ignored or anonymous persons …) alter no link
  but those of their own events.
#}
{% macro touch_stretches() %}
    /* The rows that a batch wrote are few of many, which estimates do not tell of a batch that is not known yet. */
    set local enable_seqscan = off;
    create temporary table changed_instants on commit drop as
    select
        person_id,
        camera_id,
        event_time,
        bool_or(is_signal) as has_new_signal
    from (
        select
            events.person_id,
            events.camera_id,
            events.event_time,
            (
                events.event_type in ('entry', 'exit')
                and not {{ is_too_uncertain('events.confidence', 'parameters.min_confidence') }}
            ) as is_signal
        from (
            select *
            from {{ source('raw', 'events') }}
            where batch_id = any({{ claimed_batches() }})
            offset 0 /* keeps the union from reading all of the primary key for the sake of its order */
        ) as events
        cross join {{ ref('stg_parameters') }} as parameters
        union all
        select
            person_id,
            camera_id,
            event_time,
            false
        from {{ source('raw', 'retracted_events') }}
        where batch_id = any({{ claimed_batches() }})
    ) as changed_events
    group by person_id, camera_id, event_time;
    set local enable_seqscan = default;
    analyze changed_instants;

    create temporary table {{ touched() }} on commit drop as
    with recursive

    parameters as materialized (
        select
            *,
            greatest(max_session, repeat_distance) as longest_reach
        from {{ ref('stg_parameters') }}
    ),

    judged_instants as materialized (
        select
            changed.person_id,
            changed.camera_id,
            changed.event_time,
            (
                (
                    changed.has_new_signal
                    or exists (
                        select 1
                        from {{ signals_of('changed') }}
                        where events.event_time = changed.event_time
                    )
                    or exists (
                        select 1
                        from {{ this }} as events
                        where
                            events.person_id = changed.person_id
                            and events.camera_id = changed.camera_id
                            and events.event_time = changed.event_time
                            and events.event_type in ('entry', 'exit')
                            and not events.is_ignored
                    )
                )
                and not {{ folded_id('changed.person_id') }} = any(parameters.anonymous_ids || parameters.excluded_ids)
            ) as has_signals,
            parameters.longest_reach
        from changed_instants as changed
        cross join parameters
    ),

    /* Only the first and the last of changed instants that lie near each other need search. */
    numbered_instants as (
        select
            *,
            count(*) filter (where since_last > longest_reach) over (
                partition by person_id, camera_id order by event_time
            ) as group_number
        from (
            select
                *,
                event_time - lag(event_time) over (partition by person_id, camera_id order by event_time) as since_last
            from judged_instants
            where has_signals
        ) as instants
    ),

    changed_spans as materialized (
        select
            person_id,
            camera_id,
            min(event_time) as first_time,
            max(event_time) as last_time
        from numbered_instants
        group by person_id, camera_id, group_number
    ),

    before_them as (
        select
            changed.*,
            instant.*,
            false as is_beyond
        from changed_spans as changed
        cross join parameters
        cross join lateral {{ next_instant('changed', 'first_time', backwards=true) }} as instant
        union all
        select
            later.person_id,
            later.camera_id,
            later.first_time,
            later.last_time,
            instant.*,
            {{ can_cut('instant', 'later') }} as is_beyond
        from before_them as later
        cross join parameters
        cross join lateral {{ next_instant('later', 'event_time', backwards=true) }} as instant
        where not later.is_beyond
    ),

    after_them as (
        select
            changed.*,
            instant.*,
            false as is_beyond
        from changed_spans as changed
        cross join parameters
        cross join lateral {{ next_instant('changed', 'last_time') }} as instant
        union all
        select
            earlier.person_id,
            earlier.camera_id,
            earlier.first_time,
            earlier.last_time,
            instant.*,
            {{ can_cut('earlier', 'instant') }} as is_beyond
        from after_them as earlier
        cross join parameters
        cross join lateral {{ next_instant('earlier', 'event_time') }} as instant
        where not earlier.is_beyond
    ),

    /* Half-open, so that those which touch become one, and no event is in one and at the end of another. */
    spans as (
        select
            person_id,
            camera_id,
            tstzrange(event_time, event_time + interval '1 microsecond') as span
        from judged_instants
        where not has_signals
        union all
        select
            person_id,
            camera_id,
            tstzrange(first_time, last_time + interval '1 microsecond')
        from changed_spans
        union all
        select
            person_id,
            camera_id,
            tstzrange(event_time, first_time)
        from before_them
        where not is_beyond
        union all
        select
            person_id,
            camera_id,
            tstzrange(last_time, case when is_beyond then event_time else event_time + interval '1 microsecond' end)
        from after_them
    ),

    stretches as (
        select
            person_id,
            camera_id,
            unnest(range_agg(span)) as span
        from spans
        group by person_id, camera_id
    )

    select
        person_id,
        camera_id,
        lower(span) as first_time,
        upper(span) as next_time
    from stretches;
    analyze {{ touched() }};
{% endmacro %}


{# The events of the touched stretches, each with its stretch; those at the next one's beginning only to be looked at. #}
{% macro events_of_stretches() %}
    {% set raw_events %}
    (
        select
            events.*,
            touched.first_time as stretch,
            events.event_time = touched.next_time as is_beyond
        from {{ touched() }} as touched
        cross join lateral (
            select *
            from {{ source('raw', 'events') }}
            where
                person_id = touched.person_id
                and camera_id = touched.camera_id
                and event_time between touched.first_time and touched.next_time
            offset 0 /* keeps the search by index from becoming a join of everything with everything */
        ) as events
    ) as events_of_stretches
    {% endset %}
    ({{ staged_events(raw_events, besides=['stretch', 'is_beyond']) }}) as staged_events_of_stretches
{% endmacro %}


{# A history's signals as they are now. Whether the person counts at all is to be asked elsewhere, once. #}
{% macro signals_of(history) -%}
    (
        select
            event_time,
            event_type
        from {{ source('raw', 'events') }}
        where
            person_id = {{ history }}.person_id
            and camera_id = {{ history }}.camera_id
            and event_type in ('entry', 'exit')
            and not {{ is_too_uncertain('confidence', 'parameters.min_confidence') }}
    ) as events
{%- endmacro %}


{# The next instant of a history after, or before, a time: a lateral table of one row or none. #}
{% macro next_instant(history, time, backwards=false) -%}
    (
        select
            event_time,
            bool_or(event_type = 'entry') as has_entry,
            bool_or(event_type = 'exit') as has_exit
        from (
            select events.*
            from {{ signals_of(history) }}
            where events.event_time {{ '<' if backwards else '>' }} {{ history }}.{{ time }}
            order by events.event_time {{ 'desc' if backwards }}
            fetch first 1 rows with ties
        ) as signals
        group by event_time
    )
{%- endmacro %}


{# Whether two instants that follow each other may lie in different stretches: as touch_stretches says, in its order. #}
{% macro can_cut(earlier, later) -%}
    (
        not ({{ earlier }}.has_entry or {{ later }}.has_exit)
        or (
            {{ later }}.event_time - {{ earlier }}.event_time > parameters.repeat_distance
            and (not {{ later }}.has_exit or not ({{ earlier }}.has_entry or {{ later }}.has_entry))
        )
        or {{ later }}.event_time - {{ earlier }}.event_time > parameters.longest_reach
    )
{%- endmacro %}


{# Sessions whose opening event came, went or changed, or is now closed otherwise. #}
{% macro touch_sessions() %}
    create temporary table {{ touched() }} on commit drop as
    select distinct
        person_id,
        camera_id,
        event_time,
        event_id,
        event_id as session_id
    from {{ changes_of('int_linked_events') }}
    where opens_session and batch_id = any({{ claimed_batches() }});
    analyze {{ touched() }};
{% endmacro %}
