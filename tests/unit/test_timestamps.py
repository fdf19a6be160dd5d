"""Every accepted format by example, what is refused, and that no text is read as something it is not."""

# ruff: noqa: DTZ001, DTZ007 - what a local clock shows has no zone

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from validation.timestamps import DateOrder, ParsedTimes, parse

EPOCH = datetime(1970, 1, 1)
TEN = datetime(2016, 11, 3, 10)
MIDNIGHT = datetime(2016, 11, 3)


def read(*texts: str, order: DateOrder = DateOrder.DMY, formats: tuple[str, ...] = ()) -> ParsedTimes:
    return parse(pa.array(texts, pa.string()), order, formats)


def at(parsed: ParsedTimes, row: int = 0) -> datetime:
    assert parsed.problem[row] == ""
    return EPOCH + timedelta(microseconds=int(parsed.micros[row]))


LOCAL = {
    # ISO 8601, extended and basic
    "2016-11-03T10:00:00": TEN,
    "2016-11-03t10:00:00": TEN,
    "2016-11-03 10:00:00": TEN,
    "2016-11-03 10:00": TEN,
    "2016-11-03 9:05": datetime(2016, 11, 3, 9, 5),
    "2016-11-03T10": TEN,
    "2016-11-03": MIDNIGHT,
    "2016-11-03T10:00:00.5": TEN + timedelta(milliseconds=500),
    "2016-11-03T10:00:00,5": TEN + timedelta(milliseconds=500),
    "2016-11-03 10:00:00.123456": TEN + timedelta(microseconds=123456),
    "2016-11-03 10:00:00.1234567": TEN + timedelta(microseconds=123456),
    "2016-11-03T10:00:00.123456999": TEN + timedelta(microseconds=123456),
    "2016-11-03T24:00:00": datetime(2016, 11, 4),
    "2016-12-31T24:00": datetime(2017, 1, 1),
    "20161103T100000": TEN,
    "20161103T1000": TEN,
    "20161103T10": TEN,
    "20161103 100000": TEN,
    "20161103 10:00:00": TEN,
    "20161103T100000.25": TEN + timedelta(milliseconds=250),
    "20161103": MIDNIGHT,
    "20161103100000": TEN,
    "20161103100000.123": TEN + timedelta(milliseconds=123),
    "2016-W44-4": MIDNIGHT,
    "2016-W44-4T10:00": TEN,
    "2016W444": MIDNIGHT,
    "2020-W53-5": datetime(2021, 1, 1),
    "2016-308": MIDNIGHT,
    "2016-366T10:00:00": datetime(2016, 12, 31, 10),
    "2016-02-29": datetime(2016, 2, 29),
    "0001-01-01 00:00:00": datetime(1, 1, 1),
    "9999-12-31 23:59:59.999999": datetime(9999, 12, 31, 23, 59, 59, 999999),
    "2016-11-03 10:00:00 PM": datetime(2016, 11, 3, 22),
    "Thu 2016-11-03 10:00:00": TEN,
    # numbers apart, in either order or with the year first
    "03/11/2016": MIDNIGHT,
    "3/11/2016": MIDNIGHT,
    "03-11-2016": MIDNIGHT,
    "03.11.2016": MIDNIGHT,
    "3.11.2016 10:00": TEN,
    "03/11/2016 10:00:00": TEN,
    "03/11/2016, 10:00:00": TEN,
    "03/11/2016T10:00:00": TEN,
    "03/11/2016 10:00:00.250": TEN + timedelta(milliseconds=250),
    "03/11/2016 10:00:00 AM": TEN,
    "03/11/2016 10:00 pm": datetime(2016, 11, 3, 22),
    "03/11/2016 10:00PM": datetime(2016, 11, 3, 22),
    "03/11/2016 10 PM": datetime(2016, 11, 3, 22),
    "03/11/2016 10:00:00.5 p.m.": datetime(2016, 11, 3, 22, 0, 0, 500000),
    "03/11/2016 12:30 AM": datetime(2016, 11, 3, 0, 30),
    "03/11/2016 12:30 PM": datetime(2016, 11, 3, 12, 30),
    "2016/11/03": MIDNIGHT,
    "2016/11/3 10:00": TEN,
    "2016.11.03 10:00:00": TEN,
    "2016-11-3 10:00": TEN,
    # months by name
    "3 Nov 2016 10:00": TEN,
    "3 November 2016": MIDNIGHT,
    "03 NOV 2016 10:00:00": TEN,
    "Nov 3, 2016 10:00 PM": datetime(2016, 11, 3, 22),
    "Nov 3, 2016, 10:00:00 PM": datetime(2016, 11, 3, 22),
    "November 3, 2016": MIDNIGHT,
    "Nov. 3, 2016": MIDNIGHT,
    "Nov 3 2016": MIDNIGHT,
    "November 3rd 2016, 10:00:00 pm": datetime(2016, 11, 3, 22),
    "Thursday, November 3rd 2016, 10:00:00 am": TEN,
    "03-Nov-2016": MIDNIGHT,
    "3-november-2016 10:00": TEN,
    "03/Nov/2016:10:00:00": TEN,
    "03.Nov.2016": MIDNIGHT,
    "03Nov2016": MIDNIGHT,
    "Nov-03-2016": MIDNIGHT,
    "2016-Nov-03 10:00": TEN,
    "2016 Nov 3": MIDNIGHT,
    "Sept 3, 2016": datetime(2016, 9, 3),
    "May 3, 2016": datetime(2016, 5, 3),
    "Thu Nov  3 10:00:00 2016": TEN,
    # what browsers and spreadsheets put in place of a space
    "11/3/2016, 10:00:00\u202fPM": datetime(2016, 3, 11, 22),
    "2016-11-03\u00a010:00": TEN,
    "  2016-11-03 10:00 ": TEN,
}


