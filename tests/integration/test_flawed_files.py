"""Ten flawed exports, dropped after four good Mondays: the one sentence that a manager reads of each."""

from __future__ import annotations

import dagster as dg

from orchestration.jobs import INGEST, REPORT, ingest_config
from orchestration.resources import Footfall
from tests.integration.flawed import FLAWED, history
from tests.integration.orchestrating import run_job
from warehouse.connections import Warehouse

# What a verdict begins with, and the words in which it says what is wrong.
VERDICTS = {
    "missing column.csv": ("Not usable", "is missing: camera_id"),
    "swapped day and month.csv": ("Not usable", "400 rows can only have the day first"),
    "wrong epoch unit.csv": ("Not usable", "rejected for times out of range."),
    "empty ids.csv": ("Not usable", "120 of 400 rows rejected (30 %) where at most 5 % are allowed."),
    "shifted columns.csv": ("Not usable", "rejected for a wrong number of cells."),
    "two headers.csv": ("Usable, with warnings", "1 rejected (0.1 %)"),
    "utf-16.csv": ("Usable", "400 of 400 rows loaded"),
    "truncated last line.csv": ("Usable, with warnings", "399 of 400 rows loaded, 1 rejected (0.2 %)"),
    "new event words.csv": ("Usable, with warnings", "200 rows have an event type that is not known"),
    "half the cameras silent.csv": (
        "Usable, with warnings",
        "cam-east, cam-west are silent in hours in which there usually are events.",
    ),
}


def test_a_manager_reads_in_one_sentence_what_is_wrong(
    footfall: Footfall, instance: dg.DagsterInstance, warehouse: Warehouse
) -> None:
    for name, content in history().items():
        (footfall.settings.landing / name).write_bytes(content)
    assert run_job(footfall, instance, INGEST, ingest_config(history(), quiet=True)).success
    for name, make in FLAWED.items():
        (footfall.settings.landing / name).write_bytes(make())
    assert run_job(footfall, instance, INGEST, ingest_config(FLAWED, quiet=True)).success
    assert run_job(footfall, instance, REPORT).success
    with warehouse.connect("loader") as connection:
        told = dict(
            connection.execute(
                "select file_name, verdict from raw.file_reports inner join raw.files using (file_id)"
            ).fetchall()
        )
    assert set(told) == set(FLAWED) | set(history())
    for name in history():
        assert told[name].startswith(f"Usable: {name}, 400 of 400 rows loaded, 0 rejected, 0 duplicates, in the marts ")
    for name, (headline, words) in VERDICTS.items():
        assert told[name].startswith(f"{headline}: {name}"), told[name]
        assert words in told[name], told[name]
    assert set(VERDICTS) == set(FLAWED)
