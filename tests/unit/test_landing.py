"""What in a folder counts as dropped, and when it counts as finished."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from validation.landing import LandingFolder, Stray, Waiting, ending_of, fitting, free_path, is_too_deep


@pytest.fixture
def folder(tmp_path: Path) -> LandingFolder:
    (tmp_path / "landing").mkdir()
    return LandingFolder(tmp_path / "landing", settle_seconds=3)


def put(folder: LandingFolder, name: str, content: bytes = b"x") -> Path:
    path = folder.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(found: list[Waiting]) -> set[str]:
    return {waiting.name for waiting in found}


class TestWhatCounts:
    def test_files_in_the_folder_and_in_the_folders_of_sites(self, folder: LandingFolder) -> None:
        for name in ("a.csv", "b.xlsx", "North/c.csv", "Süd/d.tsv", "North/deep/e.csv"):
            put(folder, name)
        found = {waiting.name: waiting for waiting in folder.look()}
        assert {name: waiting.site for name, waiting in found.items()} == {
            "a.csv": None,
            "b.xlsx": None,
            "North/c.csv": "North",
            "Süd/d.tsv": "Süd",
            "North/deep/e.csv": "North",
        }
        assert {name for name in found if is_too_deep(name)} == {"North/deep/e.csv"}

    @pytest.mark.parametrize(
        "name",
        [
            ".hidden.csv",
            ".git/x.csv",
            "x.csv.part",
            "x.csv.PART",
            "x.csv.filepart",
            "x.crdownload",
            "x.tmp",
            "x.csv~",
            "~$x.csv",
            ".x.csv.swp",
            "README.md",
            "x.csv.done",
            "Thumbs.db",
            "desktop.ini",
            "rejected/x.csv",
            "rejected/North/x.csv",
        ],
    )
    def test_what_is_no_drop(self, folder: LandingFolder, name: str) -> None:
        put(folder, name)
        assert folder.look() == []
        assert folder.settled() == []

    def test_a_folder_called_rejected_within_a_site_is_nothing_special(self, folder: LandingFolder) -> None:
        put(folder, "North/rejected/x.csv")
        assert names(folder.look()) == {"North/rejected/x.csv"}

    def test_links_pipes_and_sockets_are_not_read_but_told(self, folder: LandingFolder, tmp_path: Path) -> None:
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret" / "x.csv").write_text("x")
        (folder.folder / "file.csv").symlink_to(tmp_path / "secret" / "x.csv")
        (folder.folder / "folder").symlink_to(tmp_path / "secret")
        os.mkfifo(folder.folder / "pipe.csv")
        with socket.socket(socket.AF_UNIX) as server:
            descriptor = os.open(folder.folder, os.O_RDONLY)
            try:
                server.bind(f"/proc/self/fd/{descriptor}/socket.csv")
            finally:
                os.close(descriptor)
            assert folder.look() == []
            assert [stray.name for stray in folder.strays()] == ["file.csv", "folder", "pipe.csv", "socket.csv"]
        assert Stray("file.csv", "It is a link; links are not followed. Drop the file itself.") in folder.strays()

    def test_names_of_every_kind(self, folder: LandingFolder) -> None:
        put(folder, "two\nlines 'and' \"quotes\".csv")
        put(folder, "-rf.csv")
        (folder.folder / os.fsdecode(b"\xff.csv")).write_text("x")
        shown = {waiting.shown_name for waiting in folder.look()}
        assert shown == {"two\nlines 'and' \"quotes\".csv", "-rf.csv", "\\xff.csv"}
        assert all(name.encode() for name in shown)

    def test_the_oldest_come_first(self, folder: LandingFolder) -> None:
        for name, age in (("b.csv", 10), ("a.csv", 30), ("c.csv", 20)):
            os.utime(put(folder, name), (1_700_000_000 - age, 1_700_000_000 - age))
        assert [waiting.name for waiting in folder.look()] == ["a.csv", "c.csv", "b.csv"]

    def test_a_folder_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            LandingFolder(tmp_path / "nowhere").look()

    @pytest.mark.parametrize(
        ("name", "ending"),
        [("x.csv", ".csv"), ("x.CSV", ".csv"), ("x.tsv.gz", ".tsv.gz"), ("x.Txt.Gz", ".txt.gz"), ("x.gz", None),
         ("x.xlsx", None), ("csv", None), ("x.csv.zip", None)],
    )  # fmt: skip
    def test_endings(self, folder: LandingFolder, name: str, ending: str | None) -> None:
        assert ending_of(Waiting.at(put(folder, name), folder.folder).name) == ending

    def test_a_site_is_one_however_its_name_is_composed(self, folder: LandingFolder) -> None:
        put(folder, "Süd/x.csv")
        put(folder, "Su\N{COMBINING DIAERESIS}d/y.csv")
        assert {waiting.site for waiting in folder.look()} == {"Süd"}


class Looker:
    """Looks again and again; what is remembered goes through JSON, as in a sensor's cursor."""

    def __init__(self, folder: LandingFolder) -> None:
        self.folder = folder
        self.memory: dict[str, Any] = {}

    def at(self, now: float) -> set[str]:
        ready, memory = self.folder.ready(self.memory, now)
        self.memory = json.loads(json.dumps(memory))
        return names(ready)


