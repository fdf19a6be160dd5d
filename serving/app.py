"""The web application: which address shows what, and what is said where something goes wrong.

What stands on a page is the business of that page's own module, which gives a router; each is included here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from serving import metrics, quality
from serving.access.gate import Entrance, Gate
from serving.api.problems import Problem
from serving.database import Database, DatabaseProblem
from serving.guard import Guard
from serving.refusing import refusal
from serving.rendering import error_page
from serving.report_files import ReportFiles

STATIC: Final = Path(__file__).parent / "static"
READING: Final = ["GET", "HEAD"]
_WORDS: Final = {
    404: ("There is no such page", "Look at the address again; a report is made a few seconds after its file arrived."),
    405: ("That cannot be done here", "These pages can only be read."),
}


def now() -> datetime:
    """Return the present, in UTC."""
    return datetime.now(UTC)


class Pages(FastAPI):
    """An application behind a guard that no answer gets past, and a gate that no request does."""

    def __init__(self, allowed_hosts: Collection[str], entrance: Entrance | None) -> None:
        self._allowed_hosts = allowed_hosts
        self._entrance = entrance
        super().__init__(title="Footfall", openapi_url=None, docs_url=None, redoc_url=None)

    def build_middleware_stack(self) -> ASGIApp:
        """Put the guard in front of everything, and the gate behind it."""
        pages = super().build_middleware_stack()
        return Guard(pages if self._entrance is None else Gate(pages, self._entrance), self._allowed_hosts)


def build_app(
    reports: Path,
    database: Database,
    *,
    entrance: Entrance | None = None,
    observed: metrics.Observed | None = None,
    allowed_hosts: Collection[str] = (),
    clock: Callable[[], datetime] = now,
) -> FastAPI:
    """Return the application.

    `reports` is the folder whose files are served under /reports, `database` what the pages are read from, `entrance`
    what the gate goes by (None: there is none, and nobody is asked who they are), `observed` what /metrics tells of
    (None: there is no such page), `allowed_hosts` the names of this server besides localhost and its numbers; `clock`
    tells the present in UTC.
    """
    app = Pages(allowed_hosts, entrance)
    app.include_router(quality.build_router(database, reports, clock))
    if observed is not None:
        app.include_router(metrics.build_router(observed))
    app.add_api_route("/", _home, methods=READING)
    app.add_api_route("/health", _health, methods=READING)
    app.mount("/reports", ReportFiles(reports), name="reports")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(HTTPException, _say_what_is_wrong)
    app.add_exception_handler(Problem, _say_what_the_problem_is)
    app.add_exception_handler(DatabaseProblem, _say_that_the_database_is_away)
    app.add_exception_handler(Exception, _say_that_it_is_our_fault)
    return app


async def _home() -> Response:
    return RedirectResponse("/quality")


async def _health() -> Response:
    """Say that this process answers; the database is asked for its figures where they are shown."""
    return JSONResponse({"status": "ok"})


async def _say_what_is_wrong(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headline, advice = _WORDS.get(status, ("That did not work", f"The answer's number is {status}."))
    return error_page(status, headline, advice)


async def _say_what_the_problem_is(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - it is registered for these
    return refusal(request.url.path, error)


async def _say_that_the_database_is_away(_request: Request, error: Exception) -> Response:
    return error_page(503, "The figures cannot be shown now", str(error), {"Retry-After": "5"})


async def _say_that_it_is_our_fault(_request: Request, _error: Exception) -> Response:
    return error_page(
        500, "Something went wrong here", "It is not your fault; page-server.log in Footfall's logs has more."
    )
