{#
  Tables that stay where they are.

  dbt's own materializations build a second table and drop the first, and with it every view that other people
  built upon it. Here a table is made once and from then on only its rows change, within one transaction: readers
  see the old rows or the new ones, never none (TRUNCATE would show an older snapshot an empty table), and only
  rows that really differ are written.

  incremental   an increment recomputes what `touched` names (a temporary table that the model's pre-hook fills; only
                increments run it) and replaces what differs among the rows that agree with it in the columns of
                `unique_key`, and for which the condition meta.within holds if there is one; else a full refresh
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
        {% if existing is not none and not should_full_refresh() %}{% do tell_why_refreshed() %}{% endif %}
        {% do refill(existing, destination, sql) %}
        {% call statement() %}{{ record_refresh() }}{% endcall %}
    {% elif run_query('select count(*) from claimed')[0][0] == 0 %}
        {% call noop_statement('main', 'NOTHING NEW', 'NOTHING NEW', 0) %}{{ sql }}{% endcall %}
    {% else %}
        {{ run_hooks(pre_hooks, inside_transaction=True) }}
        {% set within = config.get('meta', {}).get('within') %}
        {% do replace_what_differs(destination, sql, touched_rows(destination, config.require('unique_key'), within)) %}
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
        {% call statement() %}{{ record_refill() }}{% endcall %}
    {% else %}
        {% do add_missing_columns(destination, model.columns) %}
        {% do replace_what_differs(destination, sql, destination) %}
        {% do tell_why_refreshed() %}
    {% endif %}

    {% call statement() %}
        {{ record_refresh(only_if_settings_changed=true) }}
        {{ consume_batches(is_increment=false) }}
    {% endcall %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [destination]}) }}

{% endmaterialization %}


{# The temporary table that names what an increment recomputes. #}
{% macro touched() -%}
    touched_keys
{%- endmacro %}


{# The rows of a table that agree with a touched row in the given columns: one search by index for each touched row. #}
{% macro touched_rows(relation, columns, within=none) -%}
    (
        select found.*
        from {{ touched() }} as touched
        cross join lateral (
            select *
            from {{ relation }}
            where
                {% for column in columns -%}
                {{ column }} = touched.{{ column }}{{ ' and' if not loop.last }}
                {% endfor -%}
                {% if within %}and {{ within }}{% endif %}
            offset 0 /* keeps the search by index from becoming a join of everything with everything */
        ) as found
    ) as touched_rows
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
    {% if existing is not none and not existing.is_table %}
        {% call statement() %}drop view {{ existing }}{% endcall %}
        {% set existing = none %}
    {% endif %}
    {% if existing is none %}
        {% call statement('main') %}{{ get_create_table_as_sql(False, destination, sql) }}{% endcall %}
        {% do create_indexes(destination) %}
    {% else %}
        {% do add_missing_columns(destination, model.columns) %}
        {% call statement('main') %}
            {{ get_assert_columns_equivalent(sql) }}
            delete from {{ destination }};
            insert into {{ destination }} ({{ model.columns | join(', ') }})
            select {{ model.columns | join(', ') }}
            from (
                {{ sql }}
            ) as recomputed;
        {% endcall %}
    {% endif %}
    {% if config.get('meta', {}).get('logged_columns') %}{% do empty_log_of_changes(destination) %}{% endif %}
    {% call statement() %}analyze {{ destination }}{% endcall %}
    {% do persist_docs(destination, model) %}
{% endmacro %}


{#
  Puts the recomputed rows in the place of the given stored ones (a table or subquery), writing only what differs.

  Rows are told apart by the columns of the model's unique index. Stored rows that no recomputed one equals go. The
  rows that went and came are logged for the model's children.
#}
{% macro replace_what_differs(destination, sql, stored_rows) %}
    {% set columns = model.columns | join(', ') %}
    {% set logged = config.get('meta', {}).get('logged_columns', []) %}
    {% set key = (config.get('indexes') | selectattr('unique', 'true') | first).columns %}
    {% call statement('main') %}
        {{ get_assert_columns_equivalent(sql) }}
        create temporary table recomputed on commit drop as
        {{ sql }};

        create temporary table stored on commit drop as
        select {{ columns }}
        from {{ stored_rows }};

        create temporary table stale on commit drop as
        select {{ columns }}
        from stored
        except
        select {{ columns }}
        from recomputed;

        create temporary table fresh on commit drop as
        select {{ columns }}
        from recomputed
        except
        select {{ columns }}
        from stored;

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

        {# By their places in the table, looked up one by one: a join with the whole table might well read all of it. #}
        delete from {{ destination }}
        where ctid = any(array(
            select old_row.place
            from stale
            cross join lateral (
                select ctid as place
                from {{ destination }}
                where
                    {% for column in key %}
                    {{ column }} = stale.{{ column }}{% if not loop.last %} and{% endif %}

                    {% endfor %}
                offset 0
            ) as old_row
        ));

        insert into {{ destination }} ({{ columns }})
        select {{ columns }}
        from fresh;

        {{ record_revision('fresh', 'stale') }}
    {% endcall %}
{% endmacro %}


{# The table in which a model's children find what its increments changed: after a full refresh, nothing yet. #}
{% macro empty_log_of_changes(destination) %}
    {% set changes = changes_of(model.name) %}
    {% set logged = config.get('meta').logged_columns %}
    {% if load_relation(changes) is none %}
        {% call statement() %}
            create table {{ changes }} as
            select
                null::bigint as batch_id,
                {{ logged | join(', ') }}
            from {{ destination }}
            limit 0;
            create index on {{ changes }} (batch_id);
        {% endcall %}
    {% else %}
        {% do add_missing_columns(changes, logged) %}
        {% call statement() %}delete from {{ changes }}{% endcall %}
    {% endif %}
{% endmacro %}


{# Columns that a newer version of the model brings are appended; one of another type is an error. #}
{% macro add_missing_columns(relation, names) %}
    {% set existing = adapter.get_columns_in_relation(relation) | map(attribute='name') | list %}
    {% for column in model.columns.values() if column.name in names and column.name not in existing %}
        {% call statement() %}
            alter table {{ relation }} add column {{ column.name }} {{ column.data_type }}
            {{ column.constraints | selectattr('type', 'equalto', 'custom') | map(attribute='expression') | join(' ') }}
        {% endcall %}
    {% endfor %}
{% endmacro %}
