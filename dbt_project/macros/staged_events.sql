{#
  Raw events with what the parameters and the files say of them: those of a relation with the columns of raw.events,
  whose columns named in `besides` are kept, too.

  The parameters are one row, which the planner would compute anew for each event if it took the events for few.
#}
{% macro staged_events(relation, besides=[]) %}
with

events as (
    select * from {{ relation }}
),

files as (
    select * from {{ ref('stg_files') }}
),

parameters as materialized (
    select * from {{ ref('stg_parameters') }}
),

final as (
    select
        events.event_id,
        events.person_id,
        events.camera_id,
        events.event_type,
        events.event_word,
        events.event_time,
        events.end_time,
        events.zone,
        events.confidence,
        events.age,
        events.age_group,
        events.gender,
        events.attributes,
        events.file_id,
        events.row_number,
        {% for column in besides %}
        events.{{ column }},
        {% endfor %}
        {{ folded_id('events.person_id') }} = any(parameters.anonymous_ids) as is_anonymous,
        (
            {{ folded_id('events.person_id') }} = any(parameters.excluded_ids)
            or {{ is_too_uncertain('events.confidence', 'parameters.min_confidence') }}
        ) as is_ignored,
        events.event_time > files.arrived_at as is_after_arrival
    from events
    inner join files on events.file_id = files.file_id
    cross join parameters
)

select * from final
{% endmacro %}
