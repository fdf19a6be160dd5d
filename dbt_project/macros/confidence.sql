{# Whether an event is ignored for its confidence. One that tells none is not, nor is any where no minimum is set. #}
{% macro is_too_uncertain(confidence, minimum) -%}
    coalesce({{ confidence }} < {{ minimum }}, false)
{%- endmacro %}
