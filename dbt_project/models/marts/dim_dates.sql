with

days as (
    select * from {{ ref('site_daily') }}
),

years as (
    select distinct date_trunc('year', bucket_date::timestamp) as first_day
    from days
),

dates as (
    select steps.step::date as date
    from years
    cross join lateral generate_series(
        years.first_day, years.first_day + interval '1 year' - interval '1 day', interval '1 day'
    ) as steps (step)
),

final as (
    select
        date,
        extract(year from date)::smallint as year,
        extract(quarter from date)::smallint as quarter,
        extract(month from date)::smallint as month,
        extract(isoyear from date)::smallint as iso_year,
        extract(week from date)::smallint as iso_week,
        extract(isodow from date)::smallint as iso_weekday,
        extract(isodow from date) >= 6 as is_weekend
    from dates
)

select * from final
