"""What an event's word means, and the identity of an event.

The lists of words and the composition of `event_id` are here and nowhere else. Which cell holds the word, and what
becomes of a row, is decided in `cleaning`.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

EventType = Literal["entry", "exit", "appearance", "other"]

# Compared by word_key: without case, spaces, dots, dashes, underscores.
_WORDS: dict[EventType, str] = {
    "entry": """
        entry entries enter enters entered entering entrance in inside ingress inbound incoming
        arrive arrives arrived arriving arrival admit admitted admission
        check-in checked-in clock-in clocked-in badge-in swipe-in scan-in sign-in signed-in walk-in walked-in
        come-in came-in go-in goes-in went-in move-in moved-in step-in count-in cross-in crossed-in
        person-in people-in customer-in visitor-in
        person-entered person-enters person-enter visitor-entered customer-entered
        zone-entry zone-enter zone-entered enter-zone entered-zone line-crossing-in line-crossed-in
        entry-event enter-event event-entry access-in direction-in
    """,
    "exit": """
        exit exits exited exiting leave leaves leaving left out outside egress outbound outgoing
        depart departs departed departing departure
        check-out checked-out clock-out clocked-out badge-out swipe-out scan-out sign-out signed-out walk-out walked-out
        come-out came-out go-out goes-out went-out move-out moved-out step-out count-out cross-out crossed-out
        person-out people-out customer-out visitor-out
        person-exited person-exits person-exit person-left person-leaves visitor-exited visitor-left customer-exited
        zone-exit zone-exited zone-leave zone-left exit-zone exited-zone left-zone line-crossing-out line-crossed-out
        exit-event leave-event event-exit access-out direction-out
    """,
    "appearance": """
        appearance appearances appear appears appeared appearing presence present stay stayed visit visited session
        dwell dwelling dwelled interval track tracked tracklet trip ride sighting sighted seen detection detected
        detect recognition recognised recognized face-detected person-detected
        appearance-event dwell-time
    """,
    "other": """
        other others unknown motion movement moving crowd crowding crowded overcrowding loiter loiters loitered
        loitering wandering running fall fallen fall-detected fight fighting violence intrusion trespass trespassing
        tailgate tailgating piggybacking line-crossing line-crossed cross crossed crossing pass passed passing pass-by
        passed-by passing-by queue queuing queueing wait waiting alarm alert access-denied denied tamper tampering
        object-left left-object abandoned-object left-behind object-removed mask no-mask smoke fire vehicle
    """,
}


def word_key(word: str) -> str:
    """Take from a word what does not count: case, spaces, dots, dashes, underscores."""
    return re.sub(r"[\s._\-]+", "", word).lower()


KNOWN_WORDS: dict[str, EventType] = {
    word_key(word): event_type for event_type, words in _WORDS.items() for word in words.split()
}


def event_ids(
    person_id: pa.Array,
    camera_id: pa.Array,
    event_word: pa.Array,
    *,
    event_time: npt.NDArray[np.int64],
    end_time: npt.NDArray[np.int64],
    has_end: npt.NDArray[np.bool_],
) -> pa.Array:
    """Compute the ids of n events, as the text of UUIDs.

    Times are UTC microseconds. An id is the BLAKE2b hash, 16 bytes long, of the UTF-8 of

        person_id U+001F camera_id U+001F event_time U+001F end_time U+001F event_word

    with the times as decimal integers, and nothing where there is no end. The joining is unambiguous: no id holds
    a control character, no number does, and the word, which may, comes last.
    """
    ends = pc.if_else(pa.array(has_end), pa.array(end_time).cast(pa.string()), "")
    starts = pa.array(event_time).cast(pa.string())
    joined = pc.binary_join_element_wise(person_id, camera_id, starts, ends, event_word, "\x1f")
    _, offset_buffer, data = joined.buffers()
    if not len(joined):
        return pa.array([], pa.string())
    offsets = np.frombuffer(offset_buffer, np.int32)[joined.offset : joined.offset + len(joined) + 1].tolist()
    view = memoryview(data)
    digests = b"".join([blake2b(view[a:b], digest_size=16).digest() for a, b in pairwise(offsets)])
    return _uuid_texts(np.frombuffer(digests, np.uint8).reshape(-1, 16))


# The two digits of each byte, as one number of 16 bits (in the machine's own order of bytes).
_HEX_PAIRS = np.frombuffer("".join(f"{value:02x}" for value in range(256)).encode(), np.uint16)
_GROUPS = (8, 4, 4, 4, 12)


def _uuid_texts(digests: npt.NDArray[np.uint8]) -> pa.Array:
    """(n, 16) bytes as n texts of the form 8-4-4-4-12, without a loop over rows."""
    count = len(digests)
    digits = _HEX_PAIRS[digests].view(np.uint8)
    texts = np.full((count, 36), ord("-"), np.uint8)
    read = written = 0
    for length in _GROUPS:
        texts[:, written : written + length] = digits[:, read : read + length]
        read, written = read + length, written + length + 1
    offsets = np.arange(0, 36 * (count + 1), 36, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(texts))
