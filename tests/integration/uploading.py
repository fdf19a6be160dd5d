"""A server that receives files, as an application in this process or as a process of its own, and who uploads to it.

`python -m tests.integration.uploading FOLDER` serves at a port that it prints, without a database.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.parse import urlencode

import psutil
import psycopg
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from serving.api.file_routes import build_router
from serving.api.problems import Problem
from serving.file_events import FileEvents
from serving.files import Connect, Files
from serving.server import QuietServer
from serving.uploads import Uploads
from warehouse.connections import Warehouse

PROJECT = Path(__file__).parents[2]
UPLOADS = """
    create table if not exists serving.uploads (
        upload_id text primary key,
        file_name text not null,
        site_id text,
        size_bytes bigint not null,
        received_at timestamptz not null,
        key_id bigint
    )
"""


def lender(warehouse: Warehouse) -> Connect:
    """Connections as the role api."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with await psycopg.AsyncConnection.connect(**warehouse.parameters("api")) as connection:  # type: ignore[arg-type]
            yield connection

    return connect


def plain_app(uploads: Uploads) -> FastAPI:
    """Receives files and knows no database."""
    app = _with_problems()

    @app.post("/v1/files")
    async def upload(request: Request, name: str, site_id: str | None = None) -> Response:
        length = request.headers.get("content-length")
        announced = int(length) if length is not None else None
        try:
            received = await uploads.receive(request.stream(), name, site_id, announced=announced)
        except ClientDisconnect:
            return Response(status_code=400)
        return JSONResponse({"data": {"file_id": received.sha256, "file_name": received.file_name}}, 202)

    return app


def whole_app(uploads: Uploads, warehouse: Warehouse, landing: Path, **limits: Any) -> FastAPI:
    """Receives files, records them and tells of them."""
    app = _with_problems()
    files = Files(lender(warehouse), landing)
    app.include_router(build_router(uploads, files, FileEvents(files, **limits), lender(warehouse)))
    return app


def _with_problems() -> FastAPI:
    app = FastAPI()

    @app.exception_handler(Problem)
    async def tell(_request: Request, problem: Problem) -> Response:
        said = {"title": problem.title, "detail": problem.detail, "errors": [vars(error) for error in problem.errors]}
        return JSONResponse(said, problem.status, problem.headers, "application/problem+json")

    return app


@dataclass(frozen=True)
class Told:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = self.body["data"]
        return data


def path_for(name: str, site_id: str | None = None) -> str:
    return "/v1/files?" + urlencode({"name": name} | ({"site_id": site_id} if site_id is not None else {}))


def upload(
    port: int, body: bytes | Iterable[bytes], name: str, site_id: str | None = None, *, length: int | None = None
) -> Told:
    """Upload; pieces are sent as chunks unless their length is told."""
    headers = {"Host": "localhost"} | ({"Content-Length": str(length)} if length is not None else {})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        chunked = not isinstance(body, bytes) and length is None
        connection.request("POST", path_for(name, site_id), body, headers, encode_chunked=chunked)
        answer = connection.getresponse()
        return Told(answer.status, dict(answer.getheaders()), json.loads(answer.read()))


@contextmanager
def server_process(landing: Path) -> Iterator[tuple[int, psutil.Process]]:
    """A server in a process of its own, and its port."""
    command = [sys.executable, "-m", "tests.integration.uploading", str(landing)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), psutil.Process(process.pid)
        finally:
            process.kill()


async def _serve(landing: Path) -> None:
    with closing(create_server(("127.0.0.1", 0))) as listener:
        app = plain_app(Uploads(landing, min_free_bytes=0))
        server = QuietServer(uvicorn.Config(app, lifespan="off", ws="none", log_level="critical"))
        print(listener.getsockname()[1], flush=True)
        await server.serve([listener])


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
