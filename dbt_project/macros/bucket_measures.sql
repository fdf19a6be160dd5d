{#
  Every measure of a bucket table, defined once for all of them: `place` is camera_id or site_id, `grain` hour, day or
  week. A bucket is told apart further by `groups`, columns of groups_of_events.

  Returns the text of a model. A full refresh takes all events and sessions, an increment looks up what lies in the
  touched buckets; from there on both are one. Where the buckets begin is asked of the zones beforehand, for all events
  at once: asking anew for each of them is what would take longest.
#}
{% macro bucket_measures(place, grain, groups=[]) %}
{% set is_increment = is_incremental() %}
{% set grouped = ', ' ~ groups | join(', ') if groups else '' %}
{% set key = 'bucket_start, place_id' ~ grouped %}
with{{ ' recursive' if is_increment }}

linked_events as (
    select * from {{ ref('int_linked_events') }}
    where not is_ignored
),

sessions as (
    select * from {{ ref('int_sessions') }}
    where dwell_microseconds > 0
),

cameras as (
    select
        cameras.camera_id,
        cameras.{{ place }} as place_id,
        sites.timezone
    from {{ ref('dim_cameras') }} as cameras
    inner join {{ ref('dim_sites') }} as sites on cameras.site_id = sites.site_id
),

places as (
    select distinct
        place_id,
        timezone
    from cameras
),

/* Per time zone the starts of buckets, in order: all of them, of an increment those that are touched. */
calendars as (
    {% if is_increment %}
    select
        places.timezone,
        array_agg(distinct touched.bucket_start order by touched.bucket_start) as starts
    from {{ touched() }} as touched
    inner join places on touched.{{ place }} = places.place_id
    group by places.timezone
    {% else %}
    select
        zones.timezone,
        array(
            select buckets.bucket_start
            from {{ buckets_between(grain, 'zones.first_start', 'zones.last_time', 'zones.timezone') }} as buckets
            order by buckets.bucket_start
        ) as starts
    from (
        select
            zones.timezone,
            everything.last_time,
            {{ bucket_start(grain, 'everything.first_time', 'zones.timezone') }} as first_start
        from (select distinct timezone from places) as zones
        cross join (
            select
                min(event_time) as first_time,
                max(greatest(event_time, exit_time)) as last_time
            from {{ ref('int_linked_events') }}
        ) as everything
    ) as zones
    {% endif %}
),

{% if is_increment %}
/* Touched buckets that follow each other are looked up as one. */
stretches as (
    select
        place_id,
        lower(stretch) as stretch_start,
        upper(stretch) as stretch_end
    from (
        select
            {{ place }} as place_id,
            unnest(range_agg(tstzrange(bucket_start, bucket_end))) as stretch
        from {{ touched() }}
        group by {{ place }}
    ) as merged
),

/* Of each camera the classes of length that it has sessions of: one search of the index for each, from the shortest
   on, and a null at the end. To ask whether any session is of a class would be simpler, but for a class without sessions
   that may come to mean reading the whole table: a plan that does so looks cheap where most sessions are of one class. */
length_classes as (
    select
        cameras.place_id,
        cameras.camera_id,
        cameras.timezone,
        shortest.length_class
    from cameras
    cross join lateral (
        select min(length_class) as length_class
        from {{ ref('int_sessions') }}
        where camera_id = cameras.camera_id
    ) as shortest
    where cameras.place_id in (select stretches.place_id from stretches)
    union all
    select
        classes.place_id,
        classes.camera_id,
        classes.timezone,
        longer.length_class
    from length_classes as classes
    cross join lateral (
        select min(length_class) as length_class
        from {{ ref('int_sessions') }}
        where camera_id = classes.camera_id and length_class > classes.length_class
    ) as longer
    where classes.length_class is not null
),
{% endif %}

events as (
    {% if is_increment %}
    select
        cameras.place_id,
        cameras.timezone,
        linked_events.*
    from stretches
    inner join cameras on stretches.place_id = cameras.place_id
    cross join lateral (
        select {{ event_columns(groups) | indent(8) }}
        from linked_events
        where
            camera_id = cameras.camera_id
            and event_time >= stretches.stretch_start
            and event_time < stretches.stretch_end
        offset 0 /* keeps the search by index from becoming a join of everything with everything */
    ) as linked_events
    {% else %}
    select
        cameras.place_id,
        cameras.timezone,
        {{ event_columns(groups) }}
    from linked_events
    inner join cameras on linked_events.camera_id = cameras.camera_id
    {% endif %}
),

/* When persons were inside, by their complete sessions: what of them lies in touched buckets. */
presences as (
    {% if is_increment %}
    select
        classes.place_id,
        classes.timezone{{ grouped }},
        sessions.person_id,
        greatest(sessions.entry_time, stretches.stretch_start) as start_time,
        least(sessions.exit_time, stretches.stretch_end) as end_time
    from stretches
    inner join length_classes as classes on stretches.place_id = classes.place_id
    cross join lateral (
        select *
        from sessions
        where
            camera_id = classes.camera_id
            and length_class = classes.length_class
            and entry_time > stretches.stretch_start - (2 ^ classes.length_class) * interval '1 hour'
            and entry_time < stretches.stretch_end
            and exit_time > stretches.stretch_start
        offset 0
    ) as sessions
    {% else %}
    select
        cameras.place_id,
        cameras.timezone{{ grouped }},
        sessions.person_id,
        sessions.entry_time as start_time,
        sessions.exit_time as end_time
    from sessions
    inner join cameras on sessions.camera_id = cameras.camera_id
    {% endif %}
),

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
        place_id,
        timezone{{ grouped }},
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
    inner join calendars on events.timezone = calendars.timezone
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
    inner join calendars on presences.timezone = calendars.timezone
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

measures as (
    select
        *,
        {{ microseconds('occupied') }} as occupied_microseconds,
        {{ bucket_end(grain, 'bucket_start', 'timezone') }} as bucket_end
    from counts
    full outer join occupancy using ({{ key }})
    left join quantiles using ({{ key }})
    left join visitors using ({{ key }})
    inner join places using (place_id)
),

final as (
    select
        place_id as {{ place }},
        bucket_start,
        bucket_end,
        {% if grain != 'hour' %}
        (bucket_start at time zone timezone)::date as bucket_date,
        {% endif %}
        {% for column in groups %}
        {{ column }},
        {% endfor %}
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
    from measures
)

select * from final
{% endmacro %}


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
