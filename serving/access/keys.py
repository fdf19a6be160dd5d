"""Keys of the API: made, listed, revoked, and found again by what a client presents. What one allows is `allowing`'s.

A key is `ff_NUMBER_SECRET`, its secret 256 random bits. Kept is its SHA-256 alone. A slow hash is for what people think
up: it makes guessing dear, and nobody guesses 256 bits, while every request would pay for it. A key is found by an
index on the hash: what the time of that comparison tells is about a hash, from which no key can be made.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import psycopg
from psycopg.rows import class_row

from serving.access.store import Store

Scope = Literal["read", "upload", "admin"]
# Each allows what those before it do.
SCOPES: Final[tuple[Scope, ...]] = ("read", "upload", "admin")
State = Literal["valid", "expired", "revoked"]

# For so long a key is taken for what it was when it was last looked up: that long a revoked one may still work.
REMEMBERED_SECONDS: Final = 2.0
_REMEMBERED_KEYS: Final = 10_000
_FORM: Final = re.compile(r"ff_[1-9][0-9]{0,17}_[A-Za-z0-9_-]{43}", re.ASCII)

_LIST: Final = """
    select key_id, name, scope, sites, created_at, created_by, expires_at, revoked_at, last_used_at,
        case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'valid' end
        as state
    from serving.api_keys order by key_id
"""
_INSERT: Final = """
    insert into serving.api_keys (key_id, name, scope, sites, key_hash, created_by, expires_at)
    overriding system value
    values (%(key_id)s, %(name)s, %(scope)s, %(sites)s, %(hash)s, %(created_by)s, now() + %(expires_in)s)
"""
_FIND: Final = """
    select key_id, name, scope, sites,
        case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'valid' end,
        extract(epoch from expires_at - now())::float8,
        coalesce(last_used_at < now() - interval '1 minute', true)
    from serving.api_keys where key_hash = %(hash)s
"""
# Several processes may find it due at once; one of them writes.
_USED: Final = """
    update serving.api_keys set last_used_at = now()
    where key_id = %(key_id)s and coalesce(last_used_at < now() - interval '1 minute', true)
"""


@dataclass(frozen=True)
class ListedKey:
    """A key as people see it: all but the key itself. Times are in UTC."""

    key_id: int
    name: str
    scope: Scope
    sites: list[str] | None
    state: State
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True)
class FoundKey:
    """A key that a client presented, and whether it holds; `sites` is None where it is for all."""

    key_id: int
    name: str
    scope: Scope
    sites: tuple[str, ...] | None
    state: State


def create_key(
    connection: psycopg.Connection,
    name: str,
    scope: Scope,
    *,
    sites: Sequence[str] | None,
    expires_in: timedelta | None,
    created_by: str,
) -> tuple[int, str]:
    """Make a key and return its number and the key itself, which nobody can find out again; does not commit."""
    (number,) = connection.execute(
        "select nextval(pg_get_serial_sequence('serving.api_keys', 'key_id'))"
    ).fetchone() or (0,)
    key = f"ff_{number}_{secrets.token_urlsafe(32)}"
    values = {
        "key_id": number,
        "name": name,
        "scope": scope,
        "sites": None if sites is None else sorted(set(sites)),
        "hash": hash_of(key),
        "created_by": created_by,
        "expires_in": expires_in,
    }
    connection.execute(_INSERT, values)
    return number, key


def list_keys(connection: psycopg.Connection) -> list[ListedKey]:
    """Return all keys, the oldest first."""
    return connection.cursor(row_factory=class_row(ListedKey)).execute(_LIST).fetchall()


def revoke_key(connection: psycopg.Connection, key_id: int) -> bool:
    """Revoke a key; False where there is none such that was not revoked already. Does not commit."""
    query = "update serving.api_keys set revoked_at = now() where key_id = %s and revoked_at is null"
    return connection.execute(query, [key_id]).rowcount == 1


def hash_of(key: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


class Keyring:
    """Finds keys by what a client presents, and remembers each for a moment, whether it was found or not."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._store = store
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[FoundKey | None, float]] = OrderedDict()

    def was_valid(self, presented: str) -> bool:
        """Whether this was a valid key when it was last looked up."""
        found, _ = self._remembered.get(_hash_or_none(presented) or b"", (None, 0.0))
        return found is not None and found.state == "valid"

    async def find(self, presented: str) -> FoundKey | None:
        """Return the key that this is, if it is one. Raises `StoreProblem` where the database does not answer."""
        hashed = _hash_or_none(presented)
        if hashed is None:
            return None
        if hashed in self._remembered:
            found, until = self._remembered[hashed]
            if self._clock() < until:
                return found
        # What was true when the database was asked: an answer that is late is no younger for it.
        asked = self._clock()
        rows = await self._store.run(_FIND, {"hash": hashed})
        found, seconds = None, REMEMBERED_SECONDS
        for key_id, name, scope, sites, state, seconds_left, use_is_due in rows:
            found = FoundKey(key_id, name, scope, None if sites is None else tuple(sites), state)
            if state == "valid":
                seconds = min(seconds, REMEMBERED_SECONDS if seconds_left is None else seconds_left)
                if use_is_due:
                    await self._store.run(_USED, {"key_id": key_id})
        self._remembered[hashed] = (found, asked + seconds)
        self._remembered.move_to_end(hashed)
        if len(self._remembered) > _REMEMBERED_KEYS:
            self._remembered.popitem(last=False)
        return found


def _hash_or_none(presented: str) -> bytes | None:
    """Return the hash of what has the form of a key; what has not is none, and the database need not be asked."""
    return hash_of(presented) if _FORM.fullmatch(presented) else None
