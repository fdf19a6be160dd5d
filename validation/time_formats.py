"""Which shapes of text are timestamps, and where in each shape its parts stand.

A *shape* is a text with its values taken out: every digit is `0`, every letter of a word is `a`, a letter that
stands alone is itself in upper case, all else is itself: `2016-11-03T10:00:00Z` has the shape
`0000-00-00T00:00:00Z`. A file has millions of timestamps and a handful of shapes, so the grammar is matched
against shapes only, and the values are then read from fixed positions, all rows of a shape at once. That reading
is not done here, nor is anything decided that depends on a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

LONGEST = 96
"""Bytes; no timestamp is longer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the parts of a timestamp stand in texts of one shape (in bytes: start, stop).

    Fields: `Y` year, `y` year of two digits, `M` month, `b` month's name, `D` day, `A` and `B` the day and month of
    numeric dates in either order, `J` day of the year, `G` `W` `U` ISO year, week and weekday, `a` weekday's name,
    `ord` ending of an ordinal, `H` hour, `m` minute, `s` second, `f` fraction, `p` AM or PM, `z` zone's name, `x` a
    zone's name before an offset, `oh` `om` offset (east where `east`), `n` number, `q` its decimals, `e` its exponent.
    Literals are texts that must stand there as they are, in any case.
    """

    name: str
    fields: Mapping[str, tuple[int, int]]
    literals: tuple[tuple[int, int, bytes], ...] = ()
    east: bool = True
    negative: bool = False
    negative_exponent: bool = False
    allows_24: bool = False

    @property
    def is_number(self) -> bool:
        """Whether this is a count of units since 1970."""
        return "n" in self.fields

    @property
    def is_numeric_date(self) -> bool:
        """Whether only the file as a whole can say which of two numbers is the day."""
        return "A" in self.fields

    @property
    def has_offset(self) -> bool:
        """Whether the text itself says how far its clock is from UTC."""
        return "z" in self.fields or "oh" in self.fields


_OFFSET = (
    r"(?: *(?:(?P<z>Z|aaa?)|(?P<x>aaa)?(?P<sign>[+-])(?P<oh>00)(?::?(?P<om>00))?)"
    r"(?: +\([^()]*\))?)"  # a comment of RFC 2822, or JavaScript's name of the zone
)
_FRACTION = r"(?:[.,](?P<f>0{1,9}))"
_CLOCK = rf"(?P<H>00?):(?P<m>00)(?::(?P<s>00){_FRACTION}?)?"
_CLOCK_12 = rf"(?:{_CLOCK}|(?P<H2>00?)) *(?P<p>aa|[AP]\.M\.)"
_WEEKDAY = r"(?:(?P<a>aaa+)(?:\.?,? +|,))?"
_DAY = r"(?P<D>00?)"
_DAY_ORDINAL = r"(?P<D>00?)(?P<ord>aa)?"
_MONTH_NAME = r"(?P<b>aaa+)"
_YEAR = r"(?P<Y>0000)"

_ISO = (
    rf"{_WEEKDAY}{_YEAR}-(?P<M>00)-(?P<D>00)",
    rf"(?:(?P<G>0000)-W(?P<W>00)-(?P<U>0)|{_YEAR}-(?P<J>000))",
)
_ISO_BASIC = rf"(?:{_YEAR}(?P<M>00)(?P<D>00)|(?P<G>0000)W(?P<W>00)(?P<U>0))"
_YMD = rf"{_WEEKDAY}{_YEAR}(?P<_>[-/.])(?P<M>00?)(?P=_)(?P<D>00?)"
_NUMERIC = rf"{_WEEKDAY}(?P<A>00?)(?P<_>[-/.])(?P<B>00?)(?P=_){_YEAR}"
_NAMED = (
    rf"{_WEEKDAY}{_DAY}(?P<_>[-/.]|){_MONTH_NAME}(?P=_){_YEAR}",
    rf"{_WEEKDAY}{_DAY_ORDINAL} +{_MONTH_NAME}\.?,? +{_YEAR}",
    rf"{_WEEKDAY}{_MONTH_NAME}(?P<_>[-/.]){_DAY}(?P=_){_YEAR}",
    rf"{_WEEKDAY}{_MONTH_NAME}\.? +{_DAY_ORDINAL},? +{_YEAR}",
    rf"{_YEAR}(?P<_>[-/. ]|){_MONTH_NAME}(?P=_){_DAY}",
)
_RFC_2822 = rf"(?:(?P<a>aaa), *)?{_DAY} +(?P<b>aaa) +{_YEAR} +(?P<H>00):(?P<m>00)(?::(?P<s>00))?{_OFFSET}"
_CTIME = rf"{_WEEKDAY}{_MONTH_NAME} +{_DAY} +{_CLOCK}{_OFFSET}? +{_YEAR}"
# Eight and fourteen digits are dates of the basic format: as seconds or microseconds they would all lie in the
# first three years after 1970. A decimal comma must not be mistaken for the comma of thousands.
_NUMBER = (
    r"(?P<minus>-?)(?!(?<!-)(?:0{8}|0{14})(?:[.,]0*)?$)(?P<n>0+)"
    r"(?:\.(?P<q>0*)|(?:(?<=0000)|(?=,0*E)),(?P<q2>0+))?(?:E(?P<esign>[+-]?)(?P<e>0{1,3}))?"
)


def _with_clock(name: str, date: str, separator: str = r"(?:T|,? +)") -> Iterator[tuple[str, str]]:
    """Name the shapes of a date with the time of day behind it, of 12 or 24 hours, or alone."""
    yield name, f"{date}{separator}{_CLOCK_12}{_OFFSET}?"
    yield name, f"{date}(?:{separator}{_CLOCK}{_OFFSET}?)?"


def _grammar() -> Iterator[tuple[str, str]]:
    """Every name of a format with its shapes; the order matters only where values decide (`10:00 PM`, `10:00 UT`)."""
    for date in _ISO:
        yield from _with_clock("ISO 8601", date)
        yield "ISO 8601", rf"{date}T(?P<H>00){_OFFSET}?"
    yield from _with_clock("ISO 8601 basic", _ISO_BASIC)
    yield "ISO 8601 basic", rf"{_ISO_BASIC}T(?P<H>00){_OFFSET}?"
    yield "ISO 8601 basic", rf"{_ISO_BASIC}[T ](?P<H>00)(?P<m>00)(?:(?P<s>00){_FRACTION}?)?{_OFFSET}?"
    yield "ISO 8601 basic", rf"{_ISO_BASIC}(?P<H>00)(?P<m>00)(?P<s>00){_FRACTION}?{_OFFSET}?"
    yield "Unix", _NUMBER
    yield from _with_clock("day and month", _NUMERIC)
    yield from _with_clock("YYYY/MM/DD", _YMD)
    yield "RFC 2822", _RFC_2822
    for date in _NAMED:
        yield from _with_clock("month name", date, "(?:,? +|:)")
    yield "month name", _CTIME


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((name, re.compile(regex)) for name, regex in _grammar())


@lru_cache(maxsize=8192)
def plans(shape: str, formats: tuple[str, ...] = ()) -> tuple[Plan, ...]:
    """Every way to read texts of a shape, best first; none where the shape is no timestamp's.

    A shape that one of a profile's strptime `formats` describes is read in that way or not at all: to fall back on
    another reading would turn a wrong day into a wrong month.
    """
    claimed = tuple(plan for format_ in formats if (plan := compile_format(format_).plan(shape)) is not None)
    if claimed:
        return claimed
    return tuple(_plan(name, match) for name, regex in _patterns() if (match := regex.fullmatch(shape)))


def _plan(name: str, match: re.Match[str], literals: Mapping[str, bytes] | None = None) -> Plan:
    parts = {key: match.span(key) for key, text in match.groupdict().items() if text}
    texts = match.groupdict()
    return Plan(
        name=name,
        # A field that stands in two alternatives has a digit behind its name in one of them.
        fields={
            key.rstrip("2"): span
            for key, span in parts.items()
            if key not in {"_", "sign", "minus", "esign"} and not key.startswith("literal")
        },
        # Punctuation is in the shape; only letters and digits are still to be compared.
        literals=tuple((*match.span(key), text) for key, text in (literals or {}).items() if re.search(rb"\w", text)),
        east=texts.get("sign") != "-",
        negative=texts.get("minus") == "-",
        negative_exponent=texts.get("esign") == "-",
        allows_24=name.startswith("ISO"),
    )


@dataclass(frozen=True, slots=True)
class ProfileFormat:
    """A strptime format, made ready to be matched against shapes."""

    format: str
    regex: re.Pattern[str]
    literals: Mapping[str, bytes]

    def plan(self, shape: str) -> Plan | None:
        """How to read texts of a shape by this format, or None where they are of another format."""
        match = self.regex.fullmatch(shape)
        return _plan(f"profile format {self.format}", match, self.literals) if match else None


# Directive: (field, shape, shape where a digit or another number stands next to it).
_DIRECTIVES = {
    "Y": ("Y", "0000", "0000"),
    "y": ("y", "00", "00"),
    "m": ("M", "00?", "00"),
    "d": ("D", "00?", "00"),
    "e": ("D", " ?00?", "00"),
    "j": ("J", "0{1,3}", "000"),
    "G": ("G", "0000", "0000"),
    "V": ("W", "00?", "00"),
    "u": ("U", "0", "0"),
    "H": ("H", "00?", "00"),
    "I": ("H", "00?", "00"),
    "M": ("m", "00?", "00"),
    "S": ("s", "00?", "00"),
    "f": ("f", "0{1,9}", "0{1,9}"),
    "b": ("b", "aaa+", "aaa+"),
    "B": ("b", "aaa+", "aaa+"),
    "h": ("b", "aaa+", "aaa+"),
    "a": ("a", "aaa+", "aaa+"),
    "A": ("a", "aaa+", "aaa+"),
    "p": ("p", r"(?:aa|[AP]\.M\.)", r"(?:aa|[AP]\.M\.)"),
    "Z": ("z", "(?:Z|aaa?)", "(?:Z|aaa?)"),
}
_SHORTHAND = {"%T": "%H:%M:%S", "%R": "%H:%M", "%F": "%Y-%m-%d", "%D": "%m/%d/%y", "%n": " ", "%t": " "}
_NUMBERS = frozenset("YymdejGVuHIMSf")
_DATES = ({"Y", "M", "D"}, {"Y", "b", "D"}, {"y", "M", "D"}, {"y", "b", "D"}, {"Y", "J"}, {"y", "J"}, {"G", "W", "U"})
_TOKEN = re.compile(r"%[-#]?(.)|(\s+)|([^%\s]+)", re.DOTALL)


@lru_cache(maxsize=256)
def compile_format(format_: str) -> ProfileFormat:
    """Make a strptime format ready; raises ValueError with a sentence for one that cannot be used.

    Differences from Python's strptime: `%f` has up to nine digits, numbers that touch each other have their full
    width, `%Z` knows the zones of RFC 2822 only, a weekday must be that of the date, and a format must hold a whole
    date, so that no part of it is ever made up.
    """
    text = re.sub("%.", lambda pair: _SHORTHAND.get(pair[0], pair[0]), format_)
    tokens = [match.group(1, 2, 3) for match in _TOKEN.finditer(text)]
    if "".join(match[0] for match in _TOKEN.finditer(text)) != text:
        raise ValueError(f"The time format '{format_}' ends in the middle of a directive.")
    regex = ""
    literals: dict[str, bytes] = {}
    seen: set[str] = set()
    for index, (directive, space, literal) in enumerate(tokens):
        if space:
            regex += "[ \\t]+"
        elif literal or directive == "%":
            name = f"literal{index}"
            literals[name] = (literal or "%").encode().lower()
            regex += f"(?P<{name}>{''.join(map(_shape_of, (literal or '%').encode()))})"
        elif directive == "z":
            _once(format_, directive, {"z", "oh"}, seen)
            regex += r"(?:(?P<z>Z)|(?P<sign>[+-])(?P<oh>00)(?::?(?P<om>00))?)"
        elif directive in _DIRECTIVES:
            field, free, tight = _DIRECTIVES[directive]
            _once(format_, directive, {field}, seen)
            touches = directive in _NUMBERS and any(
                0 <= near < len(tokens) and (tokens[near][0] in _NUMBERS or (tokens[near][2] or "x")[side].isdigit())
                for near, side in ((index - 1, -1), (index + 1, 0))
            )
            regex += f"(?P<{field}>{tight if touches else free})"
        else:
            raise ValueError(
                f"The time format '{format_}' uses %{directive}, which is not supported; "
                "write out the parts (%Y %m %d %H %M %S %f %p %b %z and the like)."
            )
    _check_whole(format_, "I" in {directive for directive, _, _ in tokens}, seen)
    return ProfileFormat(format_, re.compile(regex), literals)


def _shape_of(byte: int) -> str:
    character = chr(byte)
    if character.isascii() and character.isalpha():
        return f"[a{character.upper()}]"
    return "0" if character.isascii() and character.isdigit() else re.escape(character)


def _once(format_: str, directive: str, fields: set[str], seen: set[str]) -> None:
    if fields & seen:
        raise ValueError(f"The time format '{format_}' holds the same part twice (%{directive}).")
    seen |= fields


def _check_whole(format_: str, is_half_day: bool, seen: set[str]) -> None:
    if not any(date <= seen for date in _DATES):
        raise ValueError(f"The time format '{format_}' must hold a whole date: year, month and day.")
    if is_half_day != ("p" in seen):
        raise ValueError(f"The time format '{format_}' must use %I and %p together, or %H alone.")
    if "H" not in seen and seen & {"m", "s", "f", "z", "oh"}:
        raise ValueError(f"The time format '{format_}' holds minutes, seconds or a zone but no hour.")
    if ("s" in seen and "m" not in seen) or ("f" in seen and "s" not in seen):
        raise ValueError(f"The time format '{format_}' leaves out a part between the hour and the fraction.")
