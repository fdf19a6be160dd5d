{% set grains = ['hour', 'day', 'week'] %}
with

limits as materialized (
    select
        bucket_starts.grain,
        bucket_starts.zone,
        bucket_starts.range_start as first_instant,
        bucket_starts.range_end as next_instant,
        bucket_starts.range_end - interval '1 microsecond' as last_instant
    where bucket_starts.range_start < bucket_starts.range_end
),

spans as materialized (
    select
        *,
        case grain
            {% for grain in grains %}
            when '{{ grain }}' then {{ bucket_start(grain, 'first_instant', 'zone') }}
            {% endfor %}
        end as first_start
    from limits
),

starts as (
    {% for grain in grains %}
    select greatest(buckets.bucket_start, spans.first_instant) as start_time
    from spans
    cross join lateral {{ buckets_between(grain, 'spans.first_start', 'spans.last_instant', 'spans.zone') }} as buckets
    where spans.grain = '{{ grain }}'
    union all
    {% endfor %}
    select next_instant
    from spans
    where first_start is not null
)

select coalesce(array_agg(start_time order by start_time), '{}')
from starts
