"""The gate that every request passes: who asks, may they, not too often; and what was refused or brought is noted.

It stands before all routes, so that none can be forgotten. What a route needs beyond a key that holds (`upload`, a
site) the route itself asks of the `Access` that it finds in the request's state; there it may also name, as `subject`,
what the audit is to say that was uploaded.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.allowing import EVERYBODY, Access, access_by, missing_key, presented_key
from serving.access.audit import Action, Entry, write_from_api
from serving.access.keys import FoundKey, Keyring
from serving.access.limiting import Limits, address_group
from serving.access.store import Store, StoreProblem
from serving.api.problems import Problem
from serving.refusing import is_api, refusal
from warehouse.connections import Warehouse

# These tell nothing but whether Footfall is well; the stylesheet is everybody's.
_OPEN: Final = frozenset({"/healthz", "/readyz"})
_OPEN_BELOW: Final = "/static/"
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Of refusals, the first of each asker in a minute is noted, and no more than so many: a flood fills no disk.
_MINUTE: Final = 60.0
_NOTED_IN_A_MINUTE: Final = 20
_log = logging.getLogger(__name__)


class Entrance:
    """What the gate goes by: keys, limits, and whether a key is needed at all. One per application."""

    def __init__(
        self,
        find: Callable[[], Warehouse],
        *,
        is_open: bool,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`find` opens the warehouse; where `is_open`, no key is needed. `clock` counts seconds."""
        self.store = Store(find)
        self.keys = Keyring(self.store, clock)
        self.limits = limits or Limits()
        self.is_open = is_open
        self.clock = clock

    async def close(self) -> None:
        """Let go of the database."""
        await self.store.close()


class Gate:
    """Lets a request through, with its `Access` in `request.state.access`, or answers it."""

    def __init__(self, app: ASGIApp, entrance: Entrance) -> None:
        self._app = app
        self._entrance = entrance
        self._noted: OrderedDict[tuple[str, int | None, int], float] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http" or is_for_everybody(scope["path"]):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        status, told, app = 0, dict[str, str](), self._app

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(told)
            await send(message)

        try:
            state["access"] = access = await self._who(scope)
            if is_api(scope["path"]):
                kind = "reading" if scope["method"] in _READING else "uploading"
                asker = _address(scope) if access.key_id is None else f"key {access.key_id}"
                told = await self._entrance.limits.count(kind, asker)
            else:
                access.require_all_sites()
        except Problem as problem:
            app = refusal(scope["path"], problem)
        except StoreProblem as problem:
            _log.warning("Keys cannot be looked up: %s", problem)
            app = refusal(scope["path"], _away())
        try:
            await app(scope, receive, send_and_look)
        finally:
            await self._note(scope, status)

    async def _who(self, scope: Scope) -> Access:
        entrance, address = self._entrance, _address(scope)
        try:
            presented = presented_key(Headers(scope=scope), is_open=entrance.is_open)
            if presented is None:
                if entrance.is_open:
                    return EVERYBODY
                raise missing_key()
            if not entrance.keys.was_valid(presented):
                # Whoever tries one key after another does not get to the database.
                await entrance.limits.see_that_one_is_free("refused", address)
            scope["state"]["key"] = key = await entrance.keys.find(presented)
            return access_by(key)
        except Problem as problem:
            if problem.status == 401:
                await entrance.limits.count("refused", address)
            raise

    async def _note(self, scope: Scope, status: int) -> None:
        """Write down what was refused or brought; the answer is given, and stands if that fails."""
        key: FoundKey | None = scope["state"].get("key")
        was_brought = is_api(scope["path"]) and scope["method"] not in _READING and 200 <= status < 300
        if not was_brought and not (status in {401, 403} and self._is_new(_address(scope), key, status)):
            return
        action: Action = "uploaded" if was_brought else "refused"
        subject = str(scope["state"].get("subject") or f"{scope['method']} {scope['path']}")
        key_id, name = (key.key_id, key.name) if key is not None else (None, "")
        entry = Entry(action, subject, key_id, name, status, _client(scope))
        try:
            await write_from_api(self._entrance.store, entry)
        except StoreProblem as problem:
            _log.warning("The audit cannot be written: %s; it would say: %s", problem, entry)

    def _is_new(self, address: str, key: FoundKey | None, status: int) -> bool:
        """Whether a refusal is to be noted."""
        asker = (address, key.key_id if key is not None else None, status)
        now = self._entrance.clock()
        while self._noted and next(iter(self._noted.values())) <= now - _MINUTE:
            self._noted.popitem(last=False)
        if asker in self._noted or len(self._noted) >= _NOTED_IN_A_MINUTE:
            return False
        self._noted[asker] = now
        return True


class OpenDoor:
    """Lets every request through as everybody's: for an application that asks nobody who they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through."""
        scope.setdefault("state", {})["access"] = EVERYBODY
        await self._app(scope, receive, send)


def is_for_everybody(path: str) -> bool:
    """Whether a path is answered without a key wherever the server listens."""
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _address(scope: Scope) -> str:
    return address_group(_client(scope))


def _away() -> Problem:
    return Problem(
        503,
        "Keys cannot be looked up now",
        "The database does not answer. Try again in a few seconds.",
        headers={"Retry-After": "5"},
    )
