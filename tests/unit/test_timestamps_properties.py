"""Timestamps against independent readings of the same text: datetime, email.utils and plain arithmetic."""

# ruff: noqa: DTZ001, DTZ007 - what a local clock shows has no zone

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from email.utils import format_datetime
from fractions import Fraction
from math import floor

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from validation.time_formats import compile_format
from validation.timestamps import DateOrder, ParsedTimes, decide, parse, survey

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)

moments = st.datetimes(datetime(1000, 1, 1), datetime(9998, 12, 31))
offsets = st.integers(-15 * 60, 15 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def read(*texts: str, order: DateOrder = DateOrder.DMY, formats: tuple[str, ...] = ()) -> ParsedTimes:
    return parse(pa.array(texts, pa.string()), order, formats)


def assert_reads(text: str, moment: datetime, parsed: ParsedTimes) -> None:
    """The text was read as that moment, as an instant if the moment is one."""
    assert parsed.problem[0] == "", text
    assert bool(parsed.has_offset[0]) is (moment.tzinfo is not None)
    naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    assert int(parsed.micros[0]) == (naive - EPOCH) // MICROSECOND, text


@given(
    moments,
    st.none() | offsets,
    st.sampled_from("T ,"),
    st.sampled_from(["auto", "minutes", "seconds", "milliseconds", "microseconds"]),
)
def test_iso_8601_as_datetime_writes_it(
    moment: datetime, zone: timezone | None, separator: str, precision: str
) -> None:
    moment = moment.replace(tzinfo=zone)
    text = moment.isoformat(sep="T" if separator == "T" else " ", timespec=precision)
    assert_reads(text.replace(" ", ", ") if separator == "," else text, datetime.fromisoformat(text), read(text))


@given(
    moments.map(lambda moment: moment.replace(microsecond=0)),
    st.sampled_from(
        [
            *("%Y%m%dT%H%M%S", "%Y%m%d%H%M%S", "%Y%m%d %H%M%S", "%G-W%V-%uT%H:%M:%S", "%Y-%jT%H:%M:%S"),
            *("%Y/%m/%d %H:%M:%S", "%Y.%m.%d %I:%M:%S %p", "%d %b %Y %H:%M:%S", "%d-%B-%Y %I:%M:%S%p"),
            *("%b %d, %Y %I:%M:%S %p", "%A, %B %d, %Y %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S"),
            *("%d/%m/%Y %H:%M:%S", "%d.%m.%Y, %I:%M:%S %p", "%a %d-%m-%Y %H:%M:%S", "%d%b%Y:%H:%M:%S"),
        ]
    ),
    st.sampled_from([str, str.upper, str.lower]),
)
def test_what_strftime_writes_is_read_back(moment: datetime, format_: str, case) -> None:  # type: ignore[no-untyped-def]
    text = case(moment.strftime(format_))
    assert_reads(text, moment, read(text))
    american = case(moment.strftime(format_.replace("%d/%m", "%m/%d")))
    assert_reads(american, moment, read(american, order=DateOrder.MDY)) if "/%m" in format_ else None


@given(moments.map(lambda moment: moment.replace(microsecond=0)), offsets)
def test_rfc_2822_as_the_email_package_writes_it(moment: datetime, zone: timezone) -> None:
    moment = moment.replace(tzinfo=zone)
    text = format_datetime(moment)
    assert_reads(text, moment, read(text))


@given(
    moments,
    st.sampled_from(
        [
            *("%H:%M:%S.%f %d/%m/%Y", "%f%S%M%H%d%m%Y", "[%d.%m.%Y] %I.%M.%S,%f %p", "day %j of %Y: %H%M%S.%f"),
            *("%S/%M/%H %d/%m/%Y +%f", "%A the %d, %B %Y at %H h %M min %S.%f", "%Y%m%d%H%M%S%f"),
        ]
    ),
)
def test_formats_of_a_profile_are_read_as_strptime_reads_them(moment: datetime, format_: str) -> None:
    text = moment.strftime(format_)
    assert datetime.strptime(text, format_) == moment
    if format_.startswith("%f"):
        # How many of the digits are the fraction's cannot be told; so it is at the end or stands apart.
        text, format_ = moment.strftime(format_.replace("%f", "")), format_.replace("%f", "")
        moment = moment.replace(microsecond=0)
    assert_reads(text, moment, read(text, order=DateOrder.MDY, formats=(format_,)))


@given(st.text(alphabet="%YmdHMSfzp:-/ aéT0", max_size=12))
def test_any_text_for_a_format_is_compiled_or_refused_in_a_sentence(format_: str) -> None:
    try:
        compile_format(format_)
    except ValueError as error:
        assert str(error).startswith("The time format '")  # noqa: PT017 - most formats raise, not all
        return
    parsed = read("2016-11-03", formats=(format_,))
    if parsed.problem[0] == "" and "profile format" in next(iter(parsed.formats)):
        # Whatever both can read, they read alike.
        assert_reads("2016-11-03", datetime.strptime("2016-11-03", format_), parsed)


def number_in_words_of_arithmetic(text: str) -> int | str:
    """The rule for numbers, on exact fractions: microseconds, or the problem."""
    with localcontext(prec=100):
        number = Decimal(text)
    value = Fraction(number)
    for border, unit in (
        (10, Fraction(1)),
        (13, Fraction(1, 10**3)),
        (16, Fraction(1, 10**6)),
        (19, Fraction(1, 10**9)),
    ):
        if abs(value) < 10**border:
            if "e" in text.lower() and Fraction(10) ** number.as_tuple().exponent * unit > 1:
                return "timestamp_too_coarse"
            return floor(value * unit * 10**6)
    return "timestamp_unreadable"


@given(
    st.sampled_from(["", "-"]),
    st.integers(0, 10**19 - 1),
    st.none() | st.text("0123456789", max_size=12),
    st.none() | st.tuples(st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 25)),
)
@example("-", 1478167200, "0000009", None)
@example("", 1, "48", ("E", "+", 12))
@example("", 9_999_999_999, "9999999999", None)
@example("-", 999_999_999_999_999_999, "9", None)
@example("", 0, "000000000000", ("e", "", 25))
@example("", 9_223_372_036_854_775_808, None, None)
def test_numbers_follow_exact_arithmetic(
    sign: str, whole: int, decimals: str | None, exponent: tuple[str, str, int] | None
) -> None:
    text = f"{sign}{whole}" + ("" if decimals is None else f".{decimals}")
    text += "" if exponent is None else f"{exponent[0]}{exponent[1]}{exponent[2]}"
    if exponent is None and not sign and len(str(whole)) in {8, 14}:
        return  # a date
    expected = number_in_words_of_arithmetic(text)
    parsed = read(text)
    if isinstance(expected, str):
        assert parsed.problem[0] == expected, text
    else:
        # With more digits than count, and a zero in front of them, a number may be refused but never misread.
        refused = parsed.problem[0] == "timestamp_unreadable" and text.lstrip("-").startswith("0") and exponent
        assert refused or (parsed.problem[0] == "" and int(parsed.micros[0]) == expected), text


