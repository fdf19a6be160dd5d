with

files as (
    select * from {{ source('raw', 'files') }}
),

final as (
    select
        file_id,
        sha256,
        file_name,
        site as site_id,
        state,
        arrived_at,
        finished_at,
        rows_read,
        rows_loaded,
        rows_rejected,
        rows_duplicate,
        rows_held
    from files
)

select * from final
