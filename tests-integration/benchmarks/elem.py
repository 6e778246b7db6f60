"""What relabelling an openCARP mesh costs, beside awk, polars and a loop over the lines."""

import subprocess
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
from measure import interleaved, ratios, run_child
from results import Row, WrongResultError

from pycemrg.data import LabelManager, LabelMapper
from pycemrg.data.meshes import relabel_mesh

LINES = 2_000_000
NODES = 400_000
MIB = 2**20
TARGET = 0.45

Relabel = Callable[[Path, Path], float]
"""Writes the second file from the first and returns the seconds of CPU that this took."""


def rows(mapping: Mapping[int, int], labels: int, runs: int) -> list[Row]:
    """Relabel a mesh of 2 million tetrahedra.

    Args:
        mapping: What becomes of some of the tags 0 ... `labels` - 1.
        labels: How many tags the mesh has.
        runs: Interleaved rounds.

    Raises:
        WrongResultError: If a subject writes something else than the others.
    """
    subjects: dict[str, Relabel] = {
        "pycemrg": _in_process(_by_pycemrg(mapping)),
        "awk": _by_awk(mapping),
        "polars": _in_process(_by_polars(mapping)),
        "loop over the lines": _in_process(_by_loop(mapping)),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mesh = _write_mesh(folder / "heart.elem", LINES, labels)
        expected = b"".join(_expected(mesh, mapping))
        for subject, relabel in subjects.items():
            relabel(mesh, folder / "out.elem")
            if (folder / "out.elem").read_bytes() != expected:
                raise WrongResultError(f"{subject} relabels a mesh wrongly")
        timed = {
            subject: _bound(relabel, mesh, folder / "out.elem")
            for subject, relabel in subjects.items()
        }
        seconds = interleaved(timed, runs)
        small = _write_mesh(folder / "small.elem", LINES // 10, labels)
        peaks = [_peak(_by_pycemrg(mapping), path, folder / "out.elem") for path in (mesh, small)]
    what = f".elem, {LINES / 1e6:g} M lines"
    ours = seconds["pycemrg"]
    return [
        Row.of(f"{what}: pycemrg", ours, "s CPU", at_most=TARGET),
        Row.of(f"{what}: memory, to that for a tenth", [peaks[0] / peaks[1]], "x", at_most=1.05),
        Row.of(f"{what}: memory", [peaks[0] / MIB], "MiB"),
        *(
            Row.of(f"{what}: {name}", seconds[name], "s CPU")
            for name in seconds
            if name != "pycemrg"
        ),
        *(
            Row.of(f"{what}: {name}, to pycemrg", ratios(seconds[name], ours), "x")
            for name in seconds
            if name != "pycemrg"
        ),
    ]


def versions() -> dict[str, str]:
    """Return the versions of what is run beside ours."""
    # mawk, gawk and others answer to this in their own ways, the first line is the name.
    done = subprocess.run(
        ["awk", "-W", "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    said = (done.stdout + done.stderr).splitlines() or ["unknown"]
    return {"awk": said[0].strip(), "polars": version("polars")}


def _write_mesh(path: Path, lines: int, labels: int) -> Path:
    """Write tetrahedra whose tags come in runs, as those of regions do."""
    rng = np.random.default_rng(7)
    nodes = rng.integers(0, NODES, (lines, 4))
    tags = rng.integers(0, labels, -(-lines // 50)).repeat(50)[:lines]
    with path.open("w", encoding="ascii") as file:
        file.write(f"{lines}\n")
        np.savetxt(file, np.column_stack([nodes, tags]), "Tt %d %d %d %d %d")
    return path


def _expected(mesh: Path, mapping: Mapping[int, int]) -> Iterator[bytes]:
    """Yield the lines of the result, one after another, as no subject makes them."""
    becomes = {b"%d" % value: b"%d" % result for value, result in mapping.items()}
    with mesh.open("rb") as lines:
        yield next(lines)
        for line in lines:
            start, blank, tag = line.rstrip(b"\n").rpartition(b" ")
            yield b"%s%s%s\n" % (start, blank, becomes.get(tag, tag))


def _in_process(relabel: Callable[[Path, Path], object]) -> Relabel:
    def once(source: Path, target: Path) -> float:
        start = time.process_time()  # of all threads
        relabel(source, target)
        return time.process_time() - start

    return once


def _bound(relabel: Relabel, source: Path, target: Path) -> Callable[[], float]:
    return lambda: relabel(source, target)


def _by_pycemrg(mapping: Mapping[int, int]) -> Callable[[Path, Path], object]:
    a = LabelManager.from_dict({"labels": {f"part_{value}": value for value in mapping}})
    b = LabelManager.from_dict({"labels": {f"part_{v}": new for v, new in mapping.items()}})
    mapper = LabelMapper(a, b)
    return lambda source, target: relabel_mesh(
        source, target, mapper, collisions="allow", overwrite=True
    )


def _by_awk(mapping: Mapping[int, int]) -> Relabel:
    table = "".join(f"m[{value}]={result};" for value, result in mapping.items())
    program = f"BEGIN {{{table}}} NR > 1 && $NF in m {{$NF = m[$NF]}} {{print}}"

    def once(source: Path, target: Path) -> float:
        # The C locale spares awk what UTF-8 costs it.
        script = 'LC_ALL=C exec awk "$1" "$2" > "$3"'
        return run_child(["sh", "-c", script, "sh", program, source, target]).cpu

    return once


def _by_polars(mapping: Mapping[int, int]) -> Callable[[Path, Path], object]:
    import polars  # it is in the bench environment only

    def once(source: Path, target: Path) -> None:
        read = polars.read_csv(source, separator=" ", has_header=False, skip_rows=1)
        tag = polars.col(read.columns[-1])
        result = read.with_columns(tag.replace(dict(mapping)))
        with target.open("wb") as file:
            file.write(b"%d\n" % len(read))
            result.write_csv(file, separator=" ", include_header=False)

    return once


def _by_loop(mapping: Mapping[int, int]) -> Callable[[Path, Path], object]:
    def once(source: Path, target: Path) -> None:
        with source.open() as lines, target.open("w") as file:
            file.write(next(lines))
            for line in lines:
                words = line.split()
                words[-1] = str(mapping.get(int(words[-1]), int(words[-1])))
                file.write(" ".join(words) + "\n")

    return once


def _peak(relabel: Callable[[Path, Path], object], source: Path, target: Path) -> int:
    tracemalloc.start()
    try:
        relabel(source, target)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
