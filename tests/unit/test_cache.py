"""The cache's parts that need no server: keys, answers and their tags, memory, and the guard before a backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from serving.cache.answers import Answer, matches, unpacked
from serving.cache.backends import Guarded
from serving.cache.in_memory import Memory
from serving.cache.in_redis import InRedis
from serving.cache.keys import KeyParts, key_of
from serving.cache.opening import open_backend
from serving.cache.state import PresentState

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
STATE = PresentState(7, AT, True, "views")
PARTS = KeyParts("/v1/kpis", {"start": AT, "camera_id": {"a", "b"}, "limit": 10}, ["s1", "s2"], "json")


# Keys


def test_a_key_is_of_everything_that_an_answer_depends_on() -> None:
    others = [
        (replace(PARTS, route="/v1/visits"), STATE),
        (replace(PARTS, form="csv"), STATE),
        (replace(PARTS, sites=["s1"]), STATE),
        (replace(PARTS, sites=[]), STATE),
        (replace(PARTS, sites=None), STATE),
        (replace(PARTS, sites=["s1,s2"]), STATE),
        (replace(PARTS, parameters={**PARTS.parameters, "limit": 11}), STATE),
        (replace(PARTS, parameters={**PARTS.parameters, "limit": "10"}), STATE),
        (replace(PARTS, parameters={**PARTS.parameters, "zone": None}), STATE),
        (replace(PARTS, parameters={**PARTS.parameters, "start": AT + timedelta(microseconds=1)}), STATE),
        (replace(PARTS, parameters={**PARTS.parameters, "start": AT.isoformat()}), STATE),
        (replace(PARTS, parameters={**PARTS.parameters, "camera_id": {"a"}}), STATE),
        (replace(PARTS, parameters={**PARTS.parameters, "camera_id": ["a", "b"]}), STATE),
        (PARTS, replace(STATE, version=8)),
        (PARTS, replace(STATE, version=None)),
        (PARTS, replace(STATE, published_at=AT + timedelta(microseconds=1))),
        (PARTS, replace(STATE, views="other views")),
    ]
    keys = [key_of(*other) for other in [(PARTS, STATE), *others]]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 for key in keys)


def test_a_key_is_of_nothing_else() -> None:
    key = key_of(PARTS, STATE)
    elsewhere = AT.astimezone(timezone(timedelta(hours=9)))
    same = {"limit": 10, "camera_id": frozenset({"b", "a"}), "start": elsewhere}
    assert key_of(replace(PARTS, parameters=same, sites=("s2", "s1", "s2")), STATE) == key
    assert key_of(PARTS, replace(STATE, published_at=elsewhere)) == key
    assert key_of(PARTS, replace(STATE, is_settled=False)) == key


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.dates() | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
) | st.frozensets(st.text(max_size=3), max_size=3)


@given(
    st.dictionaries(st.text(max_size=3), _values, max_size=3), st.dictionaries(st.text(max_size=3), _values, max_size=3)
)
def test_different_parameters_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    def key(parameters: dict[str, Any]) -> str:
        return key_of(replace(PARTS, parameters=parameters), STATE)

    assert (key(one) == key(other)) == (typed(one) == typed(other))


def typed(value: Any) -> Any:
    """The value in a form in which True is not 1."""
    match value:
        case dict():
            return {name: typed(each) for name, each in value.items()}
        case list():
            return [typed(each) for each in value]
    return (type(value), value)


@pytest.mark.parametrize("text", ["\ud800", "\x00", "'; drop table", "ä", "\n"])
def test_hostile_text_has_a_key(text: str) -> None:
    assert key_of(replace(PARTS, parameters={"zone": text}, sites=[text]), STATE) != key_of(PARTS, STATE)


@pytest.mark.parametrize("value", [datetime(2024, 5, 1), b"bytes", object()])  # noqa: DTZ001
def test_what_cannot_be_told_apart_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be part of a key"):
        key_of(replace(PARTS, parameters={"x": value}), STATE)


def test_a_date_is_no_instant() -> None:
    keys = {key_of(replace(PARTS, parameters={"x": x}), STATE) for x in (date(2024, 5, 1), "2024-05-01", AT)}
    assert len(keys) == 3


# Answers


def answer(body: bytes = b'{"a": 1}', **others: Any) -> Answer:
    return Answer.of(**{"body": body, "media_type": "application/json", "data_version": 7, **others})


def test_a_tag_is_of_the_bytes_and_of_what_they_are() -> None:
    tags = [
        answer().etag,
        answer(b'{"a": 2}').etag,
        answer(media_type="text/csv").etag,
        answer(headers={"Link": "<x>"}).etag,
    ]
    assert len(set(tags)) == 4
    assert answer(data_version=8).etag == answer().etag, "the same bytes"
    assert all(tag.startswith('"') and tag.endswith('"') and "," not in tag for tag in tags)


def test_an_answer_says_that_a_client_is_to_ask_again() -> None:
    sent = answer(headers={"Content-Disposition": "attachment"}).response(Headers())
    assert (sent.status_code, sent.body) == (200, b'{"a": 1}')
    assert sent.headers["ETag"] == answer(headers={"Content-Disposition": "attachment"}).etag
    assert sent.headers["Cache-Control"] == "private, no-cache"
    assert sent.headers["Vary"] == "Accept, Authorization, X-API-Key"
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["Content-Disposition"] == "attachment"


@pytest.mark.parametrize(
    ("lines", "is_match"),
    [
        (["{}"], True),
        (["W/{}"], True),
        (["*"], True),
        ([' "x" , W/"y",{} '], True),
        (['"x"', "{}"], True),
        (['"x"'], False),
        ([""], False),
        ([], False),
        (["{}x"], False),
    ],
)
def test_who_has_just_these_bytes_is_told_so_without_them(lines: list[str], is_match: bool) -> None:
    lines = [line.replace("{}", answer().etag) for line in lines]
    assert matches(answer().etag, lines) == is_match
    sent = answer().response(Headers(raw=[(b"if-none-match", line.encode()) for line in lines]))
    assert sent.status_code == (304 if is_match else 200)
    assert sent.headers["ETag"] == answer().etag
    assert sent.headers["Cache-Control"] == "private, no-cache"
    assert "Vary" in sent.headers
    if is_match:
        assert sent.body == b""
        assert "Content-Length" not in sent.headers
        assert "Content-Type" not in sent.headers


@given(st.binary(), st.text(), st.none() | st.integers(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_what_is_packed_is_unpacked(body: bytes, media_type: str, version: int | None, headers: dict[str, str]) -> None:
    packed = Answer.of(body, media_type, version, headers)
    assert unpacked(packed.packed()) == packed


@given(st.data())
def test_what_is_damaged_is_refused(data: st.DataObject) -> None:
    packed = answer().packed()
    place = data.draw(st.integers(0, len(packed) - 1))
    byte = data.draw(st.integers(1, 255))
    damaged = packed[:place] + bytes([packed[place] ^ byte]) + packed[place + 1 :]
    found = unpacked(damaged)
    assert found is None or (found.body, found.media_type, found.headers) == (answer().body, answer().media_type, ())


@pytest.mark.parametrize(
    "packed",
    [b"", b"\n", b"{}", b"null\n", b"[1,2,3,4,5]\n", b'[1,"a","b",1,[1]]\n', b"[" * 3000, b"\xff\n", b"[1]\nx"],
)
def test_what_was_never_packed_is_refused(packed: bytes) -> None:
    assert unpacked(packed) is None


# Memory


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_memory_keeps_an_answer_for_its_time() -> None:
    clock = Clock()
    memory = Memory(clock=clock)
    memory.put("k", answer(), 10)
    clock.now += 9.9
    assert memory.get("k") == answer()
    clock.now += 0.1
    assert memory.get("k") is None
    assert memory._bytes == 0


def test_what_was_not_asked_for_the_longest_time_goes_first() -> None:
    memory = Memory(most_bytes=40 * 1024)
    for number in range(20):  # each takes 2 KiB
        memory.put(str(number), answer(bytes(1024)), 10)
    assert memory.get("0") is not None
    memory.put("20", answer(bytes(1024)), 10)
    assert memory.get("1") is None
    assert memory.get("0") is not None
    memory.put("large", answer(bytes(3 * 1024)), 10)
    assert memory.get("large") is None, "it would drive out too many others"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5000), st.booleans()), max_size=80))
def test_memory_stays_within_its_bytes(steps: list[tuple[int, int, bool]]) -> None:
    memory = Memory(most_bytes=50_000)
    for name, size, is_put in steps:
        if is_put:
            memory.put(str(name), answer(bytes(size)), 10)
        else:
            memory.get(str(name))
        held = sum(len(kept.body) + 1024 for kept, _ in memory._kept.values())
        assert memory._bytes == held <= 50_000


# The guard


@dataclass
class Fickle:
    """A backend that does what it is told."""

    do: Callable[[], Any] | None = None
    asked: int = 0
    kept: dict[str, Answer] = field(default_factory=dict)

    async def get(self, key: str) -> Answer | None:
        self.asked += 1
        if self.do is not None:
            await self.do()
        return self.kept.get(key)

    async def put(self, key: str, answer: Answer, seconds: float) -> None:
        self.asked += 1
        if self.do is not None:
            await self.do()
        self.kept[key] = answer

    async def close(self) -> None:
        if self.do is not None:
            await self.do()


async def fail() -> None:
    raise OSError("the disk\nis gone")


async def hang() -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:  # as a driver that first wants to hear from its server
            await asyncio.sleep(0.5)
            raise


@pytest.mark.parametrize("fault", [fail, hang])
def test_a_backend_that_fails_or_hangs_is_left_alone_and_tried_again_by_one(
    fault: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def check() -> None:
        clock, backend = Clock(), Fickle()
        guarded = Guarded(backend, patience_seconds=0.05, rest_seconds=5, clock=clock)
        await guarded.put("k", answer(), 10)
        assert await guarded.get("k") == answer()
        backend.do = fault
        began = asyncio.get_running_loop().time()
        assert await guarded.get("k") is None
        assert asyncio.get_running_loop().time() - began < 0.4, "it is not waited for, not even for its end"
        assert backend.asked == 3
        assert await guarded.get("k") is None
        await guarded.put("k", answer(), 10)
        assert backend.asked == 3, "left alone"
        clock.now += 5
        assert await asyncio.gather(*(guarded.get("k") for _ in range(10))) == [None] * 10
        assert backend.asked == 4, "one tries"
        backend.do = None
        clock.now += 4.9
        assert await guarded.get("k") is None
        clock.now += 0.2
        assert await guarded.get("k") == answer()
        assert await guarded.get("k") == answer()
        backend.do = fault
        assert await guarded.get("k") is None
        await guarded.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(check())
    reason = "the disk is gone" if fault is fail else "it takes longer than 0.05 seconds"
    assert [record.getMessage() for record in caplog.records] == [
        f"The cache cannot be used now, so answers are computed anew: {reason}.",
        "The cache answers again.",
        # The last failure was within a minute of the first, of which the log tells.
        *(["The cache could not be closed: the disk\nis gone"] if fault is fail else []),
    ]


def test_who_gives_up_waiting_for_a_backend_takes_the_question_back() -> None:
    async def check() -> None:
        backend = Fickle(hang)
        guarded = Guarded(backend, patience_seconds=60)
        asking = asyncio.create_task(guarded.get("k"))
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.sleep(0.6)
        assert not guarded._under_way

    asyncio.run(check())


# What is set up


def test_the_backend_is_chosen_by_the_setting() -> None:
    def connections() -> Any:
        raise AssertionError("nothing is opened yet")

    assert type(open_backend(connections, None)).__name__ == "InTable"
    assert isinstance(open_backend(connections, "redis://:secret@host:1/2"), InRedis)
    with pytest.raises(ValueError, match="Redis URL must specify one of"):
        open_backend(connections, "http://host")