@given(st.text())
@example("\ud7ff")
@example("2016-11-03\n10:00")
def test_any_text_at_all_is_read_or_refused(text: str) -> None:
    for order in DateOrder:
        parsed = read(text, order=order)
        assert parsed.problem[0] in {"", "timestamp_unreadable", "timestamp_too_coarse"}
        assert sum(parsed.formats.values()) == (parsed.problem[0] == "")
        # A time has at least a digit, and ones only that everybody's keyboard has.
        assert parsed.problem[0] != "" or any(character in "0123456789" for character in text)
    decide(survey(pa.array([text])), "auto")


nearly = st.text("0123456789-:T Z+.,WAPM/", min_size=4, max_size=32)


@given(nearly | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:\d\d)?)?", fullmatch=True))
def test_what_datetime_reads_too_it_reads_alike(text: str) -> None:
    parsed = read(text)
    try:
        moment = datetime.fromisoformat(text)
        naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        return
    if parsed.problem[0] == "" and not next(iter(parsed.formats)).startswith("Unix"):
        assert (int(parsed.micros[0]), bool(parsed.has_offset[0])) == (
            (naive - EPOCH) // MICROSECOND,
            moment.tzinfo is not None,
        )


written = moments.flatmap(
    lambda moment: st.sampled_from(
        [moment.isoformat(), moment.strftime("%d/%m/%Y %H:%M"), moment.strftime("%b %d, %Y %I:%M %p"), "1478167200.5"]
    )
)


@given(st.lists(written | st.text(max_size=20) | nearly, max_size=30))
def test_no_row_depends_on_its_neighbours(texts: list[str]) -> None:
    together, apart = read(*texts), [read(text) for text in texts]
    assert together.micros.tolist() == [int(single.micros[0]) for single in apart]
    assert together.problem.tolist() == [single.problem[0] for single in apart]
    assert together.has_offset.tolist() == [bool(single.has_offset[0]) for single in apart]
    assert sum(together.formats.values()) == int(together.ok.sum())


@given(moments, st.sampled_from(["/", "-", "."]))
def test_what_survey_calls_one_sided_is_readable_on_that_side_only(moment: datetime, mark: str) -> None:
    text = f"{moment.day}{mark}{moment.month}{mark}{moment.year}"
    evidence = survey(pa.array([text]))
    readable = {order for order in DateOrder if read(text, order=order).problem[0] == ""}
    assert (evidence.day_first_only == 1) == (readable == {DateOrder.DMY}) == (moment.day > 12)
    assert (evidence.ambiguous == 1) == (moment.day <= 12 and moment.day != moment.month)
