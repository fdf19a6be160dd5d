{#
  Whether what a build found and made may be published: every check that new data can fail must have been run, on what
  is there now, and every view must be as the project has it.

  That no check failed needs no look: dbt skips what is downstream of a failed one, and marts.data_version is
  downstream of everything. What dbt does not know of is another build at the same time. So each build notes the
  revision of every stored model as it leaves it, before the model's checks:

  intermediate.revisions_seen     (build, model, revision)

  Views, and the checks that read them, do not change with the data. A build may leave them out if a former build of
  the same project, told by FOOTFALL_DB_PROJECT, has made them:

  intermediate.view_states        (model, project)

  By both tables anybody can tell whether the marts still are what was published: see `state_of_marts`.
#}

{% macro make_revisions_seen() %}
    create table if not exists intermediate.revisions_seen (
        build text collate "C" not null,
        model text collate "C" not null,
        revision bigint not null,
        primary key (build, model)
    );
    create table if not exists intermediate.view_states (
        model text collate "C" primary key,
        project text collate "C" not null
    );
{% endmacro %}


{# What tells one state of the project from another, if whoever called dbt knows it. #}
{% macro project_state() -%}
    {{ return(env_var('FOOTFALL_DB_PROJECT', '')) }}
{%- endmacro %}


{# A post-hook of every model: a stored one has a revision, a view the project that it was made by. #}
{% macro see_revision() %}
    {% if model.config.materialized == 'view' %}
    insert into intermediate.view_states (model, project)
    values (
        '{{ model.name }}',
        {# Whoever called dbt without saying which project it is: then the view tells one from another. #}
        coalesce(nullif('{{ project_state() }}', ''), md5(pg_get_viewdef('{{ this.schema }}.{{ this.identifier }}'::regclass)))
    )
    on conflict (model) do update
    set project = excluded.project
    {% elif model.config.materialized in ('incremental', 'table') %}
    insert into intermediate.revisions_seen (build, model, revision)
    select
        '{{ invocation_id }}',
        model,
        revision
    from intermediate.model_states
    where model = '{{ model.name }}'
    on conflict (build, model) do update
    set revision = excluded.revision
    {% endif %}
{% endmacro %}


{#
  A hash, cheap to ask for at any time, of what the marts are made of: every change of a stored model's rows, of a
  setting that a view reads, and of a view's own making changes it, in the same transaction. A function is made after
  the view whose columns it returns.
#}
{% macro state_of_marts() -%}
    md5(concat_ws(
        ' | ',
        (
            select string_agg(states.model || '=' || states.revision, ' ' order by states.model)
            from intermediate.model_states as states
        ),
        (
            select string_agg(parameters.name || '=' || parameters.value, ' ' order by parameters.name)
            from {{ source('raw', 'parameters') }} as parameters
        ),
        (
            select string_agg(states.model || '=' || states.project, ' ' order by states.model)
            from intermediate.view_states as states
            /* It tells of the version, so it is made after it. */
            where states.model != 'present_state'
        )
    ))
{%- endmacro %}


{# At a build's end: its own notes, and those of builds that were killed, once they are out of date. #}
{% macro forget_revisions_seen() %}
    delete from intermediate.revisions_seen as seen
    using intermediate.model_states as states
    where seen.model = states.model and (seen.build = '{{ invocation_id }}' or seen.revision < states.revision);
{% endmacro %}


{# Whether a node is a view that this build leaves out, or a check that reads one. #}
{% macro is_left_out_with_a_view(node) %}
    {% set ids = [node.unique_id] if node.resource_type == 'model' else node.depends_on.nodes %}
    {% for id in ids if id in graph.nodes and id not in selected_resources %}
        {% if graph.nodes[id].config.materialized == 'view' %}{{ return(true) }}{% endif %}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}


{# Why this build may not publish, as a sentence; none if it may. To be asked within the snapshot that is published. #}
{% macro why_unpublished() %}
    {% set left_out = [] %}
    {% set views = [] %}
    {% for id, node in graph.nodes.items() if node.resource_type in ('model', 'test') and id not in selected_resources %}
        {% if model.unique_id in node.depends_on.nodes %}
            {# It comes after the version. #}
        {% elif not is_left_out_with_a_view(node) %}
            {% do left_out.append(node.name) %}
        {% elif node.resource_type == 'model' %}
            {% do views.append(node.name) %}
        {% endif %}
    {% endfor %}
    {% if left_out %}
        {{ return('this run left out ' ~ left_out | length ~ ' of the models and checks, such as ' ~ left_out[0]) }}
    {% endif %}
    {% set other_views = run_query("
        select view.name
        from unnest(array[" ~ quoted_list(views) ~ "]::text[]) as view (name)
        left join intermediate.view_states as states on view.name = states.model
        where coalesce(states.project, '') != '" ~ project_state() ~ "' or '" ~ project_state() ~ "' = ''
        order by view.name
    ") %}
    {% if other_views | length %}
        {{ return('the view ' ~ other_views[0][0] ~ ' is not as the project has it: build everything') }}
    {% endif %}
    {% set changed_meanwhile = run_query("
        select states.model
        from intermediate.model_states as states
        left join intermediate.revisions_seen as seen
            on states.model = seen.model and states.revision = seen.revision and seen.build = '" ~ invocation_id ~ "'
        where states.model in (" ~ quoted_list(stored_parents()) ~ ") and seen.model is null
        order by states.model
    ") %}
    {% if changed_meanwhile | length %}
        {{ return('another build has changed ' ~ changed_meanwhile[0][0] ~ ' meanwhile, and is to check it') }}
    {% endif %}
    {{ return(none) }}
{% endmacro %}
