with

visits as (
    select * from {{ ref('int_visits') }}
),

final as (
    {% if is_incremental() %}
    select
        touched.site_id,
        touched.person_id,
        earliest.visit_date as first_visit_date
    from {{ touched() }} as touched
    inner join lateral (
        select visits.visit_date
        from visits
        where visits.person_id = touched.person_id and visits.site_id = touched.site_id
        order by visits.start_time
        limit 1
    ) as earliest on true
    {% else %}
    select
        site_id,
        person_id,
        min(visit_date) as first_visit_date
    from visits
    group by site_id, person_id
    {% endif %}
)

select * from final
