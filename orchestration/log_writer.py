"""What the stack's parts print, as JSON lines: a small process reads it from pipes and writes it into log files.

It is a process of its own so that no part ever waits for the supervisor or dies with it: when the supervisor is killed,
this one goes on until the last part has ended; when this one is killed, the supervisor, which has the pipes open too,
starts another, and lost is what it had read by then and not written. It loads next to nothing, and sleeps while nobody
prints anything.

What a line says is not trusted to say when or by whom it was written: `time` and `part` are this process's own word.
`level` and `logger` are read from the line. Lines that follow a line at once and do not begin as a log's line does (a
traceback's, say) belong to its message.

    python -m orchestration.log_writer CONTROL_DESCRIPTOR
"""

from __future__ import annotations

import array
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from orchestration.log_files import Level, LogFile, record

# What was written at once has come within this time.
QUIET_SECONDS: Final = 0.2
# A longer message is told in several records.
LONGEST: Final = 64 * 1024
_PATIENCE_SECONDS: Final = 5.0
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_DAGSTERS: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} - (?P<logger>\S+) - (?P<level>[A-Z]+) - ")
_PYTHONS: Final = re.compile(r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):\s*(?:(?P<logger>[\w.]+):)?")
_WITH_A_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d:\d\d")
_TRACEBACK: Final = "Traceback (most recent call last):"
_LEVELS: Final = {"debug", "info", "warning", "error", "critical"}


@dataclass
class Source:
    """One part's output: what was read and not yet written."""

    part: str
    file: LogFile
    partial: bytes = b""
    message: list[str] = field(default_factory=list)
    length: int = 0
    heard: float = 0.0
    done: list[dict[str, Any]] = field(default_factory=list)
    lost: int = 0

    @property
    def pending(self) -> bool:
        """Whether something was read that may go on."""
        return bool(self.partial or self.message)

    def hear(self, data: bytes) -> None:
        """Take in what was read."""
        self.heard = time.monotonic()
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self._take(line)
        while len(self.partial) > LONGEST:
            self._take(self.partial[:LONGEST])
            self.partial = self.partial[LONGEST:]

    def settle(self) -> None:
        """Take what was read for all there is."""
        if self.partial:
            self._take(self.partial)
            self.partial = b""
        self._finish()

    def _take(self, line: bytes) -> None:
        text = _COLOURS.sub("", line.decode("utf-8", "backslashreplace")).rstrip("\r")
        if _begins(text) or self.length + len(text) > LONGEST:
            self._finish()
        self.message.append(text)
        self.length += len(text) + 1

    def _finish(self) -> None:
        text = "\n".join(self.message).strip("\n")
        self.message, self.length = [], 0
        if text.strip():
            self.done.append(_record(self.part, text))

    def write(self) -> None:
        """Write what is finished; what cannot be written is counted, and told of once something can be."""
        if not self.done:
            return
        lost = f"{self.lost} messages could not be written here."
        told = [record(self.part, "warning", lost)] if self.lost else []
        try:
            self.file.write(*told, *self.done)
        except OSError:
            self.lost += len(self.done)
        else:
            self.lost = 0
        self.done = []


def _begins(text: str) -> bool:
    return any(pattern.match(text) for pattern in (_DAGSTERS, _PYTHONS, _WITH_A_TIME))


def _record(part: str, text: str) -> dict[str, Any]:
    head = _DAGSTERS.match(text) or _PYTHONS.match(text)
    if head is None:
        return record(part, "error" if _TRACEBACK in text else "info", text)
    level = head["level"].lower()
    known = cast("Level", level) if level in _LEVELS else "info"
    more = {"logger": head["logger"]} if head["logger"] else {}
    return record(part, known, text[head.end() :].lstrip(), **more)


class LogWriter:
    """The process as its supervisor has it: given a pipe per part, and started again if it ends."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._pipes: dict[str, tuple[int, int]] = {}
        self._told: dict[str, str] = {}

    def pipe_for(self, part: str, log: Path) -> int:
        """Return the descriptor that a part is to print to, the same one each time it is started."""
        if part not in self._pipes:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._pipes[part] = os.pipe()
            self._told[part] = json.dumps({"part": part, "log": str(log)})
            if self.process is not None:
                self._hand_over(part)
        if self.process is None:
            self._start()
        return self._pipes[part][1]

    def watch(self) -> None:
        """Start the process again if it has ended."""
        if self.process is not None and self.process.poll() is not None:
            self._start()

    def stop(self) -> None:
        """Let it write what is left, once all parts have ended; it ends by itself."""
        if self.process is None:
            return
        self.watch()
        if self._control is not None:
            self._control.close()
        for pipe in self._pipes.values():
            for descriptor in pipe:
                os.close(descriptor)
        self._pipes, self._told = {}, {}
        try:
            self.process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:  # Something that a part had started lives on.
            self.process.kill()
            self.process.wait()
        self.process = None

    def _start(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair(socket.AF_UNIX)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestration.log_writer", str(theirs.fileno())],
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        for part in self._pipes:
            self._hand_over(part)

    def _hand_over(self, part: str) -> None:
        if self._control is not None:
            with suppress(OSError):  # It has just ended; the next one is told of all parts.
                socket.send_fds(self._control, [self._told[part].encode()], [self._pipes[part][0]])


def serve(control: socket.socket) -> None:
    """Read and write until nobody is left who could print anything."""
    with selectors.PollSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        sources: dict[int, Source] = {}
        while selector.get_map():
            pending = [source for source in sources.values() if source.pending]
            for key, _ in selector.select(_rest(pending)):
                if key.fileobj is control:
                    if (given := _given(control)) is None:
                        selector.unregister(control)
                        continue
                    descriptor, source = given
                    sources[descriptor] = source
                    selector.register(descriptor, selectors.EVENT_READ)
                elif data := os.read(key.fd, LONGEST):
                    sources[key.fd].hear(data)
                else:
                    sources[key.fd].heard = 0.0
                    selector.unregister(key.fd)
            for source in sources.values():
                if source.heard + QUIET_SECONDS <= time.monotonic():
                    source.settle()
                source.write()


def _rest(pending: list[Source]) -> float | None:
    until = min((source.heard for source in pending), default=None)
    return None if until is None else max(until + QUIET_SECONDS - time.monotonic(), 0.001)


def _given(control: socket.socket) -> tuple[int, Source] | None:
    # What came with a descriptor is never read together with what came with the next one.
    size = socket.CMSG_SPACE(array.array("i").itemsize)
    said, ancillary, *_ = control.recvmsg(65_536, size)
    if not said or not ancillary:
        return None
    told = json.loads(said)
    return array.array("i", ancillary[0][2])[0], Source(told["part"], LogFile(Path(told["log"])))


def main() -> None:
    """Serve; signals that end everything else are for those who print, and this one ends after them."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
