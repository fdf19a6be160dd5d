"""What holds for every answer, whoever made it: who may ask, and what a browser may do with what it gets.

A page of another site can have a name of its own point at this machine and so read what is served here (DNS
rebinding). It cannot do so with a number: whoever asks must call this server by a number or by a name that is known.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.rendering import error_page

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
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        called = Headers(scope=scope).getlist("host")
        app = self._app if len(called) == 1 and self._knows(called[0]) else _refusal(called)
        await app(scope, receive, send_with_headers)

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


def _refusal(called: list[str]) -> ASGIApp:
    name = f"“{called[0][:100]}”" if called else "no name at all"
    return error_page(
        400,
        "This server does not go by that name",
        f"It was called by {name}. Call it 127.0.0.1 or localhost, or add the name to FOOTFALL_ALLOWED_HOSTS.",
    )
