{#
  A bucket table: `place` is camera_id or site_id, `grain` hour, day or week. A bucket is told apart further by `groups`,
  columns of groups_of_events. What is measured in a bucket is for measures.sql to say; here is what lies in which.

  Returns the text of a model. A full refresh takes all events and sessions, an increment looks up what lies in the
  touched buckets; from there on both are one. Where the buckets begin is asked of the zones beforehand, for all events
  at once: asking anew for each of them is what would take longest.
#}
{% macro bucket_measures(place, grain, groups=[]) %}
{% set is_increment = is_incremental() %}
{% set grouped = ', ' ~ groups | join(', ') if groups else '' %}
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

{{ measured(groups, zone='timezone') }}

measures as (
    select
        *,
        {{ bucket_end(grain, 'bucket_start', 'timezone') }} as bucket_end
    from measured
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
        {{ measure_columns() | indent(8) }}
    from measures
)

select * from final
{% endmacro %}
