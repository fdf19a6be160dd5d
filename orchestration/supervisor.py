"""Child processes that are started, watched, restarted when they fall over, and stopped, whole groups of them.

Each child leads a session of its own: Ctrl-C in the terminal reaches the supervisor alone, and stopping a child stops
what it started. What the children are, and when they are ready, is `stack.py`'s; this module knows only processes. What
they print goes through `log_writer.py` into their logs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from orchestration.log_writer import LogWriter

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
# A child that ran this long has earned a quick restart again.
STEADY_SECONDS: Final = 60.0
Say = Callable[[str], None]


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same number: `created` is its start time."""

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Return the identity of a process that runs; raises `psutil.NoSuchProcess`."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            # Start times are read in clock ticks; boot time corrections move them by less than a second.
            alive = abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this very process, never to a later one with the same number; False if it has ended."""
        if not hasattr(os, "pidfd_open"):  # macOS: a number is not given out again at once
            process = self.process()
            if process is not None:
                process.send_signal(number)
            return process is not None
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                # Judged after the handle is held: from here on it stands for the process that is judged.
                if self.process() is None:
                    return False
                signal.pidfd_send_signal(handle, number)
                return True
            finally:
                os.close(handle)
        return False


@dataclass(frozen=True)
class Part:
    """One child: how it is called, started, and where its output goes."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path


@dataclass
class Child:
    """A part that was started, and how often that was necessary."""

    part: Part
    process: subprocess.Popen[bytes] | None = None
    identity: Identity | None = None
    started: float = 0.0
    restarts: int = 0
    pause: float = FIRST_PAUSE_SECONDS
    next_start: float | None = None


@dataclass
class Supervisor:
    """Starts parts, keeps them running (`watch`, called again and again) and stops them in reverse order."""

    say: Say
    children: dict[str, Child] = field(default_factory=dict)
    logs: LogWriter = field(default_factory=LogWriter)

    def start(self, part: Part) -> None:
        """Start a part for the first time."""
        child = Child(part)
        self.children[part.name] = child
        self._spawn(child)

    def watch(self) -> bool:
        """Notice children that ended, restart those whose pause is over. True if anything changed."""
        changed = False
        self.logs.watch()
        for child in self.children.values():
            if child.process is not None and child.process.poll() is not None:
                self._fell_over(child, child.process.returncode)
                changed = True
            elif child.process is None and child.next_start is not None and time.monotonic() >= child.next_start:
                self._spawn(child)
                child.restarts += 1
                self.say(f"The {child.part.name} was started again.")
                changed = True
        return changed

    def _fell_over(self, child: Child, code: int) -> None:
        # What the part had started itself (run workers, its own server) would go on unseen beside the new one.
        if child.identity is not None:
            _signal_group(child.identity.pid, signal.SIGKILL)
        if time.monotonic() - child.started >= STEADY_SECONDS:
            child.pause = FIRST_PAUSE_SECONDS
        self.say(
            f"The {child.part.name} {_how_it_ended(code)}; it is started again in {child.pause:g} s. "
            f"Its last words are in {child.part.log}."
        )
        child.process, child.identity = None, None
        child.next_start = time.monotonic() + child.pause
        child.pause = min(child.pause * 2, LONGEST_PAUSE_SECONDS)

    def stop(self, patience: float = 20.0) -> None:
        """Stop all children, the one started last first; who does not listen within `patience` seconds is killed."""
        for child in reversed(list(self.children.values())):
            child.next_start = None
            if child.process is None:
                continue
            _signal_group(child.process.pid, signal.SIGTERM)
            try:
                child.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.say(f"The {child.part.name} did not stop within {patience:g} s and was killed.")
            _signal_group(child.process.pid, signal.SIGKILL)
            child.process.wait()
            child.process, child.identity = None, None
        self.logs.stop()

    def _spawn(self, child: Child) -> None:
        part = child.part
        output = self.logs.pipe_for(part.name, part.log)
        child.process = subprocess.Popen(
            list(part.command),
            cwd=part.folder,
            env=dict(part.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        child.started, child.next_start = time.monotonic(), None
        try:
            child.identity = Identity.of(child.process.pid)
        except psutil.NoSuchProcess:  # It ended at once; `watch` will say so.
            child.identity = None


def stop_group(identity: Identity, patience: float = 10.0) -> None:
    """Stop a process group that another process started, by its leader's identity."""
    leader = identity.process()
    if leader is not None:
        _signal_group(identity.pid, signal.SIGTERM)
        with contextlib.suppress(psutil.TimeoutExpired):
            leader.wait(patience)
        _signal_group(identity.pid, signal.SIGKILL)


def _signal_group(leader: int, number: signal.Signals) -> None:
    # The group outlives its leader as long as one member lives, and its number is not given out again before.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _how_it_ended(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
