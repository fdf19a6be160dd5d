with

cameras as (
    select * from {{ source('raw', 'cameras') }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

final as (
    select
        cameras.camera_id,
        coalesce(cameras.camera_name, cameras.camera_id) as camera_name,
        cameras.zone,
        coalesce(cameras.site_id, {{ site_of_unlisted('cameras.camera_id') }}) as site_id,
        coalesce(cameras.timezone, parameters.default_timezone) as timezone,
        cameras.capacity
    from cameras
    cross join parameters
)

select * from final
