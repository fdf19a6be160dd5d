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

EVENT_COMMENTS = {
    "event_id": "Hash of person, camera, event word, event time and end time.",
    "person_id": "Who, as the file says; trimmed, case kept.",
    "camera_id": "Which camera, as the file says; SITE/ before it where the file lay in a subfolder.",
    "event_type": "entry, exit, appearance or other.",
    "event_word": "The event as the file says, in lower case.",
    "event_time": "When it happened, or an interval row began.",
    "end_time": "When an interval row ended.",
    "zone": "Zone as the file says.",
    "confidence": "How sure the source was.",
    "age": "Age in years.",
    "age_group": "Age group as the file says.",
    "gender": "Gender as the file says.",
    "attributes": "Every other column of the file, verbatim.",
    "file_id": "The file whose row this is.",
    "row_number": "That row, as a spreadsheet counts (the header is row 1).",
    "batch_id": "The last batch that touched this row.",
}
COLUMN_COMMENTS = {
    "events": EVENT_COMMENTS,
    "duplicates": EVENT_COMMENTS,
    "files": {
        "file_id": "A short number for the content.",
        "sha256": "The content's hash, which is its identity.",
        "file_name": "The name under which it was last judged, relative to the landing folder.",
        "site": "The subfolder it was dropped in.",
        "size_bytes": "Its size.",
        "state": "loading, loaded, quarantined, failed or retracted.",
        "attempts": "How often loading it was begun.",
        "arrived_at": "When it was first seen; the present time for the rules that judge its rows.",
        "finished_at": "When its state was decided.",
        "run_id": "The run that decided it.",
        "batch_id": "The batch that brought its events.",
        "profile": "The source profile that fitted.",
        "encoding": "The text encoding that was detected.",
        "compression": "gzip, or nothing.",
        "delimiter": "What stands between cells.",
        "line_ending": "LF, CRLF, CR or mixed.",
        "date_order": "Whether numeric dates put the day or the month first.",
        "header": "The column names as written.",
        "time_formats": "How many times were written in which format.",
        "rows_read": "Records in the file, the header not counted.",
        "rows_loaded": "Rows that are events now.",
        "rows_rejected": "Rows that were set aside.",
        "rows_duplicate": "Good rows that restate an event.",
        "rows_held": "Good rows of a file that was quarantined whole.",
        "reject_counts": "Rejected rows by code.",
        "notices": "What is worth knowing besides.",
        "rules": "The settings that this load used.",
        "seconds": "How long it took.",
        "error_code": "Why the file as a whole was refused, in a word.",
        "error": "The same as a sentence.",
    },
    "rejects": {
        "file_id": "The file.",
        "row_number": "The row, as a spreadsheet counts (the header is row 1).",
        "reason": "1 for the row's first reason, 2 for its second …",
        "column_name": "The column at fault, as the header has it; none where the whole row is.",
        "code": "The reason in a word.",
        "sentence": "The reason in a sentence.",
        "raw_text": "The row as it stands in the file.",
    },
    "cameras": {
        "camera_id": "The camera, with its site's subfolder if it has one.",
        "camera_name": "What people call it.",
        "zone": "The part of the site that it watches.",
        "site_id": "Where it stands.",
        "timezone": "Its zone of time; none means the default.",
        "capacity": "How many persons the place holds.",
    },
    "parameters": {"name": "The parameter.", "value": "Its value, as JSON."},
}


def upgrade() -> None:
    """Make the tables."""
    for statement in TABLES:
        op.execute(statement)
    for table, comments in COLUMN_COMMENTS.items():
        for column, comment in comments.items():
            quoted = comment.replace("'", "''")
            op.execute(f"comment on column raw.{table}.{column} is '{quoted}'")
