"""The routes of a file: it is sent, asked for, watched. What is done is in `uploads`, `files` and `file_events`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import psycopg
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from serving.access.allowing import Access, needing
from serving.api.answers import Answer
from serving.api.asking import NOT_FOUND, RESPONSES, Desk, FileId, MayRead, problem_of
from serving.api.problems import FieldError, Problem
from serving.api.received import unknown_file
from serving.database import Database
from serving.file_events import HEADERS, MEDIA_TYPE, FileEvents
from serving.files import Files, State
from serving.uploads import Uploads, record_in

MayUpload = Annotated[Access, Depends(needing("upload"))]


class Progress(BaseModel):
    """How far a load is."""

    stage: str = Field(description="What is being done.", examples=["reading"])
    bytes_done: int = Field(description="Bytes of the file that this stage has done.")
    bytes_total: int = Field(description="Bytes of the file.")
    rows: int = Field(description="Rows so far.")
    percent: float | None = Field(description="How much of the stage is done; null where it does not go by bytes.")
    updated_at: datetime = Field(description="When this was so.")


class Account(BaseModel):
    """Where the rows of a file went."""

    rows_read: int = Field(description="Rows in it, without the header.", examples=[10000])
    rows_loaded: int | None = Field(description="Rows that became events.", examples=[9931])
    rows_rejected: int | None = Field(description="Rows that were set aside.", examples=[69])
    rows_duplicate: int | None = Field(description="Rows that restate an event.", examples=[0])
    rows_held: int | None = Field(description="Good rows of a file that was quarantined whole.")
    rejected_for: Mapping[str, int] = Field(description="How often which reason was found, by its code.")


class FileStatus(BaseModel):
    """What became of a content that was sent or dropped."""

    id: str = Field(description="What identifies the content: its SHA-256.")
    file_name: str = Field(description="Its name.", examples=["cam-north.csv"])
    site_id: str | None = Field(description="The site's folder it is in; null for the landing folder itself.")
    size_bytes: int = Field(description="Its size.")
    state: State = Field(description="What became of it so far.")
    sentence: str = Field(description="The same in a sentence.")
    published: bool = Field(description="Whether what was decided last is in the figures.")
    already_loaded: bool = Field(description="Whether it had been loaded before it was sent; it is not loaded twice.")
    received_at: datetime | None = Field(description="When it was sent; null for a file that was dropped.")
    arrived_at: datetime | None = Field(description="When it was taken from the landing folder.")
    finished_at: datetime | None = Field(description="When it was done with.")
    progress: Progress | None = Field(description="How far its load is; null when none is going on.")
    account: Account | None = Field(description="Where its rows went; null until that is known.")
    verdict: str | None = Field(description="Its report in one sentence; it comes a few seconds after the decision.")
    report: str | None = Field(description="The address of its report on this server.")
    is_final: bool = Field(description="Whether nothing of this changes any more by itself.")


@dataclass(frozen=True)
class Reception:
    """What takes files in and tells of them."""

    uploads: Uploads
    files: Files
    events: FileEvents


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "The file itself, as it is.",
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Events as they come.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    400: problem_of("The name, the site or the body will not do."),
    408: problem_of("The body does not go on."),
    409: problem_of("The site can have no folder of its own."),
    413: problem_of("The file is too large."),
    415: problem_of("A form was sent in place of a file."),
    507: problem_of("There is too little room on the disk."),
}


def build_file_routes(desk: Desk, database: Database, reception: Reception) -> APIRouter:
    """Return POST /files, GET /files/{id} and GET /files/{id}/events."""
    router = APIRouter(tags=["files"])

    @router.post(
        "/files",
        status_code=202,
        summary="Send a file",
        description="Puts the body into the landing folder, where it is taken at once; its state is at Location.",
        operation_id="send_file",
        response_model=Answer[FileStatus],
        response_class=JSONResponse,
        responses=RESPONSES | _REFUSED,
        openapi_extra=_BODY,
    )
    async def send(
        request: Request,
        access: MayUpload,
        name: Annotated[str, Query(description="The file's name.", examples=["cam-north.csv"])],
        site_id: Annotated[str | None, Query(description="The site's folder that it is for.")] = None,
    ) -> Response:
        access.require_site(site_id)
        request.state.subject = name
        _refuse_form(request)
        length = request.headers.get("content-length")
        announced = int(length) if length is not None else None
        record = record_in(database.writing, access.key_id)
        try:
            received = await reception.uploads.receive(
                request.stream(), name, site_id, announced=announced, record=record
            )
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody is there to read it.
        body = await _status(received.sha256, access)
        return Response(body, 202, {"Location": f"/v1/files/{received.sha256}"}, "application/json")

    @router.get(
        "/files/{id}",
        summary="What became of a file",
        description="Its state, how far its load is, and where its rows went.",
        operation_id="file",
        response_model=Answer[FileStatus],
        response_class=JSONResponse,
        responses=RESPONSES | NOT_FOUND,
    )
    async def status(access: MayRead, id: FileId) -> Response:  # noqa: A002
        return Response(await _status(id, access), media_type="application/json")

    @router.get(
        "/files/{id}/events",
        summary="Watch a file",
        description="Server-sent events: progress, with the state as GET /v1/files/{id} has it under data, each time "
        "that it changes, and done at the end.",
        operation_id="watch_file",
        response_class=StreamingResponse,
        responses=RESPONSES | NOT_FOUND | _STREAM,
    )
    async def watch(access: MayRead, id: FileId) -> Response:  # noqa: A002
        told = await reception.events.stream(id, access.sites)
        if told is None:
            raise unknown_file(id)
        return StreamingResponse(told, media_type=MEDIA_TYPE, headers=HEADERS)

    async def _status(file_id: str, access: Access) -> bytes:
        try:
            found = await reception.files.state(file_id, access.sites)
        except psycopg.errors.UndefinedTable:
            found = None
        if found is None:
            raise unknown_file(file_id)
        return await desk.wrap(found.as_json())

    return router


def _refuse_form(request: Request) -> None:
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise Problem(
            415,
            "A form cannot be received",
            "The request's body must be the file itself, not a form with it; with curl: --data-binary @FILE.",
            errors=[FieldError("Content-Type", "It is a form.", "text/csv or application/octet-stream")],
        )
