"""What is told of a download or an extraction while it runs."""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """How far one step of a fetch is.

    Attributes:
        title: The model and version, such as ``seg@v2.1``.
        step: ``"download"``, ``"read"`` (of a file that is there) or ``"unpack"``.
        done: Bytes so far. A download that is resumed starts with those that are there.
        total: Bytes in all, None if nobody knows.
    """

    title: str
    step: str
    done: int
    total: int | None


Report = Callable[[Progress], object]
"""Gets one `Progress` after the other, for one model never two at a time, in any thread."""

Meter = Callable[[int, int | None], object]
"""What a step calls with its bytes so far and in all."""