@pytest.mark.parametrize(("text", "wall_clock"), LOCAL.items())
def test_a_time_without_offset_is_what_the_local_clock_showed(text: str, wall_clock: datetime) -> None:
    parsed = read(text)
    assert at(parsed) == wall_clock
    assert not parsed.has_offset[0]


INSTANTS = {
    "2016-11-03T10:00:00Z": TEN,
    "2016-11-03T10:00:00z": TEN,
    "2016-11-03 10:00:00 Z": TEN,
    "2016-11-03T10:00:00.123456789Z": TEN + timedelta(microseconds=123456),
    "2016-11-03 10:00:00+00": TEN,
    "2016-11-03T10:00:00+01:00": TEN - timedelta(hours=1),
    "2016-11-03T10:00:00+0530": TEN - timedelta(hours=5, minutes=30),
    "2016-11-03T10:00:00-05": TEN + timedelta(hours=5),
    "2016-11-03T10:00-05:00": TEN + timedelta(hours=5),
    "2016-11-03 10:00:00 -0330": TEN + timedelta(hours=3, minutes=30),
    "2016-11-03 10:00:00 \u221205:00": TEN + timedelta(hours=5),
    "2016-11-03T10:00:00-00:00": TEN,
    "2016-11-03T10+14:00": TEN - timedelta(hours=14),
    "20161103T100000Z": TEN,
    "20161103T100000+0100": TEN - timedelta(hours=1),
    "20161103100000Z": TEN,
    "2016-11-03 10:00:00 UTC": TEN,
    "2016-11-03 10:00 UT": TEN,
    "03/11/2016 10:00:00 +01:00": TEN - timedelta(hours=1),
    "03/11/2016 10:00 AM EST": TEN + timedelta(hours=5),
    "03/Nov/2016:10:00:00 +0100": TEN - timedelta(hours=1),
    "Thu, 03 Nov 2016 10:00:00 +0000": TEN,
    "Thu, 3 Nov 2016 10:00:00 GMT": TEN,
    "3 Nov 2016 10:00 UT": TEN,
    "Thu, 03 Nov 2016 10:00:00 -0000": TEN,
    "Thu, 03 Nov 2016 10:00:00 EST": TEN + timedelta(hours=5),
    "Thu, 03 Nov 2016 10:00:00 EDT": TEN + timedelta(hours=4),
    "Thu, 03 Nov 2016 10:00:00 CST": TEN + timedelta(hours=6),
    "Thu, 03 Nov 2016 10:00:00 CDT": TEN + timedelta(hours=5),
    "Thu, 03 Nov 2016 10:00:00 MST": TEN + timedelta(hours=7),
    "Thu, 03 Nov 2016 10:00:00 MDT": TEN + timedelta(hours=6),
    "Thu, 03 Nov 2016 10:00:00 PST": TEN + timedelta(hours=8),
    "Thu, 03 Nov 2016 10:00:00 PDT": TEN + timedelta(hours=7),
    "Thu, 03 Nov 2016 10:00:00 -0500 (EST)": TEN + timedelta(hours=5),
    "Thu Nov  3 10:00:00 UTC 2016": TEN,
    "Thu Nov 03 2016 10:00:00 GMT+0100 (Central European Standard Time)": TEN - timedelta(hours=1),
    # numbers since 1970
    "1478167200": TEN,
    "1478167200.": TEN,
    "1478167200.5": TEN + timedelta(milliseconds=500),
    "1478167200,5": TEN + timedelta(milliseconds=500),
    "1478167200.123456789": TEN + timedelta(microseconds=123456),
    "1478167200123": TEN + timedelta(milliseconds=123),
    "1478167200123.4": TEN + timedelta(microseconds=123400),
    "1478167200123456": TEN + timedelta(microseconds=123456),
    "1478167200123456789": TEN + timedelta(microseconds=123456),
    "01478167200": TEN,
    "1.478167200E9": TEN,
    "1.478167200e+09": TEN,
    "1,478167200E+09": TEN,
    "1.478167200123E+12": TEN + timedelta(milliseconds=123),
    "1.478167200E+12": TEN,
    "1478167200123e-3": TEN + timedelta(milliseconds=123),
    "1.478167200123456789E+18": TEN + timedelta(microseconds=123456),
    "0": EPOCH,
    "-1": EPOCH - timedelta(seconds=1),
    "-1.5": EPOCH - timedelta(seconds=1.5),
    "-0.0000001": EPOCH - timedelta(microseconds=1),
    "-0.00000000000000000000001": EPOCH - timedelta(microseconds=1),
    "-86400000000": EPOCH - timedelta(days=1000),
}


