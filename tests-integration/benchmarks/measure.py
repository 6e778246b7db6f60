"""Interleaved runs, and what they tell: medians, quartiles, ratios and differences by round."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

Measured = TypeVar("Measured")


class Cost(NamedTuple):
    """What one run took, in seconds. `cpu` is user plus system time, with waited-for children."""

    cpu: float
    wall: float


class Summary(NamedTuple):
    """The median and the quartiles of some values, in their unit."""

    median: float
    low: float
    high: float


def interleaved(
    subjects: Mapping[str, Callable[[], Measured]], runs: int, *, warm_ups: int = 1
) -> dict[str, list[Measured]]:
    """Run the subjects in turn (A B A B ...), so that a slow spell of the machine hits all alike.

    Args:
        subjects: By name, what runs once and returns what it measured.
        runs: Rounds that count.
        warm_ups: Rounds before them that do not (bytecode, caches of the file system).

    Returns:
        By name, what was measured in rounds 0, 1, ...

    Raises:
        ValueError: If `runs` is not positive.

    Example:
        >>> interleaved({"a": lambda: 1.0, "b": lambda: 2.0}, 3)
        {'a': [1.0, 1.0, 1.0], 'b': [2.0, 2.0, 2.0]}
    """
    if runs < 1:
        raise ValueError(f"runs is {runs!r}; at least one is needed")
    rounds = [{name: run() for name, run in subjects.items()} for _ in range(warm_ups + runs)]
    return {name: [each[name] for each in rounds[warm_ups:]] for name in subjects}


def summary(values: Sequence[float]) -> Summary:
    """Give the median and the quartiles (linear interpolation, ends included) of some values.

    Raises:
        statistics.StatisticsError: If there are no values.

    Example:
        >>> summary([1, 2, 3, 4, 9])
        Summary(median=3, low=2.0, high=4.0)
    """
    median = statistics.median(values)
    if len(values) < 2:
        return Summary(median, median, median)
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(median, low, high)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide round by round, which cancels what slowed both of a round.

    Raises:
        ValueError: If the numbers of rounds differ.

    Example:
        >>> ratios([2.0, 4.0], [1.0, 4.0])
        [2.0, 1.0]
    """
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Subtract round by round.

    Raises:
        ValueError: If the numbers of rounds differ.

    Example:
        >>> differences([2.0, 4.0], [1.0, 4.0])
        [1.0, 0.0]
    """
    return [mine - other for mine, other in zip(ours, theirs, strict=True)]


def child_environment() -> dict[str, str]:
    """Give the environment of this process without what changes how a Python child starts."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "COVERAGE", "COV_", "VIRTUAL_ENV"))
    }


def run_child(argv: Sequence[str | os.PathLike[str]], *, cwd: Path | None = None) -> Cost:
    """Run a command to its end with its output thrown away, and measure it.

    Raises:
        RuntimeError: If it fails; the message holds what it wrote to stderr.
        OSError: If it cannot be started.
    """
    with tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        child = subprocess.Popen(
            argv,
            cwd=cwd,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        # Popen has to know that its child is gone: nobody can wait for it a second time.
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            stderr.seek(0)
            said = stderr.read().decode(errors="backslashreplace")
            raise RuntimeError(f"{argv} ended with {child.returncode}: {said}")
    return Cost(used.ru_utime + used.ru_stime, wall)
