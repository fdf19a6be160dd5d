"""Day or month first: what the values of a file tell, and what is decided from it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from validation.problems import FileProblem
from validation.timestamps import DateEvidence, DateOrder, decide, survey


def see(*texts: str, formats: tuple[str, ...] = ()) -> tuple[int, int, int]:
    evidence = survey(pa.array(texts, pa.string()), formats=formats)
    return evidence.day_first_only, evidence.month_first_only, evidence.ambiguous


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("13/11/2016", (1, 0, 0)),
        ("11/13/2016", (0, 1, 0)),
        ("03/11/2016", (0, 0, 1)),
        ("3.11.2016 10:00", (0, 0, 1)),
        ("13-11-2016 10:00 PM", (1, 0, 0)),
        ("11/13/2016, 10:00:00.5 +0100", (0, 1, 0)),
        ("13/11/2016 10:00 UT", (1, 0, 0)),
        ("  13/11/2016 ", (1, 0, 0)),
        ("29/02/2016", (1, 0, 0)),
        # the same day either way
        ("05/05/2016", (0, 0, 0)),
        # no day either way, or no time: an unreadable value is no witness
        ("13/13/2016", (0, 0, 0)),
        ("29/02/2015", (0, 0, 0)),
        ("31/04/2016", (0, 0, 0)),
        ("13/11/2016 25:00", (0, 0, 0)),
        ("13/11/2016 13:00 PM", (0, 0, 0)),
        # the weekday tells: 3 November 2016 was a Thursday, 11 March a Friday
        ("Thu 03/11/2016", (1, 0, 0)),
        ("Fri 03/11/2016", (0, 1, 0)),
        ("Sun 03/11/2016", (0, 0, 0)),
        # no question at all
        ("2016-11-13", (0, 0, 0)),
        ("2016/03/11", (0, 0, 0)),
        ("13 Nov 2016", (0, 0, 0)),
        ("1478167200", (0, 0, 0)),
        ("", (0, 0, 0)),
        ("13/11/16", (0, 0, 0)),
    ],
)
def test_what_one_value_tells(text: str, seen: tuple[int, int, int]) -> None:
    assert see(text) == seen


def test_rows_are_counted_once_however_many_time_columns_they_have() -> None:
    start = pa.array(["03/11/2016", "03/11/2016", "13/11/2016", "2016-11-13", "04/11/2016"])
    end = pa.array(["03/11/2016", "13/11/2016", "14/11/2016", "2016-11-13", None], pa.string())
    evidence = survey(start, end)
    assert (evidence.day_first_only, evidence.month_first_only, evidence.ambiguous) == (2, 0, 2)
    assert evidence.day_first_examples == ("13/11/2016", "13/11/2016", "14/11/2016")


def test_what_a_profile_names_is_no_question() -> None:
    assert see("03/11/2016", "13/11/2016", "03.11.2016", formats=("%d/%m/%Y",)) == (0, 0, 1)


def test_evidence_of_chunks_adds_up_and_keeps_three_examples() -> None:
    chunks = [DateEvidence(1, 0, 2, (f"1{day}/01/2016",), (), ("01/02/2016",)) for day in range(3, 8)]
    total = sum(chunks, DateEvidence())
    assert (total.day_first_only, total.month_first_only, total.ambiguous) == (5, 0, 10)
    assert total.day_first_examples == ("13/01/2016", "14/01/2016", "15/01/2016")


@pytest.mark.parametrize("configured", ["auto", "DMY", "MDY"])
def test_one_value_decides_for_the_whole_file_whatever_is_configured(configured: str) -> None:
    for text, order in (("13/11/2016", DateOrder.DMY), ("11/13/2016", DateOrder.MDY)):
        evidence = survey(pa.array(["03/11/2016"] * 50 + [text]))
        decided, notices = decide(evidence, configured)  # type: ignore[arg-type]
        assert decided is order
        # Said aloud only where it is against what was asked for.
        assert [notice.code for notice in notices] == (
            ["date_order_differs"] if configured not in {"auto", order.value} else []
        )
        assert all(text in notice.sentence for notice in notices)


@pytest.mark.parametrize(
    ("configured", "order"), [("auto", DateOrder.DMY), ("DMY", DateOrder.DMY), ("MDY", DateOrder.MDY)]
)
def test_without_such_a_value_the_configured_order_holds_and_the_report_counts(
    configured: str, order: DateOrder
) -> None:
    decided, notices = decide(
        survey(pa.array(["03/11/2016", "04/11/2016", "05/05/2016", "x"])),
        configured,  # type: ignore[arg-type]
    )
    assert decided is order
    (notice,) = notices
    assert (notice.code, notice.rows) == ("date_order_ambiguous", 2)
    assert "2 rows" in notice.sentence
    assert "'03/11/2016'" in notice.sentence
    assert f"{'month' if order is DateOrder.MDY else 'day'} first" in notice.sentence


def test_nothing_ambiguous_is_nothing_to_say() -> None:
    assert decide(survey(pa.array(["2016-11-03", "05/05/2016"])), "MDY") == (DateOrder.MDY, [])


@pytest.mark.parametrize("configured", ["auto", "DMY", "MDY"])
def test_both_kinds_in_one_file_are_the_files_problem(configured: str) -> None:
    with pytest.raises(FileProblem) as caught:
        decide(survey(pa.array(["13/11/2016", "03/11/2016", "11/14/2016"])), configured)  # type: ignore[arg-type]
    assert caught.value.code == "mixed_date_order"
    assert "'13/11/2016'" in caught.value.sentence
    assert "'11/14/2016'" in caught.value.sentence
    assert "YYYY-MM-DD" in caught.value.advice
