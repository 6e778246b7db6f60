"""Jobs that a few threads take off a pile, until it is empty or one fails."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

MAX_WORKERS = 4

Job = TypeVar("Job")
Piece = TypeVar("Piece")
Report = Callable[[int, int | None], object]  # bytes done, bytes in all


class StoppedError(Exception):
    """Another job failed, so this one was given up."""


class ReportError(Exception):
    """The receiver of reports failed; not to be taken for a fault of what is worked on."""

    def __init__(self, original: Exception) -> None:
        super().__init__(str(original))
        self.original = original


class Tally:
    """Sums up what several threads have done and reports it, one call at a time.

    Args:
        report: Called with the bytes done so far and the bytes in all, None if nobody knows.

    Example:
        >>> tally = Tally(lambda done, total: print(f"{done} of {total}"))
        >>> tally.expect(5)
        0 of 5
        >>> tally.add(2)
        2 of 5
    """

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._done = 0
        self._total: int | None = None

    def expect(self, total: int | None) -> None:
        """Say how many bytes there will be."""
        self._total = total
        self.add(0)

    def add(self, size: int) -> None:
        """Count `size` more bytes.

        Raises:
            ReportError: If the report raises anything.
        """
        if self._report is None:
            return
        with self._lock:
            self._done += size
            try:
                self._report(self._done, self._total)
            except Exception as error:
                raise ReportError(error) from error


def until(stop: threading.Event, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield `pieces` until somebody wants an end.

    Raises:
        StoppedError: If `stop` is set.
    """
    for piece in pieces:
        if stop.is_set():
            raise StoppedError
        yield piece


def work_off(jobs: Iterable[Job], work: Callable[[Job, threading.Event], None]) -> None:
    """Do all jobs in at most four threads; the first error ends all and is raised.

    Args:
        jobs: Taken in this order.
        work: Does one job. It may raise `StoppedError` once the event it gets is set.

    Example:
        >>> done = []
        >>> work_off([3, 1, 2], lambda job, stop: done.append(job))
        >>> sorted(done)
        [1, 2, 3]
    """
    pile = deque(jobs)
    stop = threading.Event()
    errors: list[BaseException] = []

    def take() -> None:
        while not stop.is_set():
            try:
                job = pile.popleft()
            except IndexError:
                return
            try:
                work(job, stop)
            except BaseException as error:
                errors.append(error)
                stop.set()

    count = worker_count()
    with ThreadPoolExecutor(count) as pool:
        try:
            wait([pool.submit(take) for _ in range(count)])
        finally:  # of an interrupt, for which the threads would go on
            stop.set()
    if errors:
        raise errors[0]


def worker_count() -> int:
    """Return how many threads are worth while on this machine."""
    return min(MAX_WORKERS, os.cpu_count() or 1)
