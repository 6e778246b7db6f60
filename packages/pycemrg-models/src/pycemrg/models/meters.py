"""How far a step is: a bar on a terminal, a line in the log elsewhere, or a call to who asked."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pycemrg.models.checksums import Readable
from pycemrg.models.progress import Meter, Progress, Report

LOG_INTERVAL = 10.0  # seconds

logger = logging.getLogger(__name__)


@contextmanager
def meter(title: str, step: str, report: Report | None) -> Iterator[Meter]:
    """Hand out what a step calls with its bytes, and show them until the block ends.

    Args:
        title: What is fetched.
        step: What happens to it.
        report: Who wants to know. If nobody does, a bar is drawn where standard error is a
            terminal, and a line logged every ten seconds elsewhere.

    Example:
        >>> with meter("seg v2", "download", print) as tell:
        ...     tell(3, 9)
        Progress(title='seg v2', step='download', done=3, total=9)
    """
    if report is not None:
        yield lambda done, total: report(Progress(title, step, done, total))
    elif sys.stderr is not None and sys.stderr.isatty():
        bar = _Bar(f"{title}: {step}")
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield _Lines(f"{title}: {step}")


class Watched:
    """Reads a file and tells how far that is.

    Args:
        source: What to read.
        size: How many bytes it has.
        tell: As `meter` hands it out.
    """

    def __init__(self, source: Readable, size: int, tell: Meter) -> None:
        self._source = source
        self._size = size
        self._tell = tell
        self._done = 0

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        data = self._source.read(size)
        self._done += len(data)
        self._tell(self._done, self._size)
        return data


class _Bar:
    """Bytes, rate and time left, drawn by tqdm from the first byte on."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Any = None

    def __call__(self, done: int, total: int | None) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self._title, total=total, initial=done, unit="B", unit_scale=True, leave=False
            )
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Lines:
    """A line in the log every ten seconds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._next = time.monotonic() + LOG_INTERVAL

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LOG_INTERVAL
            of_all = f" of {total / 1e6:,.0f}" if total else ""
            logger.info("%s: %s%s MB so far", self._title, f"{done / 1e6:,.0f}", of_all)
