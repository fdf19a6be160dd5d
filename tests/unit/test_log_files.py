"""Log files: every line is one JSON object whatever is in it, none is lost or cut, and none grows beyond its bound."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.log_files import LogFile, line, record


def records(*files: Path) -> Iterator[dict[str, Any]]:
    for file in files:
        for text in file.read_bytes().split(b"\n")[:-1]:
            yield json.loads(text)


@given(st.text(st.characters()))
def test_no_text_breaks_a_line_or_forges_one(text: str) -> None:
    written = line(record("daemon", "info", text, name=text))
    assert written.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in written[:-1])
    read = json.loads(written)
    assert (read["part"], read["level"]) == ("daemon", "info")
    assert read["message"] == read["name"] == text.encode("utf-8", "backslashreplace").decode()


def test_a_lone_surrogate_is_shown_by_its_number() -> None:
    assert json.loads(line({"name": "caf\udce9"})) == {"name": r"caf\udce9"}


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log", limit_bytes=100, kept=3)
    for number in range(40):
        log.write({"number": number})
    files = sorted(tmp_path.iterdir(), reverse=True)
    assert [file.name for file in files] == ["x.log.2", "x.log.1", "x.log"]
    assert all(file.stat().st_size < 100 + len(line({"number": 39})) for file in files)
    numbers = [one["number"] for one in records(*files)]
    assert numbers == list(range(numbers[0], 40))


def _write_many(path: Path, writer: int) -> None:
    log = LogFile(path, limit_bytes=20_000, kept=1000)
    for number in range(500):
        log.write({"writer": writer, "number": number, "padding": "x" * (number % 300)})


def test_several_processes_write_and_rotate_at_once_and_no_line_is_lost_or_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path, writer)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    found = [(one["writer"], one["number"]) for one in records(*tmp_path.iterdir())]
    assert sorted(found) == [(writer, number) for writer in range(4) for number in range(500)]
    assert len(list(tmp_path.iterdir())) > 10
    assert max(file.stat().st_size for file in tmp_path.iterdir()) < 20_400


def test_a_line_that_does_not_fit_on_the_disk_is_taken_back_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFile(tmp_path / "x.log")
    log.write({"number": 1})
    write, calls = os.write, []

    def full(descriptor: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:5])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            log.write({"number": 2})
    log.write({"number": 3})
    assert [one["number"] for one in records(log.path)] == [1, 3]
