"""What relabelling and label manifests cost, beside a plain copy and the usual tools."""

import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import elem
import numpy as np
import yaml
from measure import interleaved, ratios
from results import Result, Row, WrongResultError

from pycemrg.core import manifests
from pycemrg.data import LabelManager
from pycemrg.data.relabel import relabel

RUNS = 7
SHAPE = (400, 512, 512)
LABELS = 30
TARGETS = {"uint8": 3.5, "int16": 2.5, "int32": 2.0}
MIB = 2**20

Array = np.ndarray[Any, Any]

# Swaps, a chain, values that stay, and new values: what goes from one public standard to another.
MAPPING = {value: value + 1 if value % 3 else value + 60 for value in range(1, LABELS)}


def run(runs: int) -> Result:
    """Relabel 104.9 million voxels of three types and 2 million elements, and load a manifest.

    Raises:
        WrongResultError: If a subject that is timed gives a wrong voxel or value.
    """
    rows: list[Row] = []
    for dtype, target in TARGETS.items():
        _tell(f"relabelling {dtype}")
        rows += _relabel_rows(dtype, target, runs)
    _tell("relabelling a mesh")
    rows += elem.rows(MAPPING, LABELS, runs)
    _tell("loading manifests")
    rows += _manifest_rows(runs)
    names = ("pycemrg-labels", "numpy", "fastremap", "scikit-image", "simpleitk", "PyYAML")
    versions = {name: version(name) for name in names} | elem.versions()
    method = (
        f"{np.prod(SHAPE) / 1e6:.1f} M voxels of {LABELS} labels in one process; wall time, as a "
        "ratio to numpy's copy of the same array, round by round; .elem: CPU time, user and system"
    )
    return Result("labels", method, runs, versions, rows)


def _tell(what: str) -> None:
    print(f"labels: {what} ...", file=sys.stderr, flush=True)


def _volume(dtype: str) -> Array:
    """Make blocks of one label with some noise, as segmentations are."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, LABELS, size=[-(-size // 8) for size in SHAPE], dtype=np.uint8)
    volume = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return np.ascontiguousarray(volume, dtype=dtype)


def _relabel_rows(dtype: str, target: float, runs: int) -> list[Row]:
    volume = _volume(dtype)
    table = np.arange(LABELS)
    for value, result in MAPPING.items():
        table[value] = result
    wanted = table.astype(dtype)[volume]
    ours, one_thread = "pycemrg, 2 threads", "pycemrg, 1 thread"
    import fastremap  # the peers are in the bench environment only

    subjects: dict[str, Callable[[], Any]] = {
        ours: lambda: relabel(volume, MAPPING, threads=2),
        one_thread: lambda: relabel(volume, MAPPING, threads=1),
        "fastremap": lambda: fastremap.remap(volume, _all_values(), in_place=False),
        "skimage map_array": lambda: _by_skimage(volume),
        "SimpleITK ChangeLabel": lambda: _by_simpleitk(volume),
    }
    for name, subject in subjects.items():
        if not np.array_equal(subject(), wanted):
            raise WrongResultError(f"{name} relabels {dtype} wrongly")
    loop = "loop, one value after another"
    wrong = np.count_nonzero(_by_loop(volume) != wanted) / np.count_nonzero(volume)
    subjects = {"copy": volume.copy, **subjects, loop: lambda: _by_loop(volume)}
    seconds = interleaved({name: _timed(subject) for name, subject in subjects.items()}, runs)

    def row(name: str, **target: float) -> Row:
        values = ratios(seconds[name], seconds["copy"])
        return Row.of(f"{dtype}: {name}", values, "x copy", **target)

    extra = _extra_memory(lambda: relabel(volume, MAPPING, threads=2))
    return [
        row(ours, at_most=target),
        Row.of(f"{dtype}: memory beyond the result", [extra / MIB], "MiB", at_most=4),
        *(row(name) for name in seconds if name not in ("copy", ours)),
        Row.of(f"{dtype}: wrong foreground voxels of the loop", [100 * wrong], "%"),
    ]


def _all_values() -> dict[int, int]:
    return {value: MAPPING.get(value, value) for value in range(LABELS)}


def _by_skimage(volume: Array) -> Array:
    from skimage.util import map_array

    values = _all_values()
    keys = np.array(list(values), volume.dtype)
    results = np.array(list(values.values()), volume.dtype)
    return np.asarray(map_array(volume, keys, results))


def _by_simpleitk(volume: Array) -> Array:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(volume)
    changed = SimpleITK.ChangeLabel(image, {float(k): float(v) for k, v in MAPPING.items()})
    return np.asarray(SimpleITK.GetArrayFromImage(changed))


def _by_loop(volume: Array) -> Array:
    result = volume.copy()
    for value, target in MAPPING.items():
        result[result == value] = target
    return result


def _timed(subject: Callable[[], Any]) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        subject()
        return time.perf_counter() - start

    return once


def _extra_memory(subject: Callable[[], Array]) -> float:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = subject()
        return tracemalloc.get_traced_memory()[1] - before - result.nbytes
    finally:
        tracemalloc.stop()


def _manifest_rows(runs: int) -> list[Row]:
    text = _large_manifest()
    deep = LabelManager.from_dict(_graph(width=3, depth=20))
    if len(yaml.safe_load(text)["labels"]) != 2_000 or deep.get_values_from_names(["g0_0"]) != [1]:
        raise WrongResultError("a manifest does not hold what it should")
    subjects: Mapping[str, Callable[[], Any]] = {
        "load and check": lambda: _load_and_check(text),
        "yaml.safe_load": lambda: yaml.safe_load(text),
        "graph": lambda: deep.get_values_from_names(["g0_0"]),
    }
    seconds = interleaved({name: _timed(subject) for name, subject in subjects.items()}, runs)

    def row(what: str, name: str, **target: float) -> Row:
        return Row.of(what, [1000 * value for value in seconds[name]], "ms", **target)

    return [
        row("load and check 2,000 labels, 200 groups", "load and check", at_most=45),
        row("yaml.safe_load of the same", "yaml.safe_load"),
        row("resolve a graph of groups, width 3, depth 20", "graph", at_most=1),
    ]


def _load_and_check(text: str) -> None:
    manager = LabelManager.__new__(LabelManager)
    manager._load(manifests.parse(text, "labels.yaml"), "labels.yaml")
    if manager.problems():
        raise WrongResultError("the large manifest has problems")


def _large_manifest() -> str:
    labels = "".join(f"  structure_{n}: {n}\n" for n in range(2_000))
    groups = "".join(
        f"  group_{n}: [{', '.join(f'structure_{10 * n + m}' for m in range(10))}]\n"
        for n in range(200)
    )
    return f"labels:\n{labels}groups:\n{groups}"


def _graph(width: int, depth: int) -> dict[str, Any]:
    groups = {
        f"g{level}_{n}": [f"g{level + 1}_{m}" for m in range(width)]
        for level in range(depth)
        for n in range(width)
    }
    return {
        "labels": {"LV": 1},
        "groups": {**groups, **{f"g{depth}_{n}": ["LV"] for n in range(width)}},
    }
