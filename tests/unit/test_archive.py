"""Copies under the hash of their content: whole, durable, and never of a file that is still being written."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from pathlib import Path

import pytest

from validation.archive import Archive, Gone, StillBeingWritten, is_still
from validation.landing import Waiting

CONTENT = os.urandom(3 * 2**20)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    (tmp_path / "home").mkdir()
    return Archive(tmp_path / "home" / "archive")


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    (tmp_path / "landing").mkdir()
    path = tmp_path / "landing" / "x.csv"
    path.write_bytes(CONTENT)
    return Waiting.at(path, tmp_path / "landing")


def files(archive: Archive) -> list[Path]:
    return [path for path in archive.folder.rglob("*") if path.is_file()]


def test_a_file_is_kept_under_its_hash(archive: Archive, waiting: Waiting) -> None:
    heard: list[int] = []
    taken = archive.take(waiting, heard.append)

    assert taken.sha256 == DIGEST
    assert taken.path == archive.folder / DIGEST[:2] / f"{DIGEST}.csv" == archive.find(DIGEST)
    assert taken.path.read_bytes() == CONTENT
    assert files(archive) == [taken.path]
    assert heard[-1] == len(CONTENT)
    assert stat.S_IMODE(taken.path.stat().st_mode) == 0o600  # it holds data about persons
    assert waiting.path.exists()


def test_the_same_content_is_kept_once_whatever_it_is_called(archive: Archive, waiting: Waiting) -> None:
    first = archive.take(waiting)
    before = first.path.stat()
    other = waiting.path.with_name("y.txt")
    other.write_bytes(CONTENT)

    second = archive.take(Waiting.at(other, other.parent))

    assert second == first
    assert files(archive) == [first.path]
    assert first.path.stat().st_ino == before.st_ino


def test_a_damaged_copy_is_replaced(archive: Archive, waiting: Waiting) -> None:
    path = archive.take(waiting).path
    path.write_bytes(CONTENT[:-1])
    assert archive.take(waiting).path == path
    assert path.read_bytes() == CONTENT


def test_an_unknown_hash_is_not_found(archive: Archive) -> None:
    assert archive.find(DIGEST) is None


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "touch", "replace"])
def test_a_file_that_changed_since_the_look_is_left_alone(archive: Archive, waiting: Waiting, change: str) -> None:
    status = waiting.path.stat()
    match change:
        case "grow":
            waiting.path.write_bytes(CONTENT + b"more")
        case "shrink":
            os.truncate(waiting.path, 10)
        case "rewrite":
            waiting.path.write_bytes(CONTENT[::-1])
            os.utime(waiting.path, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "touch":
            os.utime(waiting.path)
        case "replace":
            waiting.path.with_name("new").write_bytes(CONTENT)
            waiting.path.with_name("new").rename(waiting.path)
    assert not is_still(waiting)
    with pytest.raises(StillBeingWritten):
        archive.take(waiting)
    assert files(archive) == []


@pytest.mark.parametrize("change", ["grow", "rewrite", "replace"])
def test_a_file_that_changes_while_it_is_copied_is_left_alone(archive: Archive, waiting: Waiting, change: str) -> None:
    def write(_copied: int) -> None:
        match change:
            case "grow":
                with waiting.path.open("ab") as file:
                    file.write(b"more")
            case "rewrite":
                with waiting.path.open("r+b") as file:
                    file.write(b"begun anew")
            case "replace":
                waiting.path.with_name("new").write_bytes(CONTENT)
                waiting.path.with_name("new").rename(waiting.path)

    with pytest.raises(StillBeingWritten):
        archive.take(waiting, write)
    assert files(archive) == []


@pytest.mark.parametrize("kind", ["nothing", "link", "pipe", "folder"])
def test_what_is_no_file_any_more_is_not_opened(archive: Archive, waiting: Waiting, kind: str) -> None:
    target = waiting.path.with_name("target")
    waiting.path.rename(target)
    match kind:
        case "link":
            waiting.path.symlink_to(target)
        case "pipe":
            os.mkfifo(waiting.path)
        case "folder":
            waiting.path.mkdir()
    with pytest.raises(Gone):
        archive.take(waiting)


def test_what_dead_writers_left_is_removed_and_what_living_ones_write_is_not(
    archive: Archive, waiting: Waiting
) -> None:
    incoming = archive.folder / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "dead").write_bytes(b"half")
    (incoming / "alive").write_bytes(b"half")
    with (incoming / "alive").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        archive.take(waiting)
        assert [path.name for path in incoming.iterdir()] == ["alive"]


def test_a_copy_that_cannot_be_written_leaves_nothing(archive: Archive, waiting: Waiting) -> None:
    class DiskFull(Exception):
        pass

    def fail(_copied: int) -> None:
        raise DiskFull

    with pytest.raises(DiskFull):
        archive.take(waiting, fail)
    assert files(archive) == []
