with

newest as (
    select
        version,
        published_at,
        fingerprint
    from {{ ref('data_version') }}
    order by version desc
    limit 1
),

/* One row, whether anything was published yet or not. */
present as (
    select
        {{ state_of_marts() }} as fingerprint,
        (
            select string_agg(distinct states.project, ' ' order by states.project)
            from intermediate.view_states as states
            where states.model != 'present_state'
        ) as projects
),

final as (
    select
        newest.version,
        newest.published_at,
        coalesce(split_part(newest.fingerprint, '-', 1) = present.fingerprint, false) as is_settled,
        md5(present.projects) as views
    from present
    left join newest on true
)

select * from final
