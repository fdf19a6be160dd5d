{#
  Views that stay where they are: dbt's own materialization drops the old view, and with it every view that other
  people built upon it. A view whose columns changed other than by new ones at the end must be dropped, which
  PostgreSQL refuses, naming them, while other views depend on it.
#}
{% materialization view, adapter='postgres' %}

    {%- set existing = load_cached_relation(this) -%}
    {%- set destination = this.incorporate(type='view') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% set must_go = existing is not none and not existing.is_view %}
    {% if existing is not none and existing.is_view %}
        {% set before = adapter.get_columns_in_relation(existing) | map(attribute='name') | list %}
        {% set now = model.columns | list %}
        {% set must_go = before != now[:before | length] %}
    {% endif %}
    {% if must_go %}
        {% call statement() %}drop {{ existing.type }} {{ existing }}{% endcall %}
    {% endif %}

    {% call statement('main') %}{{ get_replace_view_sql(destination, sql) }}{% endcall %}

    {% if existing is none or must_go or should_full_refresh() %}
        {% do persist_docs(destination, model) %}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [destination]}) }}

{% endmaterialization %}
