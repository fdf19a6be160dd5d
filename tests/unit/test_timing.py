"""Seconds by stage."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from validation.outcomes import Outcome
from validation.timing import Stopwatch


def slow(count: int) -> Iterator[int]:
    for number in range(count):
        time.sleep(0.02)
        yield number


def test_getting_and_working_are_told_apart() -> None:
    stopwatch = Stopwatch()
    for _ in stopwatch.drawing("read", slow(3)):
        with stopwatch.timing("validate"):
            time.sleep(0.05)
    assert 0.06 <= stopwatch.seconds["read"] < stopwatch.seconds["validate"]
    assert stopwatch.seconds["validate"] >= 0.15


def test_what_fails_is_counted_too() -> None:
    stopwatch = Stopwatch()
    with pytest.raises(ValueError, match="no"), stopwatch.timing("hash"):
        raise ValueError("no")
    assert stopwatch.seconds["hash"] >= 0


def test_stages_of_an_outcome_add_up_to_its_seconds() -> None:
    outcome = Outcome("loaded", "a.csv", seconds=2.0, timed={"hash": 0.25, "read": 0.25, "validate": 0.5})
    assert outcome.seconds_by_stage == {"hash": 0.25, "read": 0.25, "validate": 0.5, "load": 1.0}
    assert Outcome("gone", "a.csv").seconds_by_stage == {"load": 0.0}
