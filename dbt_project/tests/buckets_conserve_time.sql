{{ config(meta={'dagster': {'ref': {'name': 'site_hourly'}}}) }}

/* Conservation: hours, days and weeks of one place hold the same person-seconds and the same events. Read from the
   bucket tables alone, which are small beside the events. A bucket's seconds are whole microseconds over a million,
   which rounding finds again; whole numbers then add up the same in any order. */
with

sizes as (
    {% for place, tables in {
        'camera_id': ['camera_hourly', 'camera_daily', 'camera_weekly'],
        'site_id': ['site_hourly', 'site_daily', 'site_weekly'],
    }.items() %}
    {% for table in tables %}
    select
        '{{ table }}' as bucket_table,
        '{{ place }}' as place,
        {{ place }} as place_id,
        sum(events) as events,
        sum(entries) as entries,
        sum(exits) as exits,
        sum(sessions_started) as sessions_started,
        sum(round((occupied_seconds * 1000000)::numeric)) as occupied_microseconds
    from {{ ref(table) }}
    group by {{ place }}
    {% if not loop.last %}
    union all
    {% endif %}
    {% endfor %}
    {% if not loop.last %}
    union all
    {% endif %}
    {% endfor %}
)

select
    place,
    place_id,
    array_agg(bucket_table) as bucket_tables,
    array_agg(occupied_microseconds) as occupied_microseconds
from sizes
group by place, place_id
having
    count(*) != 3
    {% for measure in ['events', 'entries', 'exits', 'sessions_started', 'occupied_microseconds'] %}
    or min({{ measure }}) != max({{ measure }})
    {% endfor %}
