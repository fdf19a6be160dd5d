"""From a request to an answer: the one way in which every question is understood, answered and written.

A `Question` is what an endpoint is: its parameters, its rows, and how they are found. The dashboard asks the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

import psycopg
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from serving.access.allowing import Access, needing
from serving.api.answers import Answer, Found, Row, as_csv, as_json
from serving.api.choosing import Chosen
from serving.api.cursors import write_cursor
from serving.api.parameters import Parameters, refuse_repeated
from serving.api.problems import MEDIA_TYPE, ProblemDetails, wrong
from serving.api.shares import share_without_exit
from serving.cache.answers import Answer as KeptAnswer
from serving.cache.caching import AnswerCache
from serving.cache.keys import KeyParts
from serving.cache.state import NO_FIGURES, NoFigures, PresentState, read_present_state
from serving.database import Connection, Database, DatabaseProblem

Asked = TypeVar("Asked", bound=Parameters)
FileId = Annotated[
    str, Path(description="A file's id: the SHA-256 of its content.", pattern="^[0-9a-f]{64}$", examples=["9f86d0…"])
]
MayRead = Annotated[Access, Depends(needing("read"))]
_JSON: Final = "application/json"
_CSV: Final = "text/csv; charset=utf-8"


@dataclass(frozen=True)
class Ask(Generic[Asked]):
    """A question as it was asked: in which snapshot, by which parameters, by whom (`sites`: None for all)."""

    connection: Connection
    route: str
    asked: Asked
    sites: Collection[str] | None
    now: datetime
    path: Mapping[str, str] = field(default_factory=dict)

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Return what a query of the snapshot gives."""
        return await (await self.connection.execute(query, values)).fetchall()


@dataclass(frozen=True)
class Question(Generic[Asked]):
    """An endpoint that is read: GET /v1/`path`.

    `is_one` where the answer is a single thing, not rows; `is_kept` where it is that of a published state of the marts,
    and may be kept as long as that is the newest.
    """

    path: str
    tag: str
    summary: str
    description: str
    parameters: type[Asked]
    row: type[BaseModel]
    find: Callable[[Ask[Asked]], Awaitable[Found]]
    is_one: bool = False
    is_kept: bool = True


class Desk:
    """Where questions are answered: from the cache, or from the database."""

    def __init__(self, database: Database, cache: AnswerCache, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._cache = cache
        self._clock = clock

    async def answer(self, request: Request, question: Question[Asked], asked: Asked, access: Access) -> Response:
        """Answer a question. Raises `Problem` and `DatabaseProblem`."""
        refuse_repeated(request, question.parameters)
        sites, route = access.sites, request.url.path

        async def compute(connection: Connection, state: PresentState) -> KeptAnswer:
            ask = Ask(connection, route, asked, sites, self._clock(), request.path_params)
            found = await question.find(ask)
            headers = {}
            if found.next_cursor is not None:
                address = request.url.include_query_params(cursor=found.next_cursor)
                headers["Link"] = f'<{address.path}?{address.query}>; rel="next"'
            if asked.format == "csv":
                return KeptAnswer.of(as_csv(found, list(question.row.model_fields)), _CSV, state.version, headers)
            return KeptAnswer.of(as_json(found, asked, state, self._clock()), _JSON, state.version, headers)

        try:
            if question.is_kept:
                parts = KeyParts(route, asked.model_dump(), sites, asked.format)
                answer = await self._cache.answer(parts, compute)
            else:
                async with self._database.snapshot() as connection:
                    answer = await compute(connection, await read_present_state(connection))
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction):
            raise DatabaseProblem(NO_FIGURES) from None
        except psycopg.errors.InvalidParameterValue:
            raise wrong("tz", "The database does not know this time zone.", "Another name of it.") from None
        return answer.response(request.headers)

    async def wrap(self, data: Row) -> bytes:
        """Return a single thing that is told of at this moment as a whole answer."""
        try:
            async with self._database.snapshot() as connection:
                state = await read_present_state(connection)
        except NoFigures:
            state = PresentState(None, None, is_settled=False, views=None)
        return as_json(Found(data), Parameters(), state, self._clock())


async def page_of(
    ask: Ask[Any], chosen: Chosen, rows: Sequence[Row], key: Sequence[str], interval: str | None = None
) -> Found:
    """Return a page of rows, of which one more than the limit was looked up, in the order of the columns `key`."""
    limit = ask.asked.limit
    return Found(
        rows[:limit],
        chosen=chosen,
        interval=interval,
        share_without_exit=await share_without_exit(ask.connection, chosen),
        next_cursor=next_cursor(ask, rows, key),
    )


def next_cursor(ask: Ask[Any], rows: Sequence[Row], key: Sequence[str]) -> str | None:
    """Return the cursor that follows the last row of a page; None where no row is left."""
    limit = ask.asked.limit
    if len(rows) <= limit:
        return None
    return write_cursor(
        ask.route, ask.asked, ["" if rows[limit - 1][name] is None else rows[limit - 1][name] for name in key]
    )


def build_router(desk: Desk, questions: Sequence[Question[Any]]) -> APIRouter:
    """Return a route for each question."""
    router = APIRouter()
    for question in questions:
        _add(router, desk, question)
    return router


def _add(router: APIRouter, desk: Desk, question: Question[Any]) -> None:
    # FastAPI reads which parameters there are off the handler; the path's are looked up where they are needed.
    async def handle(request: Request, asked: Any, access: Access) -> Response:
        return await desk.answer(request, question, asked, access)

    async def handle_one(request: Request, id: str, asked: Any, access: Access) -> Response:  # noqa: A002, ARG001
        return await desk.answer(request, question, asked, access)

    handler = handle_one if "{id}" in question.path else handle
    handler.__annotations__ |= {
        "request": Request,
        "asked": Annotated[question.parameters, Query()],
        "access": MayRead,
        "return": Response,
    }
    if handler is handle_one:
        handler.__annotations__ |= {"id": FileId}
    data: Any = question.row if question.is_one else list[question.row]  # type: ignore[name-defined]
    router.add_api_route(
        f"/{question.path}",
        handler,
        methods=["GET"],
        summary=question.summary,
        description=question.description,
        operation_id=re.sub(r"\W+", "_", question.path),
        response_model=Answer[data],
        # What is written is a Response already; this tells its form.
        response_class=JSONResponse,
        responses=(RESPONSES | NOT_FOUND if "{id}" in question.path else RESPONSES)
        | {200: {"description": "The answer.", "content": {"text/csv": {"schema": {"type": "string"}}}}},
        tags=[question.tag],
    )


def problem_of(description: str) -> dict[str, Any]:
    """Return how a problem is described in an answer's place."""
    return {
        "description": description,
        "model": ProblemDetails,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }


NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {404: problem_of("There is no such file, or not for this key.")}
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    401: problem_of("A key is needed, and none that is valid was given."),
    403: problem_of("The key does not reach that far."),
    422: problem_of("The question cannot be understood; the fields that are wrong are named."),
    429: problem_of("Too many questions in a short time; Retry-After says when to ask again."),
    503: problem_of("The database cannot be asked now; Retry-After says when to ask again."),
}
