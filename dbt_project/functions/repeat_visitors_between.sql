with

events as (
    {{ chosen_events('repeat_visitors_between') }}
),

{{ chosen_visits('repeat_visitors_between', ['visit_date', 'dwell_seconds']) }}

totals as (
    select
        site_id,
        person_id,
        count(*) as visits,
        count(distinct visit_date) as visit_days,
        min(visit_date) as first_visit_date,
        max(visit_date) as last_visit_date,
        sum({{ microseconds_of('dwell_seconds') }}) as dwell_total
    from chosen_visits
    group by site_id, person_id
)

select
    site_id,
    person_id,
    visits,
    visit_days,
    first_visit_date,
    last_visit_date,
    {{ seconds('dwell_total') }} as dwell_seconds_total
from totals
where visit_days >= 2
