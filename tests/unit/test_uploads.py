"""What is received, and what is left where nothing is: real files, and a real server where the wire matters."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.api.problems import Problem
from serving.upload_parts import LEFT_SECONDS, Part, remove_leftovers
from serving.uploads import Received, Uploads
from tests.integration.serving import served
from tests.integration.uploading import path_for, plain_app, upload
from validation.landing import LandingFolder, Waiting
from validation.watching import FolderWatch

MEGABYTE = 2**20


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


@pytest.fixture
def port(landing: Path) -> Iterator[int]:
    with served(plain_app(Uploads(landing, most_bytes=4 * MEGABYTE, min_free_bytes=0))) as site:
        yield site.port


def everything(landing: Path) -> dict[str, bytes]:
    """All that lies there, hidden files and folders too."""
    return {
        path.relative_to(landing).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in landing.rglob("*")
    }


def receive(
    uploads: Uploads, body: AsyncIterator[bytes], name: str = "x.csv", site_id: str | None = None, **more: Any
) -> Received:
    return asyncio.run(uploads.receive(body, name, site_id, **more))


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def eventually(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("site", [None, "Berlin"])
@pytest.mark.parametrize("size", [1, 3 * MEGABYTE + 17, 4 * MEGABYTE])
def test_a_file_comes_whole_and_nothing_else_does(landing: Path, port: int, site: str | None, size: int) -> None:
    content = os.urandom(size)
    told = upload(port, content, "x.csv", site)
    assert (told.status, told.data) == (202, {"id": hashlib.sha256(content).hexdigest(), "file_name": "x.csv"})
    expected = {"x.csv": content} if site is None else {"Berlin": b"", "Berlin/x.csv": content}
    assert everything(landing) == expected


def test_a_body_without_a_length_comes_whole(landing: Path, port: int) -> None:
    told = upload(port, iter([b"a" * 10, b"b" * MEGABYTE, b"c"]), "x.csv")
    assert told.status == 202
    assert everything(landing) == {"x.csv": b"a" * 10 + b"b" * MEGABYTE + b"c"}


def test_a_name_that_is_taken_is_not_taken_over(landing: Path, port: int) -> None:
    (landing / "x.csv").write_bytes(b"waits")
    (landing / "x (2).csv").mkdir()
    assert upload(port, b"uploaded", "x.csv").data["file_name"] == "x (3).csv"
    assert everything(landing) == {"x.csv": b"waits", "x (2).csv": b"", "x (3).csv": b"uploaded"}


@pytest.mark.parametrize("way", ["the kernel's", "by reservation"])
def test_of_many_that_end_at_once_under_one_name_none_is_lost(
    landing: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "by reservation":

        def unknown(*_: object, **__: object) -> None:
            raise AttributeError

        monkeypatch.setattr("ctypes.CDLL", unknown)
    many = 16
    barrier = threading.Barrier(many)

    def place(number: int) -> str:
        part = Part(landing)
        part.open()
        part.write(str(number).encode())
        part.finish()
        barrier.wait()
        return part.place("x.csv")

    with ThreadPoolExecutor(many) as threads:
        names = list(threads.map(place, range(many)))
    assert everything(landing) == {name: str(number).encode() for number, name in enumerate(names)}
    assert set(names) == {"x.csv", *(f"x ({number}).csv" for number in range(2, many + 1))}


def test_too_long_a_length_is_refused_before_anything_is_sent(landing: Path, port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as client:
        client.sendall(
            f"POST {path_for('x.csv', 'Berlin')} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {4 * MEGABYTE + 1}\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert everything(landing) == {}


def test_a_client_that_sends_all_the_same_still_hears_why(landing: Path, port: int) -> None:
    told = upload(port, b"x" * (4 * MEGABYTE + 1), "x.csv")
    assert told.status == 413
    assert told.body["errors"][0]["expected"] == f"at most {4 * MEGABYTE} bytes"
    assert everything(landing) == {}


def test_too_many_bytes_without_a_length_are_given_up_on_the_way(landing: Path, port: int) -> None:
    told = upload(port, iter([b"x" * MEGABYTE] * 5), "x.csv", "Berlin")
    assert told.status == 413
    assert everything(landing) == {}


@pytest.mark.parametrize("length", [None, 0])
def test_an_empty_body_is_refused(landing: Path, port: int, length: int | None) -> None:
    told = upload(port, iter([]), "x.csv", length=length)
    assert (told.status, told.body["title"]) == (400, "The file is empty")
    assert everything(landing) == {}


@pytest.mark.parametrize("name", ["../x.csv", ".x.csv", "x\0.csv", "x.exe", "a/x.csv"])
def test_a_hostile_name_leaves_nothing(landing: Path, port: int, name: str) -> None:
    assert upload(port, b"x", name).status == 400
    assert everything(landing.parent) == {"landing": b""}


@pytest.mark.parametrize("site", [None, "Berlin"])
def test_a_client_that_goes_away_leaves_nothing(landing: Path, port: int, site: str | None) -> None:
    with closing(socket.create_connection(("127.0.0.1", port))) as client:
        head = f"POST {path_for('x.csv', site)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {3 * MEGABYTE}\r\n\r\n"
        client.sendall(head.encode() + b"x" * 2 * MEGABYTE)
        eventually(lambda: any(name.endswith(".part") for name in everything(landing)))
    eventually(lambda: everything(landing) == {})


@pytest.mark.parametrize("sent", [1, 2 * MEGABYTE, 3 * MEGABYTE + 1])
def test_another_length_than_announced_is_no_file(landing: Path, sent: int) -> None:
    with pytest.raises(Problem) as caught:
        receive(Uploads(landing, min_free_bytes=0), pieces(b"x" * sent), announced=3 * MEGABYTE)
    assert caught.value.status == 400
    assert everything(landing) == {}


def test_an_upload_that_does_not_go_on_is_given_up(landing: Path) -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MEGABYTE
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(Problem) as caught:
        receive(Uploads(landing, min_free_bytes=0, idle_seconds=0.2), stalls())
    assert caught.value.status == 408
    assert everything(landing) == {}


def test_a_request_that_is_canceled_leaves_nothing(landing: Path) -> None:
    async def main() -> None:
        uploads = Uploads(landing, min_free_bytes=0)

        async def goes_on() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * MEGABYTE

        for seconds in (0.0, 0.001, 0.01, 0.05, 0.1):
            task = asyncio.create_task(uploads.receive(goes_on(), "x.csv", "Berlin"))
            await asyncio.sleep(seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert everything(landing) == {}


def test_what_cannot_be_recorded_is_not_received(landing: Path) -> None:
    async def fails(_received: Received) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        receive(Uploads(landing, min_free_bytes=0), pieces(b"x"), record=fails)
    assert everything(landing) == {}


def test_what_got_another_name_is_recorded_under_that(landing: Path) -> None:
    (landing / "x.csv").write_bytes(b"waits")
    recorded = []

    async def record(received: Received) -> None:
        recorded.append((received.file_name, (landing / received.file_name).read_bytes()))

    placed = receive(Uploads(landing, min_free_bytes=0), pieces(b"new"), record=record)
    assert recorded == [("x.csv", b"waits"), ("x (2).csv", b"new")]
    assert placed.file_name == "x (2).csv"


class TestRoom:
    def test_is_asked_for_before(self, landing: Path) -> None:
        uploads = Uploads(landing, min_free_bytes=1000, free_bytes=lambda _folder: 1999)
        with pytest.raises(Problem, match=r"0 GB for this file and 0 GB to stay free") as caught:
            receive(uploads, pieces(b"x" * 1000), site_id="Berlin", announced=1000)
        assert caught.value.status == 507
        assert everything(landing) == {}
        enough = Uploads(landing, min_free_bytes=1000, free_bytes=lambda _folder: 2000)
        assert receive(enough, pieces(b"x" * 1000), announced=1000).size_bytes == 1000

    def test_is_asked_for_again_on_the_way(self, landing: Path) -> None:
        left = [10_000 * MEGABYTE, 10_000 * MEGABYTE, 999]
        uploads = Uploads(landing, min_free_bytes=1000, free_bytes=lambda _folder: left.pop(0))

        async def main() -> None:
            sent = 0

            async def body() -> AsyncIterator[bytes]:
                nonlocal sent
                while True:
                    sent += MEGABYTE
                    yield b"x" * MEGABYTE

            with pytest.raises(Problem) as caught:
                await uploads.receive(body(), "x.csv")
            assert caught.value.status == 507
            assert sent == 128 * MEGABYTE

        asyncio.run(main())
        assert everything(landing) == {}

    def test_is_shared_by_those_that_come_together(self, landing: Path) -> None:
        uploads = Uploads(landing, min_free_bytes=0, free_bytes=lambda _folder: 1500)

        async def main() -> None:
            first_may_end = asyncio.Event()

            async def slow() -> AsyncIterator[bytes]:
                await first_may_end.wait()
                yield b"x" * 1000

            first = asyncio.create_task(uploads.receive(slow(), "x.csv", announced=1000))
            await asyncio.sleep(0.2)
            with pytest.raises(Problem, match="others that are being uploaded"):
                await uploads.receive(pieces(b"x" * 1000), "y.csv", announced=1000)
            first_may_end.set()
            await first
            await uploads.receive(pieces(b"y" * 1000), "y.csv", announced=1000)

        asyncio.run(main())
        assert set(everything(landing)) == {"x.csv", "y.csv"}

    def test_that_ends_while_writing_is_told_as_such(self, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_self: Part, _block: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Part, "write", full)
        with pytest.raises(Problem, match="is full") as caught:
            receive(Uploads(landing, min_free_bytes=0), pieces(b"x"))
        assert caught.value.status == 507
        assert everything(landing) == {}


@pytest.mark.parametrize("taken_by", ["a link", "a file"])
def test_a_site_whose_name_is_taken_is_refused(landing: Path, taken_by: str) -> None:
    (landing.parent / "elsewhere").mkdir()
    if taken_by == "a link":
        (landing / "Berlin").symlink_to(landing.parent / "elsewhere")
    else:
        (landing / "Berlin").write_bytes(b"")
    with pytest.raises(Problem) as caught:
        receive(Uploads(landing, min_free_bytes=0), pieces(b"x"), site_id="Berlin")
    assert caught.value.status == 409
    assert list((landing.parent / "elsewhere").iterdir()) == []


def test_without_a_landing_folder_it_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Problem) as caught:
        receive(Uploads(tmp_path / "none"), pieces(b"x"))
    assert caught.value.status == 503


def test_what_a_killed_server_left_is_removed_after_a_day_and_nothing_else_is(landing: Path) -> None:
    (landing / "Berlin").mkdir()
    ours = [landing / f".{'0a' * 16}.part", landing / "Berlin" / f".{'1b' * 16}.part"]
    others = [landing / "x.csv", landing / ".x.part", landing / f"{'0a' * 16}.part", landing / f".{'2c' * 16}.part"]
    now = time.time()
    for path in (*ours, *others):
        path.write_bytes(b"x")
        os.utime(path, (0, now - LEFT_SECONDS - 1))
    os.utime(others[-1], (0, now - LEFT_SECONDS + 60))
    assert remove_leftovers(landing, now) == 2
    assert set(everything(landing)) == {"Berlin", *(path.name for path in others)}
    assert Uploads(landing).remove_leftovers() == 0


def test_an_upload_that_pauses_is_never_read_early_and_taken_at_once_when_it_is_whole(landing: Path) -> None:
    folder = LandingFolder(landing, settle_seconds=0.05)
    watch = FolderWatch(landing)
    assert watch.problem is None
    memory: dict[str, Any] = {}

    def looked(in_place: tuple[str, ...] = ()) -> list[Waiting]:
        nonlocal memory
        memory = {**memory, "unfinished": [*memory.get("unfinished", ()), *in_place]}
        ready, memory = folder.ready(memory, time.time())
        return ready

    async def main() -> bytes:
        async def bursts() -> AsyncIterator[bytes]:
            for _ in range(4):
                yield b"x" * (MEGABYTE + 5)
                for _ in range(6):
                    await asyncio.sleep(0.05)
                    assert looked(tuple(watch.renamed_into_place())) == []

        received = await Uploads(landing, min_free_bytes=0).receive(bursts(), "x.csv")
        return received.sha256.encode()

    digest = asyncio.run(main())
    watch.wait(1)
    folder.settle_seconds = 3600.0  # as nothing but the rename can make it ready
    (waiting,) = looked(tuple(watch.renamed_into_place()))
    assert waiting.name == "x.csv"
    assert hashlib.sha256(waiting.path.read_bytes()).hexdigest().encode() == digest
    watch.close()
