"""A cell array in a VTK XML file (VTK wiki, "VTK XML Formats"): text, inline or appended binary.

Only the array, its type and range and, if it changes its length, the offsets of what follows are
replaced. Every other byte stays.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple
from xml.sax.saxutils import unescape

import numpy as np

from pycemrg.data.formats.patches import Patch
from pycemrg.data.formats.text_array import TextArray
from pycemrg.data.formats.vtk_payload import Encoding
from pycemrg.data.relabel import relabel_by
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

_TYPES = {
    "Int8": "i1",
    "UInt8": "u1",
    "Int16": "i2",
    "UInt16": "u2",
    "Int32": "i4",
    "UInt32": "u4",
    "Int64": "i8",
    "UInt64": "u8",
    "Float32": "f4",
    "Float64": "f8",
}
_CELL_COUNTS = (
    "NumberOfCells",
    *("NumberOfVerts", "NumberOfLines", "NumberOfStrips", "NumberOfPolys"),
)
_NAMES = {dtype: name for name, dtype in _TYPES.items()}

_VALUE = rb"""\s*=\s*("[^"]*"|'[^']*')"""
_ATTRIBUTE = re.compile(rb"([^\s=]+)" + _VALUE)
_TAG = re.compile(
    rb"<!--.*?-->|<(?P<end>/?)(?P<name>[A-Za-z]\w*)"
    rb"(?P<attributes>(?:\s+[^\s=]+" + _VALUE + rb")*)\s*/?>",
    re.DOTALL,
)


class XmlArrays:
    """The arrays of cells called `name`, one in each piece of the file.

    Raises:
        ValueError: If this is no VTK XML file, or the array is not there, not of one number per
            cell, damaged, or stored in a way that is not known.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._file = _File(data)
        elements = [e for e in self._file.elements if e.is_cell_array]
        found = [e for e in elements if e.attributes.get("Name") == name]
        if not found:
            others = ", ".join(sorted({e.attributes.get("Name", "") for e in elements})) or "none"
            raise ValueError(f"no cell array {name!r}; there are: {others}")
        self._pieces = [self._file.read(element) for element in found]

    @property
    def values(self) -> list[Array]:
        """The values of each piece."""
        return [piece.values for piece in self._pieces]

    def patches(self, rules: Rules) -> Iterator[Patch]:
        """Yield what changes in the file when the values are replaced."""
        appended = {}
        for piece in self._pieces:
            result = relabel_by(rules, piece.values)
            content = piece.content(rules, result)
            if piece.element.attributes.get("format") == "appended":
                appended[piece.start] = Patch(piece.start, piece.stop, content)
            else:
                yield Patch(piece.start, piece.stop, content)
            yield from _attributes(piece.element, result)
        yield from appended.values()
        yield from self._file.shifted(list(appended.values()))


class _Element(NamedTuple):
    """A start tag: its attributes, where their values stand, and where it stops.

    Of an array of cells, `cells` is how many the piece of the mesh has, None if it does not say so.
    """

    name: str
    attributes: dict[str, str]
    spans: dict[str, tuple[int, int]]
    stop: int
    is_cell_array: bool = False
    cells: int | None = None


class _Piece(NamedTuple):
    """An array: its element, its values, where their code is, and how to write it."""

    element: _Element
    values: Array
    start: int
    stop: int
    code: Encoding | TextArray

    def content(self, rules: Rules, result: Array) -> bytes:
        if isinstance(self.code, TextArray):
            return self.code.replaced(rules)
        order = self.code.header.str[0]
        return self.code.encode(result.astype(order + result.dtype.str[1:]).tobytes())


class _File:
    """The elements of a VTK XML file and the data behind them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        appendix = data.find(b"<AppendedData")
        self.elements = list(_elements(data, appendix if appendix >= 0 else len(data)))
        if not self.elements or self.elements[0].name != "VTKFile":
            raise ValueError("this is no VTK XML file: it must begin with <VTKFile>")
        about = self.elements[0].attributes
        self.order: Literal["<", ">"] = ">" if about.get("byte_order") == "BigEndian" else "<"
        header = np.dtype("u8" if about.get("header_type") == "UInt64" else "u4")
        self.inline = Encoding(header.newbyteorder(self.order), about.get("compressor"), True)
        self.appended = self.inline
        self.first = 0
        if appendix >= 0 and (tag := _TAG.match(data, appendix)):
            is_base64 = _element(tag).attributes.get("encoding") != "raw"
            self.appended = self.inline._replace(base64=is_base64)
            self.first = data.find(b"_", tag.end()) + 1

    def read(self, element: _Element) -> _Piece:
        about = element.attributes
        if about.get("NumberOfComponents", "1") != "1":
            raise ValueError(
                f"{about['Name']!r} has {about['NumberOfComponents']} numbers per cell"
            )
        if about.get("type") not in _TYPES:
            raise ValueError(f"the type {about.get('type')!r} holds no labels")
        piece = self._values(element, np.dtype(_TYPES[about["type"]]).newbyteorder(self.order))
        if element.cells not in (None, piece.values.size):
            raise ValueError(
                f"{about['Name']!r} has {piece.values.size:,} values for {element.cells:,} cells; "
                "was the file cut off?"
            )
        return piece

    def _values(self, element: _Element, dtype: np.dtype[Any]) -> _Piece:
        about = element.attributes
        if about.get("format") == "appended":
            start = self._start(element)
            values, stop, code = self.appended.decode(self.data, start)
            return _Piece(element, np.frombuffer(values, dtype), start, stop, code)
        start, stop = element.stop, self.data.find(b"<", element.stop)
        if stop < 0:
            raise ValueError("the file is cut off: an array has no end")
        text = self.data[start:stop]
        if about.get("format") == "ascii":
            words = TextArray(text, dtype)
            return _Piece(element, words.values, start, start + words.length, words)
        values, length, code = self.inline.decode(text.strip())
        if length != len(text.strip()):
            raise ValueError(f"{len(text.strip()) - length:,} characters follow the array")
        start, stop = stop - len(text.lstrip()), start + len(text.rstrip())
        return _Piece(element, np.frombuffer(values, dtype), start, stop, code)

    def shifted(self, patches: list[Patch]) -> Iterator[Patch]:
        """Yield the offsets that change when appended arrays get another length."""
        for element in self.elements:
            if element.attributes.get("format") != "appended":
                continue
            start = self._start(element)
            growth = sum(len(p.content) - (p.stop - p.start) for p in patches if p.start < start)
            if growth:
                offset = start - self.first + growth
                yield Patch(*element.spans["offset"], str(offset).encode())

    def _start(self, element: _Element) -> int:
        offset = element.attributes.get("offset", "")
        if not self.first or not offset.strip().isdecimal():
            raise ValueError(f"{element.attributes.get('Name')!r} is not in the appended data")
        return self.first + int(offset)


