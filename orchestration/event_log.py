"""What happened, for those who collect logs: a JSON line per file, per build, and per sentence of the stack's keeper.

All of it is also in the ledger, in Dagster and on the screen; here it is in one place that a log shipper can follow.
Any process may write, and none ever fails because it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from orchestration.data_version import DataVersion
from orchestration.log_files import Level, LogFile, record
from validation.outcomes import Outcome, on_one_line

NAME: Final = "footfall.log"


class EventLog:
    """The log `footfall.log` in a folder of logs."""

    def __init__(self, logs: Path) -> None:
        self._file = LogFile(logs / NAME)

    def file(self, outcome: Outcome, run_id: str) -> None:
        """Tell what became of a file."""
        rows = {} if outcome.account is None else asdict(outcome.account)
        self._write(
            "run",
            "warning" if outcome.state == "quarantined" else "info",
            outcome.sentence,
            event="file",
            run_id=run_id,
            file_id=outcome.file_id,
            sha256=outcome.sha256,
            name=outcome.name,
            site=outcome.site,
            state=outcome.state,
            did=outcome.correction.kind if outcome.correction else "load",
            size_bytes=outcome.size_bytes,
            batch_id=outcome.batch_id,
            arrived_at=outcome.arrived_at and outcome.arrived_at.isoformat(),
            **rows,
            reject_counts=dict(outcome.reject_counts),
            problem=outcome.problem and outcome.problem.code,
            seconds=round(outcome.seconds, 3),
            seconds_by_stage=_rounded(outcome.seconds_by_stage),
        )

    def file_failed(self, name: str, sentence: str, run_id: str) -> None:
        """Tell that nothing could be done with a file, and why."""
        self._write("run", "error", on_one_line(sentence), event="file_failed", run_id=run_id, name=name)

    def published(self, version: DataVersion, seconds_by_stage: Mapping[str, float], run_id: str) -> None:
        """Tell that a build has published a data version, and where its time went."""
        self._write(
            "run",
            "info",
            f"Data version {version.version} published.",
            event="published",
            run_id=run_id,
            data_version=version.version,
            published_at=version.published_at.isoformat(),
            seconds=round(sum(seconds_by_stage.values()), 3),
            seconds_by_stage=_rounded(seconds_by_stage),
        )

    def build_failed(self, sentence: str, run_id: str) -> None:
        """Tell that a build has published nothing because something failed."""
        self._write("run", "error", sentence, event="build_failed", run_id=run_id)

    def said(self, sentence: str) -> None:
        """Tell what the stack's keeper said."""
        self._write("keeper", "info", sentence, event="stack")

    def _write(self, part: str, level: Level, message: str, **more: Any) -> None:
        with suppress(OSError):
            self._file.write(record(part, level, message, **more))


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(value, 4) for stage, value in seconds.items()}
