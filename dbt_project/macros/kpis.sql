{# The headline numbers, in one row: over everything or, where `limits` names a function, of what its arguments leave. #}
{% macro kpis(limits=none) %}
with

events as (
    {{ chosen_events(limits) }}
),

{{ chosen_visits(limits, ['visit_date']) }}

{% if limits %}
cameras as (
    {{ chosen_cameras(limits) }}
    union all
    select camera_id
    from {{ mart('dim_cameras') }}
    where {{ limits }}.cameras is null
),

/* Those who came before the range and were still inside. */
persons_inside as (
    select presences.person_id
    from (
        {{ presences_within(limits ~ '.range_start', limits ~ '.range_start', limits) }}
    ) as presences
    where {{ limits }}.range_end is null or {{ limits }}.range_end > {{ limits }}.range_start
),
{% endif %}

visitors as (
    select visitor_id from events
    where visitor_id is not null
    {{ 'union' if limits else 'group by visitor_id' }}
    {% if limits %}
    select person_id from persons_inside
    {% endif %}
),

event_totals as (
    select
        count(*) as events,
        count(*) filter (where is_entry) as entries,
        count(*) filter (where is_exit) as exits,
        count(*) filter (where opens_session) as sessions,
        count(dwell_microseconds) as completed_sessions,
        sum(dwell_microseconds) as dwell_total,
        max(dwell_microseconds) as dwell_max
    from events
),

dwell_medians as (
    select percentile_cont(0.5) within group (order by dwell_microseconds) as dwell_median
    from events
    where dwell_microseconds is not null
),

/* To group and count costs less than to count what is distinct, which sorts. */
camera_totals as (
    select count(*) as active_cameras
    from (select from events group by camera_id) as cameras_of_events
),

person_totals as (
    select count(*) as persons
    from (select from events where dwell_microseconds is not null group by person_id) as persons_of_sessions
),

visitor_totals as (
    select count(*) as unique_visitors
    from visitors
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
        from chosen_visits
        group by person_id, site_id
    ) as persons_at_sites
)

select
    visitors.unique_visitors,
    {{ seconds('events.dwell_total', divisor='nullif(persons.persons, 0)') }} as dwell_seconds_avg_per_person,
    {{ seconds('events.dwell_total', divisor='nullif(events.completed_sessions, 0)') }} as dwell_seconds_avg,
    {{ seconds('medians.dwell_median') }} as dwell_seconds_median,
    {{ seconds('events.dwell_max') }} as dwell_seconds_max,
    events.events,
    cameras.active_cameras,
    visits.repeat_visitors,
    visits.repeat_visitors::double precision / nullif(visitors.unique_visitors, 0) as repeat_visitor_share,
    events.sessions,
    (events.sessions - events.completed_sessions)::double precision
    / nullif(events.sessions, 0) as share_without_exit,
    events.entries,
    events.exits,
    events.completed_sessions,
    {{ seconds('coalesce(events.dwell_total, 0)') }} as dwell_seconds_total,
    visits.visits
from event_totals as events
cross join dwell_medians as medians
cross join camera_totals as cameras
cross join person_totals as persons
cross join visitor_totals as visitors
cross join visit_totals as visits
{% endmacro %}