@pytest.mark.parametrize(("text", "instant"), INSTANTS.items())
def test_a_time_with_offset_or_a_number_is_an_instant(text: str, instant: datetime) -> None:
    parsed = read(text)
    assert at(parsed) == instant
    assert parsed.has_offset[0]


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "yesterday", "10:00:00", "November 2016", "2016-11", "11/2016", "null"),
        # no such day
        *(
            "2016-02-30",
            "2015-02-29",
            "2016-13-01",
            "2016-00-10",
            "2016-11-00",
            "0000-01-01",
            "0000-12-31T23:00-05:00",
            "31/04/2016",
        ),
        *("32/01/2016", "13/13/2016", "00/01/2016", "2016/13/01", "20161301", "20161332", "31 Nov 2016"),
        *("2016-W53-1", "2016-W00-1", "2016-W44-8", "2015-366", "2016-000", "2016-367"),
        # no such time; a leap second cannot be told from its neighbours later on
        *("2016-11-03 25:00", "2016-11-03 10:60", "2016-11-03 23:60:00", "2016-12-31 23:59:60", "2016-11-03T24:00:01"),
        *("20161103250000", "2016-11-03 10:00:61", "03/11/2016 24:00", "2016-11-03 10", "2016-11-03 10:0"),
        *("03/11/2016 13:00 PM", "03/11/2016 0:15 AM", "03/11/2016 00:00 PM", "03/11/2016 24:00 PM"),
        # two-digit years, mixed marks, too little, too much
        *("03/11/16", "3-Nov-16", "16-11-03", "03/11-2016", "2016-11/03", "2016-11-03T", "2016-11-03 10:00 x"),
        *("2016-11-03 10:00:00.1234567890", "2016-11-03 10:00:00.", "2016-11-03T10:00:00ZZ", "12016-11-03"),
        *("2016-11-03 10:00:00 2016-11-03", "x2016-11-03", "2016-11-03 10:00:00 +0100 +0100", "2016-11-03Z"),
        # zones: not on this planet, or meaning different things in different places
        *("2016-11-03T10:00+16:00", "2016-11-03T10:00+01:60", "2016-11-03 10:00 IST", "2016-11-03 10:00 CET"),
        *("2016-11-03 10:00 EST+0100", "2016-11-03T10:00:00+1", "0001-01-01T00:00+01:00", "9999-12-31T24:00"),
        # words
        *("3 Nev 2016", "3 Novem 2016", "Thu, 32 Nov 2016 10:00:00 +0000", "3xx Nov 2016", "33rd Nov 2016"),
        *("Fri, 03 Nov 2016 10:00:00 +0000", "Xyz, 03 Nov 2016 10:00:00 +0000", "Monday 03/11/2016"),
        # numbers
        *("1,478,167,200", "478,167", "+1478167200", "--1", "1478167200s", "1e400", "1E+19", "0x10", "1_000_000_000"),
        *("99999999999999999999", "00000000000000000001478167200", "0000000001478167200", "1.5.5", "1e5.5", "E5"),
        *("0.00000000001478167200E+20", "20161103.0", "20161399.0", "20161103100000.", "nan", "inf", ".5"),
        # other digits than ours
        *("\u0662\u0660\u0661\u0666-11-03", "\uff12\uff10\uff11\uff16-11-03", "2016年11月03日", "2016-11-03\x0010:00"),
        "2016-11-03 10:00:00" + " " * 90 + "Z",
    ],
)
@pytest.mark.parametrize("order", DateOrder)
def test_what_is_not_wholly_understood_is_unreadable(text: str, order: DateOrder) -> None:
    parsed = read(text, order=order)
    assert parsed.problem[0] == "timestamp_unreadable"
    assert parsed.micros[0] == 0
    assert parsed.formats == {}


