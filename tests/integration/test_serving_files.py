"""What the server hands out, to whom and with which headers: reports, downloads, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from serving.app import build_app
from serving.database import Database
from serving.guard import POLICY
from tests.integration.serving import Site, served
from warehouse.connections import Warehouse
from warehouse.problems import WarehouseProblem

_SCRIPT = "<script>fetch('/quality')</script>"


def no_database() -> Warehouse:
    raise WarehouseProblem("There is none.", "Start it.")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "passwords.json").write_text("secret")
    files, docs = home / "reports" / "files" / "17", home / "reports" / "expectations" / "run 1"
    for folder in (files, docs, home / "reports" / "empty", home / "reports-beside"):
        folder.mkdir(parents=True)
    (home / "reports-beside" / "index.html").write_text("secret")
    (files / "index.html").write_text(f"<p>the report</p>{_SCRIPT}")
    (files / "report.md").write_text("# The report")
    (files / "rejects.csv").write_text("row,«=1+1»\n")
    (files / 'odd é";y.exe').write_text("MZ")
    (files / "secret").symlink_to(home / "passwords.json")
    (files / "up").symlink_to(home, target_is_directory=True)
    (home / "reports" / "loop").symlink_to(home / "reports" / "loop")
    (docs / "index.html").write_text(_SCRIPT)
    return home / "reports"


@pytest.fixture(scope="module")
def site(reports: Path) -> Iterator[Site]:
    with served(build_app(reports, Database(no_database), allowed_hosts=["Shop.example"])) as site:
        yield site


def test_health_and_home_need_no_database(site: Site) -> None:
    health = site.get("/healthz")
    assert (health.status, health.text) == (200, '{"status":"ok"}')
    home = site.get("/")
    assert (home.status, home.headers["location"]) == (307, "/quality")
    assert site.get("/healthz", method="HEAD").status == 200


def test_without_a_database_the_page_says_so(site: Site) -> None:
    answer = site.get("/quality")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"
    assert "The database does not answer." in answer.words
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/healthz", 200),
        ("/", 307),
        ("/quality", 503),
        ("/static/footfall.css", 200),
        ("/reports/files/17/", 200),
        ("/reports/files/17", 307),
        ("/reports/expectations/run%201/", 200),
        ("/nowhere", 404),
        ("/reports/nothing", 404),
    ],
)
def test_every_answer_has_the_headers(site: Site, path: str, status: int) -> None:
    answer = site.get(path)
    assert answer.status == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"] == POLICY
    assert "server" not in answer.headers


def test_no_page_runs_a_script() -> None:
    assert POLICY.startswith("default-src 'none'; style-src")
    assert "script-src" not in POLICY


def test_files_are_what_we_say_they_are(site: Site) -> None:
    def kind(path: str) -> tuple[str, str | None]:
        headers = site.get(f"/reports/{path}").headers
        return headers["content-type"], headers.get("content-disposition")

    assert kind("files/17/index.html") == ("text/html; charset=utf-8", None)
    assert kind("files/17/report.md") == ("text/plain; charset=utf-8", None)
    assert kind("files/17/rejects.csv") == ("text/csv; charset=utf-8", 'attachment; filename="17-rejects.csv"')
    odd = ("application/octet-stream", 'attachment; filename="17-odd____y.exe"')
    assert kind("files/17/odd%20%C3%A9%22;y.exe") == odd


def test_a_report_that_has_not_changed_is_not_sent_again(site: Site) -> None:
    first = site.get("/reports/files/17/")
    assert first.headers["cache-control"] == "no-cache"
    again = site.get("/reports/files/17/", **{"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["content-security-policy"] == POLICY


@pytest.mark.parametrize(
    "path",
    [
        "/reports/../passwords.json",
        "/reports/..%2fpasswords.json",
        "/reports/%2e%2e/passwords.json",
        "/reports/files/%2e%2e/%2e%2e/%2e%2e/passwords.json",
        "/reports/..%5cpasswords.json",
        "/reports//etc/passwd",
        "/reports/%2fetc/passwd",
        "/reports/../reports-beside/index.html",
        "/reports/..%2freports-beside%2findex.html",
        "/reports/files/17/secret",
        "/reports/files/17/up/passwords.json",
        "/reports/files/17/up/reports-beside/",
        "/reports/loop",
        "/reports/files/17/index.html%00.css",
        "/reports/%00",
        f"/reports/{'a' * 5000}",
        "/reports/%ff%fe",
        "/static/../app.py",
        "/static/%2e%2e/templates/quality.html",
    ],
)
def test_nothing_outside_the_folder_is_handed_out(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404
    assert "There is no such page" in answer.words


@pytest.mark.parametrize(
    "path", ["/reports/", "/reports/files/", "/reports/empty/", "/reports/expectations/", "/static/"]
)
def test_folders_are_not_listed(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status == 404
    assert "17" not in answer.words


def test_the_policy_is_that_of_the_file_whatever_way_leads_to_it(site: Site) -> None:
    to_report = site.get("/reports/expectations/%2e%2e/files/17/index.html")
    assert (to_report.status, to_report.headers["content-security-policy"]) == (200, POLICY)
    to_docs = site.get("/reports/files/..%2fexpectations/run%201/index.html")
    assert (to_docs.status, to_docs.headers["content-security-policy"]) == (200, POLICY)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3", "SHOP.example:80"]
)
def test_who_calls_the_server_by_its_name_or_a_number_is_let_in(site: Site, host: str) -> None:
    assert site.get("/healthz", host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "<b>evil", "", None]
)
def test_who_calls_it_otherwise_is_not(site: Site, host: str | None) -> None:
    for path in ("/healthz", "/reports/files/17/", "/static/footfall.css"):
        answer = site.get(path, host)
        assert answer.status == 400, path
        assert "<b>" not in answer.text
        # uvicorn itself answers where the request is none of HTTP's.
        if host is not None:
            assert "FOOTFALL_ALLOWED_HOSTS" in answer.words
            assert answer.headers["content-security-policy"] == POLICY


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/quality", "/reports/files/17/", "/healthz"])
def test_pages_can_only_be_read(site: Site, method: str, path: str) -> None:
    answer = site.get(path, method=method)
    assert answer.status == 405
    assert "These pages can only be read." in answer.words


def test_there_is_no_description_of_the_interface_to_play_with(site: Site) -> None:
    assert {site.get(path).status for path in ("/docs", "/redoc", "/openapi.json")} == {404}


def test_a_fault_of_ours_is_told_in_words_and_with_the_headers(reports: Path) -> None:
    def broken() -> datetime:
        raise ZeroDivisionError("a secret")

    with served(build_app(reports, Database(no_database), clock=broken)) as site:
        answer = site.get("/quality")
    assert answer.status == 500
    assert "Something went wrong here" in answer.words
    assert "secret" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_a_folder_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    with served(build_app(reports, Database(no_database))) as site:
        assert site.get("/reports/files/1/").status == 404
        (reports / "files" / "1").mkdir(parents=True)
        (reports / "files" / "1" / "index.html").write_text("new")
        assert site.get("/reports/files/1/").text == "new"
