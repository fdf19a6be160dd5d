"""What an answer is kept under: a hash of all that it depends on, so that a change of any of it is another answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from serving.cache.state import PresentState


@dataclass(frozen=True)
class KeyParts:
    """What a request asks for.

    `parameters` are all of them, defaults filled in: texts, numbers, dates, instants (told apart to the microsecond,
    whatever zone they are in), None, lists, whose order counts, and sets, whose order does not. `sites` are those that
    the caller may see, None if all; `form` is the answer's format, such as "json".
    """

    route: str
    parameters: Mapping[str, Any]
    sites: Collection[str] | None
    form: str


def key_of(parts: KeyParts, state: PresentState) -> str:
    """Return the key of the answer under a state of the marts, as 64 hexadecimal digits.

    Two warehouses may have the same version, one after the other or beside each other in one Redis: the moment of its
    publication tells them apart. Raises TypeError at a parameter of another kind than `KeyParts` tells of.
    """
    sites = None if parts.sites is None else sorted(set(parts.sites))
    published = state.published_at and state.published_at.astimezone(UTC).isoformat()
    told = [parts.route, parts.form, sites, state.version, published, state.views, parts.parameters]
    # Escaped, so that a lone surrogate is hashed like any other character.
    text = json.dumps(told, ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    """Put what JSON does not know into words of JSON that nothing else is put into."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("an instant without a time zone cannot be part of a key")
        return {"instant": value.astimezone(UTC).isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, set | frozenset):
        return {"set": sorted(json.dumps(each, sort_keys=True, default=_plain) for each in value)}
    raise TypeError(f"{type(value).__name__} cannot be part of a key")
