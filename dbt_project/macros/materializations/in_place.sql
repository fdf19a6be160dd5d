{#
  Tables that stay where they are.

  dbt's own materializations build a second table and drop the first, and with it every view that other people
  built upon it. Here a table is made once and from then on only its rows change, within one transaction: readers
  see the old rows or the new ones, never none (TRUNCATE would show an older snapshot an empty table), and only
  rows that really differ are written.

  incremental   an increment recomputes what `touched` names (a temporary table that the model's pre-hook fills, with
                the columns of `unique_key`; only increments run it) and replaces what differs; else a full refresh
  table         recomputed at every run, replaced where it differs
#}

{% materialization incremental, adapter='postgres' %}

    {%- set existing = load_cached_relation(this) -%}
    {%- set destination = this.incorporate(type='table') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {% do begin_model(existing) %}

    {% set is_increment = is_incremental() %}
    {% if is_increment != (touched() in sql) %}
        {% do exceptions.raise_compiler_error(
            'The settings changed while ' ~ this ~ ' was about to be built. Nothing was done; run dbt again.'
        ) %}
    {% endif %}
    {% call statement() %}{{ claim_batches(is_increment) }}{% endcall %}

    {% if not is_increment %}
        {% do refill(existing, destination, sql) %}
        {% call statement() %}{{ record_refresh() }}{% endcall %}
    {% elif run_query('select count(*) from claimed')[0][0] == 0 %}
        {% call noop_statement('main', 'NOTHING NEW', 'NOTHING NEW', 0) %}{{ sql }}{% endcall %}
    {% else %}
        {{ run_hooks(pre_hooks, inside_transaction=True) }}
        {% set within -%}
            ({{ config.require('unique_key') | join(', ') }}) in (
            select {{ config.require('unique_key') | join(', ') }}
            from {{ touched() }}
        )
        {%- endset %}
        {% do replace_what_differs(destination, sql, within) %}
    {% endif %}

    {% call statement() %}{{ consume_batches(is_increment) }}{% endcall %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [destination]}) }}

{% endmaterialization %}


{% materialization table, adapter='postgres' %}

    {%- set existing = load_cached_relation(this) -%}
    {%- set destination = this.incorporate(type='table') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {% do begin_model(existing) %}
    {% call statement() %}{{ claim_batches(is_increment=false) }}{% endcall %}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% if existing is none or should_full_refresh() %}
        {% do refill(existing, destination, sql) %}
    {% else %}
        {% do replace_what_differs(destination, sql, 'true') %}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% call statement() %}
        {{ record_refresh(only_if_settings_changed=true) }}
        {{ consume_batches(is_increment=false) }}
    {% endcall %}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [destination]}) }}

{% endmaterialization %}


{# The temporary table that names the keys an increment recomputes. #}
{% macro touched() -%}
    touched_keys
{%- endmacro %}


{#
  Begins the model's transaction: one snapshot for all it reads, and no other dbt run on the same model until it ends.

  The lock must come before the snapshot, else a run that had to wait would go by what it saw before it waited.
  LOCK TABLE takes no snapshot; an advisory lock, being a query, does. Readers are not held up by it.
#}
{% macro begin_model(existing) %}
    {# The driver opened a transaction, of the usual isolation, for dbt's first look-up. #}
    {% call statement() %}
        commit;
        begin isolation level repeatable read;
        set local client_connection_check_interval = '1s';
        {% if existing is not none and existing.is_table %}
        lock table {{ existing }} in share row exclusive mode;
        {% endif %}
    {% endcall %}
{% endmacro %}


{# All rows anew. The table is made if it is not there; one of another shape is brought into shape. #}
{% macro refill(existing, destination, sql) %}
    {% set logged = config.get('meta', {}).get('logged_columns', []) %}
    {% set changes = changes_of(model.name) %}
    {% if existing is not none and not existing.is_table %}
        {% call statement() %}drop view {{ existing }}{% endcall %}
        {% set existing = none %}
    {% endif %}
    {% if existing is none %}
        {% call statement('main') %}{{ get_create_table_as_sql(False, destination, sql) }}{% endcall %}
        {% do create_indexes(destination) %}
        {% if logged %}
            {% call statement() %}
                drop table if exists {{ changes }};
                create table {{ changes }} as
                select
                    null::bigint as batch_id,
                    {{ logged | join(', ') }}
                from {{ destination }}
                limit 0;
                create index on {{ changes }} (batch_id);
            {% endcall %}
        {% endif %}
    {% else %}
        {% do add_missing_columns(destination) %}
        {% call statement('main') %}
            {{ get_assert_columns_equivalent(sql) }}
            {% if logged %}
            delete from {{ changes }};
            {% endif %}
            delete from {{ destination }};
            insert into {{ destination }} ({{ model.columns | join(', ') }})
            select {{ model.columns | join(', ') }}
            from (
                {{ sql }}
            ) as recomputed;
        {% endcall %}
    {% endif %}
    {% call statement() %}analyze {{ destination }}{% endcall %}
    {% do persist_docs(destination, model) %}
{% endmacro %}


{#
  Puts the recomputed rows in the place of those `within` the given condition, writing only what differs.

  Rows are told apart by the columns of the model's unique index. Keys that no longer yield a row lose theirs. The
  rows that went and came are logged for the model's children.
#}
{% macro replace_what_differs(destination, sql, within) %}
    {% set columns = model.columns | join(', ') %}
    {% set logged = config.get('meta', {}).get('logged_columns', []) %}
    {% set key = (config.get('indexes') | selectattr('unique', 'true') | first).columns %}
    {% do add_missing_columns(destination) %}
    {% call statement('main') %}
        {{ get_assert_columns_equivalent(sql) }}
        create temporary table recomputed on commit drop as
        {{ sql }};
        analyze recomputed;

        create temporary table stale on commit drop as
        select {{ columns }}
        from {{ destination }}
        where {{ within }}
        except
        select {{ columns }}
        from recomputed;
        analyze stale;

        create temporary table fresh on commit drop as
        select {{ columns }}
        from recomputed
        except
        select {{ columns }}
        from {{ destination }}
        where {{ within }};

        {% if logged %}
        insert into {{ changes_of(model.name) }} (batch_id, {{ logged | join(', ') }})
        select
            (select max(batch_id) from claimed),
            {{ logged | join(', ') }}
        from (
            select {{ logged | join(', ') }} from stale
            union
            select {{ logged | join(', ') }} from fresh
        ) as changed;
        {% endif %}

        delete from {{ destination }} as destination
        using stale
        where
            {% for column in key %}
            destination.{{ column }} = stale.{{ column }}{% if not loop.last %} and{% endif %}

            {% endfor %};

        insert into {{ destination }} ({{ columns }})
        select {{ columns }}
        from fresh;
    {% endcall %}
{% endmacro %}


{# A column that a newer version of the model brings is appended; one that it lacks or types otherwise is an error. #}
{% macro add_missing_columns(destination) %}
    {% set existing = adapter.get_columns_in_relation(destination) | map(attribute='name') | list %}
    {% for column in model.columns.values() if column.name not in existing %}
        {% call statement() %}
            alter table {{ destination }} add column {{ column.name }} {{ column.data_type }}
        {% endcall %}
    {% endfor %}
{% endmacro %}
