"""Hostile text and plain values as PostgreSQL takes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from psycopg.types.json import Jsonb


def storable(text: str) -> str:
    """Text that PostgreSQL takes: no NUL character, no lone surrogate."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode("utf-8")


def storable_json(value: object) -> Jsonb:
    """JSON whose texts PostgreSQL takes; an instant is written as ISO 8601."""

    def clean(value: object) -> object:
        match value:
            case str():
                return storable(value)
            case Mapping():
                return {clean(str(key)): clean(item) for key, item in value.items()}
            case list() | tuple():
                return [clean(item) for item in value]
            case datetime():
                return value.isoformat()
            case _:
                return value

    return Jsonb(clean(value))
