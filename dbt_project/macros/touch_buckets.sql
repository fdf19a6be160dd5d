{#
  Buckets that an increment must recompute: those in which an event or any part of a session came, went or changed, by
  the old rows as well as the new. Pre-hook of the bucket tables.
#}
{% macro touch_buckets(place, grain) %}
    create temporary table {{ touched() }} on commit drop as
    with

    /* Not those whose old row and new differ only in what no measure looks at: a new event is the last signal of its
       person in the place of one that may be months old. */
    changed_events as (
        select
            camera_id,
            event_time
        from {{ changes_of('int_linked_events') }}
        where batch_id = any({{ claimed_batches() }})
        group by
            batch_id, event_id, camera_id, event_time, event_type, is_ignored, is_repeat, opens_session, exit_time,
            age, age_group, gender
        having count(*) = 1
    ),

    changed_spans as (
        select
            camera_id,
            {{ five_minutes('event_time') }} as first_moment,
            {{ five_minutes('event_time') }} as last_moment
        from changed_events
        union
        select
            camera_id,
            {{ five_minutes('entry_time') }},
            {{ five_minutes("greatest(entry_time, exit_time - interval '1 microsecond')") }}
        from {{ changes_of('int_sessions') }}
        where batch_id = any({{ claimed_batches() }}) and exit_time is not null
    ),

    places as (
        select
            changed.camera_id,
            changed.{{ place }} as place_id,
            coalesce(sites.timezone, parameters.default_timezone) as timezone
        from (
            select
                changed_cameras.camera_id,
                {{ site_of_camera('changed_cameras.camera_id', 'cameras.site_id') }} as site_id
            from (select distinct camera_id from changed_spans) as changed_cameras
            left join {{ ref('dim_cameras') }} as cameras on changed_cameras.camera_id = cameras.camera_id
        ) as changed
        cross join {{ ref('stg_parameters') }} as parameters
        left join {{ ref('dim_sites') }} as sites on changed.site_id = sites.site_id
    ),

    /* What follows each other is one: a busy day is a few spans, not thousands, whose zones are asked. */
    merged_spans as (
        select
            places.place_id,
            places.timezone,
            unnest(range_agg(tstzrange(
                changed_spans.first_moment, changed_spans.last_moment + {{ five_minutes_long() }}
            ))) as span
        from changed_spans
        inner join places on changed_spans.camera_id = places.camera_id
        group by places.place_id, places.timezone
    ),

    moments as (
        select
            place_id,
            timezone,
            lower(span) as first_moment,
            upper(span) - {{ five_minutes_long() }} as last_moment
        from merged_spans
    ),

    bounds as (
        select distinct
            place_id,
            timezone,
            {{ bucket_start(grain, 'first_moment', 'timezone') }} as first_start,
            {{ bucket_start(grain, 'last_moment', 'timezone') }} as last_start
        from moments
    ),

    starts as (
        select distinct
            bounds.place_id,
            bounds.timezone,
            buckets.bucket_start
        from bounds
        cross join lateral {{ buckets_between(grain, 'bounds.first_start', 'bounds.last_start', 'bounds.timezone') }} as buckets
    )

    select
        place_id as {{ place }},
        bucket_start,
        {{ bucket_end(grain, 'bucket_start', 'timezone') }} as bucket_end
    from starts;
    analyze {{ touched() }};
{% endmacro %}
