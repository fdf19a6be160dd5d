"""An outcome as the columns of `raw.files` in which it is kept, and back. No statements: those are in `ledger`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from validation.outcomes import Account, Detected, Original, Outcome
from validation.problems import Notice
from validation.storable import storable, storable_json


def columns_of(outcome: Outcome, *, held: bool) -> dict[str, Any]:
    """Give what the ledger keeps of an outcome, by column; `held`: none of its rows is loaded."""
    detected, account, problem = outcome.detected, outcome.account, outcome.problem
    return {
        "site": outcome.site and storable(outcome.site),
        "batch_id": outcome.batch_id,
        "repairs_file_id": outcome.repairs and outcome.repairs.file_id,
        "profile": detected.profile,
        "encoding": detected.encoding,
        "compression": detected.compression,
        "delimiter": detected.delimiter,
        "line_ending": detected.line_ending,
        "date_order": detected.date_order,
        "header": storable_json(detected.header),
        "time_formats": storable_json(detected.time_formats),
        "profile_fingerprint": detected.profile_fingerprint,
        "local_zones": None if detected.local_zones is None else storable_json(detected.local_zones),
        "rows_read": account and account.rows_read,
        "rows_loaded": account.rows_loaded if account and not held else None,
        "rows_rejected": account and account.rows_rejected,
        "rows_duplicate": account and account.rows_duplicate,
        "rows_held": account.rows_held if account and held else None,
        "first_event_time": outcome.first_event_time,
        "last_event_time": outcome.last_event_time,
        "reject_counts": storable_json(outcome.reject_counts),
        "notices": storable_json([asdict(notice) for notice in outcome.notices]),
        "seconds": outcome.seconds,
        "stage_seconds": storable_json(outcome.seconds_by_stage),
        "error_code": problem and problem.code,
        "error": problem and storable(f"{problem.sentence} {problem.advice}".strip()),
    }


def outcome_of(row: Mapping[str, Any], repairs: Original | None) -> Outcome:
    """Tell what became of a content by its row in the ledger."""
    counts = {name: row[name] or 0 for name in ("rows_loaded", "rows_rejected", "rows_duplicate", "rows_held")}
    return Outcome(
        state=row["state"] if row["state"] in {"loaded", "retracted"} else "quarantined",
        name=row["file_name"],
        site=row["site"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        file_id=row["file_id"],
        batch_id=row["batch_id"],
        arrived_at=row["arrived_at"],
        repairs=repairs,
        account=None if row["rows_read"] is None else Account(row["rows_read"], **counts),
        first_event_time=row["first_event_time"],
        last_event_time=row["last_event_time"],
        detected=Detected(
            row["profile"],
            row["encoding"],
            row["compression"],
            row["delimiter"],
            row["line_ending"],
            row["date_order"],
            tuple(row["header"] or ()),
            row["time_formats"] or {},
            row["profile_fingerprint"],
            row["local_zones"],
        ),
        reject_counts=row["reject_counts"] or {},
        notices=tuple(Notice(**notice) for notice in row["notices"] or ()),
        seconds=row["seconds"] or 0.0,
    )
