"""The routes of a file: it is uploaded, asked for, watched. What is done is in `uploads`, `files` and `file_events`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from serving.api.problems import FieldError, Problem
from serving.file_events import HEADERS, MEDIA_TYPE, FileEvents
from serving.files import Connect, Files
from serving.uploads import Uploads, record_in

_FILE_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Caller:
    """Who asks: the key, if there are keys, and to which sites it is limited (None: to none)."""

    key_id: int | None = None
    sites: Collection[str] | None = None


def build_router(
    uploads: Uploads,
    files: Files,
    events: FileEvents,
    connect: Connect,
    caller: Callable[[Request], Caller] = lambda _request: Caller(),
) -> APIRouter:
    """Return the routes; `connect` lends a connection that may write `serving.uploads`."""
    router = APIRouter(prefix="/v1")

    @router.post("/files", status_code=202)
    async def upload(
        request: Request, name: str = Query(description="The file's name."), site_id: str | None = None
    ) -> Response:
        """Receive the file that is the request's body."""
        who = caller(request)
        _demand_site(who, site_id)
        _refuse_form(request)
        length = request.headers.get("content-length")
        announced = int(length) if length is not None else None
        record = record_in(connect, who.key_id)
        try:
            received = await uploads.receive(request.stream(), name, site_id, announced=announced, record=record)
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody is there to read it.
        state = await files.state(received.sha256, who.sites)
        if state is None:
            raise _unknown()
        where = f"/v1/files/{received.sha256}"
        return JSONResponse({"data": state.as_json()}, 202, {"Location": where})

    @router.get("/files/{file_id}")
    async def state(request: Request, file_id: str) -> Response:
        """Tell what became of a file."""
        found = await files.state(_checked(file_id), caller(request).sites)
        if found is None:
            raise _unknown()
        return JSONResponse({"data": found.as_json()})

    @router.get("/files/{file_id}/events")
    async def stream(request: Request, file_id: str) -> Response:
        """Tell it each time that it changes, until it does not any more."""
        told = await events.stream(_checked(file_id), caller(request).sites)
        if told is None:
            raise _unknown()
        return StreamingResponse(told, media_type=MEDIA_TYPE, headers=HEADERS)

    return router


def _checked(file_id: str) -> str:
    if not _FILE_ID.fullmatch(file_id):
        raise _unknown()
    return file_id


def _unknown() -> Problem:
    return Problem(404, "There is no such file", "No file has this id: the SHA-256 of its content, in small letters.")


def _demand_site(who: Caller, site_id: str | None) -> None:
    if who.sites is not None and site_id not in who.sites:
        problem = "It is missing." if site_id is None else "Your key is not for this site."
        raise Problem(
            403,
            "Your key is not for this site",
            "Your key is limited to some sites; a file must be uploaded for one of them.",
            errors=[FieldError("site_id", problem, "one of the sites of your key")],
        )


def _refuse_form(request: Request) -> None:
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Problem(
            415,
            "A form cannot be received",
            "The request's body must be the file itself, not a form with it; with curl: --data-binary @FILE.",
            errors=[FieldError("Content-Type", "It is a form.", "text/csv or application/octet-stream")],
        )
