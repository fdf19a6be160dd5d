"""What kind of file lies there: compression, encoding, delimiter, line ends.

Turns the bytes of a file, whatever they are, into a stream of UTF-8 in bounded memory, and refuses with a plain
account what is no delimited text. Where records end is found in records.py, what they hold is read in reading.py.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import string
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

from validation.problems import FileProblem, Notice
from validation.records import allow_long_cells

EncodingName = Literal["utf-8", "utf-16", "windows-1252"]
LineEnding = Literal["LF", "CRLF", "CR", "mixed"]

DELIMITERS = ",;\t|"

# Stands where bytes of the file are no text at all, so that the row which holds them can be found and set aside.
NOT_TEXT = "\0"

# A csv of camera events shrinks to a tenth, an absurdly dull one to a hundredth; deflate's own limit is a thousandth.
BOMB_RATIO = 200
BOMB_BYTES = 256 * 2**20

COLUMNS_ALLOWED = 16_384

_MIB = 2**20
_TOO_FEW_TO_TELL = 256
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))
_BEYOND_ASCII = bytes(range(128, 256))

# Windows-1252 as web browsers have it: the five bytes that it leaves undefined are control characters.
_WINDOWS_1252 = "".join(
    chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252") for byte in range(256)
)

_SAVE_AS_CSV = "Open it in the program it came from and save or export it as CSV (UTF-8)."
_UNPACK = "Unpack it and drop the CSV files that are in it."
_WRONG_FILE = "It is probably the wrong file: drop the CSV that the camera system exports."

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls) or another Office file", _SAVE_AS_CSV),
    (b"PAR1\x15", "a Parquet file", _SAVE_AS_CSV),
    (b"ARROW1\0\0", "an Arrow file", _SAVE_AS_CSV),
    (b"SQLite format 3\0", "an SQLite database", _SAVE_AS_CSV),
    (b"{\\rtf", "a rich text document", _SAVE_AS_CSV),
    (b"%PDF-", "a PDF document", _WRONG_FILE),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", _WRONG_FILE),
    (b"\xff\xd8\xff", "a JPEG image", _WRONG_FILE),
    (b"GIF89a", "a GIF image", _WRONG_FILE),
    (b"GIF87a", "a GIF image", _WRONG_FILE),
    (b"\x7fELF", "a program", _WRONG_FILE),
    (b"PK\x05\x06", "an empty ZIP archive", _WRONG_FILE),
    (b"BZh91AY&SY", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written. `line_ending` is what its first records end with."""

    encoding: EncodingName
    has_bom: bool
    delimiter: str
    line_ending: LineEnding
    compression: Literal["gzip"] | None


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes become text. `codec` is the name under which Python decodes what follows the byte order mark.

    `is_damaged` is a file that says by its mark that it is UTF-8 and is not everywhere.
    """

    name: EncodingName
    codec: Literal["utf-8", "utf-16-le", "utf-16-be", "windows-1252"]
    bom: bytes = b""
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class ByteSource:
    """The bytes of a file, unpacked where it is packed."""

    path: Path
    size_bytes: int
    compression: Literal["gzip"] | None

    @classmethod
    def of(cls, path: Path) -> ByteSource:
        """Look at the first bytes, not at the name. Raises OSError where the file cannot be read."""
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        return cls(path, path.stat().st_size, "gzip" if packed else None)

    def blocks(self, size: int, skip: int = 0) -> Iterator[tuple[bytes, int]]:
        """Yield the bytes behind the first `skip`, `size` at a time, each with the position in the file on disk.

        Raises FileProblem where a packed file is damaged, cut off, or unpacks to something monstrous.
        """
        with self.path.open("rb") as file:
            if self.compression is None:
                file.seek(skip)
                while block := file.read(size):
                    yield block, file.tell()
            else:
                yield from self._unpacked(file, size, skip)

    def _unpacked(self, file: BinaryIO, size: int, skip: int) -> Iterator[tuple[bytes, int]]:
        unpacked = 0
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                stream.read(skip)
                while block := stream.read(size):
                    unpacked += len(block)
                    if unpacked > max(BOMB_BYTES, BOMB_RATIO * self.size_bytes):
                        raise FileProblem(
                            "compressed_too_far",
                            f"The file unpacks to more than {BOMB_RATIO} times its size; no export of events does.",
                            "If it is what it should be, unpack it and drop the plain file.",
                        )
                    yield block, min(file.tell(), self.size_bytes)
        except EOFError as error:
            raise FileProblem(
                "compressed_truncated",
                "The compressed file ends in the middle: it was cut off while it was written or copied.",
                "Copy or export it again and drop the new copy.",
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise FileProblem(
                "compressed_damaged",
                f"The compressed file is damaged and cannot be unpacked ({error}).",
                "Copy or export it again and drop the new copy.",
            ) from error


def utf8_blocks(source: ByteSource, encoding: Encoding, size: int) -> Iterator[tuple[bytes, int, bool]]:
    """Yield the file's text as UTF-8 without byte order mark, the position on disk, and whether the text ends here.

    Blocks end anywhere, also within a character. What is no text becomes NOT_TEXT.
    """
    decode = _decoder(encoding)
    for block, position in source.blocks(size, skip=len(encoding.bom)):
        yield decode(block, False), position, False
    yield decode(b"", True), source.size_bytes, True


def _decoder(encoding: Encoding) -> Callable[[bytes, bool], bytes]:
    if encoding.codec == "windows-1252":
        return lambda block, _: codecs.charmap_decode(block, "strict", _WINDOWS_1252)[0].encode()  # type: ignore[arg-type]
    if encoding.codec == "utf-8" and not encoding.is_damaged:
        return lambda block, _: block
    # Both let what is no character through as half a surrogate pair, which no text holds.
    errors = "surrogateescape" if encoding.codec == "utf-8" else "surrogatepass"
    decoder = codecs.getincrementaldecoder(encoding.codec)(errors)

    def decode(block: bytes, final: bool) -> bytes:
        try:
            text = decoder.decode(block, final)
        except UnicodeDecodeError:  # UTF-16 that ends within a character
            text = NOT_TEXT
        try:
            return text.encode()
        except UnicodeEncodeError:
            return re.sub("[\ud800-\udfff]", NOT_TEXT, text).encode()

    return decode


def find_encoding(source: ByteSource, head: bytes) -> tuple[Encoding, list[Notice]]:
    """Tell the encoding by the byte order mark, else by whether the whole file is UTF-8 (one pass, nothing kept)."""
    if head.startswith(codecs.BOM_UTF16_LE):
        return Encoding("utf-16", "utf-16-le", codecs.BOM_UTF16_LE), []
    if head.startswith(codecs.BOM_UTF16_BE):
        return Encoding("utf-16", "utf-16-be", codecs.BOM_UTF16_BE), []
    bom = codecs.BOM_UTF8 if head.startswith(codecs.BOM_UTF8) else b""
    where = _first_invalid_utf8(source)
    if where is None:
        return Encoding("utf-8", "utf-8", bom), []
    offset, line = where
    if bom:
        sentence = (
            f"The file says by its byte order mark that it is UTF-8; byte {offset + 1:,}, on line {line:,}, is not. "
            "The rows with such bytes were set aside."
        )
        return Encoding("utf-8", "utf-8", bom, is_damaged=True), [Notice("invalid_utf8", sentence)]
    sentence = (
        f"The file is not UTF-8 (byte {offset + 1:,}, on line {line:,}, is the first that cannot be), so all of it was "
        "read as Windows-1252. If accented letters look wrong, save it as UTF-8 and drop it again."
    )
    return Encoding("windows-1252", "windows-1252"), [Notice("windows_1252", sentence)]


def _first_invalid_utf8(source: ByteSource) -> tuple[int, int] | None:
    """Offset and physical line (from 1) of the first byte that is not UTF-8; None where all are."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = pending = 0
    for block, _ in source.blocks(_MIB):
        if pending or not block.isascii():
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                offset += error.start - pending
                break
            pending = len(decoder.getstate()[0])
        offset += len(block)
    else:
        if not pending:
            return None
        offset -= pending
    before = feeds = returns = 0
    for block, _ in source.blocks(_MIB):
        part = block[: offset - before]
        feeds += part.count(b"\n")
        returns += part.count(b"\r")
        before += len(part)
        if before == offset:
            break
    return offset, 1 + (feeds or returns)


