with recursive

seen as (
    {{ distinct_by_index(ref('int_linked_events'), 'camera_id') }}
),

listed as (
    select * from {{ ref('stg_cameras') }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

cameras as (
    select camera_id from seen
    where camera_id is not null
    union
    select camera_id from listed
),

final as (
    select
        cameras.camera_id,
        coalesce(listed.camera_name, cameras.camera_id) as camera_name,
        listed.zone,
        coalesce(listed.site_id, {{ site_of_unlisted('cameras.camera_id') }}) as site_id,
        coalesce(listed.timezone, parameters.default_timezone) as timezone,
        listed.capacity,
        listed.camera_id is not null as is_listed,
        newest.event_time as last_event_time
    from cameras
    cross join parameters
    left join listed on cameras.camera_id = listed.camera_id
    left join lateral (
        select events.event_time
        from {{ ref('int_linked_events') }} as events
        where events.camera_id = cameras.camera_id and not events.is_ignored and not events.is_after_arrival
        order by events.event_time desc
        limit 1
    ) as newest on true
)

select * from final
