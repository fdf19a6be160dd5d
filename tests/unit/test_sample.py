"""The made-up export holds what its truth says: read back here by the plainest means, judged by the reference."""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.events import SECOND, Event, Store
from tests.reference.sessions import history_of
from validation.sample import SampleTruth, write_sample

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MISSING = {"", "null", "none", "nan", "n/a"}
FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S",
    "%d-%m-%Y %I:%M:%S %p",
    "%Y/%m/%d %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%Y%m%dT%H%M%SZ",
)


def micros(text: str, zone: ZoneInfo) -> int | None:
    """The moment in microseconds since 1970, read one text at a time; None for one that nobody can read."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        whole, _, part = text.partition(".")
        return int(whole) * 10 ** (16 - len(whole)) + int(f"{part:0<6}") if len(whole) <= 16 else int(whole) // 1000
    if re.fullmatch(r"\d\.\d{9}E\+09", text):
        return round(float(text)) * SECOND
    moment = None
    if re.match(r"\d{4}-\d\d-\d\dT", text):
        moment = datetime.fromisoformat(text.replace("000000+", "+"))
    elif "," in text:
        moment = parsedate_to_datetime(text)
    else:
        for pattern in FORMATS:
            try:
                moment = datetime.strptime(text, pattern).replace(tzinfo=UTC if pattern.endswith("Z") else zone)
                break
            except ValueError:
                continue
    return None if moment is None else (moment - EPOCH) // timedelta(microseconds=1)


@dataclass
class Found:
    """What is in a file, by the test's own reading."""

    records: list[list[str]]
    events: dict[tuple[object, ...], Event] = field(default_factory=dict)
    duplicates: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def read(path: Path, zone: str = "UTC") -> Found:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    header, *records = csv.reader(text.decode().splitlines(keepends=True), strict=True)
    found = Found(records)
    for record in records:
        reasons, event = judge(header, record, ZoneInfo(zone))
        if event is None:
            found.rejected += 1
            found.reasons.update(reasons)
        elif (key := (event.person_id, event.camera_id, event.time, event.end, record[3].lower())) in found.events:
            found.duplicates += 1
        else:
            found.events[key] = event
    return found


def judge(header: list[str], record: list[str], zone: ZoneInfo) -> tuple[list[str], Event | None]:
    if len(record) != len(header):
        return ["wrong_field_count"], None
    row = dict(zip(header, record, strict=True))
    times: dict[str, int | None] = {}
    required = ("timestamp", "person_id", "camera_id", "event_type")
    reasons = ["missing_value" for column in required if row[column].strip().lower() in MISSING]
    for column in ("timestamp", "end_time"):
        text = row[column].strip()
        if text.lower() in MISSING:
            continue
        if re.fullmatch(r"\d\.\d+E\+12", text):
            reasons.append("timestamp_too_coarse")
            continue
        times[column] = time = micros(text, zone)
        if time is None:
            reasons.append("timestamp_unreadable")
        elif not 2000 <= (EPOCH + timedelta(microseconds=time)).year <= 2026:
            reasons.append("timestamp_out_of_range")
    for column, longest in (("person_id", 100), ("camera_id", 50)):
        if len(row[column]) > longest:
            reasons.append("id_too_long")
        if re.search(r"[\x00-\x1f]", row[column]):
            reasons.append("control_characters")
    start, end = times.get("timestamp"), times.get("end_time")
    if start is not None and end is not None:
        if end < start:
            reasons.append("interval_negative")
        elif end - start > 366 * 86_400 * SECOND:
            reasons.append("interval_too_long")
    if reasons:
        return reasons, None
    assert start is not None
    word = row["event_type"].lower()
    kind = {"enter": "entry", "in": "entry", "leave": "exit", "out": "exit"}.get(word, word)
    return [], Event(
        event_id=uuid5(NAMESPACE_OID, repr((row["person_id"], row["camera_id"], word, start, end))),
        person_id=row["person_id"],
        camera_id=row["camera_id"],
        event_type=kind if kind in {"entry", "exit", "appearance"} else "other",  # type: ignore[arg-type]
        time=start,
        end=end,
    )


def recount(found: Found) -> SampleTruth:
    store = Store(tuple(found.events.values()))
    history = history_of(store)
    kinds = Counter(event.event_type for event in store.events)
    statuses = Counter(session.status for session in history.sessions)
    times = [event.time for event in store.events]
    anonymous = [event for event in store.events if store.is_anonymous(event)]
    return SampleTruth(
        rows=len(found.records),
        rejected=found.rejected,
        reject_reasons=dict(sorted(found.reasons.items())),
        duplicates=found.duplicates,
        events=len(store.events),
        entries=kinds["entry"],
        exits=kinds["exit"],
        appearances=kinds["appearance"],
        others=kinds["other"],
        repeats=len(history.repeats),
        anonymous_events=len(anonymous),
        persons=len({event.person_id for event in store.events} - {event.person_id for event in anonymous}),
        complete_sessions=statuses["complete"],
        open_sessions=statuses["open"],
        missing_exits=statuses["missing_exit"],
        unmatched_exits=len(history.unmatched_exits),
        dwell_microseconds=sum(session.dwell or 0 for session in history.sessions),
        first_event=EPOCH + timedelta(microseconds=min(times)),
        newest_event=EPOCH + timedelta(microseconds=max(times)),
    )


@pytest.mark.parametrize(
    ("rows", "days", "seed", "flaws"),
    [(12_000, 1, 1, True), (12_000, 3, 2, True), (6_000, 45, 3, True), (4_000, 2, 4, False), (40, 9, 5, True)],
)
def test_the_truth_is_what_is_in_the_file(tmp_path: Path, rows: int, days: int, seed: int, flaws: bool) -> None:
    truth = write_sample(tmp_path / "sample.csv", rows, days, seed, flaws=flaws)
    assert truth == recount(read(tmp_path / "sample.csv"))


