{# Buckets in which an event or any part of a session came, went or changed: by the old rows as well as the new. #}
{% macro touch_buckets(place, grain) %}
    create temporary table {{ touched() }} on commit drop as
    with

    changed_spans as (
        select
            camera_id,
            event_time as first_time,
            event_time as last_time
        from {{ changes_of('int_linked_events') }}
        where batch_id = any({{ claimed_batches() }})
        union
        select
            camera_id,
            entry_time,
            greatest(entry_time, exit_time - interval '1 microsecond')
        from {{ changes_of('int_sessions') }}
        where batch_id = any({{ claimed_batches() }}) and exit_time is not null
    ),

    /* A camera that has lost its last event is gone from dim_cameras. It stood where its id tells: a camera that does
       not cannot go without a full refresh. */
    camera_sites as (
        select
            changed.camera_id,
            case
                when cameras.camera_id is not null then cameras.site_id
                when position('/' in changed.camera_id) > 0 then split_part(changed.camera_id, '/', 1)
                else 'default'
            end as site_id
        from (select distinct camera_id from changed_spans) as changed
        left join {{ ref('dim_cameras') }} as cameras on changed.camera_id = cameras.camera_id
    ),

    places as (
        select
            camera_sites.camera_id,
            camera_sites.{{ place }} as place_id,
            coalesce(sites.timezone, parameters.default_timezone) as timezone
        from camera_sites
        cross join {{ ref('stg_parameters') }} as parameters
        left join {{ ref('dim_sites') }} as sites on camera_sites.site_id = sites.site_id
    ),

    bounded as (
        select distinct
            places.place_id,
            places.timezone,
            {{ bucket_start(grain, 'changed_spans.first_time', 'places.timezone') }} as first_start,
            {{ bucket_start(grain, 'changed_spans.last_time', 'places.timezone') }} as last_start
        from changed_spans
        inner join places on changed_spans.camera_id = places.camera_id
    ),

    starts as (
        select distinct
            bounded.place_id,
            bounded.timezone,
            buckets.bucket_start
        from bounded
        cross join lateral {{ buckets_between(grain, 'bounded.first_start', 'bounded.last_start', 'bounded.timezone') }} as buckets
    )

    select
        place_id as {{ place }},
        bucket_start,
        {{ bucket_end(grain, 'bucket_start', 'timezone') }} as bucket_end
    from starts;
    analyze {{ touched() }};
{% endmacro %}
