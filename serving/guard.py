"""What holds for every answer, whoever made it: who may ask, and what a browser may do with what it gets.

A page of another site can have a name of its own point at this machine and so read what is served here (DNS
rebinding). It cannot do so with a number: whoever asks must call this server by a number or by a name that is known.
Nor may such a page send anything here: a browser would, with the key that it was given for these pages. No other site
is ever allowed to read an answer (CORS is off).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.problems import MEDIA_TYPE, Problem
from serving.refusing import is_api, refusal

# No page here, reports and Data Docs included, has scripts, sends forms or is shown in anybody's frame.
POLICY: Final = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
# What a key may see is not for others who ask by the same proxy.
OF_THE_API: Final = {"Cache-Control": "private, no-cache", "Vary": "Authorization, X-API-Key"}
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Asks for the name by which this server is called, and puts the headers on every answer that lacks them."""

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str]) -> None:
        """`allowed_hosts` are names besides localhost."""
        self._app = app
        self._names = {"localhost", *(name.lower() for name in allowed_hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith(MEDIA_TYPE):
                    headers["Cache-Control"] = "no-store"
                for name, value in (HEADERS | (OF_THE_API if is_api(scope["path"]) else {})).items():
                    headers.setdefault(name, value)
            await send(message)

        problem = self._problem(scope)
        app = self._app if problem is None else refusal(scope["path"], problem)
        await app(scope, receive, send_with_headers)

    def _problem(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        called, origins = headers.getlist("host"), headers.getlist("origin")
        if len(called) != 1 or not self._knows(called[0]):
            return _unknown_name(called)
        if scope["method"] not in _READING and not all(self._is_ours(origin, called[0]) for origin in origins):
            return Problem(
                403,
                "A page of another site may not do that",
                f"The request comes from a page of {origins[0][:100]}. Nothing was done.",
            )
        return None

    def _is_ours(self, origin: str, called: str) -> bool:
        """Whether a page that sends something is one of ours: of this very server, or of a name that it goes by."""
        try:
            parts = urlsplit(origin)
            name = parts.hostname or ""
        except ValueError:
            return False
        # A proxy may call this server by a number, and be called by a name itself.
        by_its_name = name in self._names and name != "localhost" and not _is_number(name)
        return by_its_name or parts.netloc.lower() == called.strip().lower()

    def _knows(self, called: str) -> bool:
        name = host_of(called)
        return name in self._names or _is_number(name)


def host_of(called: str) -> str:
    """Return what a Host header names, without its port; an address of IPv6 without its brackets."""
    called = called.strip().lower()
    if called.startswith("["):
        return called[1:].partition("]")[0]
    return called.partition(":")[0].removesuffix(".")


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _unknown_name(called: list[str]) -> Problem:
    name = f"“{called[0][:100]}”" if called else "no name at all"
    return Problem(
        400,
        "This server does not go by that name",
        f"It was called by {name}. Call it 127.0.0.1 or localhost, or add the name to FOOTFALL_ALLOWED_HOSTS.",
    )
