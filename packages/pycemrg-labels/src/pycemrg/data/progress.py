"""How far long work is."""

from collections.abc import Callable

Progress = Callable[[int, int], object]
"""Called now and then with what is done and what there is to do in all, in one unit."""


class Tally:
    """Counts what is done and tells `progress` after each step.

    Args:
        progress: Who is told, None for nobody.
        total: What there is to do.

    Example:
        >>> tally = Tally(print, 2000)
        >>> tally.add(250)
        250 2000
    """

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._done = 0
        self._total = total

    def add(self, count: int) -> None:
        """Count what was done since the last time."""
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)
