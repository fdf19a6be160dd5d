"""The cache of answers on a real PostgreSQL and a real Redis: what it gives, what it keeps, and what it survives."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_server
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import pytest
import redis

from serving.cache import caching, state
from serving.cache.answers import Answer, unpacked
from serving.cache.backends import Backend, Guarded
from serving.cache.caching import AnswerCache
from serving.cache.in_memory import Memory
from serving.cache.in_redis import InRedis
from serving.cache.in_table import InTable
from serving.cache.opening import open_backend
from serving.cache.state import PresentState, read_present_state
from serving.database import DatabaseProblem
from tests.integration.caching import (
    Builds,
    Computing,
    Connections,
    RedisServer,
    both_halves,
    connections,
    make_table,
    parts,
)
from tests.integration.conftest import fresh_warehouse
from tests.integration.modelling import Models
from warehouse.connections import Warehouse

if TYPE_CHECKING:
    from tests.integration.transcripts import Transcripts

T = TypeVar("T")
KINDS = ("table", "redis")


@pytest.fixture(scope="module")
def built(template: Warehouse, recorded: tuple[str, Transcripts]) -> Iterator[Builds]:
    """Marts with two tables more, for which builds are made by hand."""
    from tests.integration.transcripts import Replay

    name, transcripts = recorded
    with fresh_warehouse(template) as warehouse, closing(Models(warehouse)) as models:
        with closing(Replay(warehouse, transcripts.in_database(name, warehouse.database))) as replay:
            replay.create()
        with closing(Builds(models)) as builds:
            yield builds


@pytest.fixture
def builds(built: Builds) -> Builds:
    """Settled marts and an empty table of answers."""
    make_table(built.models.warehouse)
    built.build()
    return built


@pytest.fixture(scope="module")
def redis_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with closing(create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    server = RedisServer(tmp_path_factory.mktemp("redis"), port)
    yield server
    server.kill()


@pytest.fixture
def redis_server(redis_of_module: RedisServer) -> RedisServer:
    with redis_of_module.asking as client:
        client.flushall()
    return redis_of_module


@dataclass
class Bench:
    """A cache on a backend, and what it stands on."""

    builds: Builds
    connections: Connections
    backend: Backend
    redis: RedisServer
    compute: Computing = field(default_factory=Computing)

    def __post_init__(self) -> None:
        self.cache = self.new_cache()

    def new_cache(self, seconds: float = 3600) -> AnswerCache:
        """Another process's, so to speak: it shares the backend and nothing else."""
        guarded = Guarded(self.backend, rest_seconds=0.5)
        return AnswerCache(self.connections.snapshot, guarded, kept_seconds=seconds)

    async def ask(self, what: object = 0, sites: list[str] | None = None) -> dict[str, Any]:
        return told(await self.cache.answer(parts(what, sites), self.compute))

    async def ask_and_keep(self, what: object = 0) -> None:
        """Ask, and wait until the backend has it, too."""
        await self.ask(what)
        await self.kept()

    async def kept(self) -> None:
        await asyncio.gather(*self.cache._keeping)

    async def ask_until_kept(self) -> None:
        """Ask for ever other things until the backend keeps one, as soon as it is tried again."""
        for number in range(100):
            await self.ask_and_keep(f"again {number}")
            if kept_answers(self):
                return
            await asyncio.sleep(0.1)
        raise AssertionError("nothing is kept any more")


def told(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.body)
    return found


@dataclass
class Benches:
    builds: Builds
    redis: RedisServer

    def run(self, kind: str, what: Any, most: int = 8) -> Any:
        """Run a test of a cache on that backend."""

        async def running() -> Any:
            async with self.open(kind, most) as bench:
                return await what(bench)

        return asyncio.run(running())

    @asynccontextmanager
    async def open(self, kind: str, most: int) -> AsyncIterator[Bench]:
        async with connections(self.builds.models.warehouse, most) as conns:
            backend = open_backend(conns.writing, self.redis.url if kind == "redis" else None)
            assert isinstance(backend, InRedis if kind == "redis" else InTable)
            bench = Bench(self.builds, conns, backend, self.redis)
            yield bench
            await bench.cache.close()


