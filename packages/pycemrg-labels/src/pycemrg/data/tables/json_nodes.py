"""JSON as the nodes of `pycemrg.core.manifests`: each value knows its line and column.

The `json` module keeps neither the place of a value nor the first of two equal keys.
"""

import bisect
import json
import re

from pycemrg.core.manifests import MAX_DEPTH, Entry, Mapping, Node, Place, Scalar, Sequence
from pycemrg.data.tables.lines import LINE_END

MAX_VALUES = 200_000

_BLANKS = re.compile(r"[ \t\r\n]*")
# Numbers stay text: `Scalar` reads them, and Python refuses to convert more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def parse(text: str, source: str) -> Node:
    r"""Read a JSON document.

    Raises:
        ValueError: If it is no JSON, has a key twice, is nested deeper than 100 levels or has more
            than 200,000 values; with file, line and column.

    Example:
        >>> root = parse('{"labels":\n {"LV": 1, "RV": "2"}}', "dataset.json")
        >>> [value.integer() for _, value in root.section("labels")]
        Traceback (most recent call last):
        ValueError: dataset.json:2:18: expected an integer, got the text '2' (remove the quotes)
    """
    return _Reader(text, source).document()


def peek(text: str) -> Node | None:
    """Return a JSON document, None if it is none."""
    try:
        return parse(text, "")
    except ValueError:
        return None


class _Reader:
    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.line_starts = [0, *(found.end() for found in LINE_END.finditer(text))]
        self.at = 0
        self.depth = 0
        self.values = 0

    def document(self) -> Node:
        node = self._value()
        if self._next() != "":
            raise self._place().error("not valid JSON: something follows the end")
        return node

    def _place(self) -> Place:
        line = bisect.bisect_right(self.line_starts, self.at)
        return Place(self.source, line, self.at - self.line_starts[line - 1] + 1)

    def _next(self) -> str:
        """Return the first character that is no blank, and stand at it."""
        blanks = _BLANKS.match(self.text, self.at)
        self.at = blanks.end() if blanks else self.at
        return self.text[self.at : self.at + 1]

    def _value(self) -> Node:
        first = self._next()
        self.values += 1
        if self.values > MAX_VALUES:
            raise self._place().error(f"more than {MAX_VALUES:,} values; is it a label table?")
        if first not in ("{", "["):
            return self._scalar()
        if self.depth == MAX_DEPTH:
            raise self._place().error(f"nested deeper than {MAX_DEPTH} levels")
        self.depth += 1
        node = self._mapping() if first == "{" else self._sequence()
        self.depth -= 1
        return node

    def _scalar(self) -> Scalar:
        start, place = self.at, self._place()
        try:
            value, self.at = _DECODER.raw_decode(self.text, start)
        except json.JSONDecodeError as error:
            self.at = error.pos
            raise self._place().error(f"not valid JSON: {error.msg}") from error
        quoted = self.text[start] == '"'
        return Scalar(place, value if quoted else self.text[start : self.at], '"' if quoted else "")

    def _sequence(self) -> Sequence:
        node = Sequence(self._place())
        while self._more("]", first=not node.items):
            node.items.append(self._value())
        return node

    def _mapping(self) -> Mapping:
        node = Mapping(self._place())
        while self._more("}", first=not node.entries):
            key = self._key()
            if key.text in node.entries:
                line = node.entries[key.text].key.place.line
                raise key.place.error(f"{key.text!r} is already defined at line {line}")
            node.entries[key.text] = Entry(key, self._value())
        return node

    def _key(self) -> Scalar:
        if self._next() != '"':
            raise self._place().error("not valid JSON: expected a key in double quotes")
        key = self._scalar()
        if self._next() != ":":
            raise self._place().error("not valid JSON: expected ':' after the key")
        self.at += 1
        return key

    def _more(self, end: str, *, first: bool) -> bool:
        """Step over the bracket or comma before an item; False, and over the end, if none is."""
        if first:
            self.at += 1
        character = self._next()
        if character == end:
            self.at += 1
            return False
        if not first:
            if character != ",":
                raise self._place().error(f"not valid JSON: expected ',' or {end!r}")
            self.at += 1
        return True
