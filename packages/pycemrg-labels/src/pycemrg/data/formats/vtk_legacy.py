"""A cell array in a legacy VTK file (VTK user's guide, "VTK File Formats"), text or binary.

Only the array and, where it needs a wider one, its type are replaced. Every other byte stays.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pycemrg.data.formats.patches import Patch
from pycemrg.data.formats.text_array import TextArray
from pycemrg.data.relabel import relabel_by
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

# vtkIdType is written as int, whatever its width in memory. long is that of 64-bit POSIX systems.
# Of the types that say their width, VTK writes those of 64 bits, and meshio the others too.
_TYPES = {
    "unsigned_char": "u1",
    "char": "i1",
    "signed_char": "i1",
    "unsigned_short": "u2",
    "short": "i2",
    "unsigned_int": "u4",
    "int": "i4",
    "vtkIdType": "i4",
    "vtktypeuint64": "u8",
    "unsigned_long": "u8",
    "vtktypeint64": "i8",
    "long": "i8",
    **{f"vtktypeuint{8 * size}": f"u{size}" for size in (1, 2, 4)},
    **{f"vtktypeint{8 * size}": f"i{size}" for size in (1, 2, 4)},
    "float": "f4",
    "double": "f8",
}
_NAMES = {dtype: name for name, dtype in reversed(_TYPES.items())}

_END = rb"[ \t]*\r?\n"
_SECTION = re.compile(rb"(CELL|POINT)_DATA[ \t]+(\d+)" + _END)
_SCALARS = re.compile(
    rb"SCALARS[ \t]+(?P<name>\S+)[ \t]+(?P<type>\w+)(?:[ \t]+(?P<width>\d+))?"
    + _END
    + rb"(?:LOOKUP_TABLE[ \t]+\S+"
    + _END
    + rb")?"
)
_FIELD = re.compile(
    rb"(?P<name>\S+)[ \t]+(?P<width>\d+)[ \t]+(?P<count>\d+)[ \t]+(?P<type>[A-Za-z]\w*)" + _END
)


class LegacyArrays:
    """The array of cells called `name`.

    Raises:
        ValueError: If this is no legacy VTK file, or the array is not there, not of one number per
            cell, or not whole.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._found = _find(data, name)
        dtype = _dtype(self._found.type)
        start, count = self._found.stop, self._found.size
        self._text = None
        if _is_text(data):
            self._text = TextArray(data[start:], dtype, count)
            values, length = self._text.values, self._text.length
        else:
            values, length = _unpack(data, start, count, dtype), count * dtype.itemsize
        self.values = [values]
        self._span = slice(start, start + length)

    def patches(self, rules: Rules) -> Iterator[Patch]:
        """Yield what changes in the file when the values are replaced."""
        (values,) = self.values
        result = relabel_by(rules, values)
        if result.dtype.newbyteorder(">") != values.dtype:
            yield Patch(*self._found.type_span, _NAMES[result.dtype.str[1:]].encode())
        if self._text is None:
            content = result.astype(result.dtype.newbyteorder(">")).tobytes()
        else:
            content = self._text.replaced(rules)
        yield Patch(self._span.start, self._span.stop, content)


class _Found(NamedTuple):
    type: str
    type_span: tuple[int, int]
    size: int
    stop: int


def _find(data: bytes, name: str) -> _Found:
    cells = list(_cell_sections(data))
    word = _written(name)
    found = [
        _Found(match["type"].decode(), match.span("type"), count, match.end())
        for start, stop, count in cells
        for match in _headers(data, word, start, stop)
        if _fits(match, count)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"there are {len(found)} cell arrays {name!r}; which one, is not clear")
    others = sorted({each for start, stop, _ in cells for each in _names(data, start, stop)})
    listed = ", ".join(others) or "none"
    raise ValueError(f"no cell array {name!r} of one number per cell; there are: {listed}")


def _is_text(data: bytes) -> bool:
    first, _, rest = data.partition(b"\n")
    kind = rest.split(b"\n", 2)[1:2]
    if not first.startswith(b"# vtk DataFile") or not kind:
        raise ValueError("this is no legacy VTK file: the first line must be '# vtk DataFile ...'")
    word = kind[0].strip()
    if word not in (b"ASCII", b"BINARY"):
        shown = word[:40].decode("ascii", "backslashreplace")
        raise ValueError(f"the third line of a legacy VTK file is ASCII or BINARY, not {shown!r}")
    return word == b"ASCII"


def _cell_sections(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where each ``CELL_DATA`` starts and stops, and how many cells it announces."""
    _is_text(data)
    matches = [
        match
        for word in (b"\nCELL_DATA", b"\nPOINT_DATA")
        for at in _occurrences(data, word, 0, len(data))
        if (match := _SECTION.match(data, at + 1))
    ]
    matches.sort(key=lambda match: match.start())
    ends = [match.start() for match in matches[1:]] + [len(data)]
    for match, end in zip(matches, ends, strict=True):
        if match[1] == b"CELL":
            yield match.end() - 1, end, int(match[2])


def _headers(data: bytes, word: bytes, start: int, stop: int) -> Iterator[re.Match[bytes]]:
    for at in _occurrences(data, word, start, stop):
        line = data.rfind(b"\n", 0, at) + 1
        match = _SCALARS.match(data, line) or _FIELD.match(data, line)
        if match and match["name"] == word:
            yield match


def _fits(match: re.Match[bytes], count: int) -> bool:
    found = match.groupdict()
    return int(found["width"] or 1) == 1 and int(found.get("count") or count) == count


def _names(data: bytes, start: int, stop: int) -> Iterator[str]:
    for line in re.finditer(rb"^.*\n(?:LOOKUP.*\n)?", data[start:stop], re.MULTILINE):
        match = _SCALARS.fullmatch(line[0]) or _FIELD.fullmatch(line[0])
        if match and match["type"].decode() in _TYPES:
            yield match["name"].decode("ascii", "backslashreplace")


def _occurrences(data: bytes, word: bytes, start: int, stop: int) -> Iterator[int]:
    at = data.find(word, start, stop)
    while at >= 0:
        yield at
        at = data.find(word, at + 1, stop)


def _written(name: str) -> bytes:
    """Return `name` as VTK writes it: blanks and some other characters as %20 and the like."""
    plain = {*range(33, 127)} - {ord('"'), ord("%")}
    return b"".join(b"%c" % c if c in plain else b"%%%02X" % c for c in name.encode())


def _dtype(name: str) -> np.dtype[Any]:
    if name not in _TYPES:
        raise ValueError(f"the type {name!r} holds no labels; these do: {', '.join(_TYPES)}")
    return np.dtype(_TYPES[name]).newbyteorder(">")


def _unpack(data: bytes, start: int, count: int, dtype: np.dtype[Any]) -> Array:
    stop = start + count * dtype.itemsize
    behind = data[stop : stop + 1]
    if stop > len(data) or not (behind.isspace() or behind.isalpha() or not behind):
        raise ValueError(f"the array is not {count:,} values of {dtype.itemsize} bytes")
    return np.frombuffer(data, dtype, count, start)
