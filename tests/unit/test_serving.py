"""How values are written and drawn for people, and by which name a server may be called."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from itertools import pairwise

import pytest

from orchestration.settings import PROJECT
from serving.drawing import HEIGHT, WIDTH, bars
from serving.guard import host_of
from serving.rendering import duration, error_page, percent, visible
from validation import outcomes


@pytest.mark.parametrize("share", [0, 0.0001, 0.0005, 0.004, 0.012, 0.1, 0.5, 0.9994, 0.9996, 1])
def test_a_share_is_written_as_in_reports(share: float) -> None:
    assert percent(share) == outcomes.percent(share)


@pytest.mark.parametrize("text", ["plain", "a\nb\tc", "\x00\x1b[31m", "\u202egpj.exe", "ünïcode 日本", "\u2028"])
def test_hostile_text_is_made_visible_as_in_reports(text: str) -> None:
    assert visible(text) == outcomes.on_one_line(text)
    assert visible(text).isprintable()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "less than a minute"),
        (59.9, "less than a minute"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (86_399, "23 hours"),
        (86_400, "1 day"),
        (5.9 * 86_400, "5 days"),
        (1200 * 86_400, "1,200 days"),
    ],
)
def test_a_duration_is_told_in_the_largest_unit_that_it_fills(seconds: float, said: str) -> None:
    assert duration(timedelta(seconds=seconds)) == said


def test_bars_stand_beside_each_other_within_the_chart() -> None:
    drawn = bars(
        [(date(2024, 6, day), loaded, rejected) for day, loaded, rejected in ((1, 0, 0), (2, 1000, 1), (3, 500, 500))]
    )
    nothing, tall, halves = drawn
    assert (nothing.loaded_height, nothing.rejected_height) == (0, 0)
    assert tall.rejected_height > 1, "one row of a thousand is seen"
    assert halves.loaded_height == halves.rejected_height == pytest.approx(HEIGHT / 2, abs=1)
    assert halves.rejected_y == pytest.approx(halves.loaded_y - halves.rejected_height)
    for bar in drawn:
        assert bar.rejected_y >= 0
        assert bar.loaded_y + bar.loaded_height == HEIGHT
    assert [bar.x + bar.width < after.x for bar, after in pairwise(drawn)] == [True, True]
    assert drawn[-1].x + drawn[-1].width <= WIDTH


def test_a_chart_of_nothing_has_no_heights() -> None:
    assert [bar.loaded_height for bar in bars([(date(2024, 6, 1), 0, 0)])] == [0]
    assert bars([]) == []


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8000", "localhost"),
        ("LocalHost", "localhost"),
        ("shop.example.:80", "shop.example"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("10.0.0.7:8000", "10.0.0.7"),
        ("localhost:8000@evil.example", "localhost"),
        ("evil.example:127.0.0.1", "evil.example"),
        ("", ""),
    ],
)
def test_the_name_that_a_server_is_called_by(header: str, name: str) -> None:
    assert host_of(header) == name


def test_what_went_wrong_is_told_without_its_markup() -> None:
    answer = bytes(error_page(400, "<b>No</b>", "It was called by “<script>alert(1)</script>\n”.").body).decode()
    assert "<script>" not in answer
    assert "<b>No" not in answer
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\n" in answer


def test_the_process_of_the_pages_loads_nothing_heavy() -> None:
    heavy = (
        "dagster",
        "pandas",
        "numpy",
        "sqlalchemy",
        "alembic",
        "great_expectations",
        "matplotlib",
        "dbt",
        "pyarrow",
    )
    code = f"import sys, orchestration.pages; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