def refuse_what_is_no_text(head: bytes, *, is_packed: bool) -> None:
    """Raise FileProblem where the first bytes show something other than delimited text, saying what and what to do."""
    if not head:
        raise FileProblem("empty_file", "The file is empty.", "Export it again, unless there were no events.")
    what = _what_it_looks_like(head, is_packed=is_packed)
    if what is not None:
        kind, advice = what
        raise FileProblem("not_delimited_text", f"The file is no CSV: it looks like {kind}.", advice)


def _what_it_looks_like(head: bytes, *, is_packed: bool) -> tuple[str, str] | None:
    if head.startswith(b"PK\x03\x04"):
        if b"[Content_Types].xml" in head or b"xl/" in head:
            return "an Excel workbook (.xlsx) or another Office file", _SAVE_AS_CSV
        if b"opendocument" in head[:200]:
            return "an OpenDocument file (.ods, .odt)", _SAVE_AS_CSV
        return "a ZIP archive", _UNPACK
    if is_packed and head.startswith(b"\x1f\x8b"):
        return "a file that was compressed twice", _UNPACK
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    for signature, kind, advice in _SIGNATURES:
        if head.startswith(signature):
            return kind, advice
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32 text", "Save it as CSV in UTF-8."
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    start = head[:_MIB]
    if not start.strip(b"\0"):
        return "nothing but zero bytes, as an interrupted copy leaves behind", "Copy or export it again."
    zeros = start.count(b"\0")
    if zeros > len(start) / 4 and min(start[0::2].count(b"\0"), start[1::2].count(b"\0")) < zeros / 20:
        return "UTF-16 text without a byte order mark", "Save it as CSV in UTF-8, or in UTF-16 with a byte order mark."
    begin = start.removeprefix(codecs.BOM_UTF8).lstrip()[:200].lower()
    if begin.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), perhaps the log-in page of the site it should have come from", "Download it again."
    if begin.startswith(b"<?xml"):
        return "an XML file", _SAVE_AS_CSV
    if re.match(rb'\{\s*"|\[\s*[\[{]', begin):
        return "a JSON file", _SAVE_AS_CSV
    if len(start) < _TOO_FEW_TO_TELL:
        return None
    controls = len(start) - len(start.translate(None, _CONTROLS))
    beyond_ascii = len(start) - len(start.translate(None, _BEYOND_ASCII))
    if controls > 0.3 * len(start) or (controls > 0.05 * len(start) and beyond_ascii > 0.2 * len(start)):
        return "a binary file", _WRONG_FILE
    return None


