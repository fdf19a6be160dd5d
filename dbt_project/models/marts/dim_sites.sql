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
        count(*) as camera_count,
        max(timezone) filter (where is_listed) as listed_timezone
    from cameras
    group by site_id
),

final as (
    select
        sites.site_id,
        sites.camera_count,
        coalesce(sites.listed_timezone, parameters.default_timezone) as timezone
    from sites
    cross join parameters
)

select * from final
