"""What corrections need: which inputs a load depended on, releases, and the way from a file to its events."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """
    alter table raw.files
        add column released boolean not null default false,
        add column profile_fingerprint text collate "C",
        add column local_zones jsonb
    """,
    # A retracted file holds its good rows as one does that was quarantined whole: they are known, and not loaded.
    """
    alter table raw.files
        drop constraint quarantined_rows_add_up,
        add constraint held_rows_add_up check (
            state not in ('quarantined', 'retracted') or rows_held is null or (
                rows_read is not null and rows_rejected is not null and rows_duplicate is not null
                and rows_read = rows_held + rows_rejected + rows_duplicate
            )
        )
    """,
    """
    alter table raw.batches
        drop constraint batches_kind_check,
        add constraint batches_kind_check check (kind in ('load', 'retract', 'release', 'replay'))
    """,
    # A BRIN index leads to every row since the last vacuum, and a late batch may lie where old rows have left room.
    "drop index raw.events_batch",
    "create index events_batch on raw.events (batch_id)",
    # A file's rows lie together, where its load and its corrections wrote them.
    "create index events_file on raw.events using brin (file_id)",
    """
    comment on table raw.batches is
        'What the models consume: one row per load, retraction, release or replay of a file.'
    """,
)

COMMENTS = {
    "released": "Whether it is loaded by hand although more of its rows were rejected than are allowed.",
    "profile_fingerprint": "Hash of what the source profile said that fitted.",
    "local_zones": "The cameras at which it has times without an offset, with the time zone each was read in.",
    "batch_id": "The last batch of its own: the one that brought its events, altered them or took them back.",
    "rows_held": "Good rows that are not loaded, of a file that was quarantined whole or retracted.",
}


def upgrade() -> None:
    """Add them."""
    for statement in STATEMENTS:
        op.execute(statement)
    for column, comment in COMMENTS.items():
        op.execute(f"comment on column raw.files.{column} is '{comment}'")
