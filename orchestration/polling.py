"""How often Dagster's parts ask each other whether they are still there.

Dagster has them do so every second, whether anything happens or not: on a machine that has nothing else to do, most of
what its code server does. Its commands take no setting for it, so this starts one of them with longer pauses:

    python -m orchestration.polling dagster_webserver ARGUMENTS …
"""

from __future__ import annotations

import runpy
import sys
from typing import Final

from dagster._grpc import client, server_watcher

# A code server that has loaded changed code has another id; whoever has it loaded by the web page sees it at once.
WATCH_SECONDS: Final = 5
# The code server's inner process ends by itself when it has heard nothing for thirty.
HEARTBEAT_SECONDS: Final = 5


def ask_seldom() -> None:
    """Have this process's part of Dagster pause for longer."""
    server_watcher.WATCH_INTERVAL = WATCH_SECONDS
    client.CLIENT_HEARTBEAT_INTERVAL = HEARTBEAT_SECONDS


if __name__ == "__main__":
    ask_seldom()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
