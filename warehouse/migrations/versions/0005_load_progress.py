"""How far the loads are that go on now, for others to see: the load itself is one transaction, of which nobody does."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    # Not logged: after a crash nothing of it is true any more.
    """
    create unlogged table raw.load_progress (
        file_name text primary key,
        sha256 text collate "C",
        stage text collate "C" not null,
        bytes_done bigint not null,
        bytes_total bigint not null,
        rows bigint not null,
        pid integer not null default pg_backend_pid(),
        updated_at timestamptz not null default clock_timestamp()
    )
    """,
    "comment on table raw.load_progress is 'How far each load is that goes on and has taken more than a second.'",
)

COMMENTS = {
    "file_name": "The file, relative to the landing folder.",
    "sha256": "Its content; none while it is still being copied.",
    "stage": "What is being done: copying, archived, surveying, reading, merging or committing.",
    "bytes_done": "Bytes of the file that the stage has done; 0 where it does not go by bytes.",
    "bytes_total": "The size of the file.",
    "rows": "Rows so far.",
    "pid": "The server process of the writer: where that is gone, the load was broken off.",
    "updated_at": "When this was written.",
}


def upgrade() -> None:
    """Add the table."""
    for statement in STATEMENTS:
        op.execute(statement)
    for column, comment in COMMENTS.items():
        op.execute(f"comment on column raw.load_progress.{column} is '{comment}'")
