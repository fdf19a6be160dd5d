{# What an increment of the visits and first visits must recompute, found from the batches it has claimed. #}

{#
  Spans of a person's time at a site in which visits are made anew: the old visits that a change comes near, and the
  entries of changed sessions themselves.

  A change comes near what lies at most the gap from the span of the session's old or new row. All other visits stay
  as they are: none of their sessions came, went or changed (it would be its own change, at no distance), and
  whatever is near them was so before, which made it theirs. The sessions that begin within the touched spans are all
  the others, as no two visits of a person at a site share an instant.

  For the same reason the visits near a span are those that begin in it or within the gap of it, and, of those that
  begin earlier, the last, if it reaches that far: two searches of an index.
#}
{% macro touch_visits() %}
    create temporary table changed_spans on commit drop as
    select distinct
        changes.person_id,
        {{ site_of_camera('changes.camera_id', 'cameras.site_id') }} as site_id,
        changes.entry_time as start_time,
        coalesce(changes.exit_time, changes.entry_time) as end_time
    from {{ changes_of('int_sessions') }} as changes
    left join {{ ref('dim_cameras') }} as cameras on changes.camera_id = cameras.camera_id
    where changes.batch_id = any({{ claimed_batches() }});
    analyze changed_spans;

    create temporary table {{ touched() }} on commit drop as
    with

    reaches as (
        select
            changed.person_id,
            changed.site_id,
            changed.start_time - parameters.visit_gap as near_from,
            changed.end_time + parameters.visit_gap as near_until
        from changed_spans as changed
        cross join {{ ref('stg_parameters') }} as parameters
    )

    select
        person_id,
        site_id,
        start_time,
        start_time as end_time
    from changed_spans
    union
    select
        reaches.person_id,
        reaches.site_id,
        near.start_time,
        near.end_time
    from reaches
    left join lateral (
        select start_time
        from {{ this }}
        where person_id = reaches.person_id and site_id = reaches.site_id and start_time < reaches.near_from
        order by start_time desc
        limit 1
    ) as last_before on true
    cross join lateral (
        select
            start_time,
            end_time
        from {{ this }}
        where
            person_id = reaches.person_id
            and site_id = reaches.site_id
            and start_time >= coalesce(last_before.start_time, reaches.near_from)
            and start_time <= reaches.near_until
            and end_time >= reaches.near_from
        offset 0 /* keeps the search by index from becoming a join of everything with everything */
    ) as near;
    analyze {{ touched() }};
{% endmacro %}


{# The sessions that begin in the touched spans, each once: a changed session's entry may lie in a touched visit. #}
{% macro sessions_in_touched_spans() %}
    select sessions.*
    from (
        select distinct
            of_person.*,
            touched.site_id
        from {{ touched() }} as touched
        cross join lateral (
            select *
            from {{ ref('int_sessions') }}
            where person_id = touched.person_id and entry_time between touched.start_time and touched.end_time
            offset 0
        ) as of_person
    ) as sessions
    inner join {{ ref('dim_cameras') }} as cameras
        on sessions.camera_id = cameras.camera_id and sessions.site_id = cameras.site_id
{% endmacro %}


{# Persons at sites of whom a visit came, went or changed. #}
{% macro touch_first_visits() %}
    create temporary table {{ touched() }} on commit drop as
    select distinct
        site_id,
        person_id
    from {{ changes_of('int_visits') }}
    where batch_id = any({{ claimed_batches() }});
    analyze {{ touched() }};
{% endmacro %}
