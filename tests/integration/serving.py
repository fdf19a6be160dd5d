"""The web pages as they are served: a real server at a port of its own, and what it answers, byte for byte."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from html import unescape
from socket import create_server

import uvicorn
from fastapi import FastAPI

from serving.server import QuietServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def words(self) -> str:
        """What a reader sees, without tags."""
        return " ".join(unescape(re.sub(r"<title>.*?</title>|<[^>]+>", " ", self.text, flags=re.DOTALL)).split())

    def cells(self, section: str) -> list[list[str]]:
        """The table of a section: each row's cells as a reader sees them."""
        (body,) = re.findall(rf'<section id="{section}">(.*?)</section>', self.text, re.DOTALL)
        rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
        cells = [re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        return [[" ".join(unescape(re.sub("<[^>]+>", " ", cell)).split()) for cell in row] for row in cells]


@dataclass(frozen=True)
class Site:
    port: int

    def get(self, path: str, host: str | None = "localhost", method: str = "GET", **headers: str) -> Answer:
        """Ask for a path as it stands: nothing is normalised. Without a `host` the request names none."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.putrequest(method, path, skip_host=True)
            if host is not None:
                connection.putheader("Host", host)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@contextmanager
def served(app: FastAPI) -> Iterator[Site]:
    """Serve an application as `serving.server` does, in a thread."""
    with closing(create_server(("127.0.0.1", 0))) as listener:
        server = QuietServer(uvicorn.Config(app, lifespan="on", ws="none", log_level="critical", server_header=False))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Site(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