def _elements(data: bytes, stop: int) -> Iterator[_Element]:
    in_cells, cells = False, None
    for tag in _TAG.finditer(data, 0, stop):
        if tag["name"] == b"CellData":
            in_cells = not tag["end"]
        elif tag["name"] and not tag["end"]:
            element = _element(tag)
            if element.name == "Piece":
                cells = _cells(element.attributes)
            is_cell_array = in_cells and element.name == "DataArray"
            yield element._replace(is_cell_array=is_cell_array, cells=cells)


def _element(tag: re.Match[bytes]) -> _Element:
    attributes, spans = {}, {}
    for match in _ATTRIBUTE.finditer(tag["attributes"]):
        name = match[1].decode()
        attributes[name] = unescape(match[2][1:-1].decode(), {"&quot;": '"', "&apos;": "'"})
        start = tag.start("attributes") + match.start(2) + 1
        spans[name] = (start, start + len(match[2]) - 2)
    return _Element(tag["name"].decode(), attributes, spans, tag.end())


def _cells(piece: dict[str, str]) -> int | None:
    """Return how many cells a piece of a mesh has; vtkPolyData counts them by kind."""
    found = [piece[name] for name in _CELL_COUNTS if name in piece]
    return sum(map(int, found)) if found and all(text.isdecimal() for text in found) else None


def _attributes(element: _Element, result: Array) -> Iterator[Patch]:
    """Yield what changes in the start tag of an array with these values."""
    new = {"type": _NAMES[result.dtype.str[1:]]}
    if result.size:
        new |= {"RangeMin": f"{result.min():.17g}", "RangeMax": f"{result.max():.17g}"}
    for name, text in new.items():
        if element.attributes.get(name, text) != text:
            yield Patch(*element.spans[name], text.encode())
