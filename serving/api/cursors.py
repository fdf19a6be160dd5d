"""Cursors: where the next page of an answer begins, in a form that tells the client nothing.

A cursor holds the sort key of the last row that was given (so that pages stay right while data change), and a mark of
the question that it belongs to.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from serving.api.parameters import Page
from serving.api.problems import Problem, wrong

_EXPECTED: Final = "page.next_cursor of an answer to the same question, as it stands; or none, for the first page."
Key = tuple[Any, ...]


def write_cursor(route: str, asked: Page, key: Sequence[Any]) -> str:
    """Return the cursor that follows a row with this sort key."""
    return base64.urlsafe_b64encode(orjson.dumps([_mark(route, asked), *key])).decode().rstrip("=")


def read_cursor(route: str, asked: Page, types: Sequence[type]) -> Key | None:
    """Return the sort key in the cursor that was given; None for the first page. Raises `Problem`."""
    if asked.cursor is None:
        return None
    text = asked.cursor
    try:
        mark, *values = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        key = tuple(_read(value, kind) for value, kind in zip(values, types, strict=True))
    except (ValueError, TypeError, AttributeError):
        raise _unknown() from None
    if mark != _mark(route, asked):
        raise wrong("cursor", "The cursor belongs to another question.", _EXPECTED)
    return key


def _unknown() -> Problem:
    return wrong("cursor", "This is no cursor.", _EXPECTED)


def _read(value: object, kind: type) -> object:
    if kind is datetime:
        moment = datetime.fromisoformat(_text(value))
        if moment.tzinfo is None:
            raise ValueError
        return moment
    if kind is date:
        return date.fromisoformat(_text(value))
    if kind is UUID:
        return UUID(_text(value))
    if kind is int:
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 63:
            raise TypeError
        return value
    text = _text(value)
    if "\x00" in text:
        raise ValueError
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _mark(route: str, asked: Page) -> str:
    """Tell one question from another; how many rows a page has, and in which format, is the same question."""
    said = asked.model_dump(mode="json", exclude={"cursor", "limit", "format"})
    return hashlib.sha256(orjson.dumps([route, said], option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]
