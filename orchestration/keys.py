"""`footfall keys`: keys of the API, made, listed and revoked.

What a key is, and how one is found again, is in `serving.access`; whether one is needed, in `entrance`.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import psycopg
from rich.console import Console

from orchestration.places import make_places
from orchestration.problems import Problem
from orchestration.running import DONE, NOTHING_TO_DO
from orchestration.server import Server
from orchestration.settings import Settings
from serving.access.audit import Entry, write
from serving.access.keys import REMEMBERED_SECONDS, ListedKey, Scope, create_key, list_keys, revoke_key
from serving.rendering import visible

_LONGEST_NAME: Final = 100
_EXPIRY: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])", re.ASCII)
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class KeysProblem(Problem):
    """There is no such key, or none can be made like that."""


def create(
    settings: Settings, name: str, scope: Scope, *, sites: Sequence[str], expires: str | None, err: Console
) -> str:
    """Make a key and return it; what else there is to say is said on `err`. Raises `KeysProblem`."""
    _see_that_it_is_a_name(name, "--name")
    for site in sites:
        _see_that_it_is_a_name(site, "--site")
    expires_in = None if expires is None else _time(expires)
    user = _user()
    with _owner(settings) as connection:
        number, key = create_key(connection, name, scope, sites=sites or None, expires_in=expires_in, created_by=user)
        allowed = f"{scope}, {_listed(sites or None)}, {f'for {expires}' if expires else 'for ever'}"
        write(connection, Entry("key_created", f"key {number} “{name}”: {allowed}", number, user))
    err.print(
        f"Key {number} “{name}” ({allowed}). It is shown this once: Footfall keeps only a hash of it.", markup=False
    )
    return key


def show(settings: Settings, out: Console) -> int:
    """Print a line for each key, without what would let anybody in; return the exit code."""
    with _owner(settings) as connection:
        keys = list_keys(connection)
    if not keys:
        out.print("There is no key; `footfall keys create` makes one.", markup=False)
        return DONE
    for key in keys:
        used = f"last used {_moment(key.last_used_at)}" if key.last_used_at else "never used"
        out.print(
            f"Key {key.key_id} “{visible(key.name)}”: {key.scope}, {visible(_listed(key.sites))}; {_how_long(key)}; "
            f"{used}; made {_moment(key.created_at)} by {visible(key.created_by)}.",
            markup=False,
        )
    out.print("Times are in UTC.", markup=False)
    return DONE


def revoke(settings: Settings, key_id: int, out: Console) -> int:
    """Revoke a key, say so and return the exit code. Raises `KeysProblem` where there is no such key."""
    user = _user()
    with _owner(settings) as connection:
        named = {key.key_id: key.name for key in list_keys(connection)}
        if key_id not in named:
            raise KeysProblem(f"There is no key {key_id}; `footfall keys list` shows those that there are.")
        shown = f"{key_id} “{visible(named[key_id])}”"
        if not revoke_key(connection, key_id):
            out.print(f"Key {shown} was revoked already.", markup=False)
            return NOTHING_TO_DO
        write(connection, Entry("key_revoked", f"key {shown}", key_id, user))
    out.print(f"Key {shown} is revoked; it is refused within {REMEMBERED_SECONDS:g} seconds.", markup=False)
    return DONE


@contextmanager
def _owner(settings: Settings) -> Iterator[psycopg.Connection]:
    """Speak to the database as its owner, in one transaction; the embedded server is started where it does not run."""
    make_places(settings)
    with Server(settings).in_use(prepare_anyway=False) as warehouse, warehouse.connect("owner") as connection:
        yield connection


def _see_that_it_is_a_name(text: str, option: str) -> None:
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST_NAME:
        raise KeysProblem(
            f"{option} must be 1 to {_LONGEST_NAME} characters that can be printed, not '{visible(text)}'."
        )


def _time(text: str) -> timedelta:
    parts = _EXPIRY.fullmatch(text.strip())
    if parts is None:
        raise KeysProblem(f"--expires must be a time such as 12h, 90d or 52w, not '{visible(text)}'.")
    return int(parts[1]) * _UNITS[parts[2]]


def _listed(sites: Sequence[str] | None) -> str:
    return "all sites" if sites is None else f"site{'' if len(sites) == 1 else 's'} {', '.join(sites)}"


def _how_long(key: ListedKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_moment(key.revoked_at)}"
    if key.expires_at is None:
        return "holds for ever"
    return f"{'expired' if key.state == 'expired' else 'holds until'} {_moment(key.expires_at)}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
