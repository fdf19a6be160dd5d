with

files as (
    select * from {{ ref('stg_files') }}
),

final as (
    select
        file_id,
        sha256,
        file_name,
        site_id,
        state,
        arrived_at,
        finished_at,
        rows_read,
        rows_loaded,
        rows_rejected,
        rows_duplicate,
        rows_held,
        rows_loaded::double precision / nullif(rows_read, 0) as loaded_share,
        rows_rejected::double precision / nullif(rows_read, 0) as rejected_share,
        rows_duplicate::double precision / nullif(rows_read, 0) as duplicate_share,
        rows_held::double precision / nullif(rows_read, 0) as held_share
    from files
)

select * from final