@pytest.mark.parametrize(
    "text", ["1.48E+12", "1.48E+9", "1.478E+15", "1E+9", "1,48E+12", "1.47816720E+9", "1.47816720E+12", "-1.4E9", "1e5"]
)
def test_a_number_coarser_than_a_second_is_too_coarse(text: str) -> None:
    assert read(text).problem[0] == "timestamp_too_coarse"


def test_the_order_of_day_and_month_is_the_one_asked_for() -> None:
    assert at(read("03/11/2016 10:00", order=DateOrder.DMY)) == TEN
    assert at(read("11/03/2016 10:00", order=DateOrder.MDY)) == TEN
    assert read("13/11/2016", order=DateOrder.MDY).problem[0] == "timestamp_unreadable"
    assert read("11/13/2016", order=DateOrder.DMY).problem[0] == "timestamp_unreadable"


@pytest.mark.parametrize("digits", [10, 13, 16])
def test_the_unit_of_a_number_changes_exactly_at_its_borders(digits: int) -> None:
    unit = {10: 1_000_000, 13: 1_000, 16: 1}[digits]
    below, border = 10**digits - 1, 10**digits
    # Leading zeros, for fourteen digits would be a date.
    parsed = read(str(below).zfill(15), f"-{below}", str(border).zfill(15), f"-{border}")
    assert parsed.micros.tolist() == [below * unit, -below * unit, border * unit // 1000, -border * unit // 1000]
    assert at(parsed, 0) == datetime(2286, 11, 20, 17, 46, 39) + timedelta(microseconds=10**6 - unit)
    assert at(parsed, 2) == datetime(1970, 4, 26, 17, 46, 40)


def test_a_short_number_is_a_number_and_a_year_alone_no_date() -> None:
    assert at(read("2016")) == EPOCH + timedelta(seconds=2016)


def test_plausible_dates_are_read_the_same_in_every_unit() -> None:
    for year in (1971, 2000, 2016, 2100, 2200):
        seconds = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        parsed = read(*(f"{seconds}{'0' * zeros}" for zeros in (0, 3, 6, 9)))
        # Eight digits are a date of the basic format, or nothing.
        usable = np.array([len(f"{seconds}{'0' * zeros}") not in {8, 14} for zeros in (0, 3, 6, 9)])
        assert set(parsed.micros[usable].tolist()) == {seconds * 1_000_000}


@pytest.mark.parametrize("number", [19_700_101, 20_161_103, 22_001_231])
def test_eight_and_fourteen_digits_are_dates_not_numbers(number: int) -> None:
    parsed = read(str(number), f"{number}235959")
    day = datetime.strptime(str(number), "%Y%m%d")
    assert [at(parsed, 0), at(parsed, 1)] == [day, day + timedelta(hours=23, minutes=59, seconds=59)]
    assert not parsed.has_offset.any()


def test_formats_are_counted_by_plain_names() -> None:
    parsed = read(
        *("2016-11-03T10:00:00Z", "2016-11-03 10:00", "20161103", "1478167200", "1478167200000", "1478167200000000"),
        *("1478167200000000000", "03/11/2016", "2016/11/03", "3 Nov 2016", "Thu, 03 Nov 2016 10:00:00 +0000", "?"),
        *("2016-11-03 10:00", "3 Nov 2016 10:00:00.5 +0000"),
    )
    assert parsed.formats == {
        "DD/MM/YYYY": 1,
        "ISO 8601": 2,
        "ISO 8601 basic": 1,
        "ISO 8601 with offset": 1,
        "RFC 2822": 1,
        "Unix microseconds": 1,
        "Unix milliseconds": 1,
        "Unix nanoseconds": 1,
        "Unix seconds": 1,
        "YYYY/MM/DD": 1,
        "month name": 1,
        "month name with offset": 1,
    }
    assert "MM/DD/YYYY" in read("11/03/2016", order=DateOrder.MDY).formats


def test_all_formats_mixed_in_one_column_keep_their_rows() -> None:
    texts = [*LOCAL, "no time", *INSTANTS, "1.48E+12"] * 3
    expected = [*LOCAL.values(), None, *INSTANTS.values(), None] * 3
    for column in (pa.array(texts), pa.chunked_array([texts[:7], [], texts[7:]]), pa.array(["x", *texts]).slice(1)):
        parsed = parse(column, DateOrder.DMY)
        assert [at(parsed, row) if parsed.problem[row] == "" else None for row in range(len(texts))] == expected


def test_a_column_longer_than_what_is_read_at_once_keeps_its_rows() -> None:
    seconds = np.arange(150_000)
    parsed = parse(pa.array((seconds + 1_478_167_200).astype(str)), DateOrder.DMY)
    assert (parsed.micros == (seconds + 1_478_167_200) * 1_000_000).all()
    assert parsed.formats == {"Unix seconds": 150_000}


def test_an_empty_column_and_nulls_are_no_trouble() -> None:
    assert len(read().micros) == 0
    assert parse(pa.array([None, "2016-11-03"], pa.string()), DateOrder.DMY).problem.tolist() == [
        "timestamp_unreadable",
        "",
    ]
    assert at(parse(pa.array(["2016-11-03"], pa.large_string()), DateOrder.DMY)) == MIDNIGHT


# --- formats named by a profile -----------------------------------------------------------------------------------

PROFILE = {
    ("%d.%m.%y", "03.11.16"): MIDNIGHT,
    ("%d.%m.%y", "03.11.69"): datetime(1969, 11, 3),
    ("%d.%m.%y", "03.11.68"): datetime(2068, 11, 3),
    ("%Y%m%d%H%M", "201611031000"): TEN,
    ("%Y%m%d%H%M%S%f", "20161103100000123"): TEN + timedelta(milliseconds=123),
    ("%H:%M %d/%m/%Y", "10:00 03/11/2016"): TEN,
    ("%m/%d/%Y %H:%M", "11/3/2016 10:00"): TEN,
    ("%d/%m/%Y klo %H.%M", "3/11/2016 KLO 10.00"): TEN,
    ("%Y年%m月%d日 %H:%M", "2016年11月03日 10:00"): TEN,
    ("%I:%M:%S %p, %A %d %B %Y", "10:00:00 PM, Thursday 03 November 2016"): datetime(2016, 11, 3, 22),
    ("%Y/%j", "2016/308"): MIDNIGHT,
    ("%G-%V-%u", "2016-44-4"): MIDNIGHT,
    ("%F %T", "2016-11-03 10:00:00"): TEN,
    ("%D", "11/03/16"): MIDNIGHT,
    ("100%% %Y-%m-%d", "100% 2016-11-03"): MIDNIGHT,
    ("CAM7 %Y-%m-%dT%H", "cam7 2016-11-03T10"): TEN,
    ("%-d/%-m/%Y", "3/11/2016"): MIDNIGHT,
}


@pytest.mark.parametrize(("format_and_text", "wall_clock"), PROFILE.items())
def test_a_profile_can_name_formats(format_and_text: tuple[str, str], wall_clock: datetime) -> None:
    format_, text = format_and_text
    # The order is the wrong one on purpose: the format says it all.
    parsed = read(text, order=DateOrder.MDY, formats=(format_,))
    assert at(parsed) == wall_clock
    assert not parsed.has_offset[0]
    assert parsed.formats == {f"profile format {format_}": 1}


@pytest.mark.parametrize(
    ("format_", "text"),
    [("%H.%M %Y%m%d %z", "10.00 20161103 -0500"), ("%H.%M %Y%m%d %Z", "10.00 20161103 EST")],
)
def test_a_profile_format_can_hold_an_offset(format_: str, text: str) -> None:
    parsed = read(text, formats=(format_,))
    assert at(parsed) == TEN + timedelta(hours=5)
    assert parsed.has_offset[0]


def test_a_shape_that_the_profile_names_is_read_its_way_or_not_at_all() -> None:
    formats = ("%d/%m/%Y",)
    parsed = read("03/11/2016", "11/13/2016", "2016-11-03", order=DateOrder.MDY, formats=formats)
    assert parsed.problem.tolist() == ["", "timestamp_unreadable", ""]
    both = read("03/11/2016", "11/13/2016", formats=(*formats, "%m/%d/%Y"))
    assert [at(both, 0), at(both, 1)] == [MIDNIGHT, datetime(2016, 11, 13)]


def test_text_in_a_profile_format_must_stand_there() -> None:
    parsed = read("at 2016-11-03", "on 2016-11-03", "cam8 2016-11-03", formats=("at %Y-%m-%d", "cam7 %Y-%m-%d"))
    assert parsed.problem.tolist() == ["", "timestamp_unreadable", "timestamp_unreadable"]


def test_the_instants_of_a_zone_agree_with_the_texts_own_offset() -> None:
    # One moment, written in several ways.
    moment = datetime(2016, 11, 3, 10, tzinfo=ZoneInfo("Asia/Kolkata"))
    texts = (moment.isoformat(), str(int(moment.timestamp())), moment.strftime("%a, %d %b %Y %H:%M:%S %z"))
    assert set(read(*texts).micros.tolist()) == {int(moment.timestamp()) * 1_000_000}
