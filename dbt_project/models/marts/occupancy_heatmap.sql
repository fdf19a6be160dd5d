with

sites as (
    select * from {{ ref('dim_sites') }}
),

spans as (
    select
        sites.site_id,
        sites.timezone,
        min(days.bucket_start) as first_start,
        max(days.bucket_start) as last_start
    from {{ ref('site_daily') }} as days
    inner join sites on days.site_id = sites.site_id
    group by sites.site_id, sites.timezone
),

/* Every day of the span, those with nothing in them, too. Materialized: each is told once, not wherever it is used. */
days as materialized (
    select
        spans.site_id,
        spans.timezone,
        starts.bucket_start as day_start,
        {{ bucket_end('day', 'starts.bucket_start', 'spans.timezone') }} as day_end
    from spans
    cross join lateral {{ buckets_between('day', 'spans.first_start', 'spans.last_start', 'spans.timezone') }} as starts
),

local_days as materialized (
    select
        *,
        day_start at time zone timezone as local_start,
        day_end at time zone timezone as local_end
    from days
),

judged_days as (
    select
        *,
        local_start::time = '00:00'
        and local_end - local_start = interval '24 hours'
        and day_end - day_start = interval '24 hours' as is_even
    from local_days
),

/* A day whose clock ran evenly from midnight to midnight has each hour once: no zone shifts to and fro within a day. */
even_weekdays as (
    select
        site_id,
        extract(isodow from local_start)::smallint as weekday,
        count(*) as day_count
    from judged_days
    where is_even
    group by site_id, weekday
),

even_cells as (
    select
        weekdays.site_id,
        weekdays.weekday,
        hours.hour,
        weekdays.day_count as hours,
        weekdays.day_count * 3600000000 as length
    from even_weekdays as weekdays
    cross join generate_series(0, 23) as hours (hour)
),

uneven_hours as (
    select
        days.site_id,
        days.timezone,
        hours.bucket_start,
        {{ bucket_end('hour', 'hours.bucket_start', 'days.timezone') }} as bucket_end
    from judged_days as days
    cross join lateral {{ buckets_between('hour', 'days.day_start', 'days.day_end', 'days.timezone') }} as hours
    where not days.is_even and hours.bucket_start >= days.day_start and hours.bucket_start < days.day_end
),

uneven_cells as (
    select
        site_id,
        extract(isodow from bucket_start at time zone timezone)::smallint as weekday,
        extract(hour from bucket_start at time zone timezone)::integer as hour,
        count(*) as hours,
        sum({{ microseconds('bucket_end - bucket_start') }}) as length
    from uneven_hours
    group by site_id, weekday, hour
),

cells as (
    select
        site_id,
        weekday,
        hour::smallint as hour,
        sum(hours)::bigint as hours,
        sum(length) as length
    from (
        select * from even_cells
        union all
        select * from uneven_cells
    ) as all_cells
    group by site_id, weekday, hour
),

measures as (
    select
        hours.site_id,
        extract(isodow from hours.bucket_start at time zone spans.timezone)::smallint as weekday,
        extract(hour from hours.bucket_start at time zone spans.timezone)::smallint as hour,
        sum(hours.events)::bigint as events,
        sum(hours.entries)::bigint as entries,
        sum({{ microseconds_of('hours.occupied_seconds') }}) as occupied,
        max(hours.peak_occupancy) as peak_occupancy
    from {{ ref('site_hourly') }} as hours
    inner join spans on hours.site_id = spans.site_id
    where hours.bucket_start >= spans.first_start
    group by hours.site_id, weekday, hour
),

final as (
    select
        cells.site_id,
        cells.weekday,
        cells.hour,
        cells.hours,
        coalesce(measures.events, 0) as events,
        coalesce(measures.entries, 0) as entries,
        {{ seconds('coalesce(measures.occupied, 0)') }} as occupied_seconds,
        coalesce(measures.occupied, 0)::double precision / cells.length as avg_occupancy,
        coalesce(measures.peak_occupancy, 0) as peak_occupancy
    from cells
    left join measures
        on cells.site_id = measures.site_id and cells.weekday = measures.weekday and cells.hour = measures.hour
)

select * from final
