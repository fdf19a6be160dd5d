"""The command line as such: its help, and mistakes told in a sentence. What the commands do is tried end to end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestration.cli import app
from orchestration.ingesting import Dropping
from orchestration.running import Ended
from orchestration.settings import PROJECT
from validation.landing import LandingFolder
from validation.outcomes import Outcome

COMMANDS = (
    *("up", "down", "status", "doctor", "ingest", "retract", "replay", "release", "psql", "keys", "sample", "demo"),
)


def footfall(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *arguments],
        env=clean | {"FOOTFALL_CONFIG": os.devnull} | environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_help_names_every_command_in_a_line() -> None:
    result = CliRunner().invoke(app, ["--help"], terminal_width=120)
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


@pytest.mark.parametrize("command", sorted({*COMMANDS, "keys list", "keys revoke 1"} - {"sample", "keys"}))
def test_a_wrong_setting_is_one_sentence_whatever_the_command(command: str, tmp_path: Path) -> None:
    files = ["a.csv"] if command in {"retract", "release"} else []
    result = footfall(*command.split(), *files, FOOTFALL_HOME=str(tmp_path), FOOTFALL_DAGSTER_PORT="none")
    assert result.returncode == 1
    assert result.stderr == "FOOTFALL_DAGSTER_PORT is 'none', but must be a port number from 1 to 65535.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    result = footfall("ingest", FOOTFALL_HOME=str(file / "home"), FOOTFALL_LANDING=str(tmp_path / "landing"))
    assert result.returncode == 1
    assert result.stderr.startswith(f"{file / 'home'} cannot be made or written (Not a directory)")
    assert "Traceback" not in result.stderr


def test_an_unknown_role_is_refused_by_name(tmp_path: Path) -> None:
    result = footfall("psql", "--as", "king", FOOTFALL_HOME=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("'king' is not a role; --as takes one of owner, loader")


def test_a_sample_is_written_and_its_truth_told(tmp_path: Path) -> None:
    output = tmp_path / "s.csv"
    result = footfall("sample", "--rows", "100", "--days", "2", "--seed", "3", "-o", str(output))
    assert result.returncode == 0, result.stderr
    assert "rows: 100\n" in result.stdout
    assert len(output.read_text().splitlines()) > 90
    refused = footfall("sample", "--rows", "1", "-o", str(tmp_path / "absent" / "s.csv"))
    assert refused.returncode == 1
    assert "cannot be written" in refused.stderr


@pytest.mark.parametrize(
    ("states", "problems", "error", "code"),
    [
        (["loaded"], [], None, 0),
        (["retracted"], [], None, 0),
        (["loaded", "already_loaded", "gone"], [], None, 0),
        (["already_loaded"], [], None, 3),
        ([], [], None, 3),
        (["loaded", "quarantined"], [], None, 4),
        (["loaded"], ["the original is missing"], None, 1),
        (["quarantined"], [], "the models failed", 1),
    ],
)
def test_the_exit_code_tells_the_worst(states: list[str], problems: list[str], error: str | None, code: int) -> None:
    outcomes = [Outcome(state=state, name="x") for state in states]  # type: ignore[arg-type]
    assert Ended(outcomes, problems, error).exit_code == code


def test_files_from_elsewhere_appear_whole_when_it_is_said_and_nothing_is_replaced(tmp_path: Path) -> None:
    landing, elsewhere, other = tmp_path / "landing", tmp_path / "elsewhere", tmp_path / "other"
    for folder in (landing, elsewhere, other):
        folder.mkdir()
        (folder / "a.csv").write_text(folder.name)
    folder = LandingFolder(landing)
    with Dropping(folder) as dropping:
        names = [dropping.prepare(place / "a.csv") for place in (elsewhere, other, landing)]
        assert [waiting.name for waiting in folder.look()] == ["a.csv"]
        dropping.finish()
    assert names[0] == "a (2).csv"
    assert names[2] == "a.csv"
    assert len(set(names)) == 3
    assert [(landing / name).read_text() for name in names] == ["elsewhere", "other", "landing"]
    assert (elsewhere / "a.csv").exists()


def test_what_was_copied_is_removed_when_it_is_not_to_appear(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    source = tmp_path / "a.csv"
    source.write_text("x")
    with Dropping(LandingFolder(landing)) as dropping:
        dropping.prepare(source)
        assert list(landing.iterdir()) != []
    assert list(landing.iterdir()) == []
