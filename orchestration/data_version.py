"""The newest data version that was published, and how it is told of. What one is, the model `data_version` says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True)
class DataVersion:
    """A state of the marts that all of their checks found to be right."""

    version: int
    published_at: datetime


def newest_version(connection: psycopg.Connection[Any]) -> DataVersion | None:
    """Return the newest published version; None where nothing was published yet."""
    there = connection.execute("select to_regclass('marts.data_version') is not null").fetchone()
    if there != (True,):
        return None
    with connection.cursor(row_factory=class_row(DataVersion)) as cursor:
        return cursor.execute(
            "select version, published_at from marts.data_version order by version desc limit 1"
        ).fetchone()


def version_sentence(before: DataVersion | None, now: DataVersion | None, why_none: str) -> str:
    """Say what a build came to: a new version, or why there is none."""
    if now is not None and now != before:
        return f"Data version {now.version} published."
    if now is None:
        return f"No data version published: {why_none}."
    return f"Data version {now.version} stays: {why_none}."
