{% set range_start = 'measures_between.starts[1]' %}
{% set range_end = 'measures_between.starts[cardinality(measures_between.starts)]' %}
with

cameras as (
    {{ cameras_with_sites('measures_between') }}
),

calendars as materialized (
    select measures_between.starts
),

chosen_events as (
    {{ chosen_events(
        'measures_between', within='event_time >= ' ~ range_start ~ ' and event_time < ' ~ range_end
    ) }}
),

events as (
    select
        chosen_events.*,
        {{ group_key(
            'measures_between', 'cameras.camera_id', 'cameras.site_id', 'chosen_events.age_group', 'chosen_events.gender'
        ) }} as place_id
    from chosen_events
    inner join cameras on chosen_events.camera_id = cameras.camera_id
),

chosen_presences as (
    {{ presences_within(range_start, range_end, 'measures_between') }}
),

presences as (
    select
        {{ group_key(
            'measures_between', 'camera_id', 'site_id', 'age_group', 'gender'
        ) }} as place_id,
        person_id,
        greatest(entry_time, {{ range_start }}) as start_time,
        least(exit_time, {{ range_end }}) as end_time
    from chosen_presences
),

{{ measured() }}

measures as (
    select
        measured.*,
        calendars.starts[width_bucket(measured.bucket_start, calendars.starts) + 1] as bucket_end
    from measured
    cross join calendars
)

select
    case when measures_between.group_by is not null then place_id end as group_key,
    bucket_start,
    bucket_end,
    {{ measure_columns() | indent(4) }},
    {{ seconds('dwell_min') }} as dwell_seconds_min
from measures
