"""The API's description after OpenAPI 3.1, as it is served at /v1/openapi.json.

FastAPI makes it of the routes; here is what it cannot know: that problems have a media type of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI

from serving.api.problems import MEDIA_TYPE

ADDRESS: Final = "/v1/openapi.json"
DESCRIPTION: Final = """\
How long people stay, how full the place is and who comes back, of everything that was dropped or sent.

Every answer has `data`, `meta` (what it is about: range, zone, filters, the state of the data) and, where there may be
more rows than one answer holds, `page`. What is wrong with a question is told after RFC 9457, field by field. Durations
are in seconds, shares from 0 to 1, times in ISO 8601 with their offset.
"""


def description_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return what describes an application's API; it is made once."""
    made: dict[str, Any] = {}
    make = app.openapi

    def describe() -> dict[str, Any]:
        if not made:
            made.update(make())
            for operations in made["paths"].values():
                for operation in operations.values():
                    for answer in operation["responses"].values():
                        _name_problems(answer)
        return made

    return describe


def _name_problems(answer: dict[str, Any]) -> None:
    """Take away what FastAPI says of a problem's media type beside ours."""
    content = answer.get("content", {})
    if MEDIA_TYPE in content:
        content.pop("application/json", None)
