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
        rows_held,
        first_event_time,
        last_event_time,
        repairs_file_id,
        coalesce(jsonb_array_length(notices), 0)::bigint as notice_count,
        state = 'loaded' and (rows_rejected > 0 or {{ has_alarming_notice('notices') }}) as has_warnings
    from files
)

select * from final
