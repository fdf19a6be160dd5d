"""What tests of the API need: a store with something of everything in it, and a client.

What is answered is for the tests to say.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from serving.access.gate import Entrance
from serving.access.keys import Scope, create_key
from serving.access.limiting import Limits
from serving.app import build_app
from serving.database import Database
from tests.integration.modelling import Models, Signal, at, random_signals, stay
from tests.integration.serving import Answer, Site, served
from warehouse.connections import Warehouse

NOW = datetime(2024, 6, 30, 10, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Api:
    """The API of a store."""

    site: Site
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, path: str, **parameters: Any) -> Answer:
        """Ask GET /v1/`path`; a list is a repeated parameter."""
        query = urlencode(parameters, doseq=True)
        return self.site.get(f"/v1/{path}" + (f"?{query}" if query else ""), **self.headers)

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """Return the whole answer to a question that is right."""
        answer = self.ask(path, **parameters)
        assert answer.status == 200, answer.text
        told: dict[str, Any] = json.loads(answer.body)
        return told

    def pages(self, path: str, **parameters: Any) -> list[Any]:
        """Return the rows of all pages."""
        rows: list[Any] = []
        cursor: Mapping[str, str] = {}
        while True:
            told = self.get(path, **parameters, **cursor)
            rows += told["data"]
            if told["page"]["next_cursor"] is None:
                return rows
            cursor = {"cursor": told["page"]["next_cursor"]}


def fill(models: Models) -> None:
    """Two sites in zones of their own, with something of everything; built."""
    models.set_cameras(
        {"camera_id": "N", "site_id": "berlin", "timezone": "Europe/Berlin", "zone": "door", "capacity": 10},
        {"camera_id": "S", "site_id": "berlin", "timezone": "Europe/Berlin", "zone": "hall", "capacity": 5},
        {"camera_id": "C", "site_id": "chicago", "timezone": "America/Chicago", "zone": "door"},
    )
    models.load(
        [
            *stay("p", "N", "2024-03-30 22:30:00+01:00", 7200),
            *stay("p", "S", "2024-03-31 01:00:00+01:00", 600),
            *stay("p", "N", "2024-04-02 09:00:00+02:00", 60),
            *stay("q", "N", "2024-04-02 09:00:30+02:00", 900),
            *stay("q", "C", "2024-04-02 09:00:00-05:00"),
            Signal("r", "S", "entry", at("2024-04-02 10:00:00+02:00"), age=30, gender="female"),
            Signal("r", "S", "exit", at("2024-04-02 10:20:00+02:00"), age=30, gender="female"),
            Signal("s", "S", "entry", at("2024-04-02 10:10:00+02:00"), age_group="65+", gender="male"),
            Signal("unknown", "S", "other", at("2024-04-02 12:00:00+02:00")),
            Signal("t", "C", "exit", at("2024-04-03 12:00:00-05:00")),
            *random_signals(random.Random(1), 60),
        ]
    )
    models.build()


@contextmanager
def api_of(warehouse: Warehouse, reports: Path, *, key: str | None = None) -> Iterator[Api]:
    """Serve the API of a store, and ask it with a key; without one it is open."""
    limits = Limits(None, None, None)
    entrance = None if key is None else Entrance(lambda: warehouse, is_open=False, limits=limits)
    app = build_app(reports, Database(lambda: warehouse), entrance=entrance, clock=lambda: NOW)
    with served(app) as site:
        yield Api(site, {} if key is None else {"Authorization": f"Bearer {key}"})


def key_of(warehouse: Warehouse, *sites: str, scope: Scope = "read") -> str:
    """Make a key; without sites it is for all."""
    with warehouse.connect("owner") as connection:
        _, key = create_key(connection, "test", scope, sites=sites or None, expires_in=None, created_by="test")
    return key