@pytest.fixture
def benches(builds: Builds, redis_server: RedisServer) -> Benches:
    return Benches(builds, redis_server)


# What is given, and what is kept


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_computed_is_kept_for_a_version_and_found_by_other_processes(benches: Benches, kind: str) -> None:
    async def check(bench: Bench) -> None:
        first = await bench.cache.answer(parts(), bench.compute)
        assert (await bench.cache.answer(parts(), bench.compute)) is first
        await bench.kept()
        bench.cache = bench.new_cache()
        assert (await bench.cache.answer(parts(), bench.compute)) == first
        assert bench.compute.count == 1
        version = bench.builds.build()
        assert (await bench.ask())["version"] == version == told(first)["version"] + 1
        assert bench.compute.count == 2

    benches.run(kind, check)


def test_another_scope_is_another_answer(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        for sites in (None, [], ["a"], ["b"], ["a", "b"], ["b", "a"]):
            await bench.ask(sites=sites)
        assert bench.compute.count == 5

    benches.run("table", check)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_kept_while_a_build_is_under_way_or_failed(benches: Benches, kind: str) -> None:
    async def check(bench: Bench) -> None:
        await bench.ask_and_keep("before")
        before = await bench.ask("before")
        bench.builds.begin()
        assert await bench.ask("before") == before, "what the version published is still its answer"
        mixed = await bench.ask("new")
        assert mixed["first_half"] == mixed["second_half"] + 1
        assert (mixed["version"], mixed["is_settled"]) == (before["version"], False)
        bench.builds.go_on()  # a check fails now: nothing is published
        assert (await bench.ask("new"))["is_settled"] is False
        bench.builds.begin()
        bench.builds.go_on()
        version = bench.builds.publish()
        after = await bench.ask("new")
        assert (after["version"], after["is_settled"]) == (version, True)
        assert bench.compute.count == 4
        assert await bench.ask("new") == after
        assert bench.compute.count == 4

    benches.run(kind, check)


def test_what_is_computed_from_a_newer_version_than_was_asked_for_is_kept_as_that(benches: Benches) -> None:
    """A version that is published between the look and the snapshot."""

    async def check(bench: Bench) -> None:
        versions: list[int] = []

        @asynccontextmanager
        async def snapshot() -> AsyncIterator[Any]:
            versions.append(bench.builds.build())
            async with bench.connections.snapshot() as connection:
                yield connection

        bench.cache = AnswerCache(snapshot, Guarded(bench.backend), looks=bench.connections.snapshot)
        assert (await bench.ask())["version"] == versions[0]
        assert (await bench.ask())["version"] == versions[0]
        assert bench.compute.count == 1

    benches.run("table", check)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_lives_as_long_as_it_is_told_to(benches: Benches, kind: str) -> None:
    async def check(bench: Bench) -> None:
        bench.cache = bench.new_cache(seconds=0.5)
        await bench.ask_and_keep()
        await bench.ask()
        assert bench.compute.count == 1
        await asyncio.sleep(0.6)
        await bench.ask()
        assert bench.compute.count == 2

    benches.run(kind, check)


def test_an_answer_that_claims_another_version_than_its_snapshot_s_is_refused(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        async def claiming(connection: Any, state: PresentState) -> Answer:
            return Answer.of(b"{}", "application/json", 7_000_000)

        with pytest.raises(ValueError, match="version 7000000 was computed from version"):
            await bench.cache.answer(parts(), claiming)

    benches.run("table", check)


def test_before_there_are_marts_a_sentence_says_so(warehouse: Warehouse) -> None:
    async def check() -> None:
        async with connections(warehouse) as conns:
            cache = AnswerCache(conns.snapshot, Guarded(InTable(conns.writing)))
            with pytest.raises(DatabaseProblem, match="There are no figures yet"):
                await cache.answer(parts(), both_halves)

    asyncio.run(check())


def test_without_a_version_answers_are_given_and_not_kept(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        assert (await bench.ask())["version"] is None
        await bench.ask()
        assert bench.compute.count == 2

    warehouse = benches.builds.models.warehouse
    with warehouse.connect("transformer", autocommit=True) as connection:
        connection.execute("create table intermediate.put_aside as table marts.data_version")
        connection.execute("delete from marts.data_version")
        try:
            benches.run("table", check)
        finally:
            connection.execute("insert into marts.data_version table intermediate.put_aside")
            connection.execute("drop table intermediate.put_aside")


# Together


async def together(*asked: Coroutine[Any, Any, T]) -> list[T | BaseException]:
    return await asyncio.gather(*asked, return_exceptions=True)


def test_many_who_ask_for_the_same_wait_for_one_computation(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        bench.compute.first = lambda: asyncio.sleep(0.2)
        answers = await together(*(bench.ask("one") for _ in range(50)), *(bench.ask("other") for _ in range(50)))
        assert len(answers) == 100
        assert bench.compute.count == 2
        assert all(isinstance(answer, dict) and answer["is_settled"] for answer in answers)

    benches.run("table", check)


def test_a_failure_is_told_to_all_who_wait_and_not_remembered(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        async def failing() -> None:
            await asyncio.sleep(0.2)
            raise ZeroDivisionError

        bench.compute.first = failing
        failures = await together(*(bench.ask() for _ in range(20)))
        assert {type(failure) for failure in failures} == {ZeroDivisionError}
        assert bench.compute.count == 1
        bench.compute.first = None
        assert (await bench.ask())["is_settled"]
        assert bench.compute.count == 2

    benches.run("table", check)


def test_who_goes_away_takes_the_answer_from_nobody_else(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        going_on = asyncio.Event()
        bench.compute.first = going_on.wait
        asking = [asyncio.create_task(bench.ask()) for _ in range(5)]
        await reached(lambda: bench.compute.count == 1)
        for leaving in asking[:4]:  # the first among them, who began it
            leaving.cancel()
        await asyncio.sleep(0.05)
        going_on.set()
        assert (await asking[4])["is_settled"]
        assert (bench.compute.count, bench.compute.was_cancelled) == (1, False)

    benches.run("table", check)


def test_when_all_have_gone_the_computation_ends(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        bench.compute.first = asyncio.Event().wait
        asking = [asyncio.create_task(bench.ask()) for _ in range(5)]
        await reached(lambda: bench.compute.count == 1)
        for leaving in asking:
            leaving.cancel()
        await together(*asking)
        await reached(lambda: bench.compute.was_cancelled)
        bench.compute.first = None
        assert (await bench.ask())["is_settled"]
        assert bench.compute.count == 2

    benches.run("table", check)


async def reached(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def test_who_ask_at_once_share_a_look_that_began_after_they_asked(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        await bench.ask()
        before = bench.connections.snapshots
        await together(*(bench.ask() for _ in range(200)))
        assert bench.connections.snapshots - before == 1
        # A version that is published after the look was made, and before the next one asks.
        seen, going_on = asyncio.Event(), asyncio.Event()

        @asynccontextmanager
        async def slowly() -> AsyncIterator[Any]:
            async with bench.connections.snapshot() as connection:
                yield connection
                seen.set()
                await going_on.wait()

        looks = state.Looks(slowly)
        first = asyncio.create_task(looks.present())
        await seen.wait()
        version = bench.builds.build()
        second, third = (asyncio.create_task(looks.present()) for _ in range(2))
        await asyncio.sleep(0.05)
        going_on.set()
        assert ((await first).version, (await second).version) == (version - 1, version)
        assert await third == await second

    benches.run("table", check)


# While builds go on


@dataclass
class Race:
    """What readers found who asked all the time while builds went on."""

    asked: int = 0
    mixed: int = 0
    unsettled: int = 0
    versions: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


async def race(bench: Bench, seed: int, enough: int = 60) -> Race:
    """Sixteen readers of few different answers, until they saw enough versions and mixtures."""
    found = Race()
    builds = bench.builds
    stop = threading.Event()
    writer = threading.Thread(target=builds.keep_building, args=(random.Random(seed), stop, lambda: found.asked))
    deadline = time.monotonic() + 200
    bench.compute.first = lambda: asyncio.sleep(random.uniform(0, 0.01))

    async def read(chance: random.Random) -> None:
        while not stop.is_set():
            newest_before = builds.newest
            answer = await bench.ask(chance.randrange(6))
            found.asked += 1
            found.versions.add(answer["version"])
            is_mixed = answer["first_half"] != answer["second_half"]
            found.mixed += is_mixed
            found.unsettled += not answer["is_settled"]
            if answer["version"] < newest_before:
                found.wrong.append(f"stale: {answer} after version {newest_before} was published")
            if answer["is_settled"] and not right(builds, answer):
                found.wrong.append(f"mixed: {answer}")
            if (min(len(found.versions), found.mixed) >= enough) or time.monotonic() > deadline:
                stop.set()
            await asyncio.sleep(chance.choice([0, 0.002]))

    writer.start()
    try:
        await asyncio.gather(*(read(random.Random(f"{seed} {number}")) for number in range(16)))
    finally:
        stop.set()
        await asyncio.to_thread(writer.join)
    await bench.kept()
    return found


def right(builds: Builds, answer: dict[str, Any]) -> bool:
    return answer["first_half"] == answer["second_half"] == builds.numbers[answer["version"]]


def kept_answers(bench: Bench) -> list[tuple[int | None, dict[str, Any]]]:
    """What lies in the backend: the version of each answer, and what it tells."""
    if isinstance(bench.backend, InRedis):
        with bench.redis.asking as client:
            rows = [client.get(key) for key in client.scan_iter("footfall:answer:*")]
    else:
        with bench.builds.models.warehouse.connect("api") as connection:
            rows = [row for (row,) in connection.execute("select answer from serving.analytics_cache")]
    answers = [unpacked(row) for row in rows]  # type: ignore[arg-type]
    assert None not in answers
    return [(answer.data_version, told(answer)) for answer in answers if answer is not None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak), pytest.param(3, marks=pytest.mark.soak)])
def test_no_stale_or_mixed_answer_is_served_or_kept_while_builds_go_on(benches: Benches, kind: str, seed: int) -> None:
    async def check(bench: Bench) -> None:
        found = await race(bench, seed)
        assert found.wrong == []
        # Requests did fall between two transactions of a build, and before its publication; and the cache was used.
        assert found.mixed >= 60
        assert found.unsettled > found.mixed
        assert len(found.versions) >= 60
        assert found.asked - bench.compute.count > 100, found
        kept = kept_answers(bench)
        assert len(kept) > 10
        for version, answer in kept:
            assert answer["is_settled"]
            assert answer["version"] == version
            assert right(bench.builds, answer)

    benches.run(kind, check)


def test_the_race_would_show_a_cache_that_keeps_whatever_it_computes(
    benches: Benches, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always_settled(connection: psycopg.AsyncConnection[Any]) -> PresentState:
        found = await read_present_state(connection)
        return PresentState(found.version, found.published_at, True, found.views)

    async def check(bench: Bench) -> None:
        assert any(wrong.startswith("mixed") for wrong in (await race(bench, 1)).wrong)

    monkeypatch.setattr(caching, "read_present_state", always_settled)
    benches.run("table", check)


def test_the_race_would_show_a_cache_that_goes_by_a_look_before_the_question(
    benches: Benches, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(bench: Bench) -> None:
        looks = state.Looks(bench.connections.snapshot)
        last: list[PresentState] = []
        asked = itertools.count()

        async def of_late() -> PresentState:
            if not last or next(asked) % 20 == 0:
                last.append(await looks.present())
            return last[-1]

        monkeypatch.setattr(bench.cache._looks, "present", of_late)
        assert any(wrong.startswith("stale") for wrong in (await race(bench, 1)).wrong)

    benches.run("table", check)


# Backends that are lost, slow, full or tampered with


async def timed(asked: Coroutine[Any, Any, T]) -> tuple[float, T]:
    began = time.monotonic()
    answer = await asked
    return time.monotonic() - began, answer


def test_a_redis_that_is_killed_slows_nothing_and_is_used_again_when_it_is_back(
    benches: Benches, caplog: pytest.LogCaptureFixture
) -> None:
    async def check(bench: Bench) -> None:
        await bench.ask_and_keep("before")
        bench.redis.kill()
        try:
            for number in range(30):
                seconds, answer = await timed(bench.ask(f"without {number}"))
                assert seconds < 5
                assert answer["is_settled"]
                await asyncio.sleep(0.05)  # longer in all than it is left alone
        finally:
            bench.redis.start()
        assert bench.compute.count == 31
        assert (await bench.ask("without 0"))["is_settled"]
        assert bench.compute.count == 31, "what is in memory is still there"
        await bench.ask_until_kept()

    with caplog.at_level(logging.INFO):
        benches.run("redis", check)
    said = [record.getMessage() for record in caplog.records if record.name == "serving.cache.backends"]
    assert len(said) == 2, said
    assert said[0].startswith("The cache cannot be used now, so answers are computed anew: ")
    assert "secret" not in said[0]
    assert said[1] == "The cache answers again."


def test_a_redis_that_hangs_costs_a_quarter_of_a_second_once_in_a_while(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        await bench.ask_and_keep("before")
        bench.redis.freeze()
        try:
            first, _ = await timed(bench.ask("first"))
            others, _ = await timed(together(*(bench.ask(f"other {number}") for number in range(20))))
        finally:
            bench.redis.thaw()
        assert 0.2 < first < 5
        assert others < 20 * 0.2
        with bench.redis.asking as client:
            client.flushall()
        await bench.ask_until_kept()

    benches.run("redis", check)


def test_a_table_that_is_locked_or_gone_is_done_without(benches: Benches) -> None:
    warehouse = benches.builds.models.warehouse

    async def check(bench: Bench) -> None:
        with warehouse.connect_as_administrator(warehouse.database) as locking:
            locking.execute("lock table serving.analytics_cache in access exclusive mode")
            seconds, answer = await timed(bench.ask("locked"))
            assert 0.2 < seconds < 5
            assert answer["is_settled"]
            locking.rollback()
            # What still asks for the table would hold up who renames it, and this very thread would hold up both.
            await reached(lambda: not bench.cache._backend._under_way)
            locking.execute("alter table serving.analytics_cache rename to put_aside")
            locking.commit()
            try:
                await asyncio.sleep(0.6)
                assert (await bench.ask("gone"))["is_settled"]
            finally:
                await reached(lambda: not bench.cache._backend._under_way)
                locking.execute("alter table serving.put_aside rename to analytics_cache")
                locking.commit()
        make_table(warehouse)
        await bench.ask_until_kept()

    benches.run("table", check)


@pytest.mark.parametrize("kind", KINDS)
def test_what_somebody_else_wrote_into_the_backend_is_not_served(benches: Benches, kind: str) -> None:
    async def check(bench: Bench) -> None:
        await bench.ask_and_keep()
        right_one = await bench.ask()
        if kind == "redis":
            with bench.redis.asking as client:
                (key,) = client.keys("footfall:answer:*")  # type: ignore[misc]
                client.set(key, client.get(key).replace(b"is_settled", b"is_changed"))  # type: ignore[union-attr, arg-type]
        else:
            with bench.builds.models.warehouse.connect("api") as connection:
                connection.execute(
                    "update serving.analytics_cache set answer = convert_to("
                    "replace(convert_from(answer, 'utf-8'), 'is_settled', 'is_changed'), 'utf-8')"
                )
        for _ in range(2):
            bench.cache = bench.new_cache()
            assert await bench.ask() == right_one
            await bench.kept()
        assert bench.compute.count == 2, "the right one has taken its place"

    benches.run(kind, check)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_come_back_as_they_were(benches: Benches, kind: str) -> None:
    async def check(bench: Bench) -> None:
        body = bytes(range(256)) * 500 + b"\n\n\x00"
        answer = Answer.of(body, "text/csv; charset=utf-8", 3, {"Link": '<x>; rel="next"', "X": "ä"})
        await bench.backend.put("k", answer, 60)
        assert await bench.backend.get("k") == answer
        assert await bench.backend.get("another") is None
        other = Answer.of(b"", "application/json", 4)
        await bench.backend.put("k", other, 60)
        assert await bench.backend.get("k") == other
        await bench.backend.put("large", Answer.of(bytes(5 * 1024**2), "text/csv", 3), 60)
        assert await bench.backend.get("large") is None

    benches.run(kind, check)


def test_the_table_stays_within_its_bounds(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        table = InTable(bench.connections.writing, most_bytes=400_000, most_rows=40)

        async def put(count: int, version: int, seconds: float, size: int = 10) -> None:
            for number in range(count):
                name = f"{version} {number:03} {seconds:g} {size}"
                body = random.Random(name).randbytes(size)
                await table.put(name, Answer.of(body, "text/csv", version), seconds)

        async def by_itself() -> None:
            """It is swept every so often; wait for the end of that."""
            await reached(lambda: table._sweeping is not None and table._sweeping.done())

        def kept_bytes() -> int:
            with bench.builds.models.warehouse.connect("api") as connection:
                told = connection.execute("select sum(octet_length(answer)) from serving.analytics_cache").fetchone()
            assert told is not None
            return int(told[0])

        def rows() -> list[tuple[int, int]]:
            with bench.builds.models.warehouse.connect("api") as connection:
                return connection.execute(
                    "select data_version, count(*) from serving.analytics_cache group by 1 order by 1"
                ).fetchall()

        await put(2, 8, 600)
        await put(2, 9, 600)
        await put(1, 9, 0.01)
        await asyncio.sleep(0.05)
        assert await table.sweep(9) == 3, "two of an older version, one whose time was over"
        assert rows() == [(9, 2)]
        assert await table.sweep(9) == 0
        await put(60, 9, 500)
        await by_itself()
        await table.sweep(9)
        assert rows() == [(9, 40)]
        assert await table.get("9 000 600 10") is not None, "what expires first goes first"
        await put(30, 10, 600, size=5_000)
        await by_itself()
        await table.sweep(10)
        assert rows() == [(10, 30)]
        table = InTable(bench.connections.writing, most_bytes=400_000)
        await put(120, 10, 700, size=6_000)
        await by_itself()
        assert 300_000 < kept_bytes() <= 400_000 * 9 / 8 + 6_200
        await table.sweep(10)
        assert 300_000 < kept_bytes() <= 400_000
        await table.close()

    benches.run("table", check)


def test_redis_forgets_by_itself(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        await bench.ask_and_keep()
        with bench.redis.asking as client:
            (key,) = client.keys("*")  # type: ignore[misc]
            assert 3590 < client.ttl(key) <= 3600  # type: ignore[operator]

    benches.run("redis", check)


def test_a_redis_behind_tls_is_spoken_to_if_its_certificate_is_right(benches: Benches, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside_reader, inside_writer = await asyncio.open_connection("127.0.0.1", benches.redis.port)
        await asyncio.gather(copy(reader, inside_writer), copy(inside_reader, writer))

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def patiently(ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """On a machine with other work to do."""
        for _ in range(20):
            with suppress(redis.TimeoutError):
                return await ask()
        raise AssertionError("it never answered")

    async def check() -> None:
        server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
        address = f"rediss://:secret@localhost:{server.sockets[0].getsockname()[1]}/0"
        answer = Answer.of(b"{}", "application/json", 1)
        trusting, careful = InRedis(f"{address}?ssl_ca_certs={certificate}"), InRedis(address)
        await patiently(lambda: trusting.put("k", answer, 60))
        assert await patiently(lambda: trusting.get("k")) == answer
        with pytest.raises(Exception, match="certificate verify failed"):
            await careful.get("k")
        await trusting.close()
        await careful.close()
        server.close()
        await asyncio.sleep(0.1)

    asyncio.run(check())


def test_memory_of_one_process_needs_no_look_at_the_backend(benches: Benches) -> None:
    async def check(bench: Bench) -> None:
        memory = Memory()
        bench.cache = AnswerCache(bench.connections.snapshot, Guarded(bench.backend), memory=memory)
        await bench.ask_and_keep()
        with bench.redis.asking as client:
            before = client.info("commandstats")["cmdstat_get"]["calls"]  # type: ignore[index]
            await bench.ask()
            assert client.info("commandstats")["cmdstat_get"]["calls"] == before  # type: ignore[index]

    benches.run("redis", check)
