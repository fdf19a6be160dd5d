"""Words of events, ids of events, attributes as JSON."""

from __future__ import annotations

import json
import uuid
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from validation.attributes import attributes_json
from validation.events import _WORDS, KNOWN_WORDS, event_ids, word_key

# What a cell can hold: any text but U+0000, which the reader sets aside, and lone surrogates, which are no text.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
MICROS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)


@pytest.mark.parametrize(
    ("word", "event_type"),
    [
        *[
            (word, "entry")
            for word in ("entry", "ENTER", " Entered ", "in", "arrive", "arrival", "ingress", "check_in")
        ],
        *[(word, "exit") for word in ("exit", "Exited", "leave", "left", "OUT", "depart", "departure", "egress")],
        *[(word, "exit") for word in ("Check-Out", "check out", "checked.out", "CLOCK_OUT")],
        *[(word, "appearance") for word in ("appearance", "Appeared", "presence")],
        *[(word, "other") for word in ("loitering", "crowd", "Motion", "line-crossing", "access_denied")],
    ],
)
def test_words_and_their_variants(word: str, event_type: str) -> None:
    assert KNOWN_WORDS[word_key(word)] == event_type


def test_no_word_means_two_things() -> None:
    keys = [word_key(word) for words in _WORDS.values() for word in set(map(word_key, words.split()))]
    assert len(keys) == len(set(keys))


def ids(*rows: tuple[str, str, str, int, int | None]) -> list[str]:
    person, camera, word, start, end = zip(*rows, strict=True)
    result: list[str] = event_ids(
        pa.array(person, pa.string()),
        pa.array(camera, pa.string()),
        pa.array(word, pa.string()),
        event_time=np.array(start, np.int64),
        end_time=np.array([e or 0 for e in end], np.int64),
        has_end=np.array([e is not None for e in end]),
    ).to_pylist()
    return result


def test_an_id_is_what_it_was_yesterday() -> None:
    """The ids lie in the databases of users: this value must never change."""
    written = b"P1\x1fCAM-1\x1f1700000000000000\x1f\x1fentry"
    expected = str(uuid.UUID(bytes=blake2b(written, digest_size=16).digest()))
    assert ids(("P1", "CAM-1", "entry", 1_700_000_000_000_000, None)) == [expected]
    assert expected == "63502a9d-1a6c-91c9-c0ba-05600fdbc51b"


ROW = st.tuples(
    *[st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)] * 2,
    CELLS,
    MICROS,
    st.none() | MICROS,
)


@given(st.lists(ROW, min_size=1, max_size=8))
def test_ids_differ_exactly_where_events_do(rows: list[tuple[str, str, str, int, int | None]]) -> None:
    found = ids(*rows)
    assert [str(uuid.UUID(text)) for text in found] == found
    assert len(set(found)) == len(set(rows))
    assert found == [ids(row)[0] for row in rows]


def test_an_end_at_the_epoch_is_not_the_lack_of_one() -> None:
    assert len(set(ids(("a", "b", "c", 0, 0), ("a", "b", "c", 0, None)))) == 2


def test_ids_of_a_slice_and_of_nothing() -> None:
    texts = pa.array(["x", "y", "z"])
    times = np.array([1, 2], np.int64)
    some = np.array([False, True])
    sliced = event_ids(texts[1:], texts[1:], texts[1:], event_time=times, end_time=times, has_end=some)
    assert sliced.to_pylist() == ids(("y", "y", "y", 1, None), ("z", "z", "z", 2, 2))
    none = pa.array([], pa.string())
    assert event_ids(none, none, none, event_time=times[:0], end_time=times[:0], has_end=some[:0]).to_pylist() == []


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=0, max_size=4, unique=True
    ).flatmap(
        lambda names: st.tuples(
            st.just(names), st.lists(st.tuples(*[st.none() | CELLS] * len(names)), min_size=1, max_size=6)
        )
    )
)
def test_attributes_say_verbatim_what_the_cells_say(table: tuple[list[str], list[tuple[str | None, ...]]]) -> None:
    names, rows = table
    columns = [(name, pa.array([row[i] for row in rows], pa.string())) for i, name in enumerate(names)]
    for text, row in zip(attributes_json(columns, len(rows)).to_pylist(), rows, strict=True):
        expected = {name: cell for name, cell in zip(names, row, strict=True) if cell}
        assert (json.loads(text) if text is not None else {}) == expected
        assert text is None or expected
