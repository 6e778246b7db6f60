"""The text of a label table: how it is decoded, its lines, its fields and the numbers in them."""

import codecs
import csv
import io
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pycemrg.core.manifests import Place

logger = logging.getLogger(__name__)

# The largest public table, FreeSurfer's, has 90 kB; a dataset.json may list thousands of images.
MAX_BYTES = 2_000_000

LINE_END = re.compile(r"\r\n|\r|\n")

_DIGITS = 18
INTEGERS = range(-(10**_DIGITS) + 1, 10**_DIGITS)
"""The integers that are read."""

_INTEGER = re.compile(rf"[+-]?[0-9]{{1,{_DIGITS}}}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?", re.ASCII)
# What C calls white space; Python's `split` would also break a name at a no-break space.
_FIELD = re.compile(r"[^ \t\v\f]+")


class Field(NamedTuple):
    """A piece of a line and where it stands."""

    place: Place
    text: str


def read_text(path: str | os.PathLike[str]) -> str:
    """Return the text of a file.

    It is UTF-8, with or without a byte order mark, or UTF-16 with one. A file that is neither is
    read as Latin-1, which gives every byte a character, and a warning is logged.

    Raises:
        OSError: If the file cannot be read, FileNotFoundError if there is none.
        ValueError: If it holds null characters, as no text does, or more than 2 MB.
    """
    source = os.fspath(path)
    try:
        with Path(source).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no label table at {source}") from error
    if len(data) > MAX_BYTES:
        raise Place(source, 1, 1).error(
            f"larger than {MAX_BYTES // 1_000_000} MB; is it a label table?"
        )
    text = _decode(data, source)
    if "\0" in text:
        line = len(LINE_END.findall(text, 0, text.index("\0"))) + 1
        raise Place(source, line, 1).error("not a text file: it holds a null character")
    return text


def _decode(data: bytes, source: str) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise Place(source, 1, 1).error(f"not valid UTF-16: {error.reason}") from error
    logger.warning("%s is not UTF-8; it is read as Latin-1", source)
    return data.decode("latin-1")


def lines(text: str, source: str) -> Iterator[Field]:
    r"""Yield each line of a text with its place, without its end (LF, CRLF or CR).

    Example:
        >>> [(str(place), line) for place, line in lines("1 LV\r\n2 RV", "heart.ctbl")]
        [('heart.ctbl:1:1', '1 LV'), ('heart.ctbl:2:1', '2 RV')]
    """
    for number, line in enumerate(LINE_END.split(text), 1):
        yield Field(Place(source, number, 1), line)


def entries(text: str, source: str) -> Iterator[Field]:
    """Yield the lines that are neither blank nor a comment, which starts with ``#``."""
    for line in lines(text, source):
        content = line.text.strip(" \t\v\f")
        if content and not content.startswith("#"):
            yield line


def fields(line: Field) -> list[Field]:
    """Return the pieces of a line between blanks."""
    file, number, _ = line.place
    return [
        Field(Place(file, number, found.start() + 1), found.group())
        for found in _FIELD.finditer(line.text)
    ]


def records(text: str, source: str, delimiter: str) -> Iterator[tuple[Place, list[str]]]:
    """Yield the rows of comma- or tab-separated values that are not blank, by RFC 4180.

    Raises:
        ValueError: If a quotation mark is not closed, or text follows a closed one.
    """
    text = "\n".join(line.text for line in lines(text, source))
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    first = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield Place(source, first, 1), row
            first = reader.line_num + 1
    except csv.Error as error:
        raise Place(source, first, 1).error(f"a row that cannot be read: {error}") from error


def one_line(text: str) -> str:
    """Return a text with a blank for each line end and null character."""
    return re.sub(r"[\0\r\n]", " ", text)


def integer(field: Field, what: str) -> int:
    """Return a field as an integer.

    Raises:
        ValueError: If it is no decimal integer of at most 18 digits.
    """
    if not _INTEGER.fullmatch(field.text):
        raise field.place.error(f"expected {what} as an integer, got {field.text!r}")
    return int(field.text)


def number(field: Field, what: str, largest: int) -> float:
    """Return a field as a number from 0 to `largest`.

    Raises:
        ValueError: If it is something else.
    """
    value = float(field.text) if _DECIMAL.fullmatch(field.text) else -1.0
    if not 0 <= value <= largest:
        message = f"expected {what} as a number from 0 to {largest}, got {field.text!r}"
        raise field.place.error(message)
    return value


def channel(field: Field, what: str) -> int:
    """Return a colour channel, 0 to 255; a fraction is rounded to the nearest integer.

    Raises:
        ValueError: If it is something else.
    """
    return int(number(field, what, 255) + 0.5)
