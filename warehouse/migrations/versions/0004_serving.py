"""What the API keeps of its own: keys, an audit of who did what, cached answers, uploads."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """
    create table serving.api_keys (
        key_id bigint generated always as identity primary key,
        name text not null,
        scope text collate "C" not null check (scope in ('read', 'upload', 'admin')),
        sites text[],
        key_hash bytea not null unique check (length(key_hash) = 32),
        created_at timestamptz not null default now(),
        created_by text not null,
        expires_at timestamptz,
        revoked_at timestamptz,
        last_used_at timestamptz
    )
    """,
    "comment on table serving.api_keys is 'Keys of the API, known by their hash; a revoked one stays.'",
    """
    create table serving.audit (
        audit_id bigint generated always as identity primary key,
        at timestamptz not null default now(),
        key_id bigint,
        key_name text not null,
        action text collate "C" not null check (action in ('key_created', 'key_revoked', 'uploaded', 'refused')),
        subject text not null,
        outcome smallint,
        client text collate "C" not null
    )
    """,
    # Leads to what is old enough to go.
    "create index audit_at on serving.audit (at)",
    "comment on table serving.audit is 'Who did what: keys made and revoked, uploads, refused accesses of 90 days.'",
    # Not in the write-ahead log: what a crash empties is computed again.
    """
    create unlogged table serving.analytics_cache (
        cache_key text collate "C" primary key,
        answer bytea not null,
        media_type text not null,
        etag text not null,
        data_version bigint not null,
        expires_at timestamptz not null
    )
    """,
    "create index analytics_cache_expires_at on serving.analytics_cache (expires_at)",
    "comment on table serving.analytics_cache is 'Answers of the API, each true for one data version.'",
    """
    create table serving.uploads (
        upload_id text collate "C" primary key check (upload_id ~ '^[0-9a-f]{64}$'),
        file_name text not null,
        site_id text collate "C",
        size_bytes bigint not null check (size_bytes >= 0),
        received_at timestamptz not null default now(),
        key_id bigint
    )
    """,
    "comment on table serving.uploads is 'Files that came by the API, each content once.'",
)

COMMENTS = {
    "api_keys": {
        "key_id": "The number in the key, by which it is revoked.",
        "name": "Whose it is, or what for.",
        "scope": "What it allows: read, upload (and read), admin (everything).",
        "sites": "The sites that it is limited to; none: all.",
        "key_hash": "SHA-256 of the key. The key itself is kept nowhere.",
        "created_at": "When it was made.",
        "created_by": "The system user who made it.",
        "expires_at": "From then on it is refused; none: never.",
        "revoked_at": "When it was revoked.",
        "last_used_at": "When it was last used, to within a minute.",
    },
    "audit": {
        "audit_id": "Counts upwards.",
        "at": "When.",
        "key_id": "The key that was made, revoked or used; none where there was none.",
        "key_name": "Its name; at the command line the system user; blank where nobody is known.",
        "action": "key_created, key_revoked, uploaded or refused.",
        "subject": "What it was about: a key, a file, or the method and path that were asked for.",
        "outcome": "Status of the answer; none at the command line.",
        "client": "The address that asked; blank at the command line.",
    },
    "analytics_cache": {
        "cache_key": "Hash of all that the answer depends on.",
        "answer": "The answer.",
        "media_type": "What it is: JSON or CSV.",
        "etag": "By which a client asks whether its copy still holds.",
        "data_version": "The data version that it tells of.",
        "expires_at": "From then on it is not given any more.",
    },
    "uploads": {
        "upload_id": "SHA-256 of the content, as hexadecimal digits; the same as in raw.files.",
        "file_name": "Its name in the landing folder.",
        "site_id": "The site that it was uploaded for; none: none was named.",
        "size_bytes": "Its size in bytes.",
        "received_at": "When all of it was there.",
        "key_id": "The key that it came with; none where none was needed.",
    },
}


def upgrade() -> None:
    """Make them."""
    for statement in STATEMENTS:
        op.execute(statement)
    for table, columns in COMMENTS.items():
        for column, comment in columns.items():
            quoted = comment.replace("'", "''")
            op.execute(f"comment on column serving.{table}.{column} is '{quoted}'")
