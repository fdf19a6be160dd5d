"""The HTTP server that an application runs in, tuned for one that is idle most of the time."""

from __future__ import annotations

import asyncio
from typing import Final

import uvicorn
from fastapi import FastAPI

_TICK_SECONDS: Final = 0.5
_GRACE_SECONDS: Final = 3


class QuietServer(uvicorn.Server):
    """A server that looks up twice a second whether it is to stop, where uvicorn does so ten times."""

    async def main_loop(self) -> None:
        """Serve until told to stop."""
        ticks = 0
        # uvicorn sets its clock, for the header Date, at every tenth tick.
        while not await self.on_tick(ticks * 10):
            ticks += 1
            await asyncio.sleep(_TICK_SECONDS)


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve an application at an address until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        app,
        host,
        port,
        lifespan="on",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    QuietServer(config).run()
