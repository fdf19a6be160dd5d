"""How events arrive: files that are loaded and retracted step by step, and what the store holds after each step.

A file is a number here; of two rows with the same content, the file of the smaller number gives the event (as
that of the smaller content hash does in a database: whoever fills one sees to it that hashes ascend with numbers).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from hypothesis import strategies as st

from tests.reference.events import Event, Store
from tests.reference.histories import LOOKS


@dataclass(frozen=True, slots=True)
class Load:
    """A file is loaded. Its events carry its arrival and its site."""

    file: int
    events: tuple[Event, ...]
    arrived_at: int
    site: str | None


@dataclass(frozen=True, slots=True)
class Retract:
    """A loaded file is taken back."""

    file: int


Action = Load | Retract
Step = tuple[Action, ...]
"""What happens between one increment and the next."""


def store_after(store: Store, steps: Iterable[Step]) -> Store:
    """What is known after these steps: a store with the cameras and parameters of `store`, and what is loaded.

    The subfolder of a retracted file stays known.
    """
    steps = list(steps)
    sites = {action.site for step in steps for action in step if isinstance(action, Load) and action.site is not None}
    return dataclasses.replace(
        store,
        events=tuple(event for _, event in given_after(steps).values()),
        barren_subfolders=store.barren_subfolders | sites,
    )


def given_after(steps: Iterable[Step]) -> dict[UUID, tuple[int, Event]]:
    """The file and the row that give each event after these steps.

    Of several rows with one id, that of the highest confidence (none is lowest) gives the event all that is told of
    it, its file's arrival and site too; of equal ones, that in the file of the smallest number.
    """
    loaded: dict[int, Load] = {}
    for step in steps:
        for action in step:
            if isinstance(action, Retract):
                del loaded[action.file]
            else:
                assert action.file not in loaded, "each load is a file of its own"
                loaded[action.file] = action
    given: dict[UUID, tuple[int, Event]] = {}
    for file in sorted(loaded):
        for event in loaded[file].events:
            if event.event_id not in given or _certainty(event) > _certainty(given[event.event_id][1]):
                given[event.event_id] = file, event
    return given


def _certainty(event: Event) -> float:
    return -1 if event.confidence is None else event.confidence


@st.composite
def batchings(draw: st.DrawFn, store: Store, most_steps: int = 4, rivals: bool = False) -> list[Step]:
    """A store's events in any order and any number of files, over a few steps; a step may bring nothing.

    Now and then an event is delivered again by a later file, or by a second one of the same step: with the same
    content, or, if there are `rivals`, with another confidence and other demographics. Now and then a file is
    retracted, before or after what its step loads, and now and then a new file brings all that retracted ones held.
    """
    arrivals = sorted({event.arrived_at for event in store.events})
    rows = {(event.event_id, event.confidence): event for event in store.events}
    waiting = draw(st.permutations(store.events))
    delivered: list[Event] = []
    loaded: dict[int, Load] = {}
    taken_back: list[Event] = []
    files = 0
    steps: list[Step] = []

    def again(event: Event) -> Event:
        """The same event, in a row of another file."""
        confidence = draw(st.sampled_from([event.confidence, None, 0.95, 0.3])) if rivals else event.confidence
        # Of one event, equal confidence means equal content: nothing else would tell which row is the better one.
        if (event.event_id, confidence) not in rows:
            age, age_group, gender = draw(st.sampled_from(LOOKS))
            rows[event.event_id, confidence] = dataclasses.replace(
                event, confidence=confidence, age=age, age_group=age_group, gender=gender
            )
        return dataclasses.replace(
            rows[event.event_id, confidence],
            arrived_at=draw(st.sampled_from(arrivals)),
            file_site=draw(st.sampled_from([None, event.file_site])),
        )

    def load(events: Sequence[Event]) -> Iterable[Load]:
        """The files that bring these: one for each arrival and site, and for each time that an event is told."""
        nonlocal files
        contents: defaultdict[tuple[int, str | None, int], list[Event]] = defaultdict(list)
        told: defaultdict[UUID, int] = defaultdict(int)
        for event in events:
            told[event.event_id] += 1
            contents[event.arrived_at, event.file_site, told[event.event_id]].append(event)
        for (arrived_at, site, _), those in contents.items():
            files += 1
            loaded[files] = Load(files, tuple(those), arrived_at, site)
            yield loaded[files]

    def retract() -> Iterable[Retract]:
        if loaded and draw(st.integers(0, 3)) == 0:
            file = draw(st.sampled_from(sorted(loaded)))
            taken_back.extend(loaded.pop(file).events)
            yield Retract(file)

    for remaining in range(draw(st.integers(1, most_steps)), 0, -1):
        count = len(waiting) if remaining == 1 else draw(st.integers(0, len(waiting)))
        portion, waiting = waiting[:count], waiting[count:]
        actions: list[Action] = list(retract())
        if draw(st.booleans()):
            portion, taken_back = portion + taken_back, []
        delivered += portion
        if delivered:
            portion = portion + [again(event) for event in draw(st.lists(st.sampled_from(delivered), max_size=4))]
        actions += load(portion)
        actions += retract()
        steps.append(tuple(actions))
    return steps
