"""What a run launcher and the run template say to each other: lines of JSON over a Unix socket.

A launch is a conversation. The launcher sends the request; the forked worker says that it is there, then that it is
ready (it has written down with the run who it is), or what is wrong; the launcher answers "go". A worker that does not
hear it does not begin: a launcher that gave up has said so of the run, and may start it again.
"""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from orchestration.problems import Problem

GO: Final = b"go\n"
# The exit code of a process that did all it had to: whatever else code of a run may end it with, not with this.
DONE: Final = 86
# A request holds an instance's configuration, some kilobytes.
LONGEST_BYTES: Final = 1_000_000


class NotThere(Problem):
    """The run template cannot be reached, or went away before a worker was there: nothing has begun."""


@dataclass(frozen=True)
class Request:
    """What a run is started with. `instance` is Dagster's instance, serialized; `server_id` names the loaded code."""

    run_id: str
    job: str
    instance: str
    server_id: str

    def line(self) -> bytes:
        """Return the request as it is sent."""
        return json.dumps({"launch": asdict(self)}).encode() + b"\n"


def is_ready(path: Path, timeout: float = 1.0) -> tuple[bool, str | None]:
    """Ask the template whether it has loaded everything; where it could not, also why."""
    try:
        with Talk(path, timeout) as talk:
            talk.say({"ready": None})
            answer = talk.hear()
    except NotThere:
        return False, None
    return bool(answer.get("ready")), answer.get("error")


class Talk:
    """One end of a conversation; the template's answers come within `timeout` seconds or not at all."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise NotThere(f"Nobody listens at {path} ({error.strerror or error}).") from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def say(self, message: Any) -> None:
        """Send a line. Raises `NotThere`."""
        self.send(json.dumps(message).encode() + b"\n")

    def send(self, line: bytes) -> None:
        """Send a line as it is. Raises `NotThere`."""
        try:
            self._socket.sendall(line)
        except OSError as error:
            raise NotThere(f"The run template went away ({error.strerror or error}).") from None

    def hear(self) -> dict[str, Any]:
        """Return the next answer. Raises `NotThere` where there is none."""
        try:
            line = self._lines.readline()
        except OSError as error:
            raise NotThere(f"The run template does not answer ({error.strerror or error}).") from None
        if not line.endswith(b"\n"):
            raise NotThere("The run template went away.")
        heard: dict[str, Any] = json.loads(line)
        return heard


def answer(connection: socket.socket, **message: Any) -> None:
    """Answer from the template's side; somebody who has left hears nothing."""
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")
