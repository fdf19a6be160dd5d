"""A sample, from the file to the marts: every figure of its truth is found there."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import pytest

from tests.integration.dropping import Dropping
from tests.integration.modelling import Models
from validation.sample import write_sample
from warehouse.connections import Warehouse

COUNTS = """
    select
        (select count(*) from marts.camera_events),
        (select count(*) from marts.camera_events where is_entry),
        (select count(*) from marts.camera_events where is_exit),
        (select count(*) from marts.camera_events where event_type = 'appearance'),
        (select count(*) from marts.camera_events where event_type = 'other'),
        (select count(*) from marts.camera_events where is_repeat),
        (select count(*) from marts.camera_events where is_anonymous),
        (select unique_visitors from marts.kpis),
        (select count(*) from marts.person_sessions where status = 'complete'),
        (select count(*) from marts.person_sessions where status = 'open'),
        (select count(*) from marts.person_sessions where status = 'missing_exit'),
        (select count(*) from marts.unmatched_exits),
        (select round(sum(dwell_seconds)::numeric, 3) from marts.person_sessions),
        (select round(sum(dwell_seconds_total)::numeric, 3) from marts.camera_hourly),
        (select round(sum(dwell_seconds_total)::numeric, 3) from marts.site_daily),
        (select min(event_time) from marts.camera_events),
        (select max(event_time) from marts.camera_events)
"""


@pytest.mark.parametrize(("rows", "days", "zone"), [(9_000, 3, "UTC"), (3_000, 1, "America/New_York")])
def test_a_sample_comes_out_as_its_truth_says(
    warehouse: Warehouse, tmp_path: Path, rows: int, days: int, zone: str
) -> None:
    truth = write_sample(tmp_path / "sample.csv", rows, days, 77, timezone=zone)
    (tmp_path / "landing").mkdir()
    dropping = Dropping(warehouse, tmp_path / "home", tmp_path / "landing", now=datetime(2026, 1, 1, tzinfo=UTC))
    dropping = dropping.with_rules(default_timezone=zone)
    outcome = dropping.load((tmp_path / "sample.csv").read_bytes())
    account = outcome.account
    assert (account.rows_read, account.rows_loaded) == (truth.rows, truth.events)
    assert (account.rows_rejected, account.rows_duplicate) == (truth.rejected, truth.duplicates)
    assert outcome.reject_counts == truth.reject_reasons
    dropping.accounts_add_up()

    models = Models(warehouse)
    models.set_parameters(default_timezone=zone)
    models.build()
    models.close()
    dwell = Fraction(truth.dwell_microseconds, 1_000_000)
    with warehouse.connect("bi_reader") as connection:
        found = connection.execute(COUNTS).fetchone()
    assert found == (
        truth.events,
        truth.entries,
        truth.exits,
        truth.appearances,
        truth.others,
        truth.repeats,
        truth.anonymous_events,
        truth.persons,
        truth.complete_sessions,
        truth.open_sessions,
        truth.missing_exits,
        truth.unmatched_exits,
        dwell,
        dwell,
        dwell,
        truth.first_event,
        truth.newest_event,
    )
