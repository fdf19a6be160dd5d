"""What a row says beyond the known fields, as JSON text.

Cells are kept verbatim, under the header name as written, in the file's order. An empty cell says nothing and is left
out; a row without any other cell has no attributes at all (null). Which cells belong here is decided in `cleaning`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc


def attributes_json(cells: Iterable[tuple[str, pa.Array]], rows: int) -> pa.Array:
    """One JSON object per row, or null; `cells` are (header name, n texts; null or empty: left out)."""
    members = []
    for name, texts in cells:
        if texts.null_count == rows:
            continue
        kept = pc.fill_null(pc.not_equal(texts, ""), False)
        count = kept.true_count
        if count == 0:
            continue
        value = texts if count == rows else pc.if_else(kept, texts, pa.scalar(None, pa.string()))
        key = f'{json.dumps(name, ensure_ascii=False)}:"'
        members.append(pc.binary_join_element_wise(key, _escaped(value), '",', ""))
    if not members:
        return pa.nulls(rows, pa.string())
    # Not null_handling="skip": pyarrow 26 then leaves out the rows in which every value is null.
    joined = pc.binary_join_element_wise(*members, "", null_handling="replace", null_replacement="")
    braced = pc.binary_join_element_wise("{", pc.utf8_rtrim(joined, ","), "}", "")
    if all(member.null_count for member in members):
        return pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), braced)
    return braced


def _escaped(texts: pa.Array) -> pa.Array:
    """Texts as they stand between the quotes of JSON (U+0000 to U+001F, the quote and the backslash are escaped)."""
    special = pc.fill_null(pc.match_substring_regex(texts, r'["\\\x00-\x1f]'), False)
    if special.true_count == 0:
        return texts
    escaped = [json.dumps(text, ensure_ascii=False)[1:-1] for text in texts.filter(special).to_pylist()]
    return pc.replace_with_mask(texts, special, pa.array(escaped, pa.string()))
