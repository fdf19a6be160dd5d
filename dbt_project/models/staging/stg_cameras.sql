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
        cameras.camera_name,
        cameras.zone,
        cameras.site_id,
        cameras.capacity,
        coalesce(cameras.timezone, parameters.default_timezone) as timezone
    from cameras
    cross join parameters
)

select * from final
