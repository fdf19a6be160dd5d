with

visits as (
    select * from {{ ref('int_visits') }}
),

first_visits as (
    select * from {{ ref('int_first_visits') }}
),

parameters as (
    select * from {{ ref('stg_parameters') }}
),

/* Who does not ask whether visits are returning ones does not wait for it: PostgreSQL then leaves out a left join. */
final as (
    select
        visits.visit_id,
        visits.person_id,
        visits.site_id,
        visits.start_time,
        visits.end_time,
        visits.session_count,
        visits.camera_count,
        visits.is_complete,
        visits.visit_date,
        {{ seconds(microseconds('visits.end_time - visits.start_time')) }} as elapsed_seconds,
        {{ seconds('visits.dwell_microseconds') }} as dwell_seconds,
        visits.is_complete and visits.end_time - visits.start_time < parameters.bounce as is_bounce,
        visits.visit_date > first_visits.first_visit_date as is_returning
    from visits
    left join first_visits
        on visits.site_id = first_visits.site_id and visits.person_id = first_visits.person_id
    cross join parameters
)

select * from final
