with

cameras as (
    select * from {{ ref('dim_cameras') }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

sites as (
    select
        site_id,
        max(timezone) filter (where is_listed) as listed_timezone,
        count(*) as camera_count
    from cameras
    group by site_id
),

final as (
    select
        sites.site_id,
        coalesce(sites.listed_timezone, parameters.default_timezone) as timezone,
        sites.camera_count
    from sites
    cross join parameters
)

select * from final
