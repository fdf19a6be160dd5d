with

cameras as (
    {{ cameras_with_sites('dwell_bands_between') }}
),

events as (
    {{ chosen_events('dwell_bands_between') }}
),

edges as materialized (
    select coalesce(dwell_bands_between.bands, '{}') as edges
),

sessions as (
    select
        {{ group_key(
            'dwell_bands_between', 'cameras.camera_id', 'cameras.site_id', 'events.age_group', 'events.gender'
        ) }} as place_id,
        width_bucket({{ seconds('events.dwell_microseconds') }}, edges.edges) as band
    from events
    inner join cameras on events.camera_id = cameras.camera_id
    cross join edges
    where events.dwell_microseconds is not null
),

counts as (
    select
        place_id,
        band,
        count(*) as sessions
    from sessions
    group by place_id, band
),

/* Without group_by there is one group even if it has no session. */
places as (
    select
        place_id,
        case when dwell_bands_between.group_by is not null then place_id end as group_key
    from counts
    union
    select
        '' as place_id,
        null as group_key
    where dwell_bands_between.group_by is null
),

bands as (
    select
        band,
        coalesce(edges.edges[band], 0) as band_from,
        edges.edges[band + 1] as band_to
    from edges
    cross join generate_series(0, cardinality(edges.edges)) as bands (band)
)

select
    places.group_key,
    bands.band_from,
    bands.band_to,
    coalesce(counts.sessions, 0) as sessions
from places
cross join bands
left join counts on places.place_id = counts.place_id and bands.band = counts.band
