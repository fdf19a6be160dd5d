"""`footfall keys`, and pages that others may reach: they do not start without a key."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from orchestration.settings import PROJECT
from tests.end_to_end.conftest import Installation, installed
from warehouse.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]
NO_KEY = "there is no key that holds. Make one with `footfall keys create --name NAME --scope read`, or "
WAY_BACK = "set FOOTFALL_BIND to 127.0.0.1"


@pytest.fixture
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("footfall keys")) as there:
        yield there


def run(installation: Installation, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**installation.environment, **settings}
    return subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_key_from_its_making_to_its_end(installation: Installation) -> None:
    nothing = installation.run("keys", "list")
    assert nothing.stdout == "There is no key; `footfall keys create` makes one.\n"

    refused = run(installation, *installation.command("up"), FOOTFALL_BIND="0.0.0.0")
    assert (refused.returncode, refused.stderr) == (
        1,
        f"FOOTFALL_BIND is 0.0.0.0, where other machines may reach the pages, and {NO_KEY}{WAY_BACK}.\n",
    )

    made = installation.run(
        *("keys", "create", "--name", "till [1]", "--scope", "upload", "--site", "B", "--site", "A", "--expires", "90d")
    )
    assert re.fullmatch(r"ff_1_[A-Za-z0-9_-]{43}\n", made.stdout), made
    assert made.stderr == (
        "Key 1 “till [1]” (upload, sites B, A, for 90d). It is shown this once: Footfall keeps only a hash of it.\n"
    )
    assert installation.processes() == []

    listed = installation.run("keys", "list")
    assert re.fullmatch(
        r"Key 1 “till \[1\]”: upload, sites A, B; holds until [\d-]{10} [\d:]{5}; "
        r"never used; made [\d :-]{16} by \S+\.\n"
        r"Times are in UTC\.\n",
        listed.stdout,
    )

    revoked = installation.run("keys", "revoke", "1")
    assert (revoked.returncode, revoked.stdout) == (
        0,
        "Key 1 “till [1]” is revoked; it is refused within 2 seconds.\n",
    )
    again = installation.run("keys", "revoke", "1")
    assert (again.returncode, again.stdout) == (3, "Key 1 “till [1]” was revoked already.\n")
    absent = installation.run("keys", "revoke", "99")
    assert (absent.returncode, absent.stderr) == (
        1,
        "There is no key 99; `footfall keys list` shows those that there are.\n",
    )
    audit = installation.run("psql", "--as", "owner", "-Atc", "select action, key_id, subject from serving.audit")
    assert audit.stdout.splitlines() == [
        "key_created|1|key 1 “till [1]”: upload, sites B, A, for 90d",
        "key_revoked|1|key 1 “till [1]”",
    ]
    assert installation.processes() == []


def test_the_page_server_asks_for_a_key_and_does_not_start_without(installation: Installation) -> None:
    server = EmbeddedPostgres(installation.home)
    serve = (sys.executable, "-m", "orchestration.pages")
    installation.run("keys", "list")
    server.start()
    try:
        refused = run(installation, *serve, FOOTFALL_API_KEYS_REQUIRED="true")
        assert (refused.returncode, refused.stderr) == (
            1,
            f"FOOTFALL_API_KEYS_REQUIRED is set, and {NO_KEY}unset it.\n",
        )
        expired = installation.run("keys", "create", "--name", "short", "--scope", "read", "--expires", "1h")
        assert expired.returncode == 0
        installation.run(
            "psql", "--as", "owner", "-c", "update serving.api_keys set expires_at = now() where name = 'short'"
        )
        assert run(installation, *serve, FOOTFALL_BIND="0.0.0.0").returncode == 1

        key = installation.run("keys", "create", "--name", "reader", "--scope", "read").stdout.strip()
        url = f"http://127.0.0.1:{installation.environment['FOOTFALL_API_PORT']}"
        environment = {**installation.environment, "FOOTFALL_BIND": "0.0.0.0"}
        # The command stopped it with itself, as it does where nothing else runs.
        server.start()
        with subprocess.Popen(serve, env=environment, cwd=PROJECT) as pages:
            try:
                assert _status(f"{url}/healthz") == 200
                assert _status(f"{url}/quality") == 401
                assert _status(f"{url}/quality", key) == 200
            finally:
                pages.terminate()
    finally:
        server.stop()


def _status(url: str, key: str | None = None) -> int:
    """The status of an answer, waited for until there is a server."""
    request = urllib.request.Request(url, headers={} if key is None else {"X-API-Key": key})
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
