"""The sensor that watches the landing folder.

It only saves work, it never decides: what a file is and whether it is loaded already, the ledger knows. So nothing is
lost with its cursor, and a file that is asked for twice is loaded once.

A tick that finds nothing to do does not end: it waits for something to happen in the folder. What that comes to with
the loop around the ticks is in docs/performance.md.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

import dagster as dg
from dagster import DagsterRunStatus

from orchestration.assets.waits import waiting_tags
from orchestration.disk_space import disk_problem
from orchestration.jobs import ASSET_JOB, CORRECTIONS, INGEST, files_of, ingest_config, loads_files, unfinished_runs
from orchestration.resources import Footfall
from orchestration.storage import instance_of
from validation.landing import LandingFolder, Waiting
from validation.ledger import Ledger
from validation.watching import FolderWatch

# Dagster knows whole seconds; none at all means 30.
EVERY_SECONDS: Final = 1
# How long a tick waits for a file. It holds back a stop of the code server by as much.
LINGER_SECONDS: Final = 5.5
# How often it looks by itself meanwhile: not every file system tells what happens in it.
LOOK_SECONDS: Final = 1.0
# Files that are renamed into the folder one after the other go into one run.
QUIET_SECONDS: Final = 0.03
GATHER_SECONDS: Final = 0.3
# How long a file that was asked for and still lies there waits before it is asked for again: the loader quarantines
# it at the third failed attempt, so more than three means that runs do not even come to look at it.
PATIENCE_SECONDS: Final = (0.0, 5.0, 15.0, 60.0, 300.0)
RESUME_TAG: Final = "footfall/resume"
RESUMES: Final = 4
# Among so many runs, of whatever job, the last of ours is looked for.
_LOOKED_BACK: Final = 20


def build_landing_sensor(footfall: Callable[[], Footfall]) -> dg.SensorDefinition:
    """Return the sensor; `footfall` is asked at each tick.

    It is no resource: for those Dagster makes an instance of itself at each tick, and looks at all of its tables.
    """

    @dg.sensor(
        job_name=INGEST,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for one run per batch of files that are ready in the landing folder.",
    )
    def landing_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _look_for_files(context, footfall())

    return landing_sensor


def _look_for_files(context: dg.SensorEvaluationContext, footfall: Footfall) -> dg.SensorResult:
    """Ask for a run for the files that are finished, wait for nobody and are not being loaded already."""
    settings = footfall.settings
    memory = json.loads(context.cursor) if context.cursor else {}
    tick = _Tick(
        instance_of(context),
        footfall,
        LandingFolder(settings.landing, settings.settle_seconds),
        looks=memory.get("looks", {}),
        asked=memory.get("asked", {}),
    )
    due = tick.due()
    if not due and (resume := _resume(tick.instance, time.time())) is not None:
        return dg.SensorResult(run_requests=[resume], cursor=tick.cursor())
    if not due:
        due = _linger(tick, context) if settings.warm else _look_again(tick)
    if due:
        request = _request(due, tick)
        return dg.SensorResult(run_requests=[request], cursor=tick.cursor())
    return dg.SensorResult(skip_reason=tick.reason(), cursor=tick.cursor())


@dataclass
class _Tick:
    """What one tick knows: what it saw in the folder, and what was asked for."""

    instance: dg.DagsterInstance
    footfall: Footfall
    folder: LandingFolder
    looks: dict[str, Any]
    asked: dict[str, Any]
    attempts: Mapping[str, int] = field(default_factory=dict)
    unreadable: str | None = None
    no_room: str | None = None

    def due(self, in_place: Sequence[str] = ()) -> list[Waiting]:
        """Look once, and return the files to ask for; those in `in_place` were renamed into place since."""
        now = time.time()
        looks = {**self.looks, "unfinished": [*self.looks.get("unfinished", ()), *in_place]}
        try:
            ready, self.looks = self.folder.ready(looks, now)
            self.unreadable = None
        except OSError as error:
            self.unreadable = f"The landing folder {self.folder.folder} cannot be read: {error.strerror}."
            return []
        due = [waiting for waiting in ready if _is_due(waiting, self.asked, now)]
        if not due:
            return []
        runs = [run for run in _unfinished(self.instance) if loads_files(run)]
        due = [waiting for waiting in due if not _is_covered(waiting, runs)]
        self.attempts = _attempts(self.footfall, due) if due else {}
        return self._with_room([waiting for waiting in due if waiting.shown_name in self.attempts])

    def _with_room(self, due: Sequence[Waiting]) -> list[Waiting]:
        """Leave out files that there is no room for: they are not asked for, hence no attempt is made."""
        problems = {one: disk_problem(self.footfall.settings, one.size_bytes, one.name) for one in due}
        self.no_room = next((problem for problem in problems.values() if problem is not None), None)
        return [one for one, problem in problems.items() if problem is None]

    def settled_in(self) -> float | None:
        """In how many seconds the next file will have stayed as it is for long enough; None where none has to."""
        now = time.time()
        left = [since + self.folder.settle_seconds - now for *_, since in self.looks.get("seen", {}).values()]
        return min((seconds for seconds in left if seconds > 0), default=None)

    def cursor(self) -> str:
        """Return what the next tick is to know; what no longer lies there is forgotten."""
        with suppress(OSError):
            there = {waiting.shown_name for waiting in self.folder.look()} if self.asked else set()
            self.asked = {name: ask for name, ask in self.asked.items() if name in there}
        return json.dumps({"looks": self.looks, "asked": self.asked})

    def reason(self) -> str:
        """Say why there is nothing to do."""
        if self.unreadable is not None:
            return self.unreadable
        if self.no_room is not None:
            return self.no_room
        waiting = len(self.looks.get("seen", {}))
        return (
            f"{waiting} files are not finished yet or are being loaded." if waiting else "The landing folder is empty."
        )


def _look_again(tick: _Tick) -> list[Waiting]:
    """Look once more where a file has to settle: its second look need not wait for the next tick."""
    if tick.settled_in() is None:
        return []
    time.sleep(min(tick.folder.settle_seconds, LINGER_SECONDS))
    return tick.due()


def _linger(tick: _Tick, context: dg.SensorEvaluationContext) -> list[Waiting]:
    """Look whenever something happens in the folder, until there is something to ask for or the tick has to end."""
    shared = _shared(tick.folder.folder)
    if not shared.lock.acquire(blocking=False):
        return []  # Somebody tries the sensor out on the web page while it waits.
    try:
        watch = shared.watch
        ends = time.monotonic() + LINGER_SECONDS
        while not (due := tick.due(watch.renamed_into_place())):
            left = ends - time.monotonic()
            if left <= 0:
                break
            if watch.wait(min(left, LOOK_SECONDS, tick.settled_in() or LOOK_SECONDS)):
                gathered = time.monotonic() + GATHER_SECONDS
                while time.monotonic() < gathered and watch.wait(QUIET_SECONDS):
                    pass
            if (news := shared.news()) is not None:
                context.log.warning(news)
        return due
    finally:
        shared.lock.release()


class _Shared:
    """The watch of this process, which hears what happens between two ticks, too."""

    def __init__(self, folder: Path) -> None:
        self.watch = FolderWatch(folder)
        self.lock = Lock()
        self._told: str | None = None

    def news(self) -> str | None:
        """Say, once, that nothing is heard and why."""
        problem, before = self.watch.problem, self._told
        self._told = problem
        if problem is None or problem == before:
            return None
        return f"The landing folder cannot be watched ({problem}); it is looked at every {LOOK_SECONDS:g} s instead."


@cache
def _shared(folder: Path) -> _Shared:
    return _Shared(folder)


def _unfinished(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return unfinished_runs(instance, INGEST, ASSET_JOB, *CORRECTIONS)


def _is_covered(waiting: Waiting, runs: Sequence[dg.DagsterRun]) -> bool:
    """Whether an unfinished run loads that file; one without a list of files takes whatever waits."""
    return any(files is None or waiting.shown_name in files for files in map(files_of, runs))


def _earlier_asks(waiting: Waiting, asked: Mapping[str, Any]) -> int:
    """How often this file, exactly as it lies there now, was asked for before."""
    ask = asked.get(waiting.shown_name)
    return int(ask["times"]) if ask is not None and ask["fingerprint"] == waiting.fingerprint else 0


def _is_due(waiting: Waiting, asked: Mapping[str, Any], now: float) -> bool:
    times = _earlier_asks(waiting, asked)
    if times == 0:
        return True
    pause = PATIENCE_SECONDS[min(times, len(PATIENCE_SECONDS) - 1)]
    return bool(now - asked[waiting.shown_name]["at"] >= pause)


def _attempts(footfall: Footfall, files: Sequence[Waiting]) -> dict[str, int]:
    """Ask the ledger which of the files are to be loaded, and the number of the attempt that this would be."""
    with footfall.warehouse.connect("loader", autocommit=True) as connection:
        return {due.waiting.shown_name: due.attempt for due in Ledger(connection).due(files)}


def _request(due: Sequence[Waiting], tick: _Tick) -> dg.RunRequest:
    """Ask for a run of these files, and remember that."""
    asked, attempts, now = tick.asked, tick.attempts, time.time()
    for waiting in due:
        before = _earlier_asks(waiting, asked)
        asked[waiting.shown_name] = {"fingerprint": waiting.fingerprint, "times": before + 1, "at": now}
    # The attempt is in the key: Dagster suppresses a key for ever, that of a failed run too. So is how often we asked:
    # a run that failed before it came to the files made no attempt.
    names = [waiting.shown_name for waiting in due]
    told = sorted(f"{one.fingerprint} {attempts[one.shown_name]} {asked[one.shown_name]['times']}" for one in due)
    return dg.RunRequest(
        run_key=hashlib.sha256("\n".join(told).encode()).hexdigest(),
        run_config=ingest_config(names),
        tags={
            "footfall/files": str(len(names)),
            "footfall/attempt": str(max(attempts[name] for name in names)),
            **waiting_tags(max(waiting.identity.changed_ns for waiting in due) / 1e9, now),
        },
    )


def _resume(instance: dg.DagsterInstance, now: float) -> dg.RunRequest | None:
    """Ask once more for the models if the last run failed: what it did to files may not be in the marts yet."""
    if _unfinished(instance):
        return None
    for looked_back in (1, _LOOKED_BACK):
        records = instance.get_run_records(limit=looked_back)
        if last := next((one for one in records if one.dagster_run.job_name in {INGEST, *CORRECTIONS}), None):
            break
    if last is None or last.dagster_run.status != DagsterRunStatus.FAILURE:
        return None
    failed = last.dagster_run
    times = int(failed.tags.get(RESUME_TAG, "0"))
    ended = last.end_time or now
    if times >= RESUMES or now - ended < 5.0 * 3**times:
        return None
    return dg.RunRequest(
        run_key=f"resume {failed.run_id}",
        run_config=ingest_config([]),
        tags={RESUME_TAG: str(times + 1)},
    )
