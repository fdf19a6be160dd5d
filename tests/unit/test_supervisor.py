"""The supervisor, with real processes: restarts, whole groups stopped, output kept, identities not mistaken."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from orchestration.supervisor import Identity, Part, Supervisor, stop_group

SLEEPS = "import time; print('here', flush=True); time.sleep(600)"
# A part that starts a process of its own, and tells its number.
HAS_A_CHILD = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPS!r}])
print(child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(said.append)
    yield supervisor
    supervisor.stop(patience=0.5)


def part(folder: Path, code: str, name: str = "part") -> Part:
    return Part(name, [sys.executable, "-c", code], dict(os.environ), folder, folder / "logs" / f"{name}.log")


def printed(folder: Path, name: str = "part") -> list[str]:
    log = folder / "logs" / f"{name}.log"
    return [json.loads(line)["message"] for line in log.read_text().splitlines()] if log.exists() else []


def pid(supervisor: Supervisor, name: str = "part") -> int:
    process = supervisor.children[name].process
    assert process is not None
    return process.pid


def test_a_part_writes_its_log_and_leads_its_own_session(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(part(tmp_path, SLEEPS))
    until(lambda: printed(tmp_path) == ["here"])
    assert os.getsid(pid(supervisor)) == pid(supervisor)
    assert not supervisor.watch()


def test_a_part_that_is_killed_is_said_and_started_again(
    supervisor: Supervisor, tmp_path: Path, said: list[str]
) -> None:
    supervisor.start(part(tmp_path, SLEEPS))
    first = pid(supervisor)
    os.kill(first, signal.SIGKILL)
    until(supervisor.watch)
    assert said == [
        f"The part was ended by SIGKILL; it is started again in 1 s. Its last words are in {tmp_path}/logs/part.log."
    ]
    until(supervisor.watch)
    assert said[1:] == ["The part was started again."]
    assert pid(supervisor) != first
    assert supervisor.children["part"].restarts == 1


def test_what_a_fallen_part_had_started_does_not_go_on_beside_the_new_one(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(part(tmp_path, HAS_A_CHILD))
    until(lambda: printed(tmp_path))
    grandchild = psutil.Process(int(printed(tmp_path)[0].split()[0]))
    os.kill(pid(supervisor), signal.SIGKILL)
    until(supervisor.watch)
    until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_each_fall_makes_the_pause_longer_up_to_a_limit(
    supervisor: Supervisor, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor.start(part(tmp_path, "raise SystemExit(7)"))
    child = supervisor.children["part"]
    pauses = []
    for _ in range(7):
        until(supervisor.watch)
        assert child.next_start is not None
        pauses.append(child.next_start - time.monotonic())
        child.next_start = time.monotonic()
        until(supervisor.watch)
    assert [round(pause) for pause in pauses] == [1, 2, 4, 8, 16, 30, 30]
    assert "ended with code 7" in said[0]
    # After a long time of health it is restarted quickly again.
    child.started -= 3600
    until(supervisor.watch)
    assert child.next_start is not None
    assert round(child.next_start - time.monotonic()) == 1


def test_stopping_ends_the_last_started_first_and_kills_whoever_does_not_listen(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append)
    supervisor.start(part(tmp_path, SLEEPS, "first"))
    supervisor.start(part(tmp_path, STUBBORN, "second"))
    for name in ("first", "second"):
        until(lambda name=name: printed(tmp_path, name) == ["here"])
    identities = [Identity.of(pid(supervisor, name)) for name in ("first", "second")]
    supervisor.stop(patience=8)
    assert said == ["The second did not stop within 8 s and was killed."]
    assert [identity.process() for identity in identities] == [None, None]
    assert not supervisor.watch(), "what was stopped is not started again"


def test_a_group_of_somebody_else_is_stopped_by_its_identity(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(part(tmp_path, STUBBORN))
    until(lambda: printed(tmp_path) == ["here"])
    identity = Identity.of(pid(supervisor))
    stop_group(Identity(identity.pid, identity.created - 3600), patience=0.2)
    assert identity.process() is not None, "a later process with that number is not touched"
    stop_group(identity, patience=0.2)
    until(lambda: identity.process() is None)


def test_an_identity_is_not_mistaken_for_another_process() -> None:
    me = Identity.of(os.getpid())
    assert me.process() is not None
    assert Identity(me.pid, me.created - 100).process() is None
    assert Identity(2**22 + 1, me.created).process() is None
