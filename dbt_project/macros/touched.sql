{# What an increment must recompute, found from the batches it has claimed. Pre-hooks of the incremental models. #}

{# Histories (a person at a camera) in which the claimed batches brought, altered or took away an event. #}
{% macro touch_histories() %}
    create temporary table {{ touched() }} on commit drop as
    select
        person_id,
        camera_id
    from {{ source('raw', 'events') }}
    where batch_id = any({{ claimed_batches() }})
    union
    select
        person_id,
        camera_id
    from {{ source('raw', 'retracted_events') }}
    where batch_id = any({{ claimed_batches() }});
    analyze {{ touched() }};
{% endmacro %}


{# Sessions whose opening event came, went, or is now closed otherwise. #}
{% macro touch_sessions() %}
    create temporary table {{ touched() }} on commit drop as
    select distinct
        event_id as session_id,
        person_id,
        camera_id,
        event_time
    from {{ changes_of('int_linked_events') }}
    where opens_session and batch_id = any({{ claimed_batches() }});
    analyze {{ touched() }};
{% endmacro %}
