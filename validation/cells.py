"""The cells of one chunk as a file's fields: trimmed, judged missing, put together, read as numbers.

What a missing or unreadable cell means for its row is decided in `cleaning`; times are read in `timestamps`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from validation.matching import Source

Bools = npt.NDArray[np.bool_]

_MISSING = pa.array(["", "null", "none", "nan", "n/a"])
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
NO_TEXT = pa.scalar(None, pa.string())


class Cells:
    """The cells of one chunk; each column is trimmed and judged once."""

    def __init__(self, table: pa.Table) -> None:
        self.rows = table.num_rows
        self._table = table
        self._present: dict[str, pa.Array] = {}

    def verbatim(self, column: str) -> pa.Array:
        """Give the cells as they stand in the file."""
        return self._table.column(column).combine_chunks()

    def present(self, column: str) -> pa.Array:
        """Give the trimmed cells; null where one is missing (empty, `null`, `none`, `nan` or `n/a`)."""
        if column not in self._present:
            trimmed = pc.utf8_trim_whitespace(self.verbatim(column))
            missing = pc.is_in(pc.ascii_lower(trimmed), _MISSING)
            self._present[column] = pc.if_else(missing, NO_TEXT, trimmed) if missing.true_count else trimmed
        return self._present[column]

    def text(self, source: Source | None) -> pa.Array:
        """Give a field's text; null where it is missing, which a template's is if any of its cells is."""
        if source is None:
            return pa.nulls(self.rows, pa.string())
        if not source.columns:
            return pa.repeat(pa.scalar(source.literals[0], pa.string()), self.rows)
        if source.column is not None:
            return self.present(source.column)
        parts: list[pa.Array | str] = [source.literals[0]]
        for column, literal in zip(source.columns, source.literals[1:], strict=True):
            parts += [self.present(column), literal]
        return pc.binary_join_element_wise(*parts, "")


def mask(booleans: pa.Array) -> Bools:
    """Arrow's booleans as numpy's; null is False."""
    return np.asarray(pc.fill_null(booleans, False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def numbers(texts: pa.Array) -> pa.Array:
    """Texts as float64, with a decimal point or a decimal comma; null where there is none or it is no number.

    What a number too large for a float64 comes to, or `inf` as a text, may be infinite or null: both are unfit.
    """
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        pointed = pc.replace_substring_regex(texts, r"^([+-]?[0-9]*),([0-9]+)$", r"\1.\2")
        readable = pc.match_substring_regex(pointed, _NUMBER)
        return pc.if_else(readable, pointed, NO_TEXT).cast(pa.float64())


def whole_years(years: pa.Array) -> pa.Array:
    """Numbers as int16, rounded down; null where they do not fit."""
    floored = pc.floor(years)
    fits = pc.and_(pc.greater_equal(floored, -32768.0), pc.less_equal(floored, 32767.0))
    return pc.if_else(fits, floored, pa.scalar(None, pa.float64())).cast(pa.int16())
