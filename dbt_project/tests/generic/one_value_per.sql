{# Passes if rows that agree in `per` agree in `value`. #}
{% test one_value_per(model, value, per) %}
select {{ per }}
from {{ model }}
group by {{ per }}
having count(distinct {{ value }}) > 1
{% endtest %}