def declared_delimiter(first_line: str) -> str | None:
    """Read the delimiter from the line `sep=;` that Excel hides at the top of a file; None if it is no such line."""
    match = re.fullmatch(r'"?sep=(\t|[!-/:-@\[-`{-~])"?', first_line.strip(" \r\n"), re.IGNORECASE)
    return match[1] if match and match[1] != '"' else None


def choose_delimiter(text: str) -> str:
    """Choose the delimiter that divides the header most and the first hundred records like the header.

    `text` begins with the header. A file of a single column has no delimiter; a comma then does no harm.
    """
    allow_long_cells(len(text))
    stream = io.StringIO(text, newline="")

    def score(delimiter: str) -> tuple[float, int]:
        stream.seek(0)
        records = [len(record) for record in islice(csv.reader(stream, delimiter=delimiter), 101) if record]
        columns, others = records[0], records[1:]
        alike = others.count(columns) / len(others) if others else 1.0
        return alike * (columns - 1), columns

    return max(DELIMITERS, key=score)


def name_columns(header: list[str]) -> tuple[tuple[str, ...], list[Notice]]:
    """Give every column a name of its own: trimmed, empty ones by position, repeated ones numbered.

    Raises FileProblem where there are more columns than a spreadsheet can have.
    """
    if len(header) > COLUMNS_ALLOWED:
        raise FileProblem(
            "too_many_columns",
            f"The header has {len(header):,} columns; {COLUMNS_ALLOWED:,} are the most that a spreadsheet can have.",
            "Check that it is the right file, and export only the columns that are needed.",
        )
    written = [cell.strip(string.whitespace + "\xa0\ufeff") for cell in header]
    taken = set(written)
    uses: Counter[str] = Counter()
    names: list[str] = []
    for position, cell in enumerate(written, start=1):
        wanted = name = cell or f"column {position}"
        uses[wanted] += 1
        while uses[wanted] > 1 or (name in taken and name != cell):
            name = f"{wanted} ({max(uses[wanted], 2)})"
            if name not in taken:
                break
            uses[wanted] += 1
        taken.add(name)
        names.append(name)
    empty = [name for name, cell in zip(names, written, strict=True) if not cell]
    repeated = [name for name, cell in zip(names, written, strict=True) if cell and name != cell]
    notices = []
    if empty:
        notices.append(Notice("unnamed_columns", f"Columns without a name in the header were named {_listed(empty)}."))
    if repeated:
        notices.append(
            Notice("repeated_columns", f"Columns whose name occurs before them were named {_listed(repeated)}.")
        )
    return tuple(names), notices


def _listed(names: list[str], most: int = 10) -> str:
    quoted = [f"'{name}'" for name in names[:most]]
    return ", ".join(quoted) + (f" and {len(names) - most:,} more" if len(names) > most else "")
