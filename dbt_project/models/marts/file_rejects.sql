with

rejects as (
    select * from {{ source('raw', 'rejects') }}
),

final as (
    select
        file_id,
        row_number,
        reason,
        column_name,
        code,
        sentence,
        raw_text
    from rejects
)

select * from final
