"""The API's description: complete, true (whatever it allows is answered as it says), and enough to make a client of."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks

from serving.app import build_app
from serving.database import Database
from tests.integration.asking_api import Api, api_of, key_of
from tests.integration.test_serving_files import no_database
from warehouse.connections import Warehouse

# The description needs no server; the answers come from one.
LONGEST_ADDRESS = 60_000
API = schemathesis.openapi.from_dict(build_app(Path(), Database(no_database)).openapi())


@pytest.fixture
def described(api: Api) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(api.site.get("/v1/openapi.json").body)
    return told


@pytest.fixture
def guarded(filled: Warehouse, tmp_path: Path) -> Iterator[Api]:
    """The API where keys are needed."""
    with api_of(filled, tmp_path, key=key_of(filled, scope="admin")) as api:
        yield api


@API.parametrize()
@settings(suppress_health_check=list(HealthCheck), max_examples=settings.default.max_examples // 5)
def test_whatever_the_description_allows_is_answered_as_it_says(guarded: Api, case: schemathesis.Case) -> None:
    """To those who have a key, and to nobody else."""
    answer = case.call(base_url=f"http://127.0.0.1:{guarded.site.port}", headers=dict(guarded.headers))
    # An address that is too long does not even reach us.
    if answer.status_code != 400 or len(answer.request.url or "") < LONGEST_ADDRESS:
        # That there is such a camera, no description can say: what it allows may yet be refused.
        case.validate_response(answer, excluded_checks=[checks.positive_data_acceptance], headers=dict(guarded.headers))


def test_everything_is_described(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1")
    for path, operations in described["paths"].items():
        assert path.startswith("/v1/"), "pages are not the API"
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path
            for parameter in operation.get("parameters", []):
                assert parameter.get("description"), (path, parameter["name"])
            assert "application/json" in operation["responses"]["200"]["content"], path
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
    for name, schema in described["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            assert told.get("description") or "$ref" in told, (name, field)


@pytest.fixture
def client(described: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A client's package, made of the description alone."""
    (tmp_path / "openapi.json").write_text(json.dumps(described))
    (tmp_path / "settings.yml").write_text("post_hooks: []\n")
    command = ["openapi-python-client", "generate", "--path", "openapi.json", "--output-path", "footfall_client"]
    made = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:], "--meta", "none", "--config", "settings.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Warning" not in made.stdout + made.stderr, made.stdout + made.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "footfall_client"
    for name in [name for name in sys.modules if name.startswith("footfall_client")]:
        del sys.modules[name]


def test_a_generated_client_works(client: str, api: Api) -> None:
    package = importlib.import_module(client)
    kpis = importlib.import_module(f"{client}.api.figures.kpis")
    events = importlib.import_module(f"{client}.api.records.events")
    models = importlib.import_module(f"{client}.models")
    with package.Client(base_url=f"http://127.0.0.1:{api.site.port}") as here:
        told = kpis.sync(client=here, site_id=["berlin"])
        assert told.data.events == api.get("kpis", site_id="berlin")["data"]["events"]
        assert told.meta.data_version == 1
        page = events.sync(client=here, limit=2)
        assert [row.camera_id for row in page.data] == [row["camera_id"] for row in api.get("events", limit=2)["data"]]
        more = events.sync(client=here, limit=2, cursor=page.page.next_cursor)
        assert more.data[0].event_time > page.data[0].event_time
        wrong = kpis.sync(client=here, site_id=["paris"])
        assert isinstance(wrong, models.ProblemDetails)
        assert wrong.errors[0].field == "site_id"
