"""The region tag of every element in a block of lines from an openCARP ``.elem`` file.

A line is an element: a type, as many node indices as the type has nodes, and an integer, its
region tag. The manuals of CARPentry and openCARP ("Input file formats") call the tag optional, so
that the last integer of a line may be a node.
"""

from typing import Any, NamedTuple

import numpy as np

from pycemrg.data.formats.numerals import DIGITS, SPACE, parse

Array = np.ndarray[Any, Any]

NODES = {"Cx": 2, "Ln": 2, "Tr": 3, "Qd": 4, "Tt": 4, "Py": 5, "Pr": 6, "Hx": 8}

_NEWLINE = 10

# By the two letters of a type: how many words a line with it has.
_WORDS = np.zeros(65_536, np.int64)
for _name, _nodes in NODES.items():
    _WORDS[int.from_bytes(_name.encode(), "big")] = _nodes + 2


class Tags(NamedTuple):
    """Where each tag begins, where the byte behind it is, and its value."""

    start: Array
    stop: Array
    values: Array


class ElementError(Exception):
    """A line that is no element with a tag.

    Args:
        line: Its number in the block, from 0.
        problem: What it is and what is wrong.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(line, problem)
        self.line = line
        self.problem = problem


class _Lines(NamedTuple):
    """The lines of a block that hold words: where these begin, and the newline behind.

    Of the words, `first`, `last` and `words` tell the position of the first, the rank of the last
    among all words of the block, and how many there are.
    """

    first: Array
    last: Array
    words: Array | int
    newline: Array


def find_tags(block: Array) -> Tags:
    r"""Return the tags of a block.

    Args:
        block: Bytes of whole lines, with a newline before the first.

    Raises:
        ElementError: If a line is not a known type, its nodes and an integer tag.

    Example:
        >>> block = np.frombuffer(b"\nTr 0 1 2 51\nLn 2 3 -7\n", np.uint8)
        >>> find_tags(block).values
        array([51, -7])
    """
    if block.min() < ord("\t"):
        line = np.count_nonzero(block[: np.argmin(block)] == _NEWLINE) - 1
        raise ElementError(int(line), f"a byte {block.min():#04x}; this is no text file")
    ink = block > SPACE
    starts = np.flatnonzero(ink[1:] > ink[:-1])
    starts += 1
    lines = _regular(block, starts) or _irregular(block, starts)
    misfit = _first_misfit(block, ink, lines)
    start, stop = starts.take(lines.last[:misfit]), lines.newline[:misfit]
    if not ink.take(stop - 1).all():  # blanks or a carriage return between the tag and the newline
        stop = np.flatnonzero(ink[1:] < ink[:-1]).take(lines.last[:misfit]) + 1
    values, wrong = parse(block, start, stop)
    if wrong.any():
        element = int(np.argmax(wrong))
        tag = _text(block, int(start[element]), int(stop[element]))
        problem = f"has the tag {tag!r}, which is not an integer of up to {DIGITS} digits"
        raise _error(block, lines, element, problem)
    if misfit is not None:
        text = _text(block, int(lines.first[misfit]), int(lines.newline[misfit]))
        raise _error(block, lines, misfit, _problem(*text.split()))
    return Tags(start, stop, values)


def _regular(block: Array, starts: Array) -> _Lines | None:
    """Return the lines if all have as many words as the first and begin with one, else None."""
    newline = block[1:4096].tobytes().find(b"\n") + 1
    count = int(np.searchsorted(starts, newline))
    if not count or len(starts) % count:
        return None
    first = starts[::count].copy()
    newlines = np.append(first[1:], len(block)) - 1
    if np.count_nonzero(block == _NEWLINE) != len(first) + 1:
        return None
    if not (block.take(newlines) == _NEWLINE).all():
        return None
    return _Lines(first, np.arange(count - 1, len(starts), count), count, newlines)


def _irregular(block: Array, starts: Array) -> _Lines:
    newlines = np.flatnonzero(block == _NEWLINE)
    edges = np.searchsorted(starts, newlines)
    count = np.diff(edges)
    written = np.flatnonzero(count)
    first = starts.take(edges[written])
    return _Lines(first, edges[written + 1] - 1, count[written], newlines[written + 1])


def _first_misfit(block: Array, ink: Array, lines: _Lines) -> int | None:
    """Return the first line that is not a type and its number of words, or None."""
    code = block.take(lines.first).astype(np.int64)
    code <<= 8
    code |= block.take(lines.first + 1)
    wrong = _WORDS.take(code) != lines.words
    # A type of three letters must not pass for its first two.
    wrong |= ink.take(lines.first + 2, mode="clip")
    return int(np.argmax(wrong)) if wrong.any() else None


def _problem(name: str, *numbers: str) -> str:
    if name not in NODES:
        return f"begins with no element type; these are {', '.join(NODES)}"
    if len(numbers) == NODES[name]:
        return f"has no region tag: {name} has {NODES[name]} nodes, and a tag must follow them"
    return f"has {len(numbers)} numbers, and {name} has {NODES[name]} nodes and one tag"


def _error(block: Array, lines: _Lines, element: int, problem: str) -> ElementError:
    first, newline = int(lines.first[element]), int(lines.newline[element])
    line = int(np.count_nonzero(block[1:first] == _NEWLINE))
    return ElementError(line, f"{_text(block, first, newline)!r} {problem}")


def _text(block: Array, start: int, stop: int) -> str:
    return block[start:stop].tobytes().decode("ascii", "backslashreplace").strip()
