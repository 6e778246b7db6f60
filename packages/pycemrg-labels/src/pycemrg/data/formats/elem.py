"""openCARP ``.elem`` files, whose tags are counted and replaced while the bytes stream by.

The first line is the number of elements; `pycemrg.data.formats.elements` tells what the others are.
"""

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from pycemrg.data.formats.elements import ElementError, Tags, find_tags
from pycemrg.data.formats.numerals import DIGITS, Replacements
from pycemrg.data.progress import Progress
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

BLOCK = 256 * 1024
"""Bytes in a block and in the longest line. With all that is made of it, it fits the cache."""

_NEWLINE = 10


def relabel_elem(source: Path, draft: Path, rules: Rules, progress: Progress | None = None) -> None:
    """Write to `draft` the file `source` with every tag replaced and each other byte as it is.

    Args:
        source: The mesh to read.
        draft: The file to write. After an error it is of no use.
        rules: What becomes of each tag.
        progress: Called with the bytes done and the bytes of the file after each block.

    Raises:
        ValueError: If the file is not a whole ``.elem`` file, if an element has no tag, or if the
            rules refuse one.
        OSError: If a file cannot be read or written.
    """
    replacements = Replacements(rules)
    with draft.open("wb") as output:
        for piece in _stream(source, replacements, progress):
            output.write(piece)
    rules.check(replacements.counts)


def count_elem(source: Path, progress: Progress | None = None) -> dict[int, int]:
    """Return how often each tag occurs, in the order of the tags; see `relabel_elem`."""
    replacements = Replacements(Rules({}))
    for _ in _stream(source, replacements, progress):
        pass
    return replacements.counts


def _stream(
    source: Path, replacements: Replacements, progress: Progress | None
) -> Iterator[bytes | memoryview]:
    """Yield the file piece by piece, with the tags replaced."""
    with source.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        header = handle.readline(BLOCK)
        expected = _element_count(header, source)
        yield header
        line, elements = 2, 0
        for block, missing in _blocks(handle, source):
            lines = int(np.count_nonzero(block == _NEWLINE)) - 1
            tags = _find(block, source, line)
            result = replacements.replace(block, *tags)
            yield result[1 : len(result) - missing].data
            line += lines
            elements += len(tags.values)
            if progress is not None:
                progress(handle.tell(), size)
    if elements != expected:
        raise ValueError(
            f"{source}: the first line says {expected:,} elements, and {elements:,} follow; "
            "was the file cut off?"
        )


def _find(block: Array, source: Path, line: int) -> Tags:
    try:
        return find_tags(block)
    except ElementError as error:
        raise ValueError(f"{source}:{line + error.line}: {error.problem}") from error


def _element_count(header: bytes, source: Path) -> int:
    word = header.split()[:1]
    if not word or not word[0].isdigit() or len(word[0]) > DIGITS:
        shown = header[:40].decode("ascii", "backslashreplace").strip()
        raise ValueError(f"{source}:1: expected the number of elements, not {shown!r}")
    return int(word[0])


def _blocks(handle: BufferedReader, source: Path) -> Iterator[tuple[Array, int]]:
    """Yield blocks of whole lines, with a newline before the first.

    With each comes 1 if the newline at its end is missing in the file, else 0.
    """
    memory = bytearray(BLOCK + 2)
    memory[0] = _NEWLINE
    block, view = np.frombuffer(memory, np.uint8), memoryview(memory)
    filled = 1
    while count := handle.readinto(view[filled : BLOCK + 1]):
        filled += count
        stop = memory.rfind(b"\n", 1, filled) + 1
        if not stop and filled > BLOCK:
            raise ValueError(f"{source}: a line is longer than {BLOCK:,} bytes")
        if stop:
            rest = block[stop:filled].copy()
            yield block[:stop], 0
            filled = 1 + len(rest)
            block[1:filled] = rest
    if filled > 1:
        memory[filled] = _NEWLINE
        yield block[: filled + 1], 1
