"""The web application: which address shows what, and what is said where something goes wrong.

What stands on a page is the business of that page's own module, which gives a router; each is included here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from serving import metrics, quality
from serving.access.gate import Entrance, Gate, OpenDoor
from serving.api.asking import Desk
from serving.api.describing import ADDRESS, DESCRIPTION, description_of
from serving.api.file_routes import Reception
from serving.api.problems import Problem, answer_validation_error
from serving.api.routes import build_api
from serving.cache.caching import AnswerCache
from serving.cache.opening import open_cache
from serving.cache.state import read_present_state
from serving.database import Database, DatabaseProblem
from serving.guard import Guard
from serving.refusing import refusal
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

    def __init__(
        self, allowed_hosts: Collection[str], entrance: Entrance | None, database: Database, cache: AnswerCache
    ) -> None:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            yield
            await cache.close()
            await database.close()
            if entrance is not None:
                await entrance.close()

        self._allowed_hosts = allowed_hosts
        self._entrance = entrance
        super().__init__(
            title="Footfall",
            version="1",
            summary="How long people stay, how full the place is and who comes back.",
            description=DESCRIPTION,
            openapi_url=ADDRESS,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            lifespan=lifespan,
        )

    def build_middleware_stack(self) -> ASGIApp:
        """Put the guard in front of everything, and the gate behind it."""
        pages = super().build_middleware_stack()
        gate = OpenDoor(pages) if self._entrance is None else Gate(pages, self._entrance)
        return Guard(gate, self._allowed_hosts)


def build_app(
    reports: Path,
    database: Database,
    *,
    entrance: Entrance | None = None,
    reception: Reception | None = None,
    cache: AnswerCache | None = None,
    observed: metrics.Observed | None = None,
    allowed_hosts: Collection[str] = (),
    clock: Callable[[], datetime] = now,
) -> FastAPI:
    """Return the application.

    `reports` is the folder whose files are served under /reports, `database` what the pages are read from, `cache`
    where answers are kept (None: in the warehouse), `entrance` what the gate goes by (None: there is none, and nobody
    is asked who they are), `reception` what takes files in (None: nothing does), `observed` what /metrics tells of
    (None: there is no such page), `allowed_hosts` the names of this server besides localhost and its numbers; `clock`
    tells the present in UTC.
    """
    cache = cache or open_cache(database.snapshot, database.writing, None)
    app = Pages(allowed_hosts, entrance, database, cache)
    app.include_router(quality.build_router(database, reports, clock))
    app.include_router(build_api(Desk(database, cache, clock), database, reception))
    if observed is not None:
        app.include_router(metrics.build_router(observed))
    app.add_api_route("/", _home, methods=READING, include_in_schema=False)
    app.add_api_route("/healthz", _health, methods=READING, include_in_schema=False)
    app.add_api_route("/readyz", _readiness(database), methods=READING, include_in_schema=False)
    app.openapi = description_of(app)  # type: ignore[method-assign]
    app.mount("/reports", ReportFiles(reports), name="reports")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(RequestValidationError, answer_validation_error)
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


def _readiness(database: Database) -> Callable[[], Awaitable[Response]]:
    async def ready() -> Response:
        """Say whether questions can be answered: whether the database answers, and holds figures."""
        try:
            async with database.snapshot() as connection:
                state = await read_present_state(connection)
        except DatabaseProblem as problem:
            return JSONResponse({"status": "not ready", "reason": str(problem)}, 503)
        return JSONResponse({"status": "ready", "data_version": state.version})

    return ready


async def _say_what_is_wrong(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headline, advice = _WORDS.get(status, ("That did not work", f"The answer's number is {status}."))
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return _told(request, status, headline, advice, headers)


async def _say_what_the_problem_is(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - it is registered for these
    return refusal(request.url.path, error)


async def _say_that_the_database_is_away(request: Request, error: Exception) -> Response:
    return _told(request, 503, "The figures cannot be shown now", str(error), {"Retry-After": "5"})


async def _say_that_it_is_our_fault(request: Request, _error: Exception) -> Response:
    advice = "It is not your fault; page-server.log in Footfall's logs has more."
    return _told(request, 500, "Something went wrong here", advice, {})


def _told(request: Request, status: int, headline: str, advice: str, headers: Mapping[str, str]) -> Response:
    return refusal(request.url.path, Problem(status, headline, advice, headers=headers))
