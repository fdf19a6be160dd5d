{# What an earlier version of Footfall called with fewer arguments: beside its successor, calls of it would be ambiguous. #}
{% macro drop_old_functions() %}
    drop function if exists marts.kpis_between(timestamptz, timestamptz, text[], text[]);
{% endmacro %}
