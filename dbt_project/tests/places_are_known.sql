{{ config(meta={'dagster': {'ref': {'name': 'dim_cameras'}}}) }}

/* Every place that a table tells of is in its dimension. */
{% for place, dimension, tables in [
    ('site_id', 'dim_sites', ['dim_cameras', 'site_hourly', 'site_daily', 'site_weekly', 'demographics_daily']),
    ('camera_id', 'dim_cameras', ['camera_hourly', 'camera_daily', 'camera_weekly']),
] %}
{% for table in tables %}
select
    '{{ table }}' as told_by,
    told.{{ place }} as unknown_place
from (select distinct {{ place }} from {{ ref(table) }}) as told
left join {{ ref(dimension) }} as known on told.{{ place }} = known.{{ place }}
where known.{{ place }} is null
{% if not loop.last %}
union all
{% endif %}
{% endfor %}
{% if not loop.last %}
union all
{% endif %}
{% endfor %}
