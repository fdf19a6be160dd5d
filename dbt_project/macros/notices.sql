{# Whether something was noted of a file that is not as it should be; validation.outcomes has the same list of what is. #}
{% macro has_alarming_notice(notices) -%}
    coalesce(
        {{ notices }} @? '$[*].code ? (@ != "unlisted_cameras" && @ != "same_name" && @ != "date_order_of_original")', false
    )
{%- endmacro %}
