{#
  The headline numbers, in one row: over everything or, where `limits` names a function, of what its arguments
  range_start, range_end, cameras and persons leave.

  They read the marts alone, so that whoever calls the function needs no right beyond reading those.
#}
{% macro kpis(limits=none) %}
with

events as (
    select
        person_id,
        camera_id,
        is_anonymous,
        is_entry and not is_repeat as is_entry,
        is_exit and not is_repeat as is_exit
    from {{ mart('camera_events') }}
    where not is_ignored
    {{ in_range('event_time', limits) }}
    {{ of_persons('person_id', limits) }}
    {{ of_cameras('camera_id', limits) }}
),

sessions as (
    select
        person_id,
        status = 'complete' as is_complete,
        {{ microseconds('exit_time - entry_time') }} as dwell_microseconds
    from {{ mart('person_sessions') }}
    where true
    {{ in_range('entry_time', limits) }}
    {{ of_persons('person_id', limits) }}
    {{ of_cameras('camera_id', limits) }}
),

visits as (
    select
        visits.person_id,
        visits.site_id,
        visits.visit_date
    from {{ mart('visits') }} as visits
    where true
    {{ in_range('visits.start_time', limits) }}
    {{ of_persons('visits.person_id', limits) }}
    {% if limits %}
    and (
        {{ limits }}.cameras is null
        or exists (
            select 1
            from {{ mart('person_sessions') }} as sessions
            where
                sessions.person_id = visits.person_id
                and sessions.site_id = visits.site_id
                and sessions.entry_time between visits.start_time and visits.end_time
                and sessions.camera_id = any({{ limits }}.cameras)
        )
    )
    {% endif %}
),

visitors as (
    select person_id from events
    where not is_anonymous
    {% if limits %}
    union all
    /* Those who came before the range and were still inside: no longer before it than anybody ever stayed. */
    select person_id
    from {{ mart('person_sessions') }}
    where
        entry_time >= {{ limits }}.range_start - (
            select (coalesce(max(dwell_seconds_max), 0) + 1) * interval '1 second'
            from {{ mart('site_weekly') }}
        )
        and entry_time < {{ limits }}.range_start
        and exit_time > {{ limits }}.range_start
        and ({{ limits }}.range_end is null or {{ limits }}.range_end > {{ limits }}.range_start)
        {{ of_persons('person_id', limits) }}
        {{ of_cameras('camera_id', limits) }}
    {% endif %}
),

event_totals as (
    select
        count(*) as events,
        count(*) filter (where is_entry) as entries,
        count(*) filter (where is_exit) as exits,
        count(distinct camera_id) as active_cameras
    from events
),

visitor_totals as (
    select count(distinct person_id) as unique_visitors
    from visitors
),

session_totals as (
    select
        count(*) as sessions,
        count(*) filter (where is_complete) as completed_sessions,
        count(distinct person_id) filter (where is_complete) as persons,
        sum(dwell_microseconds) as dwell_total,
        percentile_cont(0.5) within group (order by dwell_microseconds) as dwell_median,
        max(dwell_microseconds) as dwell_max
    from sessions
),

visit_totals as (
    select
        coalesce(sum(visits), 0)::bigint as visits,
        count(distinct person_id) filter (where first_date < last_date) as repeat_visitors
    from (
        select
            person_id,
            count(*) as visits,
            min(visit_date) as first_date,
            max(visit_date) as last_date
        from visits
        group by person_id, site_id
    ) as persons_at_sites
)

select
    visitors.unique_visitors,
    {{ seconds('sessions.dwell_total', divisor='nullif(sessions.persons, 0)') }} as dwell_seconds_avg_per_person,
    {{ seconds('sessions.dwell_total', divisor='nullif(sessions.completed_sessions, 0)') }} as dwell_seconds_avg,
    {{ seconds('sessions.dwell_median') }} as dwell_seconds_median,
    {{ seconds('sessions.dwell_max') }} as dwell_seconds_max,
    events.events,
    events.active_cameras,
    visits.repeat_visitors,
    visits.repeat_visitors::double precision / nullif(visitors.unique_visitors, 0) as repeat_visitor_share,
    sessions.sessions,
    (sessions.sessions - sessions.completed_sessions)::double precision
    / nullif(sessions.sessions, 0) as share_without_exit,
    events.entries,
    events.exits,
    sessions.completed_sessions,
    {{ seconds('coalesce(sessions.dwell_total, 0)') }} as dwell_seconds_total,
    visits.visits
from event_totals as events
cross join visitor_totals as visitors
cross join session_totals as sessions
cross join visit_totals as visits
{% endmacro %}


{# A mart by its schema and name: the text of a function must not name the database, which may be restored as another. #}
{% macro mart(name) -%}
    {{ ref(name).include(database=false) }}
{%- endmacro %}


{# What the limits say of an instant: the range holds its start, not its end; a null leaves nothing out. #}
{% macro in_range(instant, limits) -%}
    {% if limits -%}
    and ({{ limits }}.range_start is null or {{ instant }} >= {{ limits }}.range_start)
    and ({{ limits }}.range_end is null or {{ instant }} < {{ limits }}.range_end)
    {%- endif %}
{%- endmacro %}


{% macro of_persons(person_id, limits) -%}
    {% if limits -%}
    and ({{ limits }}.persons is null or {{ person_id }} = any({{ limits }}.persons))
    {%- endif %}
{%- endmacro %}


{% macro of_cameras(camera_id, limits) -%}
    {% if limits -%}
    and ({{ limits }}.cameras is null or {{ camera_id }} = any({{ limits }}.cameras))
    {%- endif %}
{%- endmacro %}
