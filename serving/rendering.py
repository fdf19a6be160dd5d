"""How values become pages: the templates, how figures are written for people, and the one page for what went wrong.

File names and all else that files hold are hostile. Templates escape what is markup; `visible` shows what would not be
seen, or would turn the text around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

_UNITS: Final = (("day", 86_400), ("hour", 3600), ("minute", 60))


def page(template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any) -> HTMLResponse:
    """Return a page; `values` are what its template names."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(values), status, headers)


def error_page(status: int, headline: str, advice: str, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    """Return a page that says in words what went wrong and what helps."""
    return page("error.html", status=status, headers=headers, headline=headline, advice=advice)


def visible(text: object) -> str:
    """Write text on one line, with everything in it to be seen: control characters as their escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def percent(share: float | None) -> str:
    """Write a share for people: `0.7 %`, `12 %`; a very small one is not shown as none, nor a large one as all."""
    if share is None:
        return ""
    if 0 < share < 0.0005:
        return "under 0.1 %"
    text = f"{100 * share:.1f}".removesuffix(".0")
    return "over 99.9 %" if text == "100" and share < 1 else f"{text} %"


def count(number: int | None) -> str:
    """Write a number with its thousands apart; nothing for one that is not known."""
    return "" if number is None else f"{number:,}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write a number of things: `1 file`, `2 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(time: timedelta) -> str:
    """Write how long something has lasted, in the largest unit that it fills: `5 days`."""
    seconds = int(time.total_seconds())
    for unit, length in _UNITS:
        if seconds >= length:
            return counted(seconds // length, unit)
    return "less than a minute"


def moment(at: datetime) -> str:
    """Write an instant that is in UTC."""
    return f"{at:%Y-%m-%d %H:%M}"


_TEMPLATES: Final = Environment(
    loader=PackageLoader("serving"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATES.filters |= {
    "visible": visible,
    "percent": percent,
    "count": count,
    "moment": moment,
    "duration": duration,
}
