{#
  A table that grows by one row whenever a build publishes: the model gives the row that would be next, and it is
  added if it tells of new batches or its fingerprint is not the last one's. A full refresh keeps all rows.
#}
{% materialization version, adapter='postgres' %}

    {%- set existing = load_cached_relation(this) -%}
    {%- set destination = this.incorporate(type='table') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {% do begin_model(existing) %}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% if existing is none %}
        {% call statement() %}create table {{ destination }} {{ get_table_columns_and_constraints() }}{% endcall %}
        {% do create_indexes(destination) %}
        {% do persist_docs(destination, model) %}
    {% endif %}

    {% set reason = why_unpublished() %}
    {% if reason %}
        {% do log('No data version is published: ' ~ reason ~ '.', info=true) %}
        {% call noop_statement('main', 'NOT PUBLISHED', 'NOT PUBLISHED', 0) %}{{ sql }}{% endcall %}
    {% else %}
        {% call statement() %}{{ claim_batches(is_increment=existing is not none) }}{% endcall %}
        {% call statement('main') %}
            {{ get_assert_columns_equivalent(sql) }}
            insert into {{ destination }} ({{ model.columns | join(', ') }})
            select {{ model.columns | join(', ') }}
            from (
                {{ sql }}
            ) as next_one
            where
                exists (select from claimed)
                or next_one.fingerprint is distinct from (
                    select last_one.fingerprint
                    from {{ destination }} as last_one
                    order by last_one.version desc
                    limit 1
                );
        {% endcall %}
        {% call statement() %}{{ consume_batches(is_increment=existing is not none) }}{% endcall %}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [destination]}) }}

{% endmaterialization %}
