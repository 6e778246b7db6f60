"""Labels that a file holds written out as text."""

from typing import Any

import numpy as np

from pycemrg.data.counting import integral
from pycemrg.data.formats.numerals import DIGITS, Replacements, find_words, parse
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]


class TextArray:
    """The first `count` words of a text: integers, or integral values if `dtype` is a float.

    Args:
        text: The words, and what may follow them.
        dtype: The type that the file announces.
        count: How many words; by default all.

    Raises:
        ValueError: If there are fewer words, one is not integral, or `dtype` does not hold it.
    """

    def __init__(self, text: bytes, dtype: np.dtype[Any], count: int | None = None) -> None:
        block = np.frombuffer(bytearray(text), np.uint8)
        start, stop = find_words(block)
        if count is None:
            count = len(start)
        if count > len(start):
            raise ValueError(f"{count:,} values are announced, and {len(start):,} follow")
        self._start, self._stop = start[:count], stop[:count]
        self.length = int(self._stop[-1]) if count else 0
        self._block = block[: self.length]
        self._integers = self._parse(dtype)
        with np.errstate(invalid="ignore"):
            self.values = self._integers.astype(dtype)
        if not (self.values == self._integers).all():
            raise ValueError(f"a value does not fit the type {dtype} that is announced")

    def replaced(self, rules: Rules) -> bytes:
        """Return the text, to the end of the last word, with the values replaced."""
        block = self._block.copy()
        start, stop = self._start, self._stop
        return Replacements(rules).replace(block, start, stop, self._integers).tobytes()

    def _parse(self, dtype: np.dtype[Any]) -> Array:
        values, wrong = parse(self._block, self._start, self._stop)
        if not wrong.any():
            return values
        if dtype.kind == "f":
            try:
                return integral(np.array(self._block.tobytes().split(), np.float64))
            except ValueError as error:
                raise ValueError(f"a tag must be integral: {error}") from error
        first = int(np.argmax(wrong))
        word = self._block[self._start[first] : self._stop[first]].tobytes()
        shown = word.decode("ascii", "backslashreplace")
        raise ValueError(f"{shown!r} is not an integer of up to {DIGITS} digits")
