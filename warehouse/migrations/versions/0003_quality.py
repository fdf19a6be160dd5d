"""What quality reports need: outcomes of checks, reports, alerts, what a file repairs, which time its events span."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    """
    alter table raw.files
        add column repairs_file_id bigint references raw.files,
        add column first_event_time timestamptz,
        add column last_event_time timestamptz,
        add column stage_seconds jsonb
    """,
    "create index files_repairs on raw.files (repairs_file_id) where repairs_file_id is not null",
    """
    create table raw.check_outcomes (
        run_id text collate "C" not null,
        file_id bigint,
        schema_name text collate "C" not null,
        table_name text collate "C" not null,
        name text collate "C" not null,
        title text not null,
        layer text collate "C" not null check (layer in ('rows', 'relations', 'expectations')),
        severity text collate "C" not null check (severity in ('error', 'warning')),
        status text collate "C" not null check (status in ('passed', 'failed', 'could_not_check')),
        sentence text not null,
        checked bigint,
        failed bigint,
        unit text not null default 'rows',
        sample jsonb not null default '[]',
        link text,
        decided_at timestamptz not null default now(),
        unique nulls not distinct (run_id, schema_name, table_name, name, file_id)
    )
    """,
    "create index check_outcomes_file on raw.check_outcomes (file_id) where file_id is not null",
    "create index check_outcomes_decided_at on raw.check_outcomes (decided_at)",
    # Leads from each check to the last run that made it.
    "create index check_outcomes_check on raw.check_outcomes (schema_name, table_name, name, decided_at)",
    "comment on table raw.check_outcomes is 'What each check found, per run, and per file where it judged one.'",
    """
    create table raw.file_reports (
        file_id bigint primary key,
        told_of timestamptz not null,
        run_id text collate "C" not null,
        expectations_run_id text collate "C",
        verdict text not null,
        has_warnings boolean not null default false,
        written_at timestamptz not null default now()
    )
    """,
    "comment on table raw.file_reports is 'The newest report of each file, and which state of it that tells of.'",
    """
    create table raw.alerts (
        alert_id bigint generated always as identity primary key,
        condition text collate "C" not null,
        kind text collate "C" not null,
        sentence text not null,
        link text,
        opened_at timestamptz not null default now(),
        cleared_at timestamptz
    )
    """,
    "create unique index alerts_open on raw.alerts (condition) where cleared_at is null",
    "comment on table raw.alerts is 'Conditions that people are told of: a row from when one holds to when it clears.'",
    """
    create table raw.alert_messages (
        alert_id bigint not null references raw.alerts on delete cascade,
        channel text collate "C" not null,
        tells text collate "C" not null check (tells in ('open', 'cleared')),
        sent_at timestamptz,
        attempts integer not null default 0,
        next_attempt_at timestamptz,
        last_error text,
        primary key (alert_id, channel, tells)
    )
    """,
    "create index alert_messages_sent_at on raw.alert_messages (sent_at) where sent_at is not null",
    "comment on table raw.alert_messages is 'Which channel was told of which alert: that it opened, that it is over.'",
    "create index files_quarantined on raw.files (file_id) where state = 'quarantined'",
    """
    create index check_outcomes_failed on raw.check_outcomes (decided_at)
    where severity = 'error' and status <> 'passed'
    """,
)

COMMENTS = {
    "files": {
        "repairs_file_id": "The file whose rejected rows this one brings again, put right.",
        "first_event_time": "The earliest time of its good rows.",
        "last_event_time": "The latest time of its good rows, ends of intervals included.",
        "stage_seconds": "How long each stage took: hash, read, validate, load.",
    },
    "check_outcomes": {
        "run_id": "The run that checked.",
        "file_id": "The one file that was judged; none where the whole table was.",
        "schema_name": "The schema of the table.",
        "table_name": "The table.",
        "name": "The check in a word.",
        "title": "What it demands, in plain words.",
        "layer": "Who judged: rows (Pandera), relations (dbt) or expectations (Great Expectations).",
        "severity": "What a failure comes to: an error holds the data version back, a warning is told.",
        "status": "passed, failed or could_not_check.",
        "sentence": "What was found.",
        "checked": "How many were looked at.",
        "failed": "How many of them failed.",
        "unit": "What was counted.",
        "sample": "Some of those that failed.",
        "link": "Where there is more.",
        "decided_at": "When.",
    },
    "file_reports": {
        "file_id": "The file.",
        "told_of": "When the state of the file was decided that the report tells of.",
        "run_id": "The run that wrote it.",
        "expectations_run_id": "The run whose expectations it tells of; none until they were checked.",
        "verdict": "The verdict in one sentence.",
        "has_warnings": "Whether it is usable and there is something to look at.",
        "written_at": "When it was written.",
    },
    "alerts": {
        "condition": "What holds, in a stable form: no two alerts of one condition are open.",
        "kind": "Which kind of condition it is.",
        "sentence": "What people are told.",
        "link": "Where there is more.",
        "opened_at": "When it was first seen to hold.",
        "cleared_at": "When it was first seen not to hold any more.",
    },
    "alert_messages": {
        "alert_id": "The alert.",
        "channel": "webhook or mail.",
        "tells": "open: that it holds; cleared: that it is over.",
        "sent_at": "When it was sent; none until then.",
        "attempts": "How often that was tried.",
        "next_attempt_at": "Not before then is it tried again.",
        "last_error": "Why the last try failed.",
    },
}


def upgrade() -> None:
    """Add them."""
    for statement in STATEMENTS:
        op.execute(statement)
    for table, columns in COMMENTS.items():
        for column, comment in columns.items():
            quoted = comment.replace("'", "''")
            op.execute(f"comment on column raw.{table}.{column} is '{quoted}'")
