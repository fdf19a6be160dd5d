"""How long it takes from a file's rename into the landing folder until a reader of the marts sees its events.

Not a test: it prints figures and, if asked, draws them and writes them into a page. The whole stack runs as
`make up` runs it, in a home of its own with a history in it. Files of 10,000 events, each the day after the last, are
renamed into the folder one by one at a random phase of every loop that might be asleep; a plain SQL reader, who asks
all the time, says when a new data version holds the right count of events. A second series drops a file right after
another. A file that does not come ends the benchmark.

Besides: how long `up` takes, and what the idle stack costs.

    .venv/bin/python -m tests.benchmarks.latency [--events 1000000] [--files 20] [--modes warm,cold] [--keep FOLDER]
        [--picture docs/latency.svg] [--write docs/performance.md]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from psycopg import IsolationLevel

from tests.benchmarks.latency_report import STAGES, draw, fill_in, table
from tests.benchmarks.measured_stack import MeasuredStack, Usage
from warehouse.embedded import EmbeddedPostgres

PER_DAY: Final = 10_000
PERSONS: Final = 2_000
CAMERAS: Final = 20
ZONES: Final = ("Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata")
FIRST_DAY: Final = np.datetime64("2015-01-05")
COLD_FILES: Final = 5
PATIENCE_SECONDS: Final = 180.0
POLL_SECONDS: Final = 0.02
IDLE_SECONDS: Final = 30.0


@dataclass
class Mode:
    """What was measured in one mode; seconds."""

    name: str
    first_start: float | None = None
    start: float = 0.0
    single: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)
    stages: list[Mapping[str, float]] = field(default_factory=list)
    usage: Usage | None = None

    def stage_medians(self) -> dict[str, float]:
        """The median of each stage over the single files."""
        return {stage: statistics.median(one.get(stage, 0.0) for one in self.stages) for stage in STAGES}


def write_day(path: Path, days: Sequence[int], seed: int) -> None:
    """Write 10,000 events per day: stays by an entry and an exit each; one in twenty lacks its exit."""
    generator = np.random.default_rng(seed)
    parts = []
    for day in days:
        stays = PER_DAY
        person = generator.integers(0, PERSONS, stays)
        camera = generator.integers(0, CAMERAS, stays)
        start = generator.integers(6 * 3600, 22 * 3600, stays)
        dwell = generator.integers(1, 3600, stays)
        entries = np.stack([person, camera, start, np.zeros(stays, dtype=np.int64)], axis=1)
        exits = np.stack([person, camera, start + dwell, np.ones(stays, dtype=np.int64)], axis=1)[
            np.arange(stays) % 20 > 0
        ]
        # As many stays as make the day full, whole ones, and no event twice.
        order = np.argsort(
            np.concatenate([np.arange(stays), np.arange(stays)[np.arange(stays) % 20 > 0]]), kind="stable"
        )
        events = np.concatenate([entries, exits])[order]
        events = events[np.sort(np.unique(events, axis=0, return_index=True)[1])][:PER_DAY]
        moments = FIRST_DAY + np.timedelta64(day, "D") + events[:, 2].astype("timedelta64[s]")
        frame = pd.DataFrame(
            {
                "timestamp": np.char.add(np.datetime_as_string(moments, unit="s"), "Z"),
                "person_id": np.char.add("person-", events[:, 0].astype(str)),
                "camera_id": np.char.add("camera-", events[:, 1].astype(str)),
                "event_type": np.where(events[:, 3] == 0, "entry", "exit"),
            }
        )
        parts.append(frame.sort_values("timestamp", kind="stable"))
    pd.concat(parts).to_csv(path, index=False)


def write_cameras(stack: MeasuredStack) -> None:
    """Write a list of 20 cameras at four sites in four time zones."""
    lines = [
        f"camera-{number},,,site-{number % len(ZONES)},{ZONES[number % len(ZONES)]},\n" for number in range(CAMERAS)
    ]
    stack.home.mkdir(parents=True, exist_ok=True)
    (stack.home / "cameras.csv").write_text("camera_id,camera_name,zone,site_id,timezone,capacity\n" + "".join(lines))


class Reader:
    """Somebody who reads the marts and asks again and again whether there is anything new."""

    def __init__(self, stack: MeasuredStack) -> None:
        self.connection = EmbeddedPostgres(stack.home).warehouse().connect("bi_reader")
        self.connection.isolation_level = IsolationLevel.REPEATABLE_READ
        self.version, self.events = self._look(-1) or (0, 0)

    def _look(self, known: int) -> tuple[int, int] | None:
        """The newest version, if another one than is known, and the events, in one snapshot."""
        with self.connection.transaction():
            (there,) = self.connection.execute("select to_regclass('marts.data_version') is not null").fetchone() or (
                0,
            )
            if not there:
                return None
            (version,) = self.connection.execute("select max(version) from marts.data_version").fetchone() or (None,)
            self.asked = time.time()
            if version is None or version == known:
                return None
            (events,) = self.connection.execute("select count(*) from marts.camera_events").fetchone() or (0,)
        return int(version), int(events)

    def wait(self, events: int, patience: float = PATIENCE_SECONDS) -> float:
        """Wait until a version holds so many events, and return when (Unix time) it was there."""
        deadline = time.monotonic() + patience
        while self.events != events:
            if time.monotonic() > deadline:
                raise SystemExit(f"A file did not come in {patience:g} s: {self.events:,} of {events:,} events.")
            time.sleep(POLL_SECONDS)
            if found := self._look(self.version):
                self.version, self.events = found
                if self.events > events:
                    raise SystemExit(f"{self.events:,} events where {events:,} were expected.")
        return self.asked

    def days(self) -> int:
        """How many days the history has."""
        return -(-self.events // PER_DAY)


def prepare(stack: MeasuredStack, events: int) -> None:
    """Have a history in the marts of a running stack, unless there is one."""
    reader = Reader(stack)
    if reader.events:
        print(f"The history is there already: {reader.events:,} events.", flush=True)
    else:
        print(f"A history of {events:,} events …", flush=True)
        source = stack.home.parent / "history.csv"
        write_day(source, range(events // PER_DAY), seed=0)
        stack.drop(source, "history.csv")
        source.unlink()
        reader.wait(events // PER_DAY * PER_DAY, patience=1800)
    reader.connection.close()
    tidy(stack)


def tidy(stack: MeasuredStack) -> None:
    """Vacuum, and wait until all is quiet."""
    with EmbeddedPostgres(stack.home).warehouse().connect("owner", autocommit=True) as owner:
        owner.execute("vacuum analyze")
    stack.settle()


def drop_next(stack: MeasuredStack, day: int) -> tuple[str, float]:
    """Rename the file of a day into the folder, and return its name and when that was."""
    name = f"day {day}.csv"
    hidden = stack.landing / f".{name}.part"
    write_day(hidden, [day], seed=day)
    # Written long before: the folder has seen it under its hidden name, as with any sender who takes a while.
    time.sleep(1)
    began = time.time()
    hidden.rename(stack.landing / name)
    return name, began


def measure(stack: MeasuredStack, mode: Mode, files: int) -> None:
    """Both series, on a stack that runs."""
    chance = random.Random(4)
    reader = Reader(stack)
    day = reader.days()
    for _ in range(files):
        time.sleep(chance.uniform(0, 7))
        name, began = drop_next(stack, day)
        seen = reader.wait(reader.events + PER_DAY)
        stages = stack.stages(name)
        mode.single.append(seen - began)
        mode.stages.append({**stages, "rest": max(seen - began - sum(stages.values()), 0.0)})
        told = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in mode.stages[-1].items())
        print(f"  {name}: {seen - began:.2f} s ({told})", flush=True)
        stack.settle()
        day += 1
    for _ in range(files):
        time.sleep(chance.uniform(0, 7))
        before = reader.events
        later = stack.landing / f".day {day + 1}.csv.part"
        write_day(later, [day + 1], seed=day + 1)
        drop_next(stack, day)
        time.sleep(chance.uniform(0, 2))
        began = time.time()
        later.rename(stack.landing / f"day {day + 1}.csv")
        seen = reader.wait(before + 2 * PER_DAY)
        mode.second.append(seen - began)
        print(f"  a second file right after a first: {seen - began:.2f} s", flush=True)
        stack.settle()
        day += 2
    reader.connection.close()


def run(mode: Mode, folder: Path, events: int, files: int, idle: float) -> None:
    """Start the stack in a mode, measure, stop it."""
    stack = MeasuredStack(folder, warm=mode.name == "warm")
    if not (stack.home / "run").exists():
        write_cameras(stack)
        mode.first_start = stack.start_measured()
        prepare(stack, events)
        stack.stop()
    with started(stack, mode):
        prepare(stack, events)
        measure(stack, mode, files)
        # What the server has to tidy up after so many files is no part of being idle.
        tidy(stack)
        time.sleep(IDLE_SECONDS)
        mode.usage = stack.usage(idle)


@contextmanager
def started(stack: MeasuredStack, mode: Mode) -> Iterator[None]:
    """A stack for a while."""
    mode.start = stack.start_measured()
    print(f"{mode.name}: ready after {mode.start:.1f} s", flush=True)
    try:
        yield
    finally:
        stack.stop()


def main() -> None:
    """Measure each mode, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the history")
    parser.add_argument("--files", type=int, default=20, help="files of each series")
    parser.add_argument("--modes", default="warm,cold", help="warm, cold (Dagster's own ways), or both")
    parser.add_argument("--idle", type=float, default=IDLE_SECONDS, help="seconds over which idleness is measured")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the history for the next time")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--write", type=Path, help="a page to write the figures into")
    arguments = parser.parse_args()
    modes = [Mode(name) for name in arguments.modes.split(",")]
    with folder_for(arguments.keep) as folder:
        for mode in modes:
            files = arguments.files if mode.name == "warm" else min(arguments.files, COLD_FILES)
            run(mode, folder, arguments.events, files, arguments.idle)
    print(table(modes, arguments.events))
    if arguments.picture:
        draw({mode.name: mode.stage_medians() for mode in modes}, arguments.picture)
    if arguments.write:
        fill_in(arguments.write, table(modes, arguments.events))


@contextmanager
def folder_for(kept: Path | None) -> Iterator[Path]:
    """The folder to keep, or one that goes, and its PostgreSQL with it."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="footfall-bench-") as made:
        # As root, PostgreSQL runs as another user, who must be able to come in.
        Path(made).chmod(0o755)
        try:
            yield Path(made)
        finally:
            EmbeddedPostgres(MeasuredStack(Path(made)).home).remove()


if __name__ == "__main__":
    main()
