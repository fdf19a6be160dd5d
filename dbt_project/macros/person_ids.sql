{# A person id as it is compared with lists of ids: trimmed and in lower case, by the alphabet of the whole database. #}
{% macro folded_id(person_id) -%}
    lower(trim({{ person_id }}) collate "default")
{%- endmacro %}