@given(st.integers(1, 400), st.integers(1, 40), st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_size_has_exactly_its_rows_and_its_truth(
    tmp_path_factory: pytest.TempPathFactory, rows: int, days: int, seed: int, flaws: bool
) -> None:
    path = tmp_path_factory.mktemp("sample") / "sample.csv"
    truth = write_sample(path, rows, days, seed, flaws=flaws)
    found = read(path)
    assert len(found.records) == rows
    assert truth == recount(found)


def test_a_long_sample_has_every_kind_of_flaw(tmp_path: Path) -> None:
    truth = write_sample(tmp_path / "sample.csv", 12_000, 2, 7)
    assert set(truth.reject_reasons) == {
        "missing_value",
        "timestamp_unreadable",
        "timestamp_too_coarse",
        "timestamp_out_of_range",
        "id_too_long",
        "control_characters",
        "interval_negative",
        "interval_too_long",
        "wrong_field_count",
    }
    for kind in ("duplicates", "repeats", "anonymous_events", "others", "appearances", "open_sessions"):
        assert getattr(truth, kind) > 0, kind
    assert truth.missing_exits > 0
    assert truth.unmatched_exits > 0
    assert truth.rejected == 120
    found = read(tmp_path / "sample.csv")
    notes = {record[10] for record in found.records if len(record) == 11}
    assert any("\n" in note for note in notes)
    assert any('"' in note for note in notes)
    assert any("," in note for note in notes)
    shapes = {re.sub(r"[A-Za-z]+", "a", re.sub(r"\d", "0", record[0])) for record in found.records}
    assert len(shapes) > 18
    store = Store(tuple(found.events.values()))
    times = [event.time for event in store.events]
    assert times != sorted(times)
    dwells = [session.dwell for session in history_of(store).sessions]
    assert 0 in dwells
    by_instant = Counter((e.person_id, e.camera_id, e.time, e.event_type) for e in store.events)
    reentries = [key for key in by_instant if key[3] == "exit" and by_instant[(*key[:3], "entry")]]
    assert len(reentries) > dwells.count(0), "someone comes in again in the instant of leaving"


def test_people_come_back_on_other_days(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample.csv", 8_000, 4, 1)
    days: dict[str, set[int]] = {}
    for event in read(tmp_path / "sample.csv").events.values():
        days.setdefault(event.person_id, set()).add(event.time // (86_400 * SECOND))
    regulars = sum(len(of_person) > 1 for of_person in days.values())
    assert 0.2 < regulars / len(days) < 0.8


def test_without_flaws_every_row_is_a_named_persons_event_in_order(tmp_path: Path) -> None:
    truth = write_sample(tmp_path / "sample.csv", 5_000, 2, 11, flaws=False)
    assert truth.events == truth.rows == 5_000
    assert truth.rejected == truth.duplicates == truth.repeats == truth.anonymous_events == 0
    assert truth.open_sessions == truth.missing_exits == truth.unmatched_exits == 0
    found = read(tmp_path / "sample.csv")
    times = [event.time for event in found.events.values()]
    assert times == sorted(times)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3})?", record[0]) for record in found.records)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("a.csv", "b.csv", "c.csv"))
    assert write_sample(first, 2_000, 3, 5) == write_sample(second, 2_000, 3, 5)
    assert first.read_bytes() == second.read_bytes()
    write_sample(other, 2_000, 3, 6)
    assert other.read_bytes() != first.read_bytes()


def test_a_name_ending_in_gz_is_compressed(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.csv", 500, 1, 5)
    write_sample(tmp_path / "b.csv.gz", 500, 1, 5)
    write_sample(tmp_path / "c.csv.gz", 500, 1, 5)
    assert gzip.decompress((tmp_path / "b.csv.gz").read_bytes()) == (tmp_path / "a.csv").read_bytes()
    assert (tmp_path / "b.csv.gz").read_bytes() == (tmp_path / "c.csv.gz").read_bytes()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
def test_local_times_are_of_the_zone_asked_for(tmp_path: Path, zone: str) -> None:
    # The days around a change of clocks in each of the two zones that have one.
    for last_day in (date(2025, 3, 10), date(2025, 4, 7), date(2025, 11, 3)):
        truth = write_sample(tmp_path / "sample.csv", 3_000, 3, 2, timezone=zone, last_day=last_day)
        assert truth == recount(read(tmp_path / "sample.csv", zone))
        assert truth.newest_event is not None
        assert truth.newest_event.astimezone(ZoneInfo(zone)).date() == last_day


def test_a_file_is_there_only_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen_while_writing(*_: object) -> str:
        assert [path.name for path in tmp_path.iterdir()] == [".sample.csv.part"]
        raise OSError("No space left on device")

    monkeypatch.setattr("validation.sample.quoted", seen_while_writing)
    with pytest.raises(OSError, match="No space left"):
        write_sample(tmp_path / "sample.csv", 100, 1, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "days", "sentence"),
    [
        (0, 1, "at least one row and one day, not 0 rows"),
        (5, 0, "at least one row and one day, not 5 rows over 0 days"),
        (5, 20_000, "would begin before 2000-01-02"),
    ],
)
def test_impossible_numbers_are_refused_in_a_sentence(tmp_path: Path, rows: int, days: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        write_sample(tmp_path / "sample.csv", rows, days, 1)
    assert list(tmp_path.iterdir()) == []
