{# Passes if every one of the values occurs in the column. #}
{% test includes_values(model, column_name, values) %}
select expected.value
from unnest(array[{{ quoted_list(values) }}]::text[]) as expected (value)
where expected.value not in (select {{ column_name }} from {{ model }})
{% endtest %}
