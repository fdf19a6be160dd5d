"""Rows that are shown as examples tell no person, and headers are compared as people would."""

from __future__ import annotations

import pytest

from validation.checks import CheckOutcome
from validation.headers import compare_headers
from validation.masking import masked, with_masked_samples
from validation.problems import Reject

HEADER = ("when", "who", "where")


class TestMasking:
    def test_only_the_cell_at_fault_stays_whole(self) -> None:
        reject = Reject(2, "when", "timestamp_unreadable", "Row 2: the timestamp 'never' …", "never,Ann Smith,CAM-1")
        assert masked(reject, HEADER, ",").raw_text == "never,An…,CA…"

    def test_an_id_of_a_person_is_cut_even_where_it_is_at_fault(self) -> None:
        sentence = "Row 2: the person id 'Ann 'in column ' Smith' in column 'who' has 101 characters; at most 100."
        told = masked(Reject(2, "who", "id_too_long", sentence, "1;Ann 'in column ' Smith;CAM-1"), HEADER, ";")
        assert told.raw_text == "1;An…;CA…"
        assert told.sentence == "Row 2: the person id 'An…' in column 'who' has 101 characters; at most 100."

    def test_the_camera_may_be_told(self) -> None:
        reject = Reject(2, "where", "id_too_long", "Row 2: the camera id 'CAM' in column 'where' …", "1,Ann,CAM")
        assert masked(reject, HEADER, ",").raw_text == "1,An…,CAM"

    @pytest.mark.parametrize("raw", ['1,"Ann, ""the"" Smith",C', "1,Ann Smith", "1,Ann Smith,C,d,e,f", '"Ann Smith\nx'])
    def test_rows_that_are_no_rows_are_cut_as_well(self, raw: str) -> None:
        told = masked(Reject(2, None, "wrong_field_count", "Row 2: the row has …", raw), HEADER, ",").raw_text
        assert "Ann" not in told

    def test_several_columns_may_be_at_fault(self) -> None:
        reject = Reject(2, "when, where", "missing_value", "Row 2: …", "today,Ann,CAM-1")
        assert masked(reject, HEADER, ",").raw_text == "today,An…,CAM-1"

    def test_a_row_of_a_table_keeps_all_but_the_person(self) -> None:
        sample = (
            "session_id 7, person_id Ann Smith, camera_id C1",
            "row 3: the person id 'Ann' in column 'who' is bad",
        )
        outcome = CheckOutcome("a", "b", "marts", "t", "relations", "failed", "c", sample=sample)
        assert with_masked_samples(outcome).sample == (
            "session_id 7, person_id An…, camera_id C1",
            "row 3: the person id 'An…' in column 'who' is bad",
        )


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (["a", "Camera ID"], ["A", "camera_id"], ((), (), ())),
        (["camera_id", "x"], ["cameraident", "x"], ((), (), (("camera_id", "cameraident"),))),
        (["lane"], ["zone", "person"], (("zone", "person"), ("lane",), ())),
        (["remark"], ["remarks", "remarked"], (("remarked",), (), (("remark", "remarks"),))),
        ([], ["a"], (("a",), (), ())),
    ],
)
def test_headers(before: list[str], now: list[str], told: tuple[object, ...]) -> None:
    assert compare_headers(before, now) == told
