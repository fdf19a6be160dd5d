with

outcomes as (
    select * from {{ source('raw', 'check_outcomes') }}
),

newest as (
    select distinct on (schema_name, table_name, name, file_id)
        schema_name,
        table_name,
        name as check_name,
        title,
        file_id,
        severity,
        status,
        sentence,
        decided_at
    from outcomes
    order by schema_name asc, table_name asc, name asc, file_id asc, decided_at desc
),

final as (
    select * from newest
    where status != 'passed'
)

select * from final
