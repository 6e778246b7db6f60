"""Measure pycemrg beside its peers: ``hatch run bench:run [NAME ...] [--json FILE]``.

A benchmark is a module of this folder, with the name it is called by, that has

- ``RUNS``: the interleaved rounds that it makes if nobody says otherwise;
- ``run(runs) -> Result``: checks that every subject gives the right result (`WrongResultError`
  if not), then times them.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

from results import Result, WrongResultError, table, write_json

BENCHMARKS = ("startup", "labels", "models", "system")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are asked for and print their tables.

    Returns:
        0 when all were measured, whether or not the targets are met; 1 if a result was wrong.
    """
    asked = _arguments(argv)
    results = []
    for name in asked.names or BENCHMARKS:
        try:
            result = _measure(name, asked.runs)
        except WrongResultError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        print(table(result), end="\n\n", flush=True)
        results.append(result)
    if asked.json:
        write_json(asked.json, results)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench:run",
        description="Measure pycemrg beside its peers. Exits with 0 when everything was measured, "
        "whether or not the targets are met, and with 1 if a result was wrong.",
    )
    known = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {known} (default: all)")
    parser.add_argument("--runs", type=_positive, metavar="N", help="interleaved rounds")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    asked = parser.parse_args(argv)
    for name in asked.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark named {name!r}; there are: {known}")
    return asked


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs, 1 or more")
    return int(text)


def _measure(name: str, runs: int | None) -> Result:
    benchmark = importlib.import_module(name)
    result: Result = benchmark.run(runs or benchmark.RUNS)
    return result


if __name__ == "__main__":
    sys.exit(main())
