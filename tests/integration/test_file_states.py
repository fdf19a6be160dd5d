"""What is told of a file from its upload to the marts, by asking and as a stream of events."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from serving.api.problems import Problem
from serving.file_events import FileEvents
from serving.files import Files, FileState
from serving.uploads import Uploads
from tests.integration.dropping import Dropping, csv_of, good_rows
from tests.integration.modelling import Models
from tests.integration.serving import Site, served
from tests.integration.test_load_progress import kill_while_reading, load_shown
from tests.integration.uploading import lender, server_process, upload, whole_app
from validation import load_progress
from validation.context import LoadingFailed
from validation.corrections import retract_file
from validation.loading import load_file
from validation.progress import Progress
from warehouse.connections import Warehouse

BAD = ["never,P,CAM-1,entry"]


class Now(Dropping):
    """A house whose clock goes, as that of uploads does."""

    def context(self, *arguments: Any) -> Any:
        return replace(super().context(*arguments), clock=lambda: datetime.now(UTC))


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Now:
    (tmp_path / "landing").mkdir()
    (tmp_path / "home").mkdir()
    return Now(warehouse, tmp_path / "home", tmp_path / "landing")


@pytest.fixture
def site(house: Now) -> Iterator[Site]:
    uploads = Uploads(house.landing, min_free_bytes=0)
    with served(whole_app(uploads, house.warehouse, house.landing, ask_seconds=0.05, heartbeat_seconds=0.3)) as site:
        yield site


def state_of(house: Dropping, file_id: str, sites: set[str] | None = None) -> FileState | None:
    return asyncio.run(Files(lender(house.warehouse), house.landing).state(file_id, sites))


def known(house: Dropping, file_id: str, sites: set[str] | None = None) -> FileState:
    state = state_of(house, file_id, sites)
    assert state is not None
    return state


def load_waiting(house: Dropping) -> list[str]:
    return [load_file(waiting, house.context()).state for waiting in house.waiting()]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def told_of(site: Site, file_id: str) -> dict[str, Any]:
    answer = site.get(f"/v1/files/{file_id}")
    assert answer.status == 200, answer.text
    data: dict[str, Any] = json.loads(answer.text)["data"]
    return data


def events_of(port: int, file_id: str) -> Iterator[tuple[str, Any]]:
    """The events of a stream as they come; comments as such."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", f"/v1/files/{file_id}/events", headers={"Host": "localhost"})
        with closing(connection.getresponse()) as answer:
            assert answer.status == 200, answer.read()
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            event: dict[str, str] = {}
            for line in answer:
                text = line.decode().rstrip("\n")
                if text:
                    field, _, value = text.partition(":")
                    event[field] = value.strip()
                else:
                    name = event.get("event", "retry" if "retry" in event else "comment")
                    yield name, json.loads(event.get("data", "null"))
                    event = {}


def test_from_the_upload_to_the_marts(models: Models, house: Now, site: Site) -> None:
    content = csv_of([*good_rows(40), *good_rows(2), *BAD])
    told = upload(site.port, content, "x.csv", "Berlin")
    file_id = told.data["id"]
    assert (told.status, told.headers["location"]) == (202, f"/v1/files/{file_id}")
    assert file_id == sha(content)
    assert (told.data["state"], told.data["file_name"], told.data["site_id"]) == ("waiting", "x.csv", "Berlin")
    assert told.data["size_bytes"] == len(content)
    assert not told.data["is_final"]

    assert load_waiting(house) == ["loaded"]
    loaded = told_of(site, file_id)
    assert (loaded["state"], loaded["published"], loaded["is_final"]) == ("loaded", False, False)
    assert (loaded["file_name"], loaded["site_id"]) == ("x.csv", "Berlin")
    assert loaded["account"] == {
        "rows_read": 43,
        "rows_loaded": 40,
        "rows_rejected": 1,
        "rows_duplicate": 2,
        "rows_held": None,
        "rejected_for": {"timestamp_unreadable": 1},
    }
    models.build()
    published = told_of(site, file_id)
    assert (published["state"], published["published"], published["is_final"]) == ("loaded", True, True)
    assert not published["already_loaded"]

    again = upload(site.port, content, "other.csv")
    assert (again.status, again.data["id"]) == (202, file_id)
    assert (again.data["state"], again.data["already_loaded"], again.data["is_final"]) == ("loaded", True, True)
    assert load_waiting(house) == ["already_loaded"]
    assert told_of(site, file_id)["already_loaded"]
    assert [name for name, _ in events_of(site.port, file_id)] == ["retry", "progress", "done"]


def test_an_id_that_nothing_has_is_not_found(site: Site) -> None:
    for file_id in (sha(b""), "x", sha(b"").upper(), "1", "%00", "a' or 1=1"):
        for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/events"):
            assert site.get(path.replace(" ", "%20")).status == (404 if file_id == sha(b"") else 422)


