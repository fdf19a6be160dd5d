"""The command line: `footfall …`.

Each command is a few lines that call the module which does the work; heavy imports wait until a command needs them.
Whatever is wrong in a way that people can put right is one sentence and exit code 1, never a traceback.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from rich.console import Console

from orchestration.problems import Problem
from orchestration.settings import load_settings
from warehouse.problems import WarehouseProblem

app = typer.Typer(
    name="footfall",
    help="Drop a CSV of camera events into a folder; seconds later know how long people stay and how full it is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="Keys of the API: make, list and revoke them.", no_args_is_help=True)
app.add_typer(keys, name="keys")
_out = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a line of plain text."""
    _out.print(text, markup=False)


@app.command()
def up() -> None:
    """Start PostgreSQL and Dagster and watch the landing folder, until Ctrl-C."""
    from orchestration.stack import Stack

    settings = load_settings()
    stack = Stack(settings, say)
    say("Footfall is starting …")
    with stack.running():
        if stack.wait_until_ready():
            for line in stack.where_to_look():
                say(line)
            stack.keep()
    say("Stopped.")


@app.command()
def down() -> None:
    """Stop what `footfall up` started elsewhere."""
    from orchestration.stack import stop_running

    settings = load_settings()
    say("Stopped." if stop_running(settings) else "Footfall is not running.")


@app.command()
def status() -> None:
    """Show what runs, what waits in the landing folder, what became of the last files, and the newest data version."""
    from orchestration.status import show_status

    raise typer.Exit(show_status(load_settings(), _out))


@app.command()
def doctor() -> None:
    """Check everything that Footfall needs; each line says what is wrong and what to do."""
    from orchestration.doctor import examine

    raise typer.Exit(examine(load_settings(), _out))


@app.command()
def ingest(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files to load; those from elsewhere are copied into the landing folder first.", show_default=False
        ),
    ] = None,
) -> None:
    """Load FILES, or whatever waits in the landing folder, and bring the marts up to date.

    The same job as in Dagster, run here with a progress bar. Exit code: 0 loaded, 3 nothing new, 4 a file was
    quarantined, 1 an error.
    """
    from orchestration.ingesting import ingest_files

    raise typer.Exit(ingest_files(load_settings(), files or [], _out))


_MEANT: Final = "The name under which a file was dropped, its SHA-256 (8 digits or more), or the path of a copy of it."


@app.command()
def retract(files: Annotated[list[str], typer.Argument(help=_MEANT, show_default=False)]) -> None:
    """Take the events of loaded FILES back, as if they had never been dropped.

    An event that another loaded file also brought stays. Dropping a file again undoes it; the archive keeps the
    originals.

    Exit code: 0 done, 3 retracted already, 1 an error.
    """
    from orchestration.correcting import correct_files

    raise typer.Exit(correct_files(load_settings(), "retract", files, _out))


@app.command()
def replay(
    files: Annotated[list[str] | None, typer.Argument(help=_MEANT, show_default=False)] = None,
    all_loaded: Annotated[bool, typer.Option("--all", help="Replay every loaded file.")] = False,
) -> None:
    """Judge archived originals again under the settings, camera list and profiles of today.

    Without FILES: those that were loaded under others. While Footfall runs, it does so by itself.

    Exit code: 0 done, 3 nothing to replay, 1 an error.
    """
    from orchestration.correcting import correct_files, replay_outdated

    if files and all_loaded:
        raise typer.BadParameter("Either name files or say --all.")
    settings = load_settings()
    code = (
        correct_files(settings, "replay", files, _out)
        if files
        else replay_outdated(settings, _out, all_loaded=all_loaded)
    )
    raise typer.Exit(code)


@app.command()
def release(files: Annotated[list[str], typer.Argument(help=_MEANT, show_default=False)]) -> None:
    """Load the good rows of FILES that were quarantined because too many of their rows were rejected.

    `footfall retract` undoes it.

    Exit code: 0 done, 3 loaded already, 1 an error.
    """
    from orchestration.correcting import correct_files

    raise typer.Exit(correct_files(load_settings(), "release", files, _out))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def psql(context: typer.Context) -> None:
    """Open psql on the warehouse, as the reader of the marts; ARGS go to psql.

    `--as ROLE` before them chooses another role: owner, loader, transformer, maintainer, api or dagster.
    """
    from orchestration.psql import run_psql

    raise typer.Exit(run_psql(load_settings(), context.args))


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="Whose it is, or what for.")],
    scope: Annotated[
        Literal["read", "upload", "admin"],
        typer.Option(help="What it allows: read, upload (and read), admin (everything)."),
    ],
    site: Annotated[
        list[str] | None, typer.Option(help="A site that it is limited to; can be repeated.", show_default="all sites")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="After what time it expires: 12h, 90d, 52w.", show_default="never")
    ] = None,
) -> None:
    """Make a key and print it, this once: nobody can find it out again."""
    from orchestration.keys import create

    err = Console(stderr=True, highlight=False, soft_wrap=True)
    typer.echo(create(load_settings(), name, scope, sites=site or [], expires=expires, err=err))


@keys.command("list")
def list_keys() -> None:
    """Show all keys: what each allows, whether it holds, when it was last used."""
    from orchestration.keys import show

    raise typer.Exit(show(load_settings(), _out))


@keys.command("revoke")
def revoke_key(key: Annotated[int, typer.Argument(help="Its number, as the list shows it.", metavar="ID")]) -> None:
    """Have a key refused from now on.

    Exit code: 0 done, 3 revoked already, 1 an error.
    """
    from orchestration.keys import revoke

    raise typer.Exit(revoke(load_settings(), key, _out))


@app.command()
def sample(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    rows: Annotated[int, typer.Option(min=1, help="About how many rows.")] = 10_000,
    days: Annotated[int, typer.Option(min=1, help="Over how many days.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 1,
) -> None:
    """Write a made-up camera export with every kind of flaw, and say what is in it."""
    from orchestration.demo import write_sample_file

    write_sample_file(output, rows, days, seed, say)


@app.command()
def demo(
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop everything at the end instead of waiting for Ctrl-C.")
    ] = False,
) -> None:
    """Start everything, load a made-up day of events and show what came out."""
    from orchestration.demo import run_demo

    raise typer.Exit(run_demo(load_settings(), _out, stop_at_end=stop))


def main() -> None:
    """Run a command; problems that people can put right become one sentence."""
    try:
        app()
    except (Problem, WarehouseProblem) as problem:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(problem), markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
