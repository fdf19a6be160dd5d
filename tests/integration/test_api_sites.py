"""What a key for one site gets: its own site's figures, whatever it asks, and nothing that other sites change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.api.routes import QUESTIONS
from tests.integration.asking_api import Api, api_of, key_of
from warehouse.connections import Warehouse

PLACED = [question for question in QUESTIONS if "camera_id" in question.parameters.model_fields]
OF_FOLDERS = [question for question in QUESTIONS if "{" not in question.path and question not in PLACED]


@pytest.fixture
def berlin(filled: Warehouse, tmp_path: Path) -> Iterator[Api]:
    """The API as a key for Berlin sees it."""
    with api_of(filled, tmp_path, key=key_of(filled, "berlin")) as api:
        yield api


def told(api: Api, path: str, **parameters: Any) -> Any:
    answer = api.get(path, **parameters)
    return answer["data"], answer["meta"]["share_without_exit"], answer["page"] and answer["page"]["next_cursor"]


@pytest.mark.parametrize("question", PLACED, ids=lambda one: one.path)
def test_its_answers_are_those_for_its_site(api: Api, berlin: Api, question: Any) -> None:
    """To the last digit: nothing of another site shows through, in rows, totals or shares."""
    data, share, _ = told(berlin, question.path)
    whole, whole_share, _ = told(api, question.path, site_id="berlin")
    assert (data, share) == (whole, whole_share)
    assert told(api, question.path)[0] != data, "other sites make a difference"
    assert told(berlin, question.path, site_id="berlin")[0] == whole


@pytest.mark.parametrize("question", [*PLACED, *OF_FOLDERS], ids=lambda one: one.path)
@pytest.mark.parametrize("site", ["chicago", "no such site"])
def test_another_site_is_refused_whether_it_exists_or_not(berlin: Api, question: Any, site: str) -> None:
    for sites in (site, ["berlin", site]):
        answer = berlin.ask(question.path, site_id=sites)
        assert answer.status == 403
        (error,) = json.loads(answer.body)["errors"]
        assert error == {
            "field": "site_id",
            "problem": f"Your key is not for the site “{site}”.",
            "expected": "One of: “berlin”.",
        }


@pytest.mark.parametrize("question", PLACED, ids=lambda one: one.path)
def test_another_sites_cameras_and_persons_are_unknown(berlin: Api, question: Any) -> None:
    """Just as those that there are not: nothing tells that they exist."""

    def said(**parameters: str) -> str:
        answer = berlin.ask(question.path, **parameters)
        assert answer.status == 422
        (value,) = parameters.values()
        return answer.text.replace(f"“{value}”", "“…”")

    assert said(camera_id="C") == said(camera_id="c")
    if "person_id" in question.parameters.model_fields:
        assert said(person_id="t") == said(person_id="zz")


@pytest.mark.parametrize("question", OF_FOLDERS, ids=lambda one: one.path)
def test_files_of_other_folders_are_not_shown(api: Api, berlin: Api, question: Any) -> None:
    assert api.get(question.path)["data"]
    assert berlin.get(question.path)["data"] == []


def test_a_file_of_another_folder_is_unknown(filled: Warehouse, api: Api, berlin: Api) -> None:
    with filled.connect("owner") as connection:
        ((before,),) = connection.execute("select sha256 from raw.files limit 1").fetchall()
        connection.execute("update raw.files set sha256 = repeat('a', 64)")
    try:
        assert api.ask(f"files/{'a' * 64}/rejects").status == 200
        refused = berlin.ask(f"files/{'a' * 64}/rejects")
        unknown = berlin.ask(f"files/{'b' * 64}/rejects")
        assert (refused.status, refused.text) == (404, unknown.text.replace("b" * 64, "a" * 64))
    finally:
        with filled.connect("owner") as connection:
            connection.execute("update raw.files set sha256 = %s", [before])


def test_without_a_key_there_is_no_answer(berlin: Api) -> None:
    for question in (*PLACED, *OF_FOLDERS):
        answer = berlin.site.get(f"/v1/{question.path}")
        assert answer.status == 401, question.path
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Bearer" in answer.headers["www-authenticate"]
