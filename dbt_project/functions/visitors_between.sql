with

events as (
    {{ chosen_events('visitors_between') }}
),

{{ chosen_visits('visitors_between', ['visit_date', 'is_returning']) }}

/* Whoever returns with the first of these visits returns with each of them. */
visits as (
    select
        site_id,
        person_id,
        count(*) as visits,
        count(distinct visit_date) as visit_days,
        bool_and(is_returning) as is_returning
    from chosen_visits
    group by site_id, person_id
),

visitors as (
    select
        cameras.site_id,
        events.visitor_id as person_id,
        min(events.event_time) as first_event_time,
        max(events.event_time) as last_event_time,
        count(*) as events,
        sum(events.dwell_microseconds) as dwell_total
    from events
    inner join {{ mart('dim_cameras') }} as cameras on events.camera_id = cameras.camera_id
    where events.visitor_id is not null
    group by cameras.site_id, events.visitor_id
)

select
    visitors.site_id,
    visitors.person_id,
    visitors.first_event_time,
    visitors.last_event_time,
    visitors.events,
    coalesce(visits.visits, 0) as visits,
    coalesce(visits.visit_days, 0) as visit_days,
    {{ seconds('coalesce(visitors.dwell_total, 0)') }} as dwell_seconds_total,
    visits.is_returning,
    coalesce(visits.visit_days >= 2, false) as is_repeat_visitor
from visitors
left join visits on visitors.site_id = visits.site_id and visitors.person_id = visits.person_id
