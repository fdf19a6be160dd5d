"""How the API answers: what stands in every answer, what is said of a question that is wrong, and pages."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from serving.api.answers import Meta
from serving.api.routes import QUESTIONS
from tests.integration.asking_api import NOW, Api, api_of
from warehouse.connections import Warehouse

OF_FILES = ("files", "quality")
PATHS = [question.path for question in QUESTIONS if "{" not in question.path]
LISTS = [
    question.path for question in QUESTIONS if "limit" in question.parameters.model_fields and "{" not in question.path
]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_says_what_it_is_about(api: Api, path: str) -> None:
    told = api.get(path)
    assert set(told) == {"data", "meta", "page"}
    assert set(told["meta"]) == set(Meta.model_fields)
    assert told["data"], "the store has something of everything"
    assert told["meta"]["data_version"] == 1
    assert told["meta"]["is_settled"] is True
    assert datetime.fromisoformat(told["meta"]["generated_at"]) == NOW
    assert (told["meta"]["share_without_exit"] is None) == (path in OF_FILES)
    assert (told["page"] is None) == (path not in LISTS)


@pytest.mark.parametrize("question", [one for one in QUESTIONS if "{" not in one.path], ids=lambda one: one.path)
def test_rows_are_as_they_are_described(api: Api, question: Any) -> None:
    told = api.get(question.path)
    rows = [told["data"]] if question.is_one else told["data"]
    for row in rows:
        assert set(row) == set(question.row.model_fields)
        question.row.model_validate_json(json.dumps(row))
    assert not question.is_one or isinstance(told["data"], dict)


@pytest.mark.parametrize("path", PATHS)
def test_as_csv_the_rows_are_the_same(api: Api, path: str) -> None:
    answer = api.ask(path, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    data = api.get(path)["data"]
    rows = [data] if isinstance(data, dict) else data
    assert len(lines) == len(rows)

    def written(value: Any) -> str:
        match value:
            case None:
                return ""
            case bool():
                return str(value).lower()
            case str() if value.endswith("Z"):
                return value.removesuffix("Z") + "+00:00"
            case list() | dict():
                return json.dumps(value, separators=(",", ":"))
            case _:
                return str(value)

    assert lines == [{name: written(value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize(
    ("path", "parameters", "field", "problem", "expected"),
    [
        ("kpis", {"camera_id": "NN"}, "camera_id", "There is no camera “NN”.", "Perhaps “N”? /v1/cameras lists all."),
        ("kpis", {"site_id": "paris"}, "site_id", "There is no site “paris”.", "/v1/sites lists all."),
        ("kpis", {"zone": "dor"}, "zone", "There is no zone “dor”.", "Perhaps “door”? /v1/cameras lists all."),
        (
            "kpis",
            {"zone": "hall", "site_id": "chicago"},
            "zone",
            "No camera is in all of what site_id and zone name.",
            None,
        ),
        (
            "kpis",
            {"person_id": "nobody"},
            "person_id",
            "No event of the person “nobody” is known at these cameras.",
            None,
        ),
        (
            "kpis",
            {"gender": "femal"},
            "gender",
            "There is no gender “femal”.",
            "Perhaps “female”? /v1/demographics lists all.",
        ),
        ("kpis", {"age_group": "1"}, "age_group", "There is no age group “1”.", "/v1/demographics lists all."),
        ("kpis", {"start": "yesterday"}, "start", "“yesterday” is not a moment.", None),
        ("kpis", {"start": "2024-05-01T00:00:00 02:00"}, "start", "“2024-05-01T00:00:00 02:00” is not a moment.", None),
        ("kpis", {"end": "9999-12-31"}, "end", "“9999-12-31” is out of all reason.", "A moment from 1900 to 2199."),
        (
            "kpis",
            {"start": "2024-05-02", "end": "2024-05-01"},
            "end",
            "The range ends (“2024-05-01”) before it begins (“2024-05-02”).",
            None,
        ),
        (
            "kpis",
            {"start": "2024-05-01", "end": "2024-05-01"},
            "end",
            "The range ends (“2024-05-01”) before it begins (“2024-05-01”).",
            None,
        ),
        (
            "kpis",
            {"tz": "Mars/Olympus"},
            "tz",
            "“Mars/Olympus” is not a time zone.",
            "A name such as Europe/Berlin or UTC.",
        ),
        ("kpis", {"tz": ["UTC", "UTC"]}, "tz", "It is given more than once.", "One value."),
        ("kpis", {"camera": "N"}, "camera", "There is no such parameter.", None),
        ("kpis", {"camera_id": ""}, "camera_id.0", "It is empty.", None),
        ("kpis", {"camera_id": "a\x00b"}, "camera_id.0", "It holds control characters.", None),
        ("kpis", {"format": "xml"}, "format", "“xml” is not one of its values.", "One of 'json' or 'csv'."),
        ("occupancy", {"interval": "minute"}, "interval", "“minute” is not one of its values.", None),
        ("occupancy", {"group_by": "zone"}, "group_by", "“zone” is not one of its values.", None),
        ("events", {"limit": "0"}, "limit", "“0” will not do.", None),
        ("events", {"limit": "1001"}, "limit", "“1001” will not do.", None),
        ("events", {"limit": "many"}, "limit", "“many” will not do.", None),
        ("events", {"cursor": "nonsense!"}, "cursor", "This is no cursor.", None),
        ("events", {"cursor": "WzEsMl0"}, "cursor", "This is no cursor.", None),
        ("files", {"state": "lost"}, "state.0", "“lost” is not one of its values.", None),
        ("files", {"site_id": "paris"}, "site_id", "There is no site “paris”.", None),
        ("files/17/rejects", {}, "id", "“17” will not do.", None),
    ],
)
def test_what_is_wrong_is_named(
    api: Api, path: str, parameters: dict[str, Any], field: str, problem: str, expected: str | None
) -> None:
    answer = api.ask(path, **parameters)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    told = json.loads(answer.body)
    assert (told["type"], told["status"]) == ("about:blank", 422)
    (error,) = told["errors"]
    assert (error["field"], error["problem"]) == (field, problem)
    assert problem in told["detail"]
    assert error["expected"]
    assert expected is None or error["expected"] == expected


@pytest.mark.parametrize("parameters", [{}, {"format": "csv"}])
def test_a_file_that_is_not_there(api: Api, parameters: dict[str, str]) -> None:
    answer = api.ask(f"files/{'0' * 64}/rejects", **parameters)
    assert (answer.status, json.loads(answer.body)["title"]) == (404, "There is no such file")


def test_an_address_that_is_not_there_is_told_to_programs_as_such(api: Api) -> None:
    answer = api.ask("kpi")
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    answer = api.site.get("/v1/kpis", method="DELETE")
    assert (answer.status, answer.headers["content-type"]) == (405, "application/problem+json")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", [1, 3])
def test_pages_together_are_the_whole(api: Api, path: str, limit: int) -> None:
    """In order, each row once; the last page knows that it is the last."""
    whole = api.get(path, limit=1000)
    assert whole["page"] == {"limit": 1000, "next_cursor": None} or path == "occupancy"
    few = {"end": "2024-04-02T10:00"} if path == "occupancy" else {}
    assert api.pages(path, limit=limit, **few) == (api.pages(path, limit=1000, **few) if few else whole["data"])


@pytest.mark.parametrize("group_by", ["camera", "site", "age_group", "gender"])
def test_pages_of_buckets_in_groups(api: Api, group_by: str) -> None:
    asked = {"group_by": group_by, "interval": "day", "start": "2024-03-30T12:00", "end": "2024-04-05T12:00"}
    whole = api.get("occupancy", limit=1000, **asked)["data"]
    assert len({row["group"] for row in whole}) > 1
    for limit in (1, 2, 5):
        assert api.pages("occupancy", limit=limit, **asked) == whole


def test_a_cursor_belongs_to_its_question(api: Api) -> None:
    cursor = api.get("events", limit=1)["page"]["next_cursor"]
    assert api.ask("events", limit=5, cursor=cursor).status == 200, "how long a page is may change"
    for path, other in (("sessions", {}), ("events", {"camera_id": "N"}), ("events", {"tz": "UTC"})):
        answer = api.ask(path, cursor=cursor, **other)
        assert (answer.status, json.loads(answer.body)["detail"]) == (422, "The cursor belongs to another question.")


def test_the_next_page_is_linked(api: Api) -> None:
    for extra in ({}, {"format": "csv"}):
        link = api.ask("events", limit=2, camera_id="N", **extra).headers["link"]
        address, relation = link.split("; ")
        assert relation == 'rel="next"'
        answer = api.site.get(address.strip("<>"))
        assert answer.status == 200
        assert "link" in answer.headers
    assert "link" not in api.ask("events", limit=1000).headers


def test_before_anything_is_built_the_api_says_so(warehouse: Warehouse, tmp_path: Path) -> None:
    with api_of(warehouse, tmp_path) as empty:
        for path in PATHS:
            answer = empty.ask(path)
            assert answer.status == 503, path
            assert json.loads(answer.body)["detail"].startswith("There are no figures yet"), path
            assert answer.headers["retry-after"] == "5"
