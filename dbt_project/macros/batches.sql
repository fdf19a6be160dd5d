{#
  Which batches a model has yet to take in, and under which settings it was last filled.

  intermediate.consumed_batches   (model, batch_id): this model's rows tell of this batch
  intermediate.model_states       (model, fingerprint, refresh_id, revision, row_count): what the model was filled
                                  under, a number that every full refresh draws anew, one that every change of its rows
                                  does, and how many rows it has
  intermediate.<model>_changes    rows that an increment of the model added, altered or took away, for its children

  A model takes the batches that all its parents have taken and it has not; the first in line takes those of
  raw.batches. They are claimed at the start of the model's transaction and marked at its end, so that a killed
  run leaves nothing half done, and a batch that commits meanwhile waits for the next run. A model whose settings
  are others than it was filled under, or a parent of which was refreshed fully since, is refreshed fully itself.
#}

{% macro make_bookkeeping() %}
    create table if not exists intermediate.consumed_batches (
        model text collate "C" not null,
        batch_id bigint not null,
        primary key (batch_id, model)
    );
    create table if not exists intermediate.model_states (
        model text collate "C" primary key,
        fingerprint text collate "C" not null,
        refresh_id bigint generated always as identity,
        revision bigint generated always as identity,
        row_count bigint
    );
    {# Of an earlier version. Not "if not exists", which would wait for whoever just reads the table, every time. #}
    {% set states = load_relation(api.Relation.create(target.database, 'intermediate', 'model_states')) %}
    {% set columns = adapter.get_columns_in_relation(states) | map(attribute='name') | list if execute and states %}
    {% if columns and 'revision' not in columns %}
        alter table intermediate.model_states add column revision bigint generated always as identity;
    {% endif %}
    {% if columns and 'row_count' not in columns %}
        alter table intermediate.model_states add column row_count bigint;
    {% endif %}
{% endmacro %}


{# Names of the stored models that this one reads, itself not included. #}
{% macro stored_parents() %}
    {% set names = [] %}
    {% for parent in model.depends_on.nodes if parent.startswith('model.') %}
        {% if graph.nodes[parent].config.materialized in ('incremental', 'table') %}
            {% do names.append(graph.nodes[parent].name) %}
        {% endif %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}


{#
  What the model is filled under, as the text of a JSON object: the settings that act on it (meta.settings in its YAML),
  its parents' last full refreshes, its columns and those that are logged, and, of the table that places the cameras
  (meta.places_cameras), what would move events that its children have placed.
#}
{% macro fingerprint() %}
    {% set meta = config.get('meta', {}) %}
    (
        select jsonb_object_agg(circumstance.name, circumstance.value)::text
        from (
            select
                name,
                value
            from {{ source('raw', 'parameters') }}
            where name = any(array[{{ quoted_list(meta.get('settings', [])) }}]::text[])
            union all
            select
                'refresh of ' || model,
                to_jsonb(refresh_id)
            from intermediate.model_states
            where model = any(array[{{ quoted_list(stored_parents()) }}]::text[])
            union all
            select
                'columns',
                to_jsonb('{{ model.columns | join(", ") }} | {{ meta.get("logged_columns", []) | join(", ") }}'::text)
            {% if meta.get('places_cameras') %}
            union all
            select
                'places of cameras',
                to_jsonb(({{ places_beyond_ids(this) }}))
            {% endif %}
        ) as circumstance (name, value)
    )
{% endmacro %}


{# A word in dbt's log about a model that is about to be refreshed fully though nobody asked: what is not as it was. #}
{% macro tell_why_refreshed() %}
    {% set differences %}
        with

        states as (
            select
                /* An earlier version of Footfall kept a hash, which tells nothing. */
                case when left(fingerprint, 1) = '{' then fingerprint::jsonb end as before,
                {{ fingerprint() }}::jsonb as now
            from intermediate.model_states
            where model = '{{ model.name }}'
        )

        select
            names.name,
            states.before ->> names.name as before,
            states.now ->> names.name as now
        from states
        cross join lateral (
            select jsonb_object_keys(states.before || states.now)
            union all
            select 'earlier version'
            where states.before is null
        ) as names (name)
        where states.before is null or (states.before -> names.name) is distinct from (states.now -> names.name)
        order by names.name
    {% endset %}
    {% set reasons = [] %}
    {% for name, before, now in run_query(differences) %}
        {% if name == 'columns' %}
            {% do reasons.append('its columns are not what they were') %}
        {% elif name == 'places of cameras' %}
            {% do reasons.append('cameras stand elsewhere or in another time zone') %}
        {% elif name.startswith('refresh of ') %}
            {% do reasons.append(name[11:] ~ ' was') %}
        {% elif name == 'earlier version' %}
            {% do reasons.append('an earlier version of Footfall filled it') %}
        {% else %}
            {% do reasons.append(name ~ ' is ' ~ now ~ ', was ' ~ before) %}
        {% endif %}
    {% endfor %}
    {% if reasons %}
        {% do log(model.name ~ ' is refreshed fully: ' ~ reasons | join('; '), info=true) %}
    {% endif %}
{% endmacro %}


{# dbt's own test for "update, do not rebuild", with one condition more: filled under what would fill it today. #}
{% macro is_incremental() %}
    {% if not execute or model.config.materialized != 'incremental' or should_full_refresh() %}
        {{ return(false) }}
    {% endif %}
    {% set relation = adapter.get_relation(this.database, this.schema, this.identifier) %}
    {% if relation is none or relation.type != 'table' %}
        {{ return(false) }}
    {% endif %}
    {% set filled_under_these_settings %}
        select count(*)
        from intermediate.model_states
        where model = '{{ model.name }}' and fingerprint = {{ fingerprint() }}
    {% endset %}
    {{ return(run_query(filled_under_these_settings)[0][0] == 1) }}
{% endmacro %}


{# Pins, for the rest of the transaction, the batches that this model is to take: temporary table `claimed`. #}
{% macro claim_batches(is_increment) %}
    {% set parents = stored_parents() %}
    create temporary table claimed on commit drop as
    {% if parents %}
    select batch_id
    from intermediate.consumed_batches
    where model in ({{ quoted_list(parents) }})
    group by batch_id
    having count(*) = {{ parents | length }}
    {% else %}
    select batch_id
    from {{ source('raw', 'batches') }}
    {% endif %}
    {% if is_increment %}
    except
    select batch_id
    from intermediate.consumed_batches
    where model = '{{ model.name }}'
    {% endif %};
    analyze claimed;
{% endmacro %}


{# The claimed batches as one array, in order, which an index can be searched for. #}
{% macro claimed_batches() -%}
    array(select claimed.batch_id from claimed order by claimed.batch_id)
{%- endmacro %}


{% macro consume_batches(is_increment) %}
    {% if not is_increment %}
    delete from intermediate.consumed_batches
    where model = '{{ model.name }}';
    {% endif %}
    insert into intermediate.consumed_batches (model, batch_id)
    select
        '{{ model.name }}',
        batch_id
    from claimed;
{% endmacro %}


{# To be called by every full refresh: from now on the children's fingerprints differ from what they were. #}
{% macro record_refresh(only_if_settings_changed=false) %}
    insert into intermediate.model_states as known (model, fingerprint, row_count)
    values ('{{ model.name }}', {{ fingerprint() }}, (select count(*) from {{ this }}))
    on conflict (model) do update
    set
        fingerprint = excluded.fingerprint,
        row_count = excluded.row_count,
        refresh_id = default,
        revision = default
    {% if only_if_settings_changed %}
    where known.fingerprint != excluded.fingerprint
    {% endif %};
{% endmacro %}


{# To be called by what fills a table anew without its children having to be: its rows may be others than before. #}
{% macro record_refill() %}
    update intermediate.model_states
    set
        revision = default,
        row_count = (select count(*) from {{ this }})
    where model = '{{ model.name }}';
{% endmacro %}


{# To be called by every increment, with the tables of rows that came and went: for those who ask what is new. #}
{% macro record_revision(fresh, stale) %}
    update intermediate.model_states
    set
        revision = default,
        row_count = row_count + (select count(*) from {{ fresh }}) - (select count(*) from {{ stale }})
    where model = '{{ model.name }}' and (exists (select from {{ fresh }}) or exists (select from {{ stale }}));
{% endmacro %}


{# The log of a model's changed rows, or none where no child needs it (meta.logged_columns in its YAML). #}
{% macro changes_of(name) %}
    {{ return(api.Relation.create(database=target.database, schema='intermediate', identifier=name ~ '_changes')) }}
{% endmacro %}


{# Drops from the logs what every model has taken in. #}
{% macro forget_consumed_changes() %}
    {% if execute and flags.WHICH in ('build', 'run') %}
        {% set stored = [] %}
        {% set logged = [] %}
        {% for node in graph.nodes.values() if node.resource_type == 'model' %}
            {% if node.config.materialized in ('incremental', 'table') %}
                {% do stored.append(node.name) %}
            {% endif %}
            {% if node.config.meta.get('logged_columns') %}
                {% do logged.append(node.name) %}
            {% endif %}
        {% endfor %}
        {% for name in logged if load_relation(changes_of(name)) is not none %}
            delete from {{ changes_of(name) }}
            where batch_id in (
                select consumed.batch_id
                from intermediate.consumed_batches as consumed
                where
                    consumed.model in ({{ quoted_list(stored) }})
                    and consumed.batch_id in (select changes.batch_id from {{ changes_of(name) }} as changes)
                group by consumed.batch_id
                having count(*) = {{ stored | length }}
            );
        {% endfor %}
    {% endif %}
{% endmacro %}


{% macro quoted_list(names) -%}
    {% for name in names %}'{{ name }}'{% if not loop.last %}, {% endif %}{% endfor %}
{%- endmacro %}
