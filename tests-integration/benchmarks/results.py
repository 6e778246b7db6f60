"""What a benchmark found: rows with their targets, as a table and as JSON.

The JSON is one object (`SCHEMA` counts up when a key changes its meaning or goes):

- ``schema``: 1
- ``date``: when it was written, ISO 8601, UTC
- ``machine``: ``system`` (and release), ``architecture``, ``processor``, ``cpus`` (usable by this
  process), ``memory_gib``
- ``python``: implementation and version of the interpreter that ran the benchmarks
- ``benchmarks``: a list of

  - ``name``, ``method`` (one sentence), ``runs`` (interleaved rounds)
  - ``versions``: of ours and of each peer, by distribution
  - ``rows``: a list of ``what``, ``figure`` (the median), ``low`` and ``high`` (the quartiles),
    ``unit``, ``at_most`` and ``at_least`` (the target; both null for information only) and
    ``met`` (true, false; null without target)
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from measure import summary

from pycemrg.core.whole_files import write_whole

SCHEMA = 1


class WrongResultError(RuntimeError):
    """A subject does not do what is to be timed; its time would mean nothing."""


@dataclass(frozen=True)
class Row:
    """One figure: its median and quartiles, and the target if it has one."""

    what: str
    figure: float
    low: float
    high: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @classmethod
    def of(
        cls,
        what: str,
        values: Sequence[float],
        unit: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> "Row":
        """Sum up the values of all rounds."""
        return cls(what, *summary(values), unit, at_most=at_most, at_least=at_least)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.figure <= self.at_most) and (
            self.at_least is None or self.figure >= self.at_least
        )


@dataclass(frozen=True)
class Result:
    """All rows of one benchmark, and what they were measured with."""

    name: str
    method: str
    runs: int
    versions: Mapping[str, str]
    rows: Sequence[Row]


def table(result: Result) -> str:
    """Lay out a result in plain text: targets beside the figures, rows without one indented."""
    header = ("", "median", "quartiles", "target", "met")
    cells = [header, *(_cells(row) for row in result.rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return "\n".join(
        [
            f"{result.name}: {result.method}",
            f"{result.runs} interleaved runs; {versions}",
            *(_line(line, widths) for line in cells),
        ]
    )


def write_json(path: str | os.PathLike[str], results: Sequence[Result]) -> None:
    """Write the results in the form that this module describes, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    document = {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "benchmarks": [_benchmark(result) for result in results],
    }
    write_whole(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def _benchmark(result: Result) -> dict[str, object]:
    return {
        "name": result.name,
        "method": result.method,
        "runs": result.runs,
        "versions": dict(result.versions),
        "rows": [{**asdict(row), "met": row.met} for row in result.rows],
    }


def _cells(row: Row) -> tuple[str, ...]:
    unit = f" {row.unit}" if row.unit else ""
    spread = f"{_number(row.low)} .. {_number(row.high)}"
    met = {None: "", True: "yes", False: "NO"}[row.met]
    what = row.what if row.met is not None else f"  {row.what}"
    return what, _number(row.figure) + unit, spread, _target(row), met


def _target(row: Row) -> str:
    limits = ((sign, limit) for sign, limit in (("<=", row.at_most), (">=", row.at_least)))
    said = " and ".join(f"{sign} {_number(limit)}" for sign, limit in limits if limit is not None)
    return f"{said} {row.unit}".rstrip() if said else ""


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([first, *others]).rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _machine() -> dict[str, object]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cpus": _usable_cpus(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }


def _usable_cpus() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
