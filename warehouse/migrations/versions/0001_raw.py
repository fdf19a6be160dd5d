"""The ledger, the events and their set-aside rows, cameras and model parameters."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = (
    """
    create table raw.files (
        file_id bigint generated always as identity primary key,
        sha256 text collate "C" not null unique,
        file_name text not null,
        site text collate "C",
        size_bytes bigint not null,
        state text collate "C" not null
            check (state in ('loading', 'loaded', 'quarantined', 'failed', 'retracted')),
        attempts integer not null default 1,
        arrived_at timestamptz not null,
        finished_at timestamptz,
        run_id text,
        batch_id bigint,
        profile text,
        encoding text,
        compression text,
        delimiter text,
        line_ending text,
        date_order text,
        header jsonb,
        time_formats jsonb,
        rows_read bigint,
        rows_loaded bigint,
        rows_rejected bigint,
        rows_duplicate bigint,
        rows_held bigint,
        reject_counts jsonb,
        notices jsonb,
        rules jsonb,
        seconds double precision,
        error_code text,
        error text,
        constraint loaded_rows_add_up check (
            state <> 'loaded' or (
                rows_read is not null and rows_loaded is not null
                and rows_rejected is not null and rows_duplicate is not null
                and rows_read = rows_loaded + rows_rejected + rows_duplicate
            )
        ),
        constraint quarantined_rows_add_up check (
            state <> 'quarantined' or rows_held is null or (
                rows_read is not null and rows_rejected is not null and rows_duplicate is not null
                and rows_read = rows_held + rows_rejected + rows_duplicate
            )
        )
    )
    """,
    "comment on table raw.files is 'The ledger: one row per content that was ever dropped, found by its SHA-256.'",
    """
    create table raw.arrivals (
        arrival_id bigint generated always as identity primary key,
        path text not null,
        site text collate "C",
        size_bytes bigint,
        modified_at timestamptz,
        arrived_at timestamptz not null,
        attempts integer not null default 1,
        sha256 text collate "C",
        run_id text,
        outcome text collate "C" check (outcome in ('loaded', 'already_loaded', 'quarantined', 'failed')),
        error text,
        finished_at timestamptz
    )
    """,
    "create index arrivals_path on raw.arrivals (path)",
    "create index arrivals_sha256 on raw.arrivals (sha256)",
    "comment on table raw.arrivals is 'One row per time a file was dropped, whatever became of it.'",
    """
    create table raw.batches (
        batch_id bigint generated always as identity primary key,
        kind text collate "C" not null check (kind in ('load', 'retract')),
        file_id bigint not null references raw.files,
        created_at timestamptz not null default now()
    )
    """,
    "comment on table raw.batches is 'What the models consume: one row per load or retraction of a file.'",
    """
    create table raw.events (
        event_id uuid not null,
        person_id text collate "C" not null,
        camera_id text collate "C" not null,
        event_type text collate "C" not null check (event_type in ('entry', 'exit', 'appearance', 'other')),
        event_word text collate "C" not null,
        event_time timestamptz not null,
        end_time timestamptz,
        zone text,
        confidence double precision,
        age smallint,
        age_group text,
        gender text,
        attributes jsonb,
        file_id bigint not null,
        row_number bigint not null,
        batch_id bigint not null,
        primary key (person_id, camera_id, event_time, event_id)
    )
    """,
    "create index events_batch on raw.events using brin (batch_id)",
    "comment on table raw.events is 'Every event once, from the best of the rows that state it.'",
    "comment on column raw.events.batch_id is 'The last batch that touched this event.'",
    """
    create table raw.duplicates (
        event_id uuid not null,
        person_id text collate "C" not null,
        camera_id text collate "C" not null,
        event_type text collate "C" not null check (event_type in ('entry', 'exit', 'appearance', 'other')),
        event_word text collate "C" not null,
        event_time timestamptz not null,
        end_time timestamptz,
        zone text,
        confidence double precision,
        age smallint,
        age_group text,
        gender text,
        attributes jsonb,
        file_id bigint not null,
        row_number bigint not null,
        batch_id bigint not null
    )
    """,
    "create index duplicates_event on raw.duplicates (person_id, camera_id, event_time, event_id)",
    "create index duplicates_file on raw.duplicates (file_id)",
    "comment on table raw.duplicates is 'Good rows that restate an event of raw.events; a retraction may promote one.'",
    """
    create table raw.rejects (
        file_id bigint not null,
        row_number bigint not null,
        reason smallint not null,
        column_name text,
        code text collate "C" not null,
        sentence text not null,
        raw_text text not null,
        primary key (file_id, row_number, reason)
    )
    """,
    "comment on table raw.rejects is 'Rows that were set aside: one row per reason.'",
    """
    create table raw.retracted_events (
        batch_id bigint not null,
        event_id uuid not null,
        person_id text collate "C" not null,
        camera_id text collate "C" not null,
        event_time timestamptz not null,
        end_time timestamptz
    )
    """,
    "create index retracted_events_batch on raw.retracted_events (batch_id)",
    "comment on table raw.retracted_events is 'Events that a batch took away: what the models must recompute.'",
    """
    create table raw.cameras (
        camera_id text collate "C" primary key,
        camera_name text,
        zone text,
        site_id text collate "C",
        timezone text,
        capacity integer
    )
    """,
    "comment on table raw.cameras is 'The camera list as last read.'",
    """
    create table raw.parameters (
        name text collate "C" primary key,
        value jsonb not null
    )
    """,
    "comment on table raw.parameters is 'The parameters that act on the models.'",
)


def upgrade() -> None:
    """Make the tables."""
    for statement in TABLES:
        op.execute(statement)
