"""The audit: who made or revoked a key, who uploaded what, who was refused. Kept for 90 days.

Whatever is older goes whenever something is written. What a client says is hostile: it is shown on one line, and cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg

from serving.access.store import Store
from serving.rendering import visible

Action = Literal["key_created", "key_revoked", "uploaded", "refused"]
KEPT_DAYS: Final = 90
_LONGEST: Final = 300
_WRITE: Final = """
    with too_old as (delete from serving.audit where at < now() - make_interval(days => %(kept_days)s))
    insert into serving.audit (key_id, key_name, action, subject, outcome, client)
    values (%(key_id)s, %(key_name)s, %(action)s, %(subject)s, %(outcome)s, %(client)s)
"""


@dataclass(frozen=True)
class Entry:
    """A line of the audit; what is blank or None is not known, or was not needed. `outcome` is an answer's status."""

    action: Action
    subject: str
    key_id: int | None = None
    key_name: str = ""
    outcome: int | None = None
    client: str = ""


def write(connection: psycopg.Connection, entry: Entry) -> None:
    """Write a line, in the transaction of what it tells of."""
    connection.execute(_WRITE, _values(entry))


async def write_from_api(store: Store, entry: Entry) -> None:
    """Write a line. Raises `StoreProblem`."""
    await store.run(_WRITE, _values(entry))


def _values(entry: Entry) -> dict[str, Any]:
    texts = ("key_name", "subject", "client")
    plain = {name: visible(getattr(entry, name))[:_LONGEST] for name in texts}
    return {"key_id": entry.key_id, "action": entry.action, "outcome": entry.outcome, "kept_days": KEPT_DAYS, **plain}
