{#
  Whether what a build found and made may be published: every check must have been run, on what is there now.

  That no check failed needs no look: dbt skips what is downstream of a failed one, and marts.data_version is
  downstream of everything. What dbt does not know of is another build at the same time. So each build notes the
  revision of every stored model as it leaves it, before the model's checks:

  intermediate.revisions_seen     (build, model, revision)
#}

{% macro make_revisions_seen() %}
    create table if not exists intermediate.revisions_seen (
        build text collate "C" not null,
        model text collate "C" not null,
        revision bigint not null,
        primary key (build, model)
    );
{% endmacro %}


{# A post-hook of every model; those that are not stored have no revision. #}
{% macro see_revision() %}
    {% if model.config.materialized in ('incremental', 'table') %}
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


{# At a build's end: its own notes, and those of builds that were killed, once they are out of date. #}
{% macro forget_revisions_seen() %}
    delete from intermediate.revisions_seen as seen
    using intermediate.model_states as states
    where seen.model = states.model and (seen.build = '{{ invocation_id }}' or seen.revision < states.revision);
{% endmacro %}


{# Why this build may not publish, as a sentence; none if it may. To be asked within the snapshot that is published. #}
{% macro why_unpublished() %}
    {% set left_out = [] %}
    {% for id, node in graph.nodes.items() if node.resource_type in ('model', 'test') and id not in selected_resources %}
        {% do left_out.append(node.name) %}
    {% endfor %}
    {% if left_out %}
        {{ return('this run left out ' ~ left_out | length ~ ' of the models and checks, such as ' ~ left_out[0]) }}
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
