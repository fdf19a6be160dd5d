"""What the kernel tells of the landing folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from validation.watching import FolderWatch


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[FolderWatch]:
    watch = FolderWatch(tmp_path)
    yield watch
    watch.close()


def key(path: Path) -> str:
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}"


def test_nothing_happens(watch: FolderWatch) -> None:
    assert not watch.wait(0.01)
    assert watch.renamed_into_place() == []


def test_a_file_that_loses_its_temporary_name_is_told_once(watch: FolderWatch, tmp_path: Path) -> None:
    hidden = tmp_path / "a.csv.part"
    hidden.write_text("x")
    hidden.rename(tmp_path / "a.csv")
    assert watch.wait(5)
    assert watch.renamed_into_place() == [key(tmp_path / "a.csv")]
    assert watch.renamed_into_place() == []


def test_a_file_that_comes_from_outside_is_told(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    watch = FolderWatch(landing)
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "a.csv").rename(landing / "a.csv")
    assert watch.renamed_into_place() == [key(landing / "a.csv")]
    watch.close()


def test_one_that_is_written_there_or_renamed_there_is_not(watch: FolderWatch, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    assert watch.wait(5)
    assert watch.renamed_into_place() == []


def test_one_that_was_replaced_since_is_not(watch: FolderWatch, tmp_path: Path) -> None:
    (tmp_path / ".a.csv").write_text("x")
    (tmp_path / ".a.csv").rename(tmp_path / "a.csv")
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv").write_text("x")
    assert watch.renamed_into_place() == []


def test_temporary_names_are_never_in_place(watch: FolderWatch, tmp_path: Path) -> None:
    (tmp_path / ".a.csv").write_text("x")
    (tmp_path / ".a.csv").rename(tmp_path / "a.csv.tmp")
    assert watch.renamed_into_place() == []


def test_folders_of_sites_are_watched_as_they_come(watch: FolderWatch, tmp_path: Path) -> None:
    site = tmp_path / "nörth 'site'"
    site.mkdir()
    assert watch.wait(5)
    (site / ".a.csv").write_text("x")
    (site / ".a.csv").rename(site / "a.csv")
    assert watch.renamed_into_place() == [key(site / "a.csv")]


@pytest.mark.parametrize("name", ["rejected", ".hidden"])
def test_other_folders_are_not_watched(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    watch = FolderWatch(tmp_path)
    (folder / ".a.csv").write_text("x")
    (folder / ".a.csv").rename(folder / "a.csv")
    assert not watch.wait(0.05)
    watch.close()


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside, landing = tmp_path / "outside", tmp_path / "landing"
    outside.mkdir()
    landing.mkdir()
    (landing / "link").symlink_to(outside)
    watch = FolderWatch(landing)
    (outside / "a.csv").write_text("x")
    assert not watch.wait(0.05)
    watch.close()


def test_a_folder_that_is_missing_is_a_problem_until_it_comes(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    watch = FolderWatch(landing)
    assert watch.problem == "No such file or directory"
    assert not watch.wait(0.01)
    landing.mkdir()
    assert not watch.wait(0)
    assert watch.problem is None
    (landing / "a.csv").write_text("x")
    assert watch.wait(5)
    watch.close()


def test_what_is_moved_away_is_watched_no_more(tmp_path: Path) -> None:
    landing, elsewhere = tmp_path / "landing", tmp_path / "elsewhere"
    landing.mkdir()
    watch = FolderWatch(landing)
    landing.rename(elsewhere)
    landing.mkdir()
    assert watch.wait(5)
    watch.wait(0)
    (elsewhere / "a.csv").write_text("x")
    assert not watch.wait(0.05)
    (landing / "a.csv").write_text("x")
    assert watch.wait(5)
    watch.close()


def test_a_closed_watch_hears_nothing(watch: FolderWatch, tmp_path: Path) -> None:
    watch.close()
    assert watch.renamed_into_place() == []
