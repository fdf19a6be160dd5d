{# A person id as it is compared with lists of ids: trimmed and in lower case, by the alphabet of the whole database. #}
{% macro folded_id(person_id) -%}
    lower(trim({{ person_id }}) collate "default")
{%- endmacro %}


{# The same of a list of ids, from the text of a JSON array; of null, null. #}
{% macro folded_ids(json_text) -%}
    case
        when {{ json_text }} is not null
            then array(
                select {{ folded_id('listed.person_id') }}
                from jsonb_array_elements_text({{ json_text }}::jsonb) as listed (person_id)
            )
    end
{%- endmacro %}
