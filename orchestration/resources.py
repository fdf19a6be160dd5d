"""What assets and sensors need besides their data: settings, the warehouse, dbt, and somebody to tell of progress."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import dagster as dg
from dagster import DagsterLogManager
from dagster._core.errors import DagsterExecutionInterruptedError

from orchestration.dbt_running import DbtProject
from orchestration.settings import Settings, SettingsProblem
from validation.loading import Progress
from validation.outcomes import Outcome
from warehouse.connections import Warehouse
from warehouse.opening import open_warehouse


class Listener(Protocol):
    """Who is told how a load goes."""

    def on_progress(self, progress: Progress) -> None:
        """Hear how far a file is; called often."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Hear what became of a file."""

    def on_problem(self, sentence: str) -> None:
        """Hear why nothing could be done with a file."""

    def on_note(self, sentence: str) -> None:
        """Hear what else is worth knowing: what changed, why models are refreshed, which data version is out."""

    def on_model(self, name: str) -> None:
        """Hear that a model is up to date."""


@dataclass
class Footfall:
    """The one resource of all assets.

    `opened` is the warehouse where somebody has opened it already. `quiet` keeps runs from printing, because a
    progress bar is on the screen. `read_anew` returns the settings as they stand by now. `interrupt_cancels` where an
    interrupt is somebody's Ctrl-C; else it means that the stack stops, and the run is to be taken up again.
    """

    settings: Settings
    listener: Callable[[DagsterLogManager], Listener]
    opened: Warehouse | None = None
    quiet: bool = False
    read_anew: Callable[[], Settings] | None = None
    interrupt_cancels: bool = False

    @contextmanager
    def interruptible(self, context: dg.AssetExecutionContext) -> Iterator[None]:
        """Have the run end as canceled if it is interrupted here and `interrupt_cancels`, not as one that failed."""
        try:
            yield
        except (KeyboardInterrupt, DagsterExecutionInterruptedError):
            if self.interrupt_cancels:
                context.instance.report_run_canceling(context.run)
            raise

    def reread(self) -> Settings:
        """Return the settings of now: a run has those of its start. Raises `SettingsProblem`."""
        return self.settings if self.read_anew is None else self.read_anew()

    @cached_property
    def warehouse(self) -> Warehouse:
        """The running warehouse. Raises `WarehouseProblem` where there is none."""
        return self.opened or open_warehouse(self.settings.home, self.settings.external_url)

    @cached_property
    def dbt(self) -> DbtProject:
        """The dbt project."""
        return DbtProject(self.settings, self.opened.database if self.opened else None)


@dataclass(frozen=True)
class FreshFootfall:
    """Footfall as Dagster's processes have it: made for each run and tick, because settings may have changed since."""

    known: Settings
    listener: Callable[[DagsterLogManager], Listener]
    read: Callable[[], Settings]

    def for_run(self) -> dg.ResourceDefinition:
        """Return the resource of runs: where settings are wrong by now, a run fails with the sentence that says so."""
        return dg.ResourceDefinition(
            lambda _context: Footfall(self.read(), self.listener, read_anew=self.read),
            description="Settings, warehouse and dbt project of a run.",
        )

    def for_tick(self) -> Footfall:
        """Return what a tick has: where settings are wrong by now, it goes on with those `known` before.

        The run that it asks for tells what is wrong; a tick that fails every other second would make a long list.
        """
        try:
            settings = self.read()
        except SettingsProblem:
            settings = self.known
        return Footfall(settings, self.listener, read_anew=self.read)


@contextmanager
def statements_interruptible() -> Iterator[None]:
    """Have an interrupt end the statement that this process waits for.

    psycopg cancels it on a KeyboardInterrupt alone. Dagster raises an interrupt of its own, but heeds that one as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
