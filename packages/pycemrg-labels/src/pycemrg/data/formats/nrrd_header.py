"""The header of a NRRD file, kept line by line, so that what does not change stays as it is.

The format is that of https://teem.sourceforge.net/nrrd/format.html. 3D Slicer describes segments in
it (https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html).
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

_FIELD = re.compile(rb"([^#:][^:]*):[ \t]+(.*?)[ \t]*\r?\n?", re.DOTALL)
_SEGMENT = re.compile(rb"(Segment)(\d+)(_\w+:=)(.*?)(\r?\n?)", re.DOTALL)

_TYPES = {
    "i1": ("int8", "signed char", "int8_t"),
    "u1": ("uint8", "unsigned char", "uchar", "uint8_t"),
    "i2": ("int16", "short", "short int", "signed short", "signed short int", "int16_t"),
    "u2": ("uint16", "unsigned short", "ushort", "unsigned short int", "uint16_t"),
    "i4": ("int32", "int", "signed int", "int32_t"),
    "u4": ("uint32", "unsigned int", "uint", "uint32_t"),
    "i8": ("int64", "long long", "longlong", "long long int", "signed long long", "int64_t"),
    "u8": ("uint64", "unsigned long long", "ulonglong", "unsigned long long int", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_ENCODINGS = {
    "raw": ("raw",),
    "text": ("ascii", "text", "txt"),
    "gzip": ("gzip", "gz"),
    "bzip2": ("bzip2", "bz2"),
}
_VECTOR = re.compile(r"\(([^)]*)\)")

_CODES = {name: code for code, names in _TYPES.items() for name in names}


class Header(NamedTuple):
    """The lines of a header with their line ends, without the empty line behind them."""

    lines: tuple[bytes, ...]

    @property
    def fields(self) -> dict[str, str]:
        """The fields, such as ``{"type": "short", "sizes": "256 256 256"}``."""
        found = filter(None, map(_FIELD.fullmatch, self.lines))
        return {
            match[1].decode("ascii", "replace").lower(): match[2].decode("utf-8", "replace")
            for match in found
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis, the fastest first."""
        try:
            sizes = tuple(map(int, self.fields["sizes"].split()))
            dimension = int(self.fields["dimension"])
        except (KeyError, ValueError) as error:
            raise ValueError("the header must give dimension and sizes") from error
        if len(sizes) != dimension or min(sizes, default=0) < 1:
            raise ValueError(f"the sizes {sizes} are not those of {dimension} dimensions")
        return sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values, with their byte order."""
        name = " ".join(self.fields.get("type", "").split())
        if name not in _CODES:
            raise ValueError(f"the type {name!r} holds no labels; these do: {', '.join(_CODES)}")
        return np.dtype(self._order() + _CODES[name])

    @property
    def encoding(self) -> str:
        """How the values are stored: ``raw``, ``text``, ``gzip`` or ``bzip2``."""
        name = self.fields.get("encoding", "").lower()
        for encoding, names in _ENCODINGS.items():
            if name in names:
                return encoding
        raise ValueError(f"the encoding {name!r} is not read; save it as one of {[*_ENCODINGS]}")

    @property
    def segments(self) -> dict[int, int | None]:
        """The label value of each segment by its number, None if it is not given."""
        values: dict[int, int | None] = {}
        for match in filter(None, map(_SEGMENT.fullmatch, self.lines)):
            values.setdefault(int(match[2]), None)
            if match[3] == b"_LabelValue:=":
                values[int(match[2])] = _integer(match[4], f"Segment{int(match[2])}_LabelValue")
        return values

    def field(self, *names: str) -> str | None:
        """Return the first of these fields that is there, or None."""
        fields = self.fields
        return next((fields[name] for name in names if name in fields), None)

    def number(self, *names: str) -> int:
        """Return the integer in the first of these fields that is there, or 0."""
        return _integer(self.field(*names) or "0", names[0])

    def vectors(self, name: str) -> list[tuple[float, ...]]:
        """Return the vectors of a field such as ``none (1,0,0) (0,1,0) (0,0,1)``.

        Raises:
            ValueError: If a component is not a number.
        """
        found = _VECTOR.findall(self.fields.get(name, ""))
        return [tuple(map(float, vector.split(","))) for vector in found]

    def with_dtype(self, dtype: np.dtype[Any]) -> "Header":
        """Return the header of values of this type in the byte order of this header."""
        if dtype.newbyteorder("=") == self.dtype.newbyteorder("="):
            return self
        code = f"{dtype.kind}{dtype.itemsize}"
        if code not in _TYPES:
            raise ValueError(f"NRRD has no type {dtype}")
        header = self._replaced("type", _TYPES[code][0])
        if dtype.itemsize == 1 or "endian" in self.fields:
            return header
        return Header((*header.lines, b"endian: little\n"))

    def without(self, *names: str) -> "Header":
        """Return the header without these fields."""
        return Header(tuple(line for line in self.lines if _name(line) not in names))

    def with_segments(self, result: Callable[[int], int]) -> "Header":
        """Return the header with another label value of each segment.

        Segments that become the background are left out, and the others numbered anew.
        """
        values = {n: v for n, v in self.segments.items() if v is not None}
        left_out = {n for n, value in values.items() if value and result(value) == 0}
        kept = [n for n in sorted(self.segments) if n not in left_out]
        numbers = {n: kept.index(n) if left_out else n for n in kept}

        def rewritten() -> Iterator[bytes]:
            for line in self.lines:
                match = _SEGMENT.fullmatch(line)
                if not match:
                    yield line
                elif int(match[2]) in numbers:
                    number = int(match[2])
                    is_value = match[3] == b"_LabelValue:="
                    value = b"%d" % result(values[number]) if is_value else match[4]
                    yield b"%s%d%s%s%s" % (match[1], numbers[number], match[3], value, match[5])

        return Header(tuple(rewritten()))

    def _order(self) -> Literal["<", ">"]:
        return ">" if self.fields.get("endian", "").lower() == "big" else "<"

    def _replaced(self, name: str, value: str) -> "Header":
        return Header(
            tuple(
                f"{name}: {value}\n".encode() if _name(line) == name else line
                for line in self.lines
            )
        )


def read_header(file: BinaryIO) -> Header:
    """Return the header at the begin of a file, which is left where the header ends.

    Raises:
        ValueError: If this is no NRRD file.
        OSError: If it cannot be read.
    """
    magic = file.read(4)
    if magic != b"NRRD":
        raise ValueError("this is no NRRD file: it must begin with 'NRRD'")
    lines = [magic + file.readline()]
    while (line := file.readline()).strip():
        lines.append(line)
    return Header(tuple(line if line.endswith(b"\n") else line + b"\n" for line in lines))


def _name(line: bytes) -> str:
    match = _FIELD.fullmatch(line)
    return match[1].decode("ascii", "replace").lower() if match else ""


def _integer(text: str | bytes, what: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
        raise ValueError(f"{what!r} must be an integer, not {shown!r}") from error
