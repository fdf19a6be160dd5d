"""The list of expectations, which must be cheap to read, and how many runs' pages are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from validation.data_docs import prune_docs
from validation.expectations import EXPECTATIONS
from validation.expected_rows import NewFiles, rows_of

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["expectations", "expected_rows", "expecting", "data_docs"])
def test_great_expectations_is_imported_by_judging_alone(module: str) -> None:
    asked = f"import sys, validation.{module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", asked], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert f"validation.{module}" in loaded
    assert not loaded & {"great_expectations", "sqlalchemy", "pandas", "jinja2"}


def test_each_expectation_is_known_by_its_name() -> None:
    names = [one.name for one in EXPECTATIONS]
    assert len(names) == len(set(names))
    for one in EXPECTATIONS:
        assert one.title.endswith("."), one.name
        assert one.nothing.endswith("."), one.name
        assert one.shown, one.name


def test_raw_tables_are_read_by_who_may_and_marts_by_their_reader() -> None:
    roles = {one.schema: rows_of(one.rows, NewFiles((1, 2), (7,))).role for one in EXPECTATIONS}
    assert roles == {"raw": "transformer", "marts": "bi_reader"}


def test_the_pages_of_the_newest_runs_are_kept(tmp_path: Path) -> None:
    for age, name in enumerate(["newest", "new", "old", "oldest"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name)
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "a file").write_text("not a run")
    elsewhere = tmp_path.with_name("elsewhere")
    elsewhere.mkdir()
    (tmp_path / "a link").symlink_to(elsewhere)

    assert prune_docs(tmp_path, 2) == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a file", "a link", "new", "newest"]
    assert prune_docs(tmp_path, 2) == 0
    assert elsewhere.is_dir()


def test_without_pages_there_is_nothing_to_remove(tmp_path: Path) -> None:
    assert prune_docs(tmp_path / "none", 3) == 0
