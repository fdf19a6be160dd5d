"""The run template: a process with everything loaded that a run needs, which forks itself into runs.

It is a part of the stack like the code server, so runs outlive both that and the daemon. It has one thread, no
connection and no lock, because whatever it had a fork would share: what needs more is done by forks (`run_worker.py`).
What is loaded is `preloading.py`'s, what is said over the socket `run_socket.py`'s; docs/launching.md tells the whole.

Changed code is loaded by a new image of the same process (`exec`): the socket, the launches that wait and the runs that
are under way stay with it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final, Never

# No more than this: what else of ours is broken is told to whoever asks for a run, it does not end this process.
from orchestration.problems import Problem
from orchestration.run_socket import DONE, LONGEST_BYTES, Request, answer

# Who connects and says nothing is left alone after this long; nobody waits for him meanwhile.
_SILENCE_SECONDS: Final = 5.0
# At its end the template waits: whoever stopped it has mostly signalled its runs as well (they are one group), and two
# interrupts are worse than one. Then it interrupts them itself, and kills what does not listen.
_FIRST_SECONDS: Final = 2.0
_LAST_SECONDS: Final = 12.0
_WAITED_FOR: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


class NotForkable(Problem):
    """Something was loaded that forks must not share; the message says what."""


@dataclass(frozen=True)
class Run:
    """A run that a child of ours executes."""

    run_id: str
    instance: str


@dataclass
class Carried:
    """What one image of the process hands to the next; `pending` are connections with what was read from them."""

    listener: int
    generation: int = 1
    runs: dict[int, Run] = field(default_factory=dict)
    server_ids: list[str] = field(default_factory=list)
    pending: dict[int, str] = field(default_factory=dict)


@dataclass
class Caller:
    """Somebody who has connected and not yet said all."""

    connection: socket.socket
    until: float
    said: bytes = b""


class Template:
    """The process, from its start (or from the one before) to its end or the next image of itself."""

    def __init__(self, carried: Carried) -> None:
        self.listener = socket.socket(fileno=carried.listener)
        self.listener.setblocking(False)
        self.generation = carried.generation
        self.runs = dict(carried.runs)
        self.reporters: set[int] = set()
        self.server_ids = list(carried.server_ids)
        self.pending = [
            Caller(socket.socket(fileno=number), time.monotonic() + _SILENCE_SECONDS, said.encode())
            for number, said in carried.pending.items()
        ]
        self.problem: str | None = None
        self.stopping = False
        self._stamp = ""
        self._wake, self._waker = os.pipe()
        # Not epoll: a selector with a descriptor of its own would be shared with every fork.
        self._selector = selectors.PollSelector()

    def prepare(self) -> None:
        """Load everything; what is wrong with the code is kept for whoever asks for a run."""
        self._stamp = _stamp()
        began = time.monotonic()
        try:
            from orchestration.preloading import preload

            preload()
            refuse_what_forks_would_share({self.listener.fileno(), *(one.connection.fileno() for one in self.pending)})
        except Exception as error:
            traceback.print_exc()
            self.problem = f"The code cannot be loaded: {type(error).__name__}: {error}"
        gc.collect()
        gc.freeze()  # What is never collected is not written to, so its memory stays shared with the forks.
        told = self.problem or f"Everything is loaded, in {time.monotonic() - began:.1f} s"
        _say(f"{told} (image {self.generation}, process {os.getpid()}).")

    def serve(self) -> None:
        """Fork runs and reap them until somebody asks to stop."""
        self._hear_signals()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        waiting, self.pending = self.pending, []
        for caller in waiting:
            if caller.said.endswith(b"\n"):
                # It has seen the code loaded anew and is not to see it again: it is told what is wrong instead.
                self._attend(caller, may_renew=False)
            else:
                self._expect(caller)
        while not self.stopping:
            self._reap()
            for key, _ in self._selector.select(1.0 if self.pending else None):
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj == self._wake:
                    os.read(self._wake, 4096)
                else:
                    self._listen_to(key.data)
            self._leave_the_silent()
        self._end_runs()

    def _hear_signals(self) -> None:
        for number in (self._wake, self._waker):
            os.set_blocking(number, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self.listener.accept()
            connection.setblocking(False)
            self._expect(Caller(connection, time.monotonic() + _SILENCE_SECONDS))

    def _expect(self, caller: Caller) -> None:
        self.pending.append(caller)
        self._selector.register(caller.connection, selectors.EVENT_READ, caller)

    def _listen_to(self, caller: Caller) -> None:
        try:
            heard = caller.connection.recv(65_536)
        except OSError:
            heard = b""
        caller.said += heard
        whole = caller.said.endswith(b"\n")
        if not heard or whole or len(caller.said) > LONGEST_BYTES:
            self._forget(caller)
            if whole:
                self._attend(caller)
            caller.connection.close()

    def _forget(self, caller: Caller) -> None:
        self._selector.unregister(caller.connection)
        self.pending.remove(caller)

    def _leave_the_silent(self) -> None:
        for caller in [one for one in self.pending if one.until < time.monotonic()]:
            self._forget(caller)
            caller.connection.close()

    def _attend(self, caller: Caller, *, may_renew: bool = True) -> None:
        try:
            asked = json.loads(caller.said)
            request = Request(**asked["launch"]) if "launch" in asked else None
        except (ValueError, TypeError) as error:
            answer(caller.connection, error=f"That is not a request: {error}.")
            return
        if may_renew and self._is_outdated(request):
            self._renew(caller, request)
        if request is not None and request.server_id and request.server_id not in self.server_ids:
            self.server_ids.append(request.server_id)
        if self.problem is not None:
            answer(caller.connection, error=self.problem)
        elif request is None:
            answer(caller.connection, ready=True, generation=self.generation)
        else:
            self._start(request, caller.connection)
        caller.connection.close()

    def _is_outdated(self, request: Request | None) -> bool:
        """Whether the code is to be loaded anew: it changed, somebody had the code server reload it, or it was broken.

        Ids of code servers add up: a daemon that has not noticed a reload yet may still name the one before.
        """
        if self._stamp != _stamp():
            return True
        if request is None:
            return False
        known = not self.server_ids or request.server_id in self.server_ids
        return self.problem is not None or not known

    def _renew(self, caller: Caller, request: Request | None) -> Never:
        _say("The code is loaded anew.")
        if request is not None and request.server_id:
            self.server_ids.append(request.server_id)
        callers = [caller, *self.pending]
        carried = Carried(
            listener=self.listener.fileno(),
            generation=self.generation + 1,
            runs=self.runs,
            server_ids=self.server_ids,
            pending={one.connection.fileno(): one.said.decode(errors="replace") for one in callers},
        )
        # No signal is lost on the way: what comes meanwhile is heard by the next image.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        with _written(carried) as memory:
            for number in (carried.listener, memory.fileno(), *carried.pending):
                os.set_inheritable(number, True)
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, "-m", "orchestration.run_template", str(memory.fileno())])  # noqa: S606

    def _start(self, request: Request, connection: socket.socket) -> None:
        def child() -> int:
            from orchestration.run_worker import work

            connection.setblocking(True)
            return work(request, connection)

        try:
            pid = self._fork(child, keep=connection)
        except OSError as error:
            answer(connection, error=f"No process can be started for it: {error.strerror}.")
            return
        self.runs[pid] = Run(request.run_id, request.instance)

    def _fork(self, what: Callable[[], int], keep: socket.socket | None = None) -> int:
        """Have `what` done by a child; return its number."""
        sys.stdout.flush()
        sys.stderr.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_a_child(what, keep)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _be_a_child(self, what: Callable[[], int], keep: socket.socket | None) -> Never:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for number in (self._wake, self._waker):
                os.close(number)
            for one in (self.listener, *(caller.connection for caller in self.pending)):
                if one is not keep:
                    one.close()
            code = what()
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)  # What the template would do at its end is not a child's to do.

    def _reap(self) -> None:
        """Take note of children that ended; where a run has not ended with its process, another child reports it."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.reporters.discard(pid)
            run, code = self.runs.pop(pid, None), os.waitstatus_to_exitcode(status)
            if run is None or code == DONE:
                continue
            _say(f"The process {pid} of run {run.run_id} ended with code {code}.")
            with contextlib.suppress(OSError):  # Where it cannot be reported now, run monitoring will notice it.
                self.reporters.add(self._fork(partial(_report_death, run, pid, code)))

    def _end_runs(self) -> None:
        self.listener.close()
        began, told = time.monotonic(), False
        while (waited := time.monotonic() - began) < _LAST_SECONDS + _FIRST_SECONDS:
            self._reap()
            if not self.runs and not self.reporters:
                return
            if waited > _LAST_SECONDS or (waited > _FIRST_SECONDS and not told):
                for pid in self.runs:
                    os.kill(pid, signal.SIGKILL if told else signal.SIGINT)  # Ours, hence nobody else's until reaped.
                told = True
            time.sleep(0.05)


