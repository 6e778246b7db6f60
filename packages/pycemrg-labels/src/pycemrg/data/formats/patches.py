"""Pieces of a file that are replaced while every other byte stays."""

from collections.abc import Iterable
from typing import NamedTuple


class Patch(NamedTuple):
    """The bytes `start` to `stop` become `content`."""

    start: int
    stop: int
    content: bytes


def patched(data: bytes, patches: Iterable[Patch]) -> bytes:
    """Return `data` with all patches applied; they must not overlap.

    Example:
        >>> patched(b"SCALARS elemTag char", [Patch(16, 20, b"int"), Patch(8, 12, b"")])
        b'SCALARS Tag int'
    """
    pieces, at = [], 0
    for patch in sorted(patches):
        pieces += [data[at : patch.start], patch.content]
        at = patch.stop
    return b"".join([*pieces, data[at:]])
