"""Who gets in, as what, and what is noted of it: the gate before a real server and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, LiteralString

import psycopg
import pytest
from fastapi import Depends, Request
from prometheus_client.parser import text_string_to_metric_families

from serving.access.allowing import Access, needing
from serving.access.audit import KEPT_DAYS, Entry, write
from serving.access.gate import Entrance
from serving.access.keys import Keyring, Scope, create_key, list_keys, revoke_key
from serving.access.limiting import Limits
from serving.access.store import Store
from serving.app import build_app
from serving.database import Database
from serving.metrics import Observed
from tests.integration.modelling import Models
from tests.integration.serving import Answer, Site, served
from warehouse.connections import Warehouse
from warehouse.problems import WarehouseProblem

HOSTILE = "/v1/%00%1b[31m%0aX-Injected:%201<script>%F0%9F%92%A9" + "a" * 2000


def key_of(warehouse: Warehouse, scope: Scope = "read", *sites: str, seconds: float | None = None) -> str:
    with warehouse.connect("owner") as connection:
        expires_in = None if seconds is None else timedelta(seconds=seconds)
        return create_key(connection, "till", scope, sites=sites or None, expires_in=expires_in, created_by="somebody")[
            1
        ]


def rows(warehouse: Warehouse, query: LiteralString) -> list[tuple[Any, ...]]:
    with warehouse.connect("owner") as connection:
        return connection.execute(query).fetchall()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def basic(key: str, name: str = "") -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:{key}'.encode()).decode()}"}


@dataclass
class House:
    site: Site
    warehouse: Warehouse

    def get(self, path: str = "/v1/whoami", key: str | None = None, **more: Any) -> Answer:
        return self.site.get(path, **({} if key is None else bearer(key)), **more)

    def noted(self, lines: int) -> list[tuple[Any, ...]]:
        """What the audit says, once it has so many lines: one is written when its answer has been given."""
        query = "select action, key_name, subject, outcome, client from serving.audit order by audit_id"
        deadline = time.monotonic() + 10
        while len(noted := rows(self.warehouse, query)) < lines and time.monotonic() < deadline:
            time.sleep(0.05)
        return noted


@contextmanager
def house_of(
    warehouse: Warehouse, folder: Path, *, is_open: bool = False, limits: Limits | None = None
) -> Iterator[House]:
    """The pages, and three routes that say who asks."""
    reports = folder / "reports"
    (reports / "files").mkdir(parents=True, exist_ok=True)
    (reports / "files" / "index.html").write_text("a report")
    entrance = Entrance(lambda: warehouse, is_open=is_open, limits=limits)
    observed = Observed(lambda: warehouse, lambda: 0, dict)
    app = build_app(
        reports, Database(lambda: warehouse), entrance=entrance, observed=observed, allowed_hosts=["shop.example"]
    )

    def who(access: Access) -> dict[str, Any]:
        return {"scope": access.scope, "sites": access.sites, "name": access.name}

    @app.get("/v1/whoami")
    async def whoami(access: Annotated[Access, Depends(needing("read"))]) -> dict[str, Any]:
        return who(access)

    @app.post("/v1/files")
    async def files(request: Request, access: Annotated[Access, Depends(needing("upload"))]) -> dict[str, Any]:
        request.state.subject = "day\n1.csv"
        return who(access)

    @app.delete("/v1/everything")
    async def everything(access: Annotated[Access, Depends(needing("admin"))]) -> dict[str, Any]:
        return who(access)

    @app.get("/v1/sites/{name}")
    async def sites(name: str, access: Annotated[Access, Depends(needing("read"))]) -> str:
        access.require_site(name)
        return name

    try:
        with served(app) as site:
            yield House(site, warehouse)
    finally:
        asyncio.run(entrance.close())


@pytest.fixture
def house(warehouse: Warehouse, tmp_path: Path) -> Iterator[House]:
    with house_of(warehouse, tmp_path) as house:
        yield house


def problem_of(answer: Answer, status: int) -> str:
    """What a problem says, once it is known to be one."""
    said = json.loads(answer.text)
    assert (answer.status, said["status"]) == (status, status), answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert said.keys() == {"type", "title", "status", "detail", "errors"}
    return f"{said['title']}. {said['detail']}"


@pytest.mark.parametrize("path", ["/v1/whoami", "/v1", "/v1/nothing", "/v1/../quality"])
def test_the_api_asks_for_a_key(house: House, path: str) -> None:
    answer = house.get(path)
    if path.endswith("quality"):
        assert answer.status == 401
        return
    said = problem_of(answer, 401)
    assert "`Authorization: Bearer ff_…`" in said
    assert "`footfall keys create`" in said
    assert answer.headers["www-authenticate"].startswith('Bearer realm="Footfall", Basic realm="Footfall"')


@pytest.mark.parametrize(
    "path", ["/", "/quality", "/metrics", "/reports/files/", "/nowhere", "//v1/whoami", "/V1/whoami", "/static"]
)
def test_pages_ask_for_a_key_in_words_for_people(house: House, path: str) -> None:
    answer = house.get(path)
    assert answer.status == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert "In a browser, the key is the password" in answer.words
    assert "Basic " in answer.headers["www-authenticate"]
    for method in ("POST", "OPTIONS", "PUT"):
        assert house.get(path, method=method).status == 401


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 503), ("/static/footfall.css", 200)])
def test_what_tells_nothing_is_for_everybody(house: House, path: str, status: int) -> None:
    assert house.get(path).status == status
    assert house.get(path, "ff_1_nonsense").status == status


def test_a_path_that_looks_open_opens_nothing(house: House) -> None:
    for path in ("/static/../quality", "/static/../../reports/files/", "/static/%2e%2e/reports/files/index.html"):
        assert house.get(path).status == 404
    for path in ("/health/../quality", "/healthz/", "/health%2f..%2fquality", "/health;/quality"):
        assert house.get(path).status == 401


def test_a_key_opens_everything_by_every_way_to_present_it(house: House) -> None:
    key = key_of(house.warehouse)
    for headers in (
        bearer(key),
        {"authorization": f"bearer  {key} "},
        {"X-API-Key": key},
        basic(key),
        basic(key, "me"),
    ):
        assert house.site.get("/v1/whoami", **headers).status == 200, headers
        assert house.site.get("/quality", **headers).status == 200
        assert house.site.get("/reports/files/", **headers).text == "a report"
        assert house.site.get("/", **headers).status == 307
    metrics = house.get("/metrics", key)
    assert "footfall_files" in {family.name for family in text_string_to_metric_families(metrics.text)}
    assert house.get(f"/v1/whoami?key={key}").status == 401, "a key in an address ends up in logs"


def test_scopes_are_ordered(house: House) -> None:
    tries = (("/v1/whoami", "GET"), ("/v1/files", "POST"), ("/v1/everything", "DELETE"))
    for number, scope in enumerate(("read", "upload", "admin")):
        key = key_of(house.warehouse, scope)  # type: ignore[arg-type]
        statuses = [house.get(path, key, method=method).status for path, method in tries]
        assert statuses == [200] * (number + 1) + [403] * (2 - number)
    refused = house.get("/v1/everything", key_of(house.warehouse, "upload"), method="DELETE")
    assert "The key “till” allows upload, and this needs admin." in problem_of(refused, 403)
    assert 'error="insufficient_scope", scope="admin"' in refused.headers["www-authenticate"]


def test_a_key_for_a_site_sees_no_other_and_nothing_that_tells_of_all(house: House) -> None:
    key = key_of(house.warehouse, "admin", "A", "B")
    assert house.get(key=key).text == '{"scope":"admin","sites":["A","B"],"name":"till"}'
    assert house.get("/v1/sites/A", key).status == 200
    for other in ("C", "a", "", "%20A"):
        answer = house.get(f"/v1/sites/{other}", key)
        assert answer.status == (404 if not other else 403)
    assert "is for the sites A, B." in problem_of(house.get("/v1/sites/C", key), 403)
    for path in ("/quality", "/metrics", "/reports/files/", "/", "/nowhere"):
        answer = house.get(path, key)
        assert answer.status == 403
        assert "is for the sites A, B, and this tells of all sites." in answer.words


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Authorization": "Bearer"}, "not known"),
        ({"Authorization": "Bearer ff_1_" + "A" * 43}, "not known"),
        ({"Authorization": "Bearer ff_1_' or true --"}, "not known"),
        ({"Authorization": "Basic %%%"}, "not known"),
        ({"Authorization": "Basic /w=="}, "not known"),
        ({"Authorization": "Digest username=x"}, "not a way to present a key"),
        ({"X-API-Key": ""}, "not known"),
        ({"X-API-Key": "ff_1_" + "é" * 43}, "not known"),
        ({"X-API-Key": "ff_" + "9" * 400 + "_" + "A" * 43}, "not known"),
        ({"X-API-Key": "a", "Authorization": "Bearer b"}, "two keys"),
    ],
)
def test_what_is_no_key_is_refused(house: House, headers: dict[str, str], says: str) -> None:
    answer = house.site.get("/v1/whoami", **headers)
    assert says in problem_of(answer, 401)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_key_that_was_altered_is_refused(house: House) -> None:
    key = key_of(house.warehouse)
    for other in (key[:-1], key + "A", key.upper(), key.replace("ff_1_", "ff_2_"), " ".join(key)):
        assert "not known" in problem_of(house.get(key=other), 401)
    assert house.get(key=key).status == 200


def test_an_expired_key_is_refused_to_the_moment(house: House) -> None:
    key = key_of(house.warehouse, seconds=1.5)
    began = time.monotonic()
    while (answer := house.get(key=key)).status == 200:
        time.sleep(0.02)
    assert time.monotonic() - began < 1.8, "it is not remembered for longer than it holds"
    assert "This key has expired. The key “till” (1) is refused." in problem_of(answer, 401)


def test_a_revoked_key_is_refused_within_five_seconds(house: House) -> None:
    key, other = key_of(house.warehouse), key_of(house.warehouse)
    assert house.get(key=key).status == 200
    with house.warehouse.connect("owner") as connection:
        assert revoke_key(connection, 1)
        assert not revoke_key(connection, 1)
    began = time.monotonic()
    while (answer := house.get(key=key)).status == 200:
        time.sleep(0.02)
    assert time.monotonic() - began < 5
    assert "This key was revoked." in problem_of(answer, 401)
    assert house.get(key=other).status == 200


def test_a_new_key_works_at_once_although_others_were_refused(house: House) -> None:
    for _ in range(3):
        assert house.get(key="ff_9_" + "A" * 43).status == 401
    assert house.get(key=key_of(house.warehouse)).status == 200


def test_keys_are_kept_as_hashes_alone(warehouse: Warehouse) -> None:
    keys = [key_of(warehouse) for _ in range(20)]
    dump = str(rows(warehouse, "select api_keys::text, api_keys.* from serving.api_keys"))
    assert not [key for key in keys if key.split("_", 2)[2] in dump]
    hashes = [hashed for (hashed,) in rows(warehouse, "select key_hash from serving.api_keys order by key_id")]
    assert hashes == [hashlib.sha256(key.encode()).digest() for key in keys]
    assert [int(key.split("_")[1]) for key in keys] == list(range(1, 21))
    assert len({key.split("_", 2)[2] for key in keys}) == 20
    with warehouse.connect("owner") as connection:
        connection.execute("set enable_seqscan = off")
        plan = connection.execute("explain select from serving.api_keys where key_hash = '\\x00'").fetchall()
    assert "Index Scan using api_keys_key_hash_key" in str(plan) or "Index Only Scan" in str(plan)


def test_where_no_key_is_needed_one_that_is_presented_still_counts(warehouse: Warehouse, tmp_path: Path) -> None:
    with house_of(warehouse, tmp_path, is_open=True) as house:
        assert house.get().text == '{"scope":"admin","sites":null,"name":""}'
        assert house.get("/quality").status == 200
        assert house.get("/v1/files", method="POST").status == 200
        key = key_of(warehouse, "read", "A")
        assert house.get(key=key).text == '{"scope":"read","sites":["A"],"name":"till"}'
        assert house.get("/v1/files", key, method="POST").status == 403
        assert house.get("/quality", key).status == 403
        for wrong in (bearer("nonsense"), {"X-API-Key": "nonsense"}, basic(key + "A")):
            assert house.site.get("/v1/whoami", **wrong).status == 401
        # A proxy that has asked for a password of its own passes it on.
        for foreign in (basic("secret", "boss"), {"Authorization": "Negotiate abc"}):
            assert house.site.get("/quality", **foreign).status == 200


def test_without_a_database_a_key_cannot_be_looked_up(tmp_path: Path) -> None:
    def away() -> Warehouse:
        raise WarehouseProblem("There is none.", "Start it.")

    app = build_app(tmp_path, Database(away), entrance=Entrance(away, is_open=False))
    with served(app) as site:
        answer = site.get("/v1/whoami", **bearer("ff_1_" + "A" * 43))
        assert "The database does not answer." in problem_of(answer, 503)
        assert answer.headers["retry-after"] == "5"
        assert site.get("/quality", **bearer("ff_1_" + "A" * 43)).status == 503
        assert site.get("/v1/whoami").status == 401
        assert site.get("/healthz").status == 200


def test_the_database_may_be_away_for_a_moment(house: House) -> None:
    key = key_of(house.warehouse)
    assert house.get(key=key).status == 200
    with house.warehouse.connect_as_administrator("postgres") as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where application_name = 'footfall access' and datname = %s",
            [house.warehouse.database],
        ).fetchall()
    assert ended == [(True,)]
    assert house.get(key=key_of(house.warehouse)).status == 200


def test_the_use_of_a_key_is_written_once_a_minute_and_looked_up_once_in_two_seconds(warehouse: Warehouse) -> None:
    key = key_of(warehouse)
    now = 100.0

    class Counting(Store):
        statements = 0

        async def run(self, *arguments: Any) -> list[tuple[Any, ...]]:
            self.statements += 1
            return await super().run(*arguments)

    async def use() -> list[int]:
        nonlocal now
        store = Counting(lambda: warehouse)
        keyring = Keyring(store, lambda: now)
        counts = []
        for later in (0, 0, 1.9, 0.2, 3, 3):
            now += later
            found = await keyring.find(key)
            assert found is not None
            assert (found.key_id, found.state) == (1, "valid")
            counts.append(store.statements)
        with warehouse.connect("owner") as connection:
            connection.execute("update serving.api_keys set last_used_at = now() - interval '61 seconds'")
        for later in (3, 3):
            now += later
            await keyring.find(key)
            counts.append(store.statements)
        await store.close()
        return counts

    assert asyncio.run(use()) == [2, 2, 2, 3, 4, 5, 7, 8]
    ((age,),) = rows(warehouse, "select now() - last_used_at from serving.api_keys")
    assert timedelta(0) < age < timedelta(seconds=30)


def test_a_key_that_is_refused_is_not_used(house: House) -> None:
    key = key_of(house.warehouse, seconds=0)
    assert house.get(key=key).status == 401
    with house.warehouse.connect("owner") as connection:
        (listed,) = list_keys(connection)
    assert (listed.state, listed.last_used_at, listed.created_by) == ("expired", None, "somebody")


def test_refusals_and_uploads_are_noted(house: House) -> None:
    key, uploads = key_of(house.warehouse), key_of(house.warehouse, "upload")
    assert house.get(HOSTILE).status == 401
    for _ in range(5):
        house.get(key=key)
        house.get("/v1/nothing", key)
        house.get("/quality")
        house.get("/v1/files", key, method="POST")
    for _ in range(2):
        house.get("/v1/files", uploads, method="POST")
    nobody, known, *brought = house.noted(4)
    assert nobody[:2] == ("refused", "")
    assert nobody[2].startswith(r"GET /v1/\x00\x1b[31m\nX-Injected: 1<script>💩aaa")
    assert len(nobody[2]) == 300
    assert nobody[3:] == (401, "127.0.0.1")
    assert known == ("refused", "till", "POST /v1/files", 403, "127.0.0.1")
    assert brought == [("uploaded", "till", r"day\n1.csv", 200, "127.0.0.1")] * 2
    assert key not in str(rows(house.warehouse, "select audit::text from serving.audit"))


def test_the_audit_forgets_what_is_old(warehouse: Warehouse) -> None:
    with warehouse.connect("owner") as connection:
        for days in (KEPT_DAYS + 1, KEPT_DAYS - 1):
            connection.execute(
                "insert into serving.audit (at, key_name, action, subject, client)"
                " values (now() - make_interval(days => %s), '', 'refused', %s, '')",
                [days, str(days)],
            )
        write(connection, Entry("key_revoked", "new"))
    assert rows(warehouse, "select subject from serving.audit order by at") == [(str(KEPT_DAYS - 1),), ("new",)]


def test_whoever_asks_too_often_is_told_when_to_ask_again(warehouse: Warehouse, tmp_path: Path) -> None:
    with house_of(warehouse, tmp_path, is_open=True, limits=Limits("5/minute", "2/minute")) as house:
        key, other = key_of(warehouse, "upload"), key_of(warehouse, "upload")
        for left in (4, 3, 2, 1, 0):
            answer = house.get(key=key)
            assert answer.status == 200
            assert answer.headers["ratelimit-policy"] == '"reading";q=5;w=60'
            assert answer.headers["ratelimit"].startswith(f'"reading";r={left};t=')
        refused = house.get(key=key)
        assert "At most 5 requests (reading) are answered in 60 seconds." in problem_of(refused, 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit"].startswith('"reading";r=0;t=')
        # Others, uploads and pages are counted for themselves.
        assert house.get(key=other).status == 200
        assert house.get().status == 200
        assert [house.get("/v1/files", key, method="POST").status for _ in range(3)] == [200, 200, 429]
        assert [house.get("/quality", key).status for _ in range(6)] == [200] * 6


def test_whoever_tries_keys_is_stopped_and_who_has_one_is_not(house: House) -> None:
    key = key_of(house.warehouse)
    assert house.get(key=key).status == 200
    statuses = [house.get(key=f"ff_{number}_{'A' * 43}").status for number in range(1, 80)]
    assert statuses == [401] * 60 + [429] * 19
    assert house.get().status == 429
    assert house.get(key=key).status == 200


def test_no_other_site_may_read_or_send(warehouse: Warehouse, tmp_path: Path) -> None:
    with house_of(warehouse, tmp_path, is_open=True) as house:
        for origin in ("https://evil.example", "null", "http://localhost:1", "http://[bad", "http://127.0.0.1"):
            answer = house.get("/v1/whoami", Origin=origin)
            assert (answer.status, [name for name in answer.headers if name.startswith("access-control")]) == (200, [])
            preflight = house.get("/v1/files", method="OPTIONS", Origin=origin)
            assert preflight.status == 405
            assert [name for name in preflight.headers if name.startswith("access-control")] == []
            for method in ("POST", "DELETE", "PATCH"):
                sent = house.get("/v1/files", method=method, Origin=origin)
                assert "A page of another site may not do that." in problem_of(sent, 403)
        ours = ("http://localhost", "http://shop.example", "https://shop.example:8443")
        assert [house.get("/v1/files", method="POST", Origin=origin).status for origin in ours] == [200] * 3
        assert [line[0] for line in house.noted(3)] == ["uploaded"] * 3


def test_the_api_has_the_headers_of_every_answer_and_its_own(house: House) -> None:
    key = key_of(house.warehouse)
    for answer in (house.get(key=key), house.get(), house.get("/v1/whoami", host="evil.example")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["vary"] == "Authorization, X-API-Key"
    assert house.get(key=key).headers["cache-control"] == "private, no-cache"
    assert "does not go by that name" in problem_of(house.get(host="evil.example"), 400)


def test_the_role_api_writes_nothing_but_rows_of_its_own(models: Models) -> None:
    """Every table there is, by every way to change one; what is left over is exactly what it may."""
    models.build()
    warehouse = models.warehouse
    tables = rows(
        warehouse,
        """
        select nspname, relname, min(attname) from pg_class
        join pg_namespace on pg_namespace.oid = relnamespace
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped and attidentity = ''
        where relkind in ('r', 'p') and nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
        group by 1, 2
        """,
    )
    assert {"raw", "intermediate", "marts", "serving"} <= {schema for schema, _, _ in tables}
    assert len(tables) > 30
    allowed = set()
    with warehouse.connect("api", autocommit=True) as connection:
        for schema, table, column in tables:
            name = psycopg.sql.Identifier(schema, table)
            for what, statement in {
                "insert": psycopg.sql.SQL("insert into {} default values"),
                "update": psycopg.sql.SQL("update {} set {} = default where false"),
                "delete": psycopg.sql.SQL("delete from {} where false"),
                "truncate": psycopg.sql.SQL("truncate {}"),
                "alter": psycopg.sql.SQL("alter table {} add column more int"),
                "drop": psycopg.sql.SQL("drop table {}"),
            }.items():
                try:
                    connection.execute(statement.format(name, psycopg.sql.Identifier(column)))
                    allowed.add((f"{schema}.{table}", what))
                except psycopg.errors.InsufficientPrivilege:
                    pass
                except psycopg.errors.IntegrityError:  # it may, and a row needs more
                    allowed.add((f"{schema}.{table}", what))
        for schema in ("raw", "staging", "intermediate", "marts", "serving", "public"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(
                    psycopg.sql.SQL("create table {} (a int)").format(psycopg.sql.Identifier(schema, "x"))
                )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("create temporary table x (a int)")
    assert allowed == {
        ("serving.audit", "insert"),
        ("serving.audit", "delete"),
        *(("serving.analytics_cache", what) for what in ("insert", "update", "delete")),
        *(("serving.uploads", what) for what in ("insert", "update", "delete")),
    }
