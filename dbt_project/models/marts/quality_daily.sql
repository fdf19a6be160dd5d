with

files as (
    select * from {{ ref('file_quality') }}
),

days as (
    select
        site_id,
        (arrived_at at time zone 'UTC')::date as arrival_date,
        count(*) as files_received,
        count(*) filter (where state = 'loaded') as files_usable,
        count(*) filter (where has_warnings) as files_with_warnings,
        count(*) filter (where state = 'quarantined') as files_quarantined,
        count(*) filter (where state = 'retracted') as files_retracted,
        count(*) filter (where state = 'failed') as files_failed,
        count(*) filter (where state = 'loading') as files_loading,
        count(*) filter (where is_late) as files_late,
        count(*) filter (where is_open_quarantine) as open_quarantines,
        coalesce(sum(rows_read), 0)::bigint as rows_read,
        coalesce(sum(rows_loaded), 0)::bigint as rows_loaded,
        coalesce(sum(rows_rejected), 0)::bigint as rows_rejected,
        coalesce(sum(rows_duplicate), 0)::bigint as rows_duplicate,
        coalesce(sum(rows_held), 0)::bigint as rows_held
    from files
    group by site_id, arrival_date
),

final as (
    select
        *,
        rows_rejected::double precision / nullif(rows_read, 0) as rejected_share
    from days
)

select * from final
