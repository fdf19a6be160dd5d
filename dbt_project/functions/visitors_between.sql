with

events as (
    {{ chosen_events('visitors_between') }}
),

{{ chosen_visits('visitors_between', ['visit_date']) }}

totals as (
    select
        site_id,
        person_id,
        count(*) as visits,
        count(distinct visit_date) as visit_days,
        min(start_time) as first_start
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
    coalesce(totals.visits, 0) as visits,
    coalesce(totals.visit_days, 0) as visit_days,
    {{ seconds('coalesce(visitors.dwell_total, 0)') }} as dwell_seconds_total,
    first_visits.is_returning,
    coalesce(totals.visit_days >= 2, false) as is_repeat_visitor
from visitors
left join totals on visitors.site_id = totals.site_id and visitors.person_id = totals.person_id
/* One search of the index for each; OFFSET keeps them from becoming a pass over the visits of everybody. */
left join lateral (
    select is_returning
    from {{ mart('visits') }}
    where person_id = totals.person_id and site_id = totals.site_id and start_time = totals.first_start
    offset 0 -- noqa: AM09
) as first_visits on true
