"""The log of events: a line per file and build that a machine reads, whatever a file is called."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestration.data_version import DataVersion
from orchestration.event_log import NAME, EventLog
from validation.landing import shown
from validation.outcomes import Account, Outcome, Problem

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def told(logs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (logs / NAME).read_bytes().split(b"\n")[:-1]]


def test_a_file_a_failure_and_a_build_are_a_line_each(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    loaded = Outcome(
        "loaded", "a.csv", "north", 123, "ab", 7, 9, WHEN, account=Account(5, 3, 1, 1), reject_counts={"no_time": 1},
        seconds=1.5, timed={"hash": 0.25, "read": 0.5},
    )  # fmt: skip
    log.file(loaded, "run-1")
    log.file_failed("b.csv", "Out of\nmemory.", "run-1")
    log.published(DataVersion(4, WHEN), {"models": 2.0, "checks": 0.5, "publish": 0.25}, "run-1")
    log.build_failed("A check failed.", "run-2")
    log.said("The daemon was started again.")
    file, failed, published, build, stack = told(tmp_path)
    assert {name: file[name] for name in ("event", "level", "run_id", "file_id", "name", "site", "state", "did")} == {
        "event": "file", "level": "info", "run_id": "run-1", "file_id": 7, "name": "a.csv", "site": "north",
        "state": "loaded", "did": "load",
    }  # fmt: skip
    assert [file[f"rows_{fate}"] for fate in ("read", "loaded", "rejected", "duplicate", "held")] == [5, 3, 1, 1, 0]
    assert file["seconds_by_stage"] == {"hash": 0.25, "read": 0.5, "load": 0.75}
    assert file["reject_counts"] == {"no_time": 1}
    assert file["message"] == loaded.sentence
    assert (failed["event"], failed["level"], failed["message"]) == ("file_failed", "error", r"Out of\nmemory.")
    assert (published["event"], published["data_version"], published["seconds"]) == ("published", 4, 2.75)
    assert published["published_at"] == "2026-01-02T03:04:05+00:00"
    assert (build["event"], build["level"]) == ("build_failed", "error")
    assert (stack["event"], stack["part"]) == ("stack", "keeper")
    assert all(one["time"].endswith("Z") for one in told(tmp_path))


def test_a_hostile_name_is_one_line(tmp_path: Path) -> None:
    name = shown('x\n{"event": "published"}\r\x1b[31m\x00\u2028caf\udce9".csv')
    refused = Outcome("quarantined", name, problem=Problem("empty", "It is empty.", "Send another."))
    EventLog(tmp_path).file(refused, "run-1")
    (one,) = told(tmp_path)
    assert (one["event"], one["level"], one["name"], one["problem"]) == ("file", "warning", name, "empty")
    assert all(0x20 <= byte < 0x7F for byte in (tmp_path / NAME).read_bytes()[:-1])


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    EventLog(tmp_path / "not there").said("Here.")
    assert not (tmp_path / "not there").exists()
