{#
  Every measure of a bucket, defined once for all bucket tables and functions. Which events and presences there are, and
  when buckets begin, is for those who use it to say.
#}

{#
  From the tables `events` (event_columns, place_id), `presences` (place_id, person_id, start_time, end_time) and
  `calendars` (starts: instants at which buckets begin, in order) to the table `measured`, one row for each bucket with
  something in it. `zone` names the column by which events and presences find the calendar, where there are several.

  Presences are when persons were inside, by their complete sessions. None of them reaches beyond the last bucket.
#}
{% macro measured(groups=[], zone=none) %}
{% set grouped = ', ' ~ groups | join(', ') if groups else '' %}
{% set key = 'bucket_start, place_id' ~ grouped %}
presences_with_reach as (
    select
        *,
        max(end_time) over (
            partition by person_id, place_id{{ grouped }}
            order by start_time
            rows between unbounded preceding and 1 preceding
        ) as end_so_far
    from presences
),

/* One person counts once at a time: of overlapping presences, each keeps what comes after all ends before its own. */
single_presences as (
    select
        place_id{{ grouped }}{{ ', ' ~ zone if zone }},
        person_id,
        greatest(start_time, end_so_far) as start_time,
        end_time
    from presences_with_reach
    where end_so_far is null or end_so_far < end_time
),

placed_events as (
    select
        events.*,
        calendars.starts[width_bucket(events.event_time, calendars.starts)] as bucket_start
    from events
    {{ of_calendar('events', zone) }}
),

numbered_parts as (
    select
        presences.*,
        calendars.starts,
        generate_series(
            width_bucket(presences.start_time, calendars.starts),
            width_bucket(presences.end_time - interval '1 microsecond', calendars.starts)
        ) as bucket_number
    from single_presences as presences
    {{ of_calendar('presences', zone) }}
),

parts as (
    select
        starts[bucket_number] as bucket_start,
        place_id{{ grouped }},
        person_id,
        greatest(start_time, starts[bucket_number]) as start_time,
        least(end_time, starts[bucket_number + 1]) as end_time
    from numbered_parts
),

counts as (
    select
        {{ key }},
        count(*) as events,
        count(*) filter (where is_entry) as entries,
        count(*) filter (where is_exit) as exits,
        count(*) filter (where opens_session) as sessions_started,
        count(dwell_microseconds) as completed_sessions,
        sum(dwell_microseconds) as dwell_total,
        min(dwell_microseconds) as dwell_min,
        max(dwell_microseconds) as dwell_max
    from placed_events
    group by {{ key }}
),

/* Apart from the counts, which need no sorting. */
quantiles as (
    select
        {{ key }},
        percentile_cont(0.5) within group (order by dwell_microseconds) as dwell_median,
        percentile_cont(0.9) within group (order by dwell_microseconds) as dwell_p90
    from placed_events
    where dwell_microseconds is not null
    group by {{ key }}
),

/* Whoever is inside during some of a bucket has entered in it or was inside as it began. */
visitors as (
    select
        {{ key }},
        count(*) as unique_visitors
    from (
        select
            {{ key }},
            visitor_id
        from placed_events
        where visitor_id is not null
        union
        select
            {{ key }},
            person_id
        from parts
        where start_time = bucket_start
    ) as present
    group by {{ key }}
),

steps as (
    select
        {{ key }},
        start_time as at_time,
        1 as change
    from parts
    union all
    select
        {{ key }},
        end_time,
        -1
    from parts
),

/* Who leaves at an instant is gone at that instant, and who comes is there: both steps count at once. */
levels as (
    select
        *,
        sum(change) over (
            partition by {{ key }}
            order by at_time
            range between unbounded preceding and current row
        ) as occupancy
    from steps
),

occupancy as (
    select
        {{ key }},
        sum(at_time - bucket_start) filter (where change < 0)
        - sum(at_time - bucket_start) filter (where change > 0) as occupied,
        max(occupancy) as peak_occupancy
    from levels
    group by {{ key }}
),

measured as (
    select
        *,
        {{ microseconds('occupied') }} as occupied_microseconds
    from counts
    full outer join occupancy using ({{ key }})
    left join quantiles using ({{ key }})
    left join visitors using ({{ key }})
),
{% endmacro %}


{% macro of_calendar(table, zone) -%}
    {% if zone -%}
    inner join calendars on {{ table }}.{{ zone }} = calendars.{{ zone }}
    {%- else -%}
    cross join calendars
    {%- endif %}
{%- endmacro %}


{# The measures as they are published, from the table `measured` with the ends of its buckets. #}
{% macro measure_columns() -%}
coalesce(events, 0) as events,
coalesce(entries, 0) as entries,
coalesce(exits, 0) as exits,
coalesce(unique_visitors, 0) as unique_visitors,
coalesce(sessions_started, 0) as sessions_started,
coalesce(completed_sessions, 0) as completed_sessions,
{{ seconds('coalesce(dwell_total, 0)') }} as dwell_seconds_total,
{{ seconds('dwell_total', divisor='nullif(completed_sessions, 0)') }} as dwell_seconds_avg,
{{ seconds('dwell_median') }} as dwell_seconds_median,
{{ seconds('dwell_p90') }} as dwell_seconds_p90,
{{ seconds('dwell_max') }} as dwell_seconds_max,
{{ seconds('coalesce(occupied_microseconds, 0)') }} as occupied_seconds,
coalesce(occupied_microseconds, 0)::double precision
/ {{ microseconds('bucket_end - bucket_start') }} as avg_occupancy,
coalesce(peak_occupancy, 0) as peak_occupancy
{%- endmacro %}


{# By what the events of a bucket may be told apart. The groups of sessions are columns of theirs. #}
{% macro groups_of_events() -%}
    {{ return({
        'age_group': age_group_of('linked_events.age_group', 'linked_events.age') ~ ' collate "C"',
        'gender': gender_of('linked_events.gender') ~ ' collate "C"',
    }) }}
{%- endmacro %}


{# What of an event the measures look at. #}
{% macro event_columns(groups) -%}
    linked_events.event_time,
    {% for column in groups %}
    {{ groups_of_events()[column] }} as {{ column }},
    {% endfor %}
    case when not linked_events.is_anonymous then linked_events.person_id end as visitor_id,
    linked_events.event_type = 'entry' and not linked_events.is_repeat as is_entry,
    linked_events.event_type = 'exit' and not linked_events.is_repeat as is_exit,
    linked_events.opens_session,
    case when linked_events.opens_session then linked_events.dwell_microseconds end as dwell_microseconds
{%- endmacro %}


{#
  Sessions of class k last at most 2 ^ k hours, and more than half of that (class 0: up to one hour). A session that
  reaches into a bucket thus began less than 2 ^ k hours before it, which an index on class and entry can look up.
#}
{% macro length_class(microseconds) -%}
    width_bucket(
        {{ microseconds }} - 1,
        array[{% for k in range(longest_length_class()) %}{{ 3600000000 * 2 ** k }}{{ ", " if not loop.last }}{% endfor %}]
    )::smallint
{%- endmacro %}


{# 2 ^ 20 hours are 119 years. #}
{% macro longest_length_class() -%}
    {{ return(20) }}
{%- endmacro %}
