{#
  Downstream of all that readers can see and of all that it is made from, so that a failed model or check keeps the
  version as it was.
#}
{% set published = [
    ref('int_linked_events'),
    ref('int_sessions'),
    ref('int_visits'),
    ref('int_first_visits'),
    ref('dim_cameras'),
    ref('dim_sites'),
    ref('dim_dates'),
    ref('camera_events'),
    ref('person_sessions'),
    ref('unmatched_exits'),
    ref('visits'),
    ref('visitors'),
    ref('camera_hourly'),
    ref('camera_daily'),
    ref('camera_weekly'),
    ref('site_hourly'),
    ref('site_daily'),
    ref('site_weekly'),
    ref('demographics_daily'),
    ref('occupancy_heatmap'),
    ref('live_occupancy'),
    ref('kpis'),
    function('kpis_between'),
    function('measures_between'),
    function('bucket_starts'),
    function('dwell_bands_between'),
    function('heatmap_between'),
    function('repeat_visitors_between'),
    function('visitors_between'),
    ref('file_rejects'),
    ref('file_quality'),
    ref('quality_daily'),
    ref('failed_checks'),
] %}
with

/* Not what reports say of them: a report is written after the version that it tells of. */
files as (
    select string_agg(files::text, ' ' order by file_id) as accounts
    from {{ ref('stg_files') }} as files
),

/* What a newer Footfall may compute otherwise without touching a stored row. Not present_state, which comes after. */
views as (
    select string_agg(pg_get_viewdef(oid), ' ' order by relname) as definitions
    from pg_class
    where
        relkind = 'v'
        and relnamespace in ('marts'::regnamespace, 'staging'::regnamespace)
        and relname != 'present_state'
),

functions as (
    select string_agg(pg_get_functiondef(oid), ' ' order by proname, oid) as definitions
    from pg_proc
    where prokind = 'f' and pronamespace = 'marts'::regnamespace
),

final as (
    select
        coalesce((select max(last_one.version) from {{ this }} as last_one), 0) + 1 as version,
        clock_timestamp() as published_at,
        {{ claimed_batches() }} as batches,
        /* Two halves: marts.present_state compares the first with what it finds. */
        {{ state_of_marts() }} || '-'
        || md5(concat_ws(' ', files.accounts, views.definitions, functions.definitions)) as fingerprint
    from files
    cross join views
    cross join functions
)

select * from final
