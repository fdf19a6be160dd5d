"""Links after random increments are those of a full refresh: hundreds of histories in one store, none like another."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from tests.integration.linking import NOON, open_links
from tests.integration.modelling import Signal
from tests.integration.transcripts import Replay
from warehouse.connections import Warehouse

PAIRS = 200
INCREMENTS = 12
# Steps from one instant to another, in seconds: within R and at it, within L and at it, and beyond; by the microsecond.
STEPS = (0, 0, 0, 0.000001, 1, 30, 60, 60, 60.000001, 600, 43200, 43200, 43200.000001, 50000)


def random_histories(chance: random.Random) -> list[list[Signal]]:
    """For each person all that will ever happen to them, in a style of their own: dense or sparse, mixed or regular."""
    histories = []
    for number in range(PAIRS):
        steps = chance.sample(STEPS, chance.randint(1, 6))
        kinds = chance.choice([["entry", "exit"], ["entry", "entry", "exit"], ["entry", "exit", "exit"]])
        others = chance.choice([[], [], ["other"], ["appearance"]])
        person = f"person {number}" if number % 20 else "staff"
        time, signals = NOON, []
        for event in range(chance.randint(2, 24)):
            time += timedelta(seconds=chance.choice(steps))
            kind = chance.choice(kinds * 3 + others)
            end = time + timedelta(minutes=chance.choice([0, 1, 2000])) if kind == "appearance" else None
            confidence = chance.choice([None, None, None, 0.3, 0.9])
            event_id = chance.getrandbits(96) << 20 | number << 8 | event
            signals.append(Signal(person, f"CAM {number}", kind, time, end, confidence, number=event_id))
        histories.append(signals)
    return histories


@pytest.mark.parametrize(
    ("seed", "parameters"),
    [
        (1, {}),
        (2, {"repeat_seconds": 0}),
        (3, {"repeat_seconds": 86400, "max_session_hours": 1}),
        (4, {"min_confidence": 0.5, "excluded_ids": ["staff"]}),
    ],
)
def test_random_increments(warehouse: Warehouse, replay: Replay, seed: int, parameters: dict[str, object]) -> None:
    chance = random.Random(seed)
    with open_links(warehouse, replay) as links:
        links.models.set_parameters(**parameters)
        links.replay.refresh()
        waiting = [signal for signals in random_histories(chance) for signal in signals]
        chance.shuffle(waiting)
        files = []
        for step in range(INCREMENTS):
            size = chance.choice([20, 100, 200]) if step else len(waiting) // 2
            batch, waiting = waiting[:size], waiting[size:]
            files.append(links.models.load(batch))
            for signal in chance.sample(batch, len(batch) // 10):
                links.models.restate(signal, confidence=chance.choice([0.1, 0.95]))
            if step and chance.random() < 0.5:
                links.models.retract(files.pop(chance.randrange(len(files))))
            links.increment()
            links.assert_equal_to_full_refresh()
