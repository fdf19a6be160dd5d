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

/* Of every file, whatever became of it. */
subfolders as (
    select distinct site_id
    from {{ ref('stg_files') }}
    where site_id is not null
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
        listed.zone,
        listed.capacity,
        newest.event_time as last_event_time,
        coalesce(listed.camera_name, cameras.camera_id) as camera_name,
        coalesce(listed.site_id, subfolders.site_id, 'default') as site_id,
        coalesce(listed.timezone, parameters.default_timezone) as timezone,
        listed.camera_id is not null as is_listed
    from cameras
    cross join parameters
    left join listed on cameras.camera_id = listed.camera_id
    left join subfolders
        on position('/' in cameras.camera_id) > 0 and split_part(cameras.camera_id, '/', 1) = subfolders.site_id
    left join lateral (
        select events.event_time
        from {{ ref('int_linked_events') }} as events
        where events.camera_id = cameras.camera_id and not events.is_ignored and not events.is_after_arrival
        order by events.event_time desc
        limit 1
    ) as newest on true
)

select * from final
