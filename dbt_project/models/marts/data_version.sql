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

stored as (
    select string_agg(model || '=' || revision, ' ' order by model) as revisions
    from intermediate.model_states
),

/* What views read beside the stored tables. */
parameters as (
    select string_agg(name || '=' || value, ' ' order by name) as settings
    from {{ source('raw', 'parameters') }}
),

/* Not what reports say of them: a report is written after the version that it tells of. */
files as (
    select string_agg(files::text, ' ' order by file_id) as accounts
    from {{ ref('stg_files') }} as files
),

/* What a newer Footfall may compute otherwise without touching a stored row: views, and functions. */
views as (
    select string_agg(pg_get_viewdef(oid), ' ' order by relname) as definitions
    from pg_class
    where relkind = 'v' and relnamespace in ('marts'::regnamespace, 'staging'::regnamespace)
),

functions as (
    select string_agg(prosrc, ' ' order by proname, prosrc) as definitions
    from pg_proc
    where pronamespace = 'marts'::regnamespace
),

final as (
    select
        coalesce((select max(last_one.version) from {{ this }} as last_one), 0) + 1 as version,
        clock_timestamp() as published_at,
        {{ claimed_batches() }} as batches,
        md5(concat_ws(
            ' ', stored.revisions, parameters.settings, files.accounts, views.definitions, functions.definitions
        )) as fingerprint
    from stored
    cross join parameters
    cross join files
    cross join views
    cross join functions
)

select * from final
