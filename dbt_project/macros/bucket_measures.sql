{#
  Every measure of a bucket table, defined once for all of them: `place` is camera_id or site_id, `grain` hour or day.

  Returns the text of a model. A full refresh cuts every session into the buckets it covers; an increment looks up the
  touched buckets' events and sessions. From there on both are one.
#}
{% macro bucket_measures(place, grain) %}
with

events as (
    select
        camera_id,
        event_time,
        case when not is_anonymous then person_id end as visitor_id,
        event_type = 'entry' and not is_repeat as is_entry,
        event_type = 'exit' and not is_repeat as is_exit,
        opens_session,
        case when opens_session then dwell_microseconds end as dwell_microseconds
    from {{ ref('int_linked_events') }}
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

{% if is_incremental() %}
touched as (
    select
        {{ place }} as place_id,
        bucket_start,
        bucket_end
    from {{ touched() }}
),

placed_events as (
    select
        touched.place_id,
        touched.bucket_start,
        events.*
    from touched
    inner join cameras on touched.place_id = cameras.place_id
    cross join lateral (
        select *
        from events
        where
            camera_id = cameras.camera_id
            and event_time >= touched.bucket_start
            and event_time < touched.bucket_end
        offset 0 /* keeps the search by index from becoming a join of everything with everything */
    ) as events
),

/* The parts of sessions that lie in the touched buckets, found class by class of their length. */
parts as (
    select
        touched.place_id,
        touched.bucket_start,
        sessions.person_id,
        greatest(sessions.entry_time, touched.bucket_start) as start_time,
        least(sessions.exit_time, touched.bucket_end) as end_time
    from touched
    inner join cameras on touched.place_id = cameras.place_id
    cross join generate_series(0, {{ longest_length_class() }}) as classes (length_class)
    cross join lateral (
        select *
        from sessions
        where
            camera_id = cameras.camera_id
            and length_class = classes.length_class
            and entry_time > touched.bucket_start - (2 ^ classes.length_class) * interval '1 hour'
            and entry_time < touched.bucket_end
            and exit_time > touched.bucket_start
        offset 0
    ) as sessions
),
{% else %}
placed_events as (
    select
        cameras.place_id,
        {{ bucket_start(grain, 'events.event_time', 'cameras.timezone') }} as bucket_start,
        events.*
    from events
    inner join cameras on events.camera_id = cameras.camera_id
),

bounded_sessions as (
    select
        cameras.place_id,
        cameras.timezone,
        sessions.person_id,
        sessions.entry_time,
        sessions.exit_time,
        {{ bucket_start(grain, 'sessions.entry_time', 'cameras.timezone') }} as first_start,
        {{ bucket_start(grain, "(sessions.exit_time - interval '1 microsecond')", 'cameras.timezone') }} as last_start
    from sessions
    inner join cameras on sessions.camera_id = cameras.camera_id
),

parts as (
    select
        place_id,
        first_start as bucket_start,
        person_id,
        entry_time as start_time,
        exit_time as end_time
    from bounded_sessions
    where first_start = last_start
    union all
    select
        bounded.place_id,
        buckets.bucket_start,
        bounded.person_id,
        greatest(bounded.entry_time, buckets.bucket_start) as start_time,
        least(bounded.exit_time, {{ bucket_end(grain, 'buckets.bucket_start', 'bounded.timezone') }}) as end_time
    from bounded_sessions as bounded
    cross join lateral {{ buckets_between(grain, 'bounded.first_start', 'bounded.last_start', 'bounded.timezone') }} as buckets
    where bounded.first_start < bounded.last_start
),
{% endif %}

counts as (
    select
        place_id,
        bucket_start,
        count(*) as events,
        count(*) filter (where is_entry) as entries,
        count(*) filter (where is_exit) as exits,
        count(*) filter (where opens_session) as sessions_started,
        count(dwell_microseconds) as completed_sessions,
        sum(dwell_microseconds) as dwell_total,
        percentile_cont(0.5) within group (order by dwell_microseconds) as dwell_median,
        percentile_cont(0.9) within group (order by dwell_microseconds) as dwell_p90,
        max(dwell_microseconds) as dwell_max
    from placed_events
    group by place_id, bucket_start
),

visitors as (
    select
        place_id,
        bucket_start,
        count(*) as unique_visitors
    from (
        select
            place_id,
            bucket_start,
            visitor_id
        from placed_events
        where visitor_id is not null
        union
        select
            place_id,
            bucket_start,
            person_id
        from parts
    ) as present
    group by place_id, bucket_start
),

/* One person's overlapping parts are one stay: a person is counted once at a time. */
parts_with_reach as (
    select
        *,
        max(end_time) over (
            partition by place_id, bucket_start, person_id
            order by start_time, end_time
            rows between unbounded preceding and 1 preceding
        ) as end_so_far
    from parts
),

numbered_parts as (
    select
        *,
        count(*) filter (where end_so_far is null or start_time > end_so_far) over (
            partition by place_id, bucket_start, person_id
            order by start_time, end_time
            rows between unbounded preceding and current row
        ) as stay_number
    from parts_with_reach
),

stays as (
    select
        place_id,
        bucket_start,
        min(start_time) as start_time,
        max(end_time) as end_time
    from numbered_parts
    group by place_id, bucket_start, person_id, stay_number
),

steps as (
    select
        stays.place_id,
        stays.bucket_start,
        step.at_time,
        step.change,
        step.weight
    from stays
    cross join lateral (
        values
        (stays.start_time, 1, {{ microseconds('stays.end_time - stays.start_time') }}),
        (stays.end_time, -1, 0)
    ) as step (at_time, change, weight)
),

/* Who leaves at an instant is gone at that instant, and who comes is there: both steps count at once. */
levels as (
    select
        place_id,
        bucket_start,
        weight,
        sum(change) over (
            partition by place_id, bucket_start
            order by at_time
            range between unbounded preceding and current row
        ) as occupancy
    from steps
),

occupancy as (
    select
        place_id,
        bucket_start,
        sum(weight) as occupied,
        max(occupancy) as peak_occupancy
    from levels
    group by place_id, bucket_start
),

measures as (
    select
        visitors.unique_visitors,
        occupancy.occupied,
        occupancy.peak_occupancy,
        counts.*,
        places.timezone,
        coalesce(counts.place_id, occupancy.place_id) as the_place,
        coalesce(counts.bucket_start, occupancy.bucket_start) as the_start
    from counts
    full outer join occupancy
        on counts.place_id = occupancy.place_id and counts.bucket_start = occupancy.bucket_start
    left join visitors
        on
            coalesce(counts.place_id, occupancy.place_id) = visitors.place_id
            and coalesce(counts.bucket_start, occupancy.bucket_start) = visitors.bucket_start
    inner join places on coalesce(counts.place_id, occupancy.place_id) = places.place_id
),

bounded_measures as (
    select
        *,
        {{ bucket_end(grain, 'the_start', 'timezone') }} as bucket_end
    from measures
),

final as (
    select
        the_place as {{ place }},
        the_start as bucket_start,
        bucket_end,
        {% if grain == 'day' %}
        (the_start at time zone timezone)::date as bucket_date,
        {% endif %}
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
        {{ seconds('coalesce(occupied, 0)') }} as occupied_seconds,
        coalesce(occupied, 0)::double precision
        / {{ microseconds('bucket_end - the_start') }} as avg_occupancy,
        coalesce(peak_occupancy, 0) as peak_occupancy
    from bounded_measures
)

select * from final
{% endmacro %}


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