def test_a_form_is_refused(site: Site, house: Now) -> None:
    answer = site.get("/v1/files?name=x.csv", method="POST", **{"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status == 415
    assert list(house.landing.iterdir()) == []


def test_a_file_that_could_not_be_used_and_is_uploaded_again_is_judged_again(house: Now, site: Site) -> None:
    content = csv_of([*good_rows(1), *BAD])
    file_id = upload(site.port, content, "x.csv").data["id"]
    assert load_waiting(house) == ["quarantined"]
    assert [told_of(site, file_id)[name] for name in ("state", "is_final")] == ["quarantined", True]
    again = upload(site.port, content, "x.csv").data
    assert (again["state"], again["is_final"], again["account"]) == ("waiting", False, None)
    house.rules = replace(house.rules, max_rejected_share=0.9)
    assert load_waiting(house) == ["loaded"]
    assert told_of(site, file_id)["state"] == "loaded"
    retract_file(file_id, house.context())
    assert told_of(site, file_id)["state"] == "retracted"
    assert upload(site.port, content, "x.csv").data["state"] == "waiting"


def test_a_file_that_was_taken_away_does_not_wait_for_ever(house: Now, site: Site) -> None:
    file_id = upload(site.port, b"x", "x.csv").data["id"]
    (house.landing / "x.csv").unlink()
    told = told_of(site, file_id)
    assert (told["state"], told["is_final"]) == ("gone", True)


def test_a_file_that_failed_is_final_only_when_it_is_gone(house: Now, site: Site) -> None:
    content = csv_of(good_rows(5))
    file_id = upload(site.port, content, "x.csv").data["id"]

    def fail(progress: Progress) -> None:
        if progress.stage == "reading":
            raise RuntimeError

    (waiting,) = house.waiting()
    with pytest.raises(LoadingFailed):
        load_file(waiting, house.context(fail))
    assert [told_of(site, file_id)[name] for name in ("state", "is_final")] == ["failed", False]
    waiting.path.unlink()
    assert [told_of(site, file_id)[name] for name in ("state", "is_final")] == ["failed", True]


def test_a_load_that_goes_on_is_told_as_it_goes_on(house: Now, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_progress, "EVERY_SECONDS", 0.0)
    content = csv_of(good_rows(50))
    file_id = upload(site.port, content, "x.csv", "Berlin").data["id"]
    told: dict[str, dict[str, Any]] = {}

    def look(progress: Progress) -> None:
        told.setdefault(progress.stage, told_of(site, file_id))

    load_shown(house, content, "Berlin/x.csv", look)
    stages = ["copying", "archived", "surveying", "reading", "merging", "committing"]
    states = {stage: (told[stage]["state"], told[stage]["progress"]) for stage in stages if stage in told}
    assert [(stage, state, progress["stage"]) for stage, (state, progress) in states.items()] == [
        (stage, "loading", stage) for stage in states
    ]
    assert {"copying", "reading", "merging"} <= states.keys()
    reading = states["reading"][1]
    assert (reading["bytes_done"], reading["bytes_total"], reading["rows"]) == (len(content), len(content), 50)
    assert reading["percent"] == 100.0
    assert states["merging"][1]["percent"] is None
    assert told["committed"]["state"] == "loaded"


def test_a_killed_load_is_told_as_waiting(house: Now, site: Site, tmp_path: Path) -> None:
    content = csv_of(good_rows(200))
    file_id = upload(site.port, content, "x.csv").data["id"]
    kill_while_reading(house, content, tmp_path)
    assert house.value("select state from raw.files") == "loading"
    assert told_of(site, file_id)["state"] == "waiting"
    assert load_waiting(house) == ["loaded"]
    assert told_of(site, file_id)["state"] == "loaded"


def test_a_key_for_one_site_learns_nothing_of_another(house: Now, site: Site) -> None:
    content = csv_of(good_rows(5))
    file_id = upload(site.port, content, "secret.csv", "Berlin").data["id"]
    for _ in range(2):
        assert state_of(house, file_id, {"Paris"}) is None
        assert state_of(house, file_id, set()) is None
        assert known(house, file_id, {"Berlin"}).file_name == "secret.csv"
        load_waiting(house)
    upload(site.port, content, "mine.csv", "Paris")
    theirs, ours = known(house, file_id, {"Berlin"}), known(house, file_id, {"Paris"})
    assert (theirs.file_name, theirs.site_id, theirs.already_loaded) == ("secret.csv", "Berlin", False)
    assert (ours.file_name, ours.site_id, ours.already_loaded) == ("mine.csv", "Paris", True)
    assert (ours.verdict, ours.report) == (None, None)


def test_a_file_that_nobody_uploaded_is_known_once_it_is_loaded(house: Now) -> None:
    content = csv_of(good_rows(5))
    assert state_of(house, sha(content)) is None
    house.load(content, "Berlin/x.csv")
    assert (known(house, sha(content)).file_name, known(house, sha(content)).site_id) == ("x.csv", "Berlin")


class TestStreams:
    def test_tell_each_change_and_end_with_the_last(self, models: Models, house: Now, site: Site) -> None:
        file_id = upload(site.port, csv_of(good_rows(5)), "x.csv").data["id"]
        heard: list[tuple[str, str | None, bool | None]] = []
        comments = threading.Event()

        def listen() -> None:
            for name, data in events_of(site.port, file_id):
                if name == "comment":
                    comments.set()
                else:
                    heard.append((name, data and data["state"], data and data["published"]))

        listener = threading.Thread(target=listen)
        listener.start()
        assert comments.wait(30)
        load_waiting(house)
        comments.clear()
        assert comments.wait(30)
        models.build()
        listener.join(30)
        assert heard[0] == ("retry", None, None)
        assert heard[1] == ("progress", "waiting", False)
        assert heard[-3:] == [
            ("progress", "loaded", False),
            ("progress", "loaded", True),
            ("done", "loaded", True),
        ]

    def test_are_bounded_and_free_their_place_when_the_client_goes(self, house: Now) -> None:
        content = b"x"
        uploads = Uploads(house.landing, min_free_bytes=0)
        app = whole_app(uploads, house.warehouse, house.landing, most_streams=2, ask_seconds=0.05)
        with served(app) as site:
            file_id = upload(site.port, content, "x.csv").data["id"]
            first, second = events_of(site.port, file_id), events_of(site.port, file_id)
            assert [next(first)[0], next(second)[0]] == ["retry", "retry"]
            refused = site.get(f"/v1/files/{file_id}/events")
            assert (refused.status, refused.headers["retry-after"]) == (503, "10")
            first.close()  # type: ignore[attr-defined]
            for _ in range(200):
                try:
                    third = events_of(site.port, file_id)
                    assert next(third)[0] == "retry"
                    break
                except AssertionError:
                    threading.Event().wait(0.05)
            else:
                pytest.fail("The place of a client that has gone is never free.")
            third.close()  # type: ignore[attr-defined]
            second.close()  # type: ignore[attr-defined]

    def test_end_after_their_time(self, house: Now, site: Site) -> None:
        file_id = upload(site.port, b"x", "x.csv").data["id"]
        events = FileEvents(
            Files(lender(house.warehouse), house.landing), longest_seconds=0.3, ask_seconds=0.05, most_streams=1
        )

        async def main() -> list[bytes]:
            stream = await events.stream(file_id)
            assert stream is not None
            told = [event async for event in stream]
            assert await events.stream(sha(b"unknown")) is None
            waiting = await events.stream(file_id)
            assert waiting is not None
            await anext(waiting)
            with pytest.raises(Problem):
                await events.stream(file_id)
            return told

        told = asyncio.run(main())
        assert [event.split(b"\n")[0] for event in told] == [b"retry: 3000", b"event: progress"]


def test_twenty_clients_at_once_lose_nothing(house: Now, site: Site) -> None:
    # Five under one name with contents of their own, five with one content, ten with names and contents of their own.
    def content(number: int) -> bytes:
        return csv_of(good_rows(200, person=f"C{number}-"))

    sent = [
        *(("same.csv", content(number)) for number in range(5)),
        *((f"copy-{number}.csv", content(100)) for number in range(5)),
        *((f"own-{number}.csv", content(200 + number)) for number in range(10)),
    ]
    barrier = threading.Barrier(len(sent))

    def send(one: tuple[str, bytes]) -> dict[str, Any]:
        barrier.wait()
        return upload(site.port, one[1], one[0]).data

    with ThreadPoolExecutor(len(sent)) as clients:
        told = list(clients.map(send, sent))
    assert [one["id"] for one in told] == [sha(body) for _, body in sent]
    there = {path.name: path.read_bytes() for path in house.landing.iterdir()}
    assert sorted(there.values()) == sorted(body for _, body in sent)
    namesakes = {"same.csv", *(f"same ({number}).csv" for number in range(2, 6))}
    assert there.keys() == namesakes | {name for name, _ in sent[5:]}
    states = load_waiting(house)
    assert sorted(states) == ["already_loaded"] * 4 + ["loaded"] * 16
    assert list(house.landing.iterdir()) == []
    assert house.value("select count(*) from raw.events") == 16 * 200
    for one in told:
        assert told_of(site, one["id"])["state"] == "loaded"


def test_a_large_upload_takes_no_memory(tmp_path: Path) -> None:
    piece, pieces = b"0123456789abcdef" * 4096, 4800  # 300 MiB
    with server_process(tmp_path) as (port, process):
        upload(port, piece, "first.csv")
        before = process.memory_info().rss
        most = before

        def body() -> Iterator[bytes]:
            nonlocal most
            for number in range(pieces):
                yield piece
                if number % 100 == 0:
                    most = max(most, process.memory_info().rss)

        assert upload(port, body(), "large.csv", length=pieces * len(piece)).status == 202
        most = max(most, process.memory_info().rss)
    assert (tmp_path / "large.csv").stat().st_size == pieces * len(piece)
    assert most - before < 30 * 2**20
