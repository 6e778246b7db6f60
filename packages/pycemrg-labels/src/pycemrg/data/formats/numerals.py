"""Integers that are written out in a block of bytes, read and replaced all at once.

A block is an array of bytes that can be changed. `start` and `stop` say where each integer begins
and where the byte behind it is; both arrays ascend.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

SPACE = 32
"""No byte up to this one belongs to a word."""

DIGITS = 18
"""The most digits that always fit 64 bits."""

_SHORT = 65_536
_MARK = b"\0"


def find_words(block: Array) -> tuple[Array, Array]:
    """Return where each word begins and where the blank behind it is.

    Raises:
        ValueError: If the block is no text.

    Example:
        >>> start, stop = find_words(np.frombuffer(b" 51  118", np.uint8))
        >>> start.tolist(), stop.tolist()
        ([1, 5], [3, 8])
    """
    if block.min(initial=SPACE) < ord("\t"):
        raise ValueError(f"a byte {block.min():#04x} among numbers that are written out")
    ink = np.zeros(len(block) + 2, bool)
    ink[1:-1] = block > SPACE
    return np.flatnonzero(ink[1:] > ink[:-1]), np.flatnonzero(ink[1:] < ink[:-1])


def parse(block: Array, start: Array, stop: Array) -> tuple[Array, Array]:
    """Return the integers, as int64, and where there is none of at most 18 digits.

    Example:
        >>> block = np.frombuffer(b"51 -7 1.5", np.uint8)
        >>> parse(block, np.array([0, 3, 6]), np.array([2, 5, 9]))[0][:2]
        array([51, -7])
    """
    lead = block.take(start)
    minus = lead == ord("-")
    signed = minus | (lead == ord("+"))
    width = stop - start
    if signed.any():
        width = width - signed
    wrong = (width < 1) | (width > DIGITS)
    widest, narrowest = int(width.max(initial=0)), int(width.min(initial=DIGITS))
    values = np.zeros(len(start), np.int64)
    for place in range(min(widest, DIGITS)):
        digit = block.take(stop - 1 - place, mode="clip")
        digit -= ord("0")
        if place >= narrowest:
            digit *= width > place
        wrong |= digit > 9
        values += np.multiply(digit, 10**place, dtype=np.int64)
    return np.where(minus, -values, values) if signed.any() else values, wrong


class Replacements:
    """What becomes of each integer that was met, as text, and how often it was met.

    Example:
        >>> block = np.frombuffer(bytearray(b"9 51 9"), np.uint8)
        >>> start, stop = np.array([0, 2, 5]), np.array([1, 4, 6])
        >>> replacements = Replacements(Rules({9: 10, 51: 9}))
        >>> replacements.replace(block, start, stop, parse(block, start, stop)[0]).tobytes()
        b'10 9 10'
        >>> replacements.counts
        {9: 2, 51: 1}
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._row: dict[int, int] = {}
        self._row_of_short = np.full(_SHORT, -1)
        self._counts = np.zeros(0, np.int64)
        self._changed = np.zeros(0, bool)
        self._width = np.zeros(0, np.int64)
        self._letters = np.zeros((0, 0), np.uint8)

    @property
    def counts(self) -> dict[int, int]:
        """How often each integer was met, in their order."""
        return dict(sorted(zip(self._row, self._counts.tolist(), strict=True)))

    def replace(self, block: Array, start: Array, stop: Array, values: Array) -> Array:
        """Return `block` with the text of every value that changes replaced.

        It may be the same array. The block must not hold a byte 0.
        """
        if not len(values):
            return block
        rows = self._rows(values)
        self._counts += np.bincount(rows, minlength=len(self._row))
        changed = self._changed[rows]
        if not changed.any():
            return block
        growth = np.where(changed, self._width[rows] - (stop - start), 0)
        block, stop = _respace(block, stop, growth)
        if not changed.all():
            stop, rows = stop[changed], rows[changed]
        width = self._width[rows]
        for letter in range(int(width.max())):
            # A text with fewer letters gets its first one again.
            block[stop - np.minimum(letter + 1, width)] = self._letters[letter].take(rows)
        return block

    def _rows(self, values: Array) -> Array:
        if values.min() >= 0 and values.max() < _SHORT:
            rows = self._row_of_short.take(values)
            if rows.min() < 0:
                self._add(np.unique(values[rows < 0]).tolist())
                rows = self._row_of_short.take(values)
            return rows
        distinct, index = np.unique(values, return_inverse=True)
        self._add([value for value in distinct.tolist() if value not in self._row])
        return np.array([self._row[value] for value in distinct.tolist()])[index]

    def _add(self, values: list[int]) -> None:
        for value in values:
            self._row[value] = len(self._row)
            if 0 <= value < _SHORT:
                self._row_of_short[value] = self._row[value]
        self._counts = np.append(self._counts, np.zeros(len(values), np.int64))
        self._tabulate({value: self._rules.result(value) for value in self._row})

    def _tabulate(self, results: Mapping[int, int]) -> None:
        texts = [str(result).encode() for result in results.values()]
        longest = max(map(len, texts))
        backwards = b"".join(text.rjust(longest, text[:1])[::-1] for text in texts)
        self._letters = np.frombuffer(backwards, np.uint8).reshape(-1, longest).T.copy()
        self._width = np.array([len(text) for text in texts])
        self._changed = np.array([result != value for value, result in results.items()])


def _respace(block: Array, stop: Array, growth: Array) -> tuple[Array, Array]:
    """Return `block` with `growth` more or less bytes before each `stop`, and these moved along."""
    for step in np.unique(growth[growth != 0]).tolist():
        # bytes.replace moves the rest faster than a mask does; the marks tell it where.
        chosen = growth == step
        for letter in range(max(-step, 1)):
            block[stop[chosen] - 1 - letter] = ord(_MARK)
        filler = b"0" * (step + 1) if step > 0 else b""
        block = np.frombuffer(bytearray(block.data).replace(_MARK, filler), np.uint8)
        stop = stop + np.cumsum(np.where(chosen, step, 0))
    return block, stop
