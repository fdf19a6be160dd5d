{# Durations are summed as whole microseconds and become seconds once, at the end: sums then do not depend on order. #}

{% macro microseconds(duration) -%}
    (extract(epoch from {{ duration }}) * 1000000)::bigint
{%- endmacro %}

{# One division, hence one rounding, whatever was summed, counted or interpolated before. #}
{% macro seconds(microseconds, divisor=none) -%}
    {% if divisor is none -%}
    ({{ microseconds }})::double precision / 1000000
    {%- else -%}
    ({{ microseconds }})::double precision / ({{ divisor }} * 1000000)
    {%- endif %}
{%- endmacro %}

{# Back from seconds, exactly: a double holds every microsecond of seven decades. #}
{% macro microseconds_of(seconds) -%}
    ({{ seconds }} * 1000000)::bigint
{%- endmacro %}
