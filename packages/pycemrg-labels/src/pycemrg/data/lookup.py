"""The look-up engine: replaces the values of a large array at close to the speed of a copy.

A piece of the array whose values are 0 to 255, as nearly all labels are, goes two values at a time
through a table of all 65,536 pairs of bytes. Any other piece goes through a table of all values of
a 16-bit type or, for wider types, of the values around 0, and else through a binary search.

A value that is refused gets a result in the tables that no other value has. One comparison of a
piece, while it is in the cache, then tells whether any refused value is present.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from pycemrg.data.chunks import SIZE, chunks
from pycemrg.data.counting import integral
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

WIDE_TABLE = 65_536
MARKS_TRIED = 256
PART = 8 * SIZE
"""Elements that one thread takes at a time."""
THREADS_FROM = 8_000_000
"""Elements from which a second thread gains more than its start costs."""


class RefusedError(Exception):
    """A value is present that must not be; which one, the caller finds out."""


def replace(array: Array, out: Array, rules: Rules, threads: int) -> None:
    """Write to `out` what becomes of each value of `array`.

    Args:
        array: Integers or integral floating-point values.
        out: An array of the same shape: `array` itself, or one that shares no memory with it.
        rules: What becomes of each value.
        threads: How many threads may work.

    Raises:
        RefusedError: If a value is present that the rules refuse or `out` cannot hold. `out` then
            holds some results and is of no use.
        ValueError: If a floating-point value is not integral.
    """
    lookup = _lookup(array.dtype, out.dtype.newbyteorder("="), rules)
    # Threads take the next part when they are done with one: a slow core holds up no other. The
    # iterator of a list may be shared.
    parts = iter(list(_split(array, out, threads)))
    if threads < 2:
        _work_off(lookup, parts)
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(_work_off, lookup, parts) for _ in range(threads - 1)]
        _work_off(lookup, parts)
        for other in others:
            other.result()


def _work_off(lookup: "_Lookup", parts: Iterator[tuple[Array, Array]]) -> None:
    room = _Room(np.empty(SIZE // 2, np.intp), np.empty(SIZE, np.uint8))
    try:
        for array, out in parts:
            for source, target in chunks([array, out]):
                lookup.replace(source, target, room)
    except BaseException:
        deque(parts, maxlen=0)  # nothing is left for the other threads
        raise


class _Room(NamedTuple):
    """Memory of one thread, used for one piece after another."""

    positions: Array
    narrow: Array


def _split(array: Array, out: Array, threads: int) -> Iterator[tuple[Array, Array]]:
    if array.flags.f_contiguous and out.flags.f_contiguous:
        array, out = array.T, out.T
    if threads < 2 or not (array.flags.c_contiguous and out.flags.c_contiguous):
        yield array, out
        return
    flat, flat_out = array.reshape(-1), out.reshape(-1)
    for start in range(0, flat.size, PART):
        yield flat[start : start + PART], flat_out[start : start + PART]


def _lookup(source: np.dtype[Any], target: np.dtype[Any], rules: Rules) -> "_Lookup":
    if source.kind in "iu" and source.itemsize == 1:
        by_bits = _Table(source, target, rules)
        return _Pairs(by_bits) if target.itemsize <= 4 else by_bits
    if source.kind in "iu" and source.itemsize == 2:
        by_value: _Lookup = _Table(source, target, rules)
    else:
        by_value = _Wide(source, target, rules)
    if source.kind == "f" or target.itemsize > 4:
        return by_value
    return _MostlyBytes(source, _Pairs(_Table(np.dtype(np.uint8), target, rules)), by_value)


class _Lookup(Protocol):
    def replace(self, source: Array, target: Array, room: _Room) -> None:
        """Write the results of one piece, or raise RefusedError."""


class _Values:
    """A table over the values `first` ... `first + size - 1`, and the mark of refused values."""

    def __init__(self, target: np.dtype[Any], rules: Rules, first: int, size: int) -> None:
        values = np.arange(first, first + size)
        fill = rules.fill
        low, high = limits_of(target)
        results = values if fill is None else np.full(size, min(max(fill, low - 1), high + 1))
        fits = (low <= results) & (results <= high)
        refused = ~fits
        if rules.unmapped == "error":
            refused[:] = True
        for value in rules.colliding:
            if first <= value < first + size:
                refused[value - first] = True
        table = np.zeros(size, target)
        table[fits] = results[fits]
        for value, result in rules.mapping.items():
            if first <= value < first + size:
                refused[value - first] = not low <= result <= high
                if not refused[value - first]:
                    table[value - first] = result
        self.first = first
        self.table = table
        self.refused = refused if refused.any() else None
        self.mark = self._mark()
        self.highest = self.mark == high

    def _mark(self) -> int | None:
        """Give refused values a result that no other value has, and return it if there is one."""
        if self.refused is None:
            return None
        used = self.table[~self.refused]
        low, high = limits_of(self.table.dtype)
        for candidate in range(high, max(low, high - MARKS_TRIED) - 1, -1):
            if not (used == candidate).any():
                self.table[self.refused] = candidate
                return candidate
        return None

    def check_source(self, source: Array) -> None:
        """Raise RefusedError if the piece holds a refused value and there is no mark to find it."""
        if self.refused is None or self.mark is not None:
            return
        if self.refused[source.astype(np.int64) - self.first].any():
            raise RefusedError

    def check_target(self, target: Array) -> None:
        """Raise RefusedError if a refused value has left its mark."""
        if self.mark is None:
            return
        if self.highest:  # as a rule, and one pass instead of two
            found = np.maximum.reduce(target) == self.mark
        else:
            found = (target == self.mark).any()
        if found:
            raise RefusedError


class _Table(_Values):
    """All values of an 8-bit or 16-bit type."""

    def __init__(self, source: np.dtype[Any], target: np.dtype[Any], rules: Rules) -> None:
        limits = np.iinfo(source)
        super().__init__(target, rules, int(limits.min), int(limits.max) - int(limits.min) + 1)
        self.unsigned = np.dtype(f"u{source.itemsize}")
        # A signed value read as unsigned: 0 ... 127, then -128 ... -1.
        self.by_bits = np.roll(self.table, self.first)

    def replace(self, source: Array, target: Array, room: _Room) -> None:
        self.check_source(source)
        _take(self.by_bits, source.view(self.unsigned), target, room)
        self.check_target(target)


class _Pairs:
    """All pairs of the values of an 8-bit type."""

    def __init__(self, single: _Table) -> None:
        size = single.table.itemsize
        self.single = single
        self.result = np.dtype(f"u{2 * size}")
        bits = single.by_bits.view(f"u{size}").astype(self.result)
        self.pairs = (bits[:, None] << (8 * size) | bits[None, :]).reshape(-1)

    def replace(self, source: Array, target: Array, room: _Room) -> None:
        self.single.check_source(source)
        even = source.size & ~1
        pairs = source[:even].view(np.uint16)
        _take(self.pairs, pairs, target[:even].view(self.result), room)
        if even < source.size:
            target[even:] = self.single.by_bits[source[even:].view(np.uint8)]
        self.single.check_target(target)


class _MostlyBytes:
    """Pairs where all values of a piece are 0 to 255, another way where they are not."""

    def __init__(self, source: np.dtype[Any], pairs: _Pairs, other: _Lookup) -> None:
        self.unsigned = np.dtype(f"u{source.itemsize}")
        self.pairs = pairs
        self.other = other

    def replace(self, source: Array, target: Array, room: _Room) -> None:
        if np.maximum.reduce(source.view(self.unsigned)) > 255:
            self.other.replace(source, target, room)
            return
        narrow = room.narrow[: source.size]
        np.copyto(narrow, source, casting="unsafe")
        self.pairs.replace(narrow, target, room)


class _Wide(_Values):
    """The values around 0 of a wider type, and a binary search for pieces that hold others."""

    def __init__(self, source: np.dtype[Any], target: np.dtype[Any], rules: Rules) -> None:
        first = max(min([0, *rules.mapping]), -WIDE_TABLE // 2)
        super().__init__(target, rules, first, WIDE_TABLE)
        self.last = first + WIDE_TABLE - 1
        self.search = _Search(source, target, rules)

    def replace(self, source: Array, target: Array, room: _Room) -> None:
        labels = integral(source)
        if self.first <= labels.min() and labels.max() <= self.last:
            self.check_source(labels)
            shifted = labels if self.first == 0 else labels - self.first
            _take(self.table, shifted, target, room)
            self.check_target(target)
        else:
            self.search.replace(labels, target)


def _take(table: Array, positions: Array, target: Array, room: _Room) -> None:
    # `take` would make room for the positions as machine integers at each call, and "wrap" spares
    # it a second pass that looks for positions out of range: there are none.
    step = room.positions.size
    for start in range(0, positions.size, step):
        part = positions[start : start + step]
        index = room.positions[: part.size]
        np.copyto(index, part, casting="unsafe")
        np.take(table, index, out=target[start : start + step], mode="wrap")


class _Search:
    """Finds values of any size among the sorted keys of the mapping."""

    def __init__(self, source: np.dtype[Any], target: np.dtype[Any], rules: Rules) -> None:
        integer = source if source.kind in "iu" else np.dtype(np.int64)
        keys = [key for key in sorted(rules.mapping) if _holds(integer, key)]
        self.limits = limits_of(target)
        self.keys = np.array(keys, integer)
        self.fits = np.array([_holds(target, rules.mapping[key]) for key in keys], bool)
        self.results = np.zeros(len(keys), target)
        for index in np.flatnonzero(self.fits):
            self.results[index] = rules.mapping[keys[index]]
        self.colliding = np.array([v for v in rules.colliding if _holds(integer, v)], integer)
        self.rules = rules

    def replace(self, source: Array, target: Array) -> None:
        if not self.keys.size:
            self._others(source, target, np.ones(source.shape, bool))
            return
        position = np.minimum(np.searchsorted(self.keys, source), self.keys.size - 1)
        hit = self.keys[position] == source
        if not self.fits[position[hit]].all():
            raise RefusedError
        labels = source.copy()  # `target` may be the same memory
        np.take(self.results, position, out=target, mode="clip")
        self._others(labels, target, ~hit)

    def _others(self, source: Array, target: Array, where: Array) -> None:
        others = source[where]
        if not others.size:
            return
        if self.rules.unmapped == "error" or np.isin(others, self.colliding).any():
            raise RefusedError
        fill = self.rules.fill
        low, high = (others.min(), others.max()) if fill is None else (fill, fill)
        if int(low) < self.limits[0] or int(high) > self.limits[1]:
            raise RefusedError
        target[where] = others if fill is None else fill


def _holds(dtype: np.dtype[Any], value: int) -> bool:
    low, high = limits_of(dtype)
    return low <= value <= high


def limits_of(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and greatest integer up to which `dtype` holds every integer exactly."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        exact = 2 ** (np.finfo(dtype).nmant + 1)
        return -exact, exact
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)
