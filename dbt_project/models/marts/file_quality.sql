with recursive

files as (
    select * from {{ ref('stg_files') }}
),

/* The reports that tell of the newest state of their files. */
reports as (
    select
        reports.file_id,
        reports.verdict,
        reports.has_warnings
    from {{ source('raw', 'file_reports') }} as reports
    inner join files on reports.file_id = files.file_id
    where reports.told_of >= files.finished_at
),

/* What brings a file's rows again, put right: the files that repair it, and those that repair these. */
repairs as (
    select
        repairs_file_id as file_id,
        file_id as repaired_by_file_id
    from files
    where repairs_file_id is not null
    union
    select
        repairs.file_id,
        files.file_id as repaired_by_file_id
    from repairs
    inner join files on repairs.repaired_by_file_id = files.repairs_file_id
),

repaired as (
    select
        repairs.file_id,
        max(repairs.repaired_by_file_id) as repaired_by_file_id
    from repairs
    inner join files on repairs.repaired_by_file_id = files.file_id
    where files.state = 'loaded' and repairs.file_id != repairs.repaired_by_file_id
    group by repairs.file_id
),

judged as (
    select
        files.file_id,
        repaired.repaired_by_file_id,
        reports.verdict,
        files.rows_loaded::double precision / nullif(files.rows_read, 0) as loaded_share,
        files.rows_rejected::double precision / nullif(files.rows_read, 0) as rejected_share,
        files.rows_duplicate::double precision / nullif(files.rows_read, 0) as duplicate_share,
        files.rows_held::double precision / nullif(files.rows_read, 0) as held_share,
        extract(epoch from files.arrived_at - files.last_event_time)::double precision as lag_seconds,
        coalesce(files.arrived_at - files.last_event_time > interval '24 hours', false) as is_late,
        files.has_warnings or coalesce(reports.has_warnings and files.state = 'loaded', false) as has_warnings,
        files.state = 'quarantined' and repaired.file_id is null as is_open_quarantine
    from files
    left join repaired on files.file_id = repaired.file_id
    left join reports on files.file_id = reports.file_id
),

final as (
    select
        files.file_id,
        files.sha256,
        files.file_name,
        files.site_id,
        files.state,
        files.arrived_at,
        files.finished_at,
        files.rows_read,
        files.rows_loaded,
        files.rows_rejected,
        files.rows_duplicate,
        files.rows_held,
        judged.loaded_share,
        judged.rejected_share,
        judged.duplicate_share,
        judged.held_share,
        files.first_event_time,
        files.last_event_time,
        judged.lag_seconds,
        judged.is_late,
        files.notice_count,
        judged.has_warnings,
        files.repairs_file_id,
        judged.repaired_by_file_id,
        judged.is_open_quarantine,
        judged.verdict
    from files
    inner join judged on files.file_id = judged.file_id
)

select * from final
