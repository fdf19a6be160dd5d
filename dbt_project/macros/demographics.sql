{# The group of persons that an event tells of. #}

{# The age group as the file writes it or, where it writes none, the band that the age lies in. #}
{% macro age_group_of(age_group, age) -%}
    coalesce(
        {{ age_group }},
        case
            when {{ age }} < 18 then 'under 18'
            when {{ age }} < 25 then '18-24'
            when {{ age }} < 35 then '25-34'
            when {{ age }} < 45 then '35-44'
            when {{ age }} < 55 then '45-54'
            when {{ age }} < 65 then '55-64'
            when {{ age }} >= 65 then '65+'
        end,
        'unknown'
    )
{%- endmacro %}


{% macro gender_of(gender) -%}
    coalesce({{ gender }}, 'unknown')
{%- endmacro %}
