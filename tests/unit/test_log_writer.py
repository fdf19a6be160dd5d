"""What parts print becomes JSON lines: real processes, real pipes, and each of the processes killed in turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestration.log_files import LogFile
from orchestration.log_writer import LONGEST, LogWriter, Source
from orchestration.settings import PROJECT

CRASH = """Traceback (most recent call last):
  File "x.py", line 3, in <module>
    1 / 0
ZeroDivisionError: division by zero

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "x.py", line 5, in <module>
    raise ValueError('a')
ValueError: a
"""
DAGSTERS = "2026-01-02 03:04:05 +0000 - dagster.daemon - {level} - {message}"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_bytes().split(b"\n")[:-1]]


def heard(tmp_path: Path, *chunks: bytes | str) -> list[dict[str, Any]]:
    """The records of what is heard at once."""
    source = Source("part", LogFile(tmp_path / "part.log"))
    for chunk in chunks:
        source.hear(chunk if isinstance(chunk, bytes) else chunk.encode())
    source.settle()
    source.write()
    return lines(tmp_path / "part.log")


@pytest.fixture
def writer() -> Iterator[LogWriter]:
    writer = LogWriter()
    yield writer
    writer.stop()


def test_a_line_of_dagsters_gives_its_level_and_logger(tmp_path: Path) -> None:
    coloured = (
        "\x1b[32m2026-01-02 03:04:05 +0000\x1b[0m - dagster.daemon - \x1b[34mWARNING\x1b[0m - \x1b[33mlook\x1b[0m\n"
    )
    (one,) = heard(tmp_path, coloured)
    assert {**one, "time": None} == {
        "time": None, "part": "part", "level": "warning", "logger": "dagster.daemon", "message": "look",
    }  # fmt: skip
    assert abs(time.time() - datetime.fromisoformat(one["time"]).timestamp()) < 60


def test_a_traceback_stays_with_its_message_and_the_next_line_does_not(tmp_path: Path) -> None:
    told = DAGSTERS.format(level="ERROR", message="bad") + "\n" + CRASH
    one, two, three = heard(tmp_path, told + DAGSTERS.format(level="INFO", message="on") + "\n", "04:10:26  dbt\n")
    assert (one["level"], one["message"]) == ("error", f"bad\n{CRASH}".strip())
    assert (two["level"], two["message"]) == ("info", "on")
    assert three["message"] == "04:10:26  dbt"


def test_a_crash_without_a_word_before_it_is_an_error(tmp_path: Path) -> None:
    (one,) = heard(tmp_path, CRASH)
    assert (one["level"], one["message"]) == ("error", CRASH.strip())


def test_uvicorns_lines_give_their_level(tmp_path: Path) -> None:
    one, two = heard(tmp_path, "INFO:     Started server process [7]\nERROR:root:no\n")
    assert (one["level"], one["message"]) == ("info", "Started server process [7]")
    assert (two["level"], two["logger"], two["message"]) == ("error", "root", "no")


@pytest.mark.parametrize(
    "hostile",
    [
        b'evil", "level": "critical\n',
        b'{"time": "1970", "part": "keeper", "level": "critical", "message": "forged"}\n',
        b"a\x00b\x1b]0;title\x07c\x7fd\x85e\xe2\x80\xa8f\xffg\r\n",
        b"\xed\xa0\x80 half a pair\n",
    ],
)
def test_hostile_output_is_one_object_of_its_own_part(tmp_path: Path, hostile: bytes) -> None:
    (one,) = heard(tmp_path, hostile)
    assert (one["part"], one["level"]) == ("part", "info")
    assert one["time"] > "2026"
    assert all(0x20 <= byte < 0x7F for byte in (tmp_path / "part.log").read_bytes()[:-1])


def test_an_endless_line_is_told_in_pieces_of_which_none_is_lost(tmp_path: Path) -> None:
    found = heard(tmp_path, "x" * (2 * LONGEST + 7))
    assert [len(one["message"]) for one in found] == [LONGEST, LONGEST, 7]


def test_what_cannot_be_written_is_counted_and_told_of_later(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    source = Source("part", LogFile(folder / "part.log"))
    for text in (b"one\n", b"two\n"):
        source.hear(text)
        source.settle()
        source.write()
    folder.mkdir()
    source.hear(b"three\n")
    source.settle()
    source.write()
    assert [one["message"] for one in lines(folder / "part.log")] == ["2 messages could not be written here.", "three"]


def test_what_several_parts_print_comes_into_their_logs_and_all_of_it(writer: LogWriter, tmp_path: Path) -> None:
    prints = "for number in range(20000): print(f'04:10:26 {number}')"
    parts = [
        subprocess.Popen([sys.executable, "-c", prints], stdout=writer.pipe_for(name, tmp_path / f"{name}.log"))
        for name in ("one", "two")
    ]
    assert [part.wait() for part in parts] == [0, 0]
    process = writer.process
    assert process is not None
    writer.stop()
    assert process.returncode == 0, "it ends by itself"
    for name in ("one", "two"):
        told = lines(tmp_path / f"{name}.log")
        assert [one["message"] for one in told] == [f"04:10:26 {number}" for number in range(20000)]
        assert {one["part"] for one in told} == {name}


def test_a_writer_that_is_killed_is_replaced_and_its_parts_go_on(writer: LogWriter, tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    pipe = writer.pipe_for("part", log)
    os.write(pipe, b"before\n")
    until(lambda: lines(log))
    assert writer.process is not None
    writer.process.kill()
    writer.process.wait()
    os.write(pipe, b"meanwhile\n")
    writer.watch()
    os.write(writer.pipe_for("part", log), b"04:00:00 after\n")
    until(lambda: len(lines(log)) == 3)
    assert [one["message"] for one in lines(log)] == ["before", "meanwhile", "04:00:00 after"]


def test_a_part_outlives_its_keeper_and_its_last_words_are_kept(tmp_path: Path) -> None:
    """As when `footfall up` is killed: parts have seconds left, in which they print and must not fall over that."""
    part = "import time; print('here', flush=True); time.sleep(3); print('last words', flush=True)"
    keeper = (
        "import subprocess, sys, time; from pathlib import Path; from orchestration.log_writer import LogWriter\n"
        "writer = LogWriter(); log = Path(sys.argv[1])\n"
        f"part = subprocess.Popen([sys.executable, '-c', {part!r}], stdout=writer.pipe_for('part', log))\n"
        "print(part.pid, writer.process.pid, flush=True); time.sleep(600)"
    )
    log = tmp_path / "part.log"
    command = [sys.executable, "-c", keeper, str(log)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child, writes = (psutil.Process(int(number)) for number in process.stdout.readline().split())
        until(lambda: lines(log))
        writes.send_signal(signal.SIGTERM)  # as everybody is told who is asked to stop
        process.kill()
    assert child.is_running()
    until(lambda: not writes.is_running() or writes.status() == psutil.STATUS_ZOMBIE)
    assert [one["message"] for one in lines(log)] == ["here", "last words"]


def test_nothing_is_done_while_nobody_prints(writer: LogWriter, tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    os.write(writer.pipe_for("part", log), b"here\n")
    until(lambda: lines(log))
    assert writer.process is not None
    process = psutil.Process(writer.process.pid)
    time.sleep(0.5)
    before = process.cpu_times()
    time.sleep(1)
    assert process.cpu_times() == before
    assert "pandas" not in " ".join(one.path for one in process.memory_maps())
    assert process.memory_info().rss < 40_000_000
