"""Reader and cleaner find in a sample what its truth says, reason by reason."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from validation.cleaning import Cleaner, time_columns
from validation.matching import match
from validation.problems import Reject
from validation.profiles import load_profiles
from validation.reading import open_source
from validation.rules import LoadingRules
from validation.sample import write_sample
from validation.timestamps import DateEvidence, decide, survey

ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)


def clean(path: Path, rules: LoadingRules) -> tuple[pa.Table, list[Reject]]:
    source = open_source(path)
    found = match(source.header, load_profiles(None))
    evidence = DateEvidence()
    for chunk in source.chunks():
        evidence += survey(*(chunk.table[column] for column in time_columns(found)))
    order, _ = decide(evidence, rules.date_order)
    cleaner = Cleaner(found, rules, [], None, ARRIVED, order)
    cleaned = [cleaner.clean(chunk) for chunk in source.chunks(rows=1_000)]
    return pa.concat_tables(part.events for part in cleaned), [reject for part in cleaned for reject in part.rejects]


@pytest.mark.parametrize(("zone", "last_day"), [("UTC", date(2025, 11, 30)), ("America/New_York", date(2025, 11, 3))])
def test_the_cleaner_finds_the_truth(tmp_path: Path, zone: str, last_day: date) -> None:
    truth = write_sample(tmp_path / "sample.csv", 12_000, 3, 21, timezone=zone, last_day=last_day)
    table, rejects = clean(tmp_path / "sample.csv", LoadingRules(default_timezone=zone))
    assert Counter(reject.code for reject in rejects) == truth.reject_reasons
    assert len({reject.row_number for reject in rejects}) == truth.rejected
    events = {row["event_id"]: row for row in table.to_pylist()}
    assert table.num_rows == truth.events + truth.duplicates
    assert len(events) == truth.events
    kinds = Counter(row["event_type"] for row in events.values())
    assert kinds == {
        "entry": truth.entries,
        "exit": truth.exits,
        "appearance": truth.appearances,
        "other": truth.others,
    }
    times = [row["event_time"] for row in events.values()]
    assert (min(times), max(times)) == (truth.first_event, truth.newest_event)
    assert all(row["end_time"] for row in events.values() if row["event_type"] == "appearance")
