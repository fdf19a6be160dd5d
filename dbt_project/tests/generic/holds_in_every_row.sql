{# Passes if the condition is true (not false, not null) of every row. #}
{% test holds_in_every_row(model, condition) %}
select *
from {{ model }}
where ({{ condition }}) is not true
{% endtest %}
