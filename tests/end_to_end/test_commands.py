"""The commands on an installation where nothing runs: each starts what it needs and leaves nothing running."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from orchestration.settings import PROJECT
from tests.end_to_end.conftest import Installation
from validation.sample import write_sample
from warehouse.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(900)]


@pytest.mark.soak
def test_ingest_says_what_became_of_a_file_by_its_exit_code(installation: Installation, tmp_path: Path) -> None:
    good, bad = tmp_path / "-good day.csv", tmp_path / "bad.csv"
    truth = write_sample(good, 500, 1, 21)
    bad.write_text("a,b\n1,2\n")

    loaded = installation.run("ingest", "--", str(good))
    assert loaded.returncode == 0, loaded
    assert "-good day.csv" in loaded.stdout
    assert f"{truth.rejected} rejected" in loaded.stdout
    assert installation.processes() == []

    again = installation.run("ingest", "--", str(good))
    assert again.returncode == 3, again
    assert "nothing was loaded twice" in again.stdout

    quarantined = installation.run("ingest", str(bad))
    assert quarantined.returncode == 4, quarantined
    assert "Not usable: bad.csv" in quarantined.stdout
    assert (installation.landing / "rejected" / "bad.csv.report.md").exists()

    nothing = installation.run("ingest")
    assert nothing.returncode == 3, nothing

    absent = installation.run("ingest", str(tmp_path / "absent.csv"))
    assert absent.returncode == 1
    assert absent.stderr.strip() == f"{tmp_path / 'absent.csv'} is not a file: there is nothing of that name."

    installation.home.joinpath("cameras.csv").write_text("camera_id,timezone\nA,Nowhere/Land\n")
    refused = installation.run("ingest", str(bad))
    assert refused.returncode == 1, refused
    assert "Nowhere/Land" in refused.stdout
    assert "Traceback" not in refused.stdout + refused.stderr
    assert installation.processes() == []


@pytest.mark.parametrize("setting", ["FOOTFALL_DAGSTER_PORT", "FOOTFALL_API_PORT"])
def test_a_taken_port_is_told_with_the_setting_that_names_another(installation: Installation, setting: str) -> None:
    port = int(installation.environment[setting])
    with closing(socket.create_server(("127.0.0.1", port))):
        refused = installation.run("up")
    assert refused.returncode == 1
    assert f"Nothing can listen at 127.0.0.1, port {port} (" in refused.stderr
    assert f"Set {setting} to a free one." in refused.stderr
    assert installation.processes() == []


def test_two_pages_cannot_have_one_port(installation: Installation) -> None:
    installation.config.write_text("dagster_port = 8123\napi_port = 8123\n")
    environment = {name: value for name, value in installation.environment.items() if not name.endswith("_PORT")}
    refused = subprocess.run(
        installation.command("up"), env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    installation.config.write_text("")
    assert refused.returncode == 1
    assert "cannot both have port 8123. Set FOOTFALL_API_PORT to another one." in refused.stderr


def test_psql_as_dagster_sees_its_storage(installation: Installation) -> None:
    answer = installation.run("psql", "--as", "dagster", "-Atc", "select current_user, current_database()")
    assert answer.stdout.strip() == "footfall_dagster|dagster"


def test_psql_starts_the_server_for_itself(installation: Installation) -> None:
    answer = installation.run("psql", "--as", "loader", "-Atc", "select 1 + 1, current_user")
    assert (answer.returncode, answer.stdout.strip()) == (0, "2|footfall_loader")
    assert installation.processes() == []


@pytest.mark.soak
def test_an_external_database_with_one_user_does_it_all(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("external")
    external = EmbeddedPostgres(folder / "home", port=0)
    try:
        warehouse = external.start()
        with warehouse.connect_as_administrator("postgres", autocommit=True) as connection:
            connection.execute("create role one login password 'p@ss/w:rd'")
            connection.execute('create database "a shop" owner one')
        there = Installation(folder)
        there.database_url = f"postgresql://one:p%40ss%2Fw%3Ard@127.0.0.1:{warehouse.port}/a%20shop"
        truth = write_sample(folder / "day.csv", 300, 1, 22, flaws=False)
        done = there.run("ingest", str(folder / "day.csv"))
        assert done.returncode == 0, done
        count = there.run("psql", "-Atc", "select events, current_user from kpis")
        assert count.stdout.strip() == f"{truth.events}|one"
        doctor = there.run("doctor")
        assert doctor.returncode == 0, doctor
        assert "One user of the database does everything." in doctor.stdout
    finally:
        external.remove()


def test_the_demo_shows_figures_and_loads_nothing_twice(installation: Installation) -> None:
    installation.home.joinpath("cameras.csv").unlink(missing_ok=True)
    first = installation.run("demo", "--stop")
    assert first.returncode == 0, first
    assert "rows loaded" in first.stdout
    assert "unique visitors" in first.stdout
    assert installation.url in first.stdout
    assert f"Quality  {installation.pages_url}/quality" in first.stdout
    second = installation.run("demo", "--stop")
    assert second.returncode == 0, second
    assert "nothing was loaded twice" in second.stdout
    assert installation.processes() == []
