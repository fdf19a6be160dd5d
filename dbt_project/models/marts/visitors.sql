with

events as (
    select * from {{ ref('int_linked_events') }}
    where not is_ignored and not is_anonymous
),

cameras as (
    select * from {{ ref('dim_cameras') }}
),

visits as (
    select * from {{ ref('int_visits') }}
),

event_totals as (
    select
        cameras.site_id,
        events.person_id,
        min(events.event_time) as first_event_time,
        max(events.event_time) as last_event_time,
        count(*) as event_count
    from events
    inner join cameras on events.camera_id = cameras.camera_id
    group by cameras.site_id, events.person_id
),

visit_totals as (
    select
        site_id,
        person_id,
        count(*) as visit_count,
        count(distinct visit_date) as visit_days,
        min(visit_date) as first_visit_date,
        max(visit_date) as last_visit_date,
        sum(dwell_microseconds) as dwell_total
    from visits
    group by site_id, person_id
),

final as (
    select
        events.site_id,
        events.person_id,
        events.first_event_time,
        events.last_event_time,
        events.event_count,
        visits.first_visit_date,
        visits.last_visit_date,
        coalesce(visits.visit_count, 0) as visit_count,
        coalesce(visits.visit_days, 0) as visit_days,
        {{ seconds('coalesce(visits.dwell_total, 0)') }} as dwell_seconds_total,
        coalesce(visits.visit_days >= 2, false) as is_repeat_visitor
    from event_totals as events
    left join visit_totals as visits
        on events.site_id = visits.site_id and events.person_id = visits.person_id
)

select * from final
