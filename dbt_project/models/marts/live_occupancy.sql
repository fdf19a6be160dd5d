with

cameras as (
    select * from {{ ref('dim_cameras') }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

newest as (
    select max(last_event_time) as as_of
    from cameras
),

/* Who is inside at a camera: searches by index, which leave unread what lies far back. OFFSET keeps them from becoming
   a join of everything with everything. */
open_stays as (
    select
        cameras.camera_id,
        cameras.site_id,
        stays.person_id
    from cameras
    cross join newest
    cross join parameters
    cross join lateral (
        select sessions.person_id
        from {{ ref('int_sessions') }} as sessions
        where
            sessions.camera_id = cameras.camera_id
            and sessions.length_class is null
            and sessions.entry_time >= newest.as_of - parameters.max_session
            and sessions.is_last_signal
        offset 0 -- noqa: AM09
    ) as stays
),

complete_stays as (
    select
        cameras.camera_id,
        cameras.site_id,
        stays.person_id
    from cameras
    cross join newest
    cross join generate_series(0, {{ longest_length_class() }}) as classes (length_class)
    cross join lateral (
        select sessions.person_id
        from {{ ref('int_sessions') }} as sessions
        where
            sessions.camera_id = cameras.camera_id
            and sessions.length_class = classes.length_class
            and sessions.entry_time > newest.as_of - (2 ^ classes.length_class) * interval '1 hour'
            and sessions.entry_time <= newest.as_of
            and sessions.exit_time > newest.as_of
        offset 0 -- noqa: AM09
    ) as stays
),

inside as (
    select * from open_stays
    union all
    select * from complete_stays
),

camera_occupancy as (
    select
        camera_id,
        count(distinct person_id) as persons_inside
    from inside
    group by camera_id
),

site_occupancy as (
    select
        site_id,
        count(distinct person_id) as persons_inside
    from inside
    group by site_id
),

camera_level as (
    select
        'camera' as level,
        cameras.site_id,
        cameras.camera_id,
        coalesce(camera_occupancy.persons_inside, 0) as persons_inside,
        cameras.capacity::bigint as capacity,
        cameras.last_event_time
    from cameras
    left join camera_occupancy on cameras.camera_id = camera_occupancy.camera_id
),

sites as (
    select
        site_id,
        case when count(capacity) = count(*) then sum(capacity) end as capacity,
        max(last_event_time) as last_event_time
    from cameras
    group by site_id
),

site_level as (
    select
        'site' as level,
        sites.site_id,
        null as camera_id,
        coalesce(site_occupancy.persons_inside, 0) as persons_inside,
        sites.capacity,
        sites.last_event_time
    from sites
    left join site_occupancy on sites.site_id = site_occupancy.site_id
),

levels as (
    select * from camera_level
    union all
    select * from site_level
),

final as (
    select
        levels.level,
        levels.site_id,
        levels.camera_id,
        newest.as_of,
        levels.persons_inside,
        levels.capacity,
        levels.last_event_time
    from levels
    cross join newest
)

select * from final