class TestWhenItIsFinished:
    def test_after_two_looks_far_enough_apart(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        put(folder, "x.csv")
        assert [looker.at(now) for now in (100, 102.9, 103, 104)] == [set(), set(), {"x.csv"}, {"x.csv"}]

    def test_a_growing_file_waits(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        path = put(folder, "x.csv")
        for now in (100, 105, 110):
            assert looker.at(now) == set()
            with path.open("ab") as file:
                file.write(b"more")
        assert looker.at(115) == set()
        assert looker.at(118) == {"x.csv"}

    def test_size_and_time_of_change_may_lie(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        path = put(folder, "x.csv", b"half")
        status = path.stat()
        looker.at(100)
        path.write_bytes(b"full")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert looker.at(110) == set()
        assert looker.at(113) == {"x.csv"}

    def test_another_file_of_the_same_name_waits_anew(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        put(folder, "x.csv")
        looker.at(100)
        put(folder, "other").rename(folder.folder / "x.csv")
        assert looker.at(110) == set()

    @pytest.mark.parametrize("temporary", ["x.csv.part", ".x.csv.Ab3d"])
    def test_what_was_renamed_into_place_is_finished_at_once(self, folder: LandingFolder, temporary: str) -> None:
        looker = Looker(folder)
        path = put(folder, temporary)
        assert looker.at(100) == set()
        path.rename(folder.folder / "x.csv")
        assert looker.at(101) == {"x.csv"}
        # And stays finished for as long as nobody touches it.
        assert looker.at(102) == {"x.csv"}
        (folder.folder / "x.csv").write_bytes(b"again")
        assert looker.at(103) == set()

    def test_a_copy_of_a_temporary_file_is_not_finished_by_that(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        put(folder, "x.csv.part")
        looker.at(100)
        put(folder, "x.csv")
        assert looker.at(101) == set()

    def test_a_companion_says_that_it_is_finished(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        put(folder, "North/x.csv")
        put(folder, "North/x.csv.done", b"")
        assert looker.at(100) == {"North/x.csv"}

    def test_an_older_companion_says_nothing(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        put(folder, "x.csv.done", b"")
        path = folder.folder / "x.csv"
        while not path.exists() or path.stat().st_ctime_ns <= (folder.folder / "x.csv.done").stat().st_ctime_ns:
            path.write_bytes(b"x")  # until the clock of the file system has moved on
        assert looker.at(100) == set()

    def test_a_clock_that_was_set_back_only_delays(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        put(folder, "x.csv")
        looker.at(1000)
        assert [looker.at(now) for now in (500, 503)] == [set(), {"x.csv"}]

    def test_what_is_gone_is_forgotten(self, folder: LandingFolder) -> None:
        looker = Looker(folder)
        put(folder, "x.csv").unlink()
        put(folder, "y.csv.part").unlink()
        looker.at(100)
        assert looker.memory == {"seen": {}, "unfinished": []}

    def test_settled_looks_twice(self, folder: LandingFolder) -> None:
        put(folder, "x.csv")
        assert names(LandingFolder(folder.folder, settle_seconds=0.01).settled()) == {"x.csv"}


class TestDrop:
    def test_a_copy_appears_whole_and_is_recognised_as_finished(self, folder: LandingFolder, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes(b"content")
        waiting = folder.drop(tmp_path / "x.csv", "North")
        assert (waiting.name, waiting.site, waiting.path.read_bytes()) == ("North/x.csv", "North", b"content")
        assert (tmp_path / "x.csv").exists()

    def test_nothing_is_replaced(self, folder: LandingFolder, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes(b"new")
        put(folder, "x.csv", b"old")
        assert folder.drop(tmp_path / "x.csv").name == "x (2).csv"
        assert (folder.folder / "x.csv").read_bytes() == b"old"

    def test_a_failure_leaves_nothing_behind(self, folder: LandingFolder, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="missing"):
            folder.drop(tmp_path / "missing.csv")
        assert list(folder.folder.iterdir()) == []

    @pytest.mark.parametrize("site", ["", "..", "a/b", "rejected", ".hidden"])
    def test_impossible_sites(self, folder: LandingFolder, tmp_path: Path, site: str) -> None:
        (tmp_path / "x.csv").write_bytes(b"x")
        with pytest.raises(ValueError, match="cannot be the name of a site"):
            folder.drop(tmp_path / "x.csv", site)


class TestFreePath:
    def test_numbers_go_before_the_ending(self, tmp_path: Path) -> None:
        for name in ("x.csv.gz", "x (2).csv.gz"):
            (tmp_path / name).touch()
        (tmp_path / "y").symlink_to("nowhere")
        assert free_path(tmp_path / "x.csv.gz").name == "x (3).csv.gz"
        assert free_path(tmp_path / "y").name == "y (2)"
        assert free_path(tmp_path / "z.csv").name == "z.csv"

    def test_long_names_stay_possible(self, tmp_path: Path) -> None:
        name = "ü" * 125 + ".csv"
        (tmp_path / name).touch()
        free = free_path(tmp_path / name)
        free.touch()
        assert free.name.endswith(" (2).csv")

    def test_a_cut_name_is_still_a_name(self) -> None:
        assert len(os.fsencode(fitting("店" * 200, ".report.md"))) <= 255


def test_the_fingerprint_changes_with_the_file(folder: LandingFolder) -> None:
    path = put(folder, "x.csv")
    before = Waiting.at(path, folder.folder)
    assert Waiting.at(path, folder.folder).fingerprint == before.fingerprint
    path.write_bytes(b"other")
    assert Waiting.at(path, folder.folder).fingerprint != before.fingerprint
