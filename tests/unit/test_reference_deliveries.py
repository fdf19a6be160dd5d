"""What is known while files come and go, by hand; and that the steps drawn at random can all be taken."""

from __future__ import annotations

import dataclasses
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tests.reference.deliveries import Load, Retract, Step, batchings, given_after, store_after
from tests.reference.events import Event, Store
from tests.reference.histories import stores


def load(file: int, *events: Event, arrived_at: int = 0, site: str | None = None) -> Load:
    return Load(
        file,
        tuple(dataclasses.replace(event, arrived_at=arrived_at, file_site=site) for event in events),
        arrived_at,
        site,
    )


ANN, BOB, EVE = (
    Event(UUID(int=number), person, "north/door", "entry", number)
    for number, person in enumerate(("ann", "bob", "eve"), start=1)
)
NOTHING = Store(())


def persons(*steps: Step) -> set[str]:
    return {event.person_id for event in store_after(NOTHING, steps).events}


def test_a_retraction_takes_back_what_no_other_file_brought() -> None:
    first: Step = (load(1, ANN, BOB),)
    second: Step = (load(2, BOB, EVE),)
    assert persons(first) == {"ann", "bob"}
    assert persons(first, second) == {"ann", "bob", "eve"}
    assert persons(first, second, (Retract(1),)) == {"bob", "eve"}
    assert persons(first, second, (Retract(1), Retract(2))) == set()
    assert persons(first, second, (Retract(1), load(3, ANN))) == {"ann", "bob", "eve"}


def test_the_file_with_the_best_row_gives_the_event() -> None:
    sure, doubtful, silent = (dataclasses.replace(ANN, confidence=confidence) for confidence in (0.9, 0.2, None))
    both: tuple[Step, ...] = ((load(1, silent, arrived_at=5), load(2, doubtful, arrived_at=6)),)
    assert given_after(both) == {ANN.event_id: (2, dataclasses.replace(doubtful, arrived_at=6))}
    more = (*both, (load(3, sure, arrived_at=7, site="north"), load(4, sure, arrived_at=8)))
    assert given_after(more) == {
        ANN.event_id: (3, dataclasses.replace(sure, arrived_at=7, file_site="north")),
    }
    assert [event.arrived_at for event in store_after(NOTHING, (*more, (Retract(3),))).events] == [8]


def test_the_subfolder_of_a_retracted_file_stays_known() -> None:
    first: Step = (load(1, ANN),)
    assert store_after(NOTHING, [first]).site_of_camera() == {"north/door": "default"}
    second: Step = (load(2, BOB, site="north"),)
    assert store_after(NOTHING, [first, second]).site_of_camera() == {"north/door": "north"}
    assert store_after(NOTHING, [first, second, (Retract(2),)]).site_of_camera() == {"north/door": "north"}


@given(st.data(), stores(most_lines=4, most_steps=4), st.booleans())
def test_every_event_is_delivered_whole(data: st.DataObject, store: Store, rivals: bool) -> None:
    steps = data.draw(batchings(store, rivals=rivals))
    events = {event.event_id: event for event in store.events}
    loads = [action for step in steps for action in step if isinstance(action, Load)]
    assert [one.file for one in loads] == list(range(1, len(loads) + 1))
    assert {event.event_id for one in loads for event in one.events} == events.keys()
    for one in loads:
        assert len({event.event_id for event in one.events}) == len(one.events)
        assert {(event.arrived_at, event.file_site) for event in one.events} == {(one.arrived_at, one.site)}
    # Whatever a row tells that names the event is the same in each; without rivals, all else too.
    told = ["person_id", "camera_id", "event_type", "time", "end"]
    told += [] if rivals else ["confidence", "age", "age_group", "gender"]
    for event in (event for one in loads for event in one.events):
        assert all(getattr(event, name) == getattr(events[event.event_id], name) for name in told)
    # The steps can be taken one by one.
    for taken in range(len(steps) + 1):
        assert {event.event_id for event in store_after(store, steps[:taken]).events} <= events.keys()
    kept = [tuple(action for action in step if isinstance(action, Load)) for step in steps]
    assert {event.event_id for event in store_after(store, kept).events} == events.keys()
