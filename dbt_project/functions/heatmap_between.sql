with

cameras as (
    {{ cameras_with_sites('heatmap_between') }}
),

/* Chosen cameras and sites with nothing in the range have cells too. */
places as (
    select distinct {{ group_key('heatmap_between', 'camera_id', 'site_id') }} as place_id
    from cameras
    where heatmap_between.group_by != 'site' or site_id is not null
    union
    select ''
    where heatmap_between.group_by is null
),

calendars as materialized (
    select
        {{ mart_function('bucket_starts') }}(
            'hour', heatmap_between.range_start, heatmap_between.range_end, heatmap_between.zone
        ) as starts
),

all_hours as materialized (
    select
        calendars.starts[numbers.number] as start_time,
        calendars.starts[numbers.number + 1] as end_time
    from calendars
    cross join generate_series(1, cardinality(calendars.starts) - 1) as numbers (number)
),

/* The hour amidst which the range begins has its place in the week by when it struck. */
local_hours as materialized (
    select
        *,
        {{ hour_start('start_time', 'heatmap_between.zone') }} at time zone heatmap_between.zone as local_start
    from all_hours
),

hours as materialized (
    select
        start_time,
        extract(isodow from local_start)::smallint as weekday,
        extract(hour from local_start)::smallint as hour,
        {{ microseconds('end_time - start_time') }} as length
    from local_hours
),

cells as (
    select
        weekday,
        hour,
        count(*) as hours,
        sum(length) as length
    from hours
    group by weekday, hour
),

measures as (
    select
        coalesce(measures.group_key, '') as place_id,
        hours.weekday,
        hours.hour,
        sum(measures.events)::bigint as events,
        sum(measures.entries)::bigint as entries,
        sum({{ microseconds_of('measures.occupied_seconds') }}) as occupied,
        max(measures.peak_occupancy) as peak_occupancy
    from calendars
    cross join
        lateral {{ mart_function('measures_between') }}(
            calendars.starts,
            heatmap_between.cameras,
            heatmap_between.persons,
            heatmap_between.age_groups,
            heatmap_between.genders,
            heatmap_between.group_by
        ) as measures
    inner join hours on measures.bucket_start = hours.start_time
    group by place_id, hours.weekday, hours.hour
)

select
    case when heatmap_between.group_by is not null then places.place_id end as group_key,
    cells.weekday,
    cells.hour,
    cells.hours,
    coalesce(measures.events, 0) as events,
    coalesce(measures.entries, 0) as entries,
    {{ seconds('coalesce(measures.occupied, 0)') }} as occupied_seconds,
    coalesce(measures.occupied, 0)::double precision / cells.length::double precision as avg_occupancy,
    coalesce(measures.peak_occupancy, 0) as peak_occupancy
from places
cross join cells
left join measures
    on places.place_id = measures.place_id and cells.weekday = measures.weekday and cells.hour = measures.hour