def refuse_what_forks_would_share(expected: set[int]) -> None:
    """Raise `NotForkable` where this process has a second thread, or a socket that is not one of `expected`."""
    threads = Path("/proc/self/task")
    count = len(list(threads.iterdir())) if threads.exists() else threading.active_count()
    if count != 1:
        raise NotForkable(f"Loading the code started {count - 1} threads, which a forked run would be without.")
    for number in range(3, os.sysconf("SC_OPEN_MAX") if not threads.exists() else 4096):
        if number not in expected:
            with contextlib.suppress(OSError):
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    raise NotForkable(
                        f"Loading the code opened a connection (descriptor {number}) that runs would share."
                    )


def main() -> None:
    """Start, or go on where the image before this one left off (its word is in the descriptor that is named)."""
    carried = _read(int(sys.argv[1])) if len(sys.argv) > 1 else Carried(_listen())
    template = Template(carried)
    template.prepare()
    template.serve()


def _listen() -> int:
    from orchestration.places import run_socket
    from orchestration.settings import load_settings

    path = run_socket(load_settings())
    if path is None:
        raise SystemExit("The setting `warm` is false: runs are started in Dagster's own way.")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    return listener.detach()


def _written(carried: Carried) -> IO[str]:
    memory = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the caller's
    json.dump(asdict(carried), memory)
    memory.seek(0)
    return memory


def _read(number: int) -> Carried:
    with os.fdopen(number) as memory:
        data: dict[str, Any] = json.load(memory)
    data["runs"] = {int(pid): Run(**run) for pid, run in data["runs"].items()}
    data["pending"] = {int(descriptor): said for descriptor, said in data["pending"].items()}
    for descriptor in (data["listener"], *data["pending"]):
        os.set_inheritable(descriptor, False)
    return Carried(**data)


def _report_death(run: Run, pid: int, code: int) -> int:
    from orchestration.run_worker import report_death

    return report_death(run.run_id, run.instance, pid, code)


def _stamp() -> str:
    """Tell one state of the code from another; nothing is told while what looks at it is broken itself."""
    try:
        from orchestration.preloading import stamp

        return stamp()
    except Exception:
        return ""


def _say(sentence: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}", flush=True)


if __name__ == "__main__":
    main()
