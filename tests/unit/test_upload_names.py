"""Which names an upload may have: none that the landing folder would not take, none that leads elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import upload_names
from serving.api.problems import Problem
from serving.upload_names import LONGEST, checked_name, checked_site
from validation import landing
from validation.landing import LandingFolder, ending_of, is_temporary, site_of

GOOD = ["x.csv", "X.CSV", "a b.tsv", "-rf.txt", "ünïcode 日本.csv.gz", "e\u0301.csv", "x.y.Txt.gz", "'\"<b>&;$(id).csv"]
BAD = [
    "",
    " ",
    ".",
    "..",
    "x",
    "x.csv/",
    "/x.csv",
    "../x.csv",
    "a/x.csv",
    "a\\x.csv",
    "C:\\x.csv",
    ".x.csv",
    ".csv",
    "~x.csv",
    "~$x.csv",
    "x.csv\0",
    "x\0.csv",
    "x\n.csv",
    "x\x1b.csv",
    "x\x7f.csv",
    "x\x85.csv",
    "x\u2028.csv",
    "x\u202e.csv",
    "x\udc80.csv",
    "x.csv.part",
    "x.csv.done",
    "x.csv~",
    "x.xlsx",
    "x.csv.zip",
    "x.md",
    "x.csv ",
    "thumbs.db",
    "a" * (LONGEST - 3) + ".csv",
    "ü" * 100 + ".csv",
]
BAD_SITES = ["", " ", ".", "..", "rejected", "Rejected", ".hidden", "a/b", "a\\b", "a\0", "a\nb", "\udc80", "ü" * 101]


def test_the_endings_are_those_of_the_landing_folder() -> None:
    assert upload_names.ENDINGS == landing.ENDINGS


@pytest.mark.parametrize("name", [*GOOD, "a" * (LONGEST - 4) + ".csv"])
def test_a_good_name_is_kept_as_given_and_taken_by_the_landing_folder(tmp_path: Path, name: str) -> None:
    assert checked_name(name) == name
    (tmp_path / name).write_bytes(b"x")
    assert [waiting.name for waiting in LandingFolder(tmp_path).look()] == [name]
    assert ending_of(name) is not None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_refused_with_a_word_on_what_would_be_right(name: str) -> None:
    with pytest.raises(Problem) as caught:
        checked_name(name)
    (error,) = caught.value.errors
    assert (caught.value.status, error.field) == (400, "name")
    assert caught.value.detail.isprintable()
    assert ".csv.gz" in error.expected


@given(st.text(max_size=12), st.sampled_from(upload_names.ENDINGS))
def test_whatever_is_let_in_is_a_drop_under_its_own_name(stem: str, ending: str) -> None:
    name = stem + ending
    try:
        checked_name(name)
    except Problem:
        return
    assert Path("landing", name).parent == Path("landing")
    assert not is_temporary(name)
    assert ending_of(name) is not None
    assert name.encode().decode() == name


@pytest.mark.parametrize("site", ["a", "Berlin Mitte", "7", "~home", "日本", "e\u0301"])
def test_a_site_that_may_be_is_the_one_that_the_landing_folder_finds(tmp_path: Path, site: str) -> None:
    (tmp_path / checked_site(site)).mkdir()
    (tmp_path / checked_site(site) / "x.csv").write_bytes(b"x")
    (waiting,) = LandingFolder(tmp_path).look()
    assert waiting.site == checked_site(site) == site_of(f"{site}/x.csv")


@pytest.mark.parametrize("site", BAD_SITES)
def test_a_site_that_cannot_be_is_refused(site: str) -> None:
    with pytest.raises(Problem) as caught:
        checked_site(site)
    assert (caught.value.status, caught.value.errors[0].field) == (400, "site_id")
