"""Replace the values of an array all at once."""

import os
from collections.abc import Mapping
from typing import Any

try:
    import numpy as np
    import numpy.typing as npt
except ImportError as error:
    raise ImportError(
        "relabelling an array needs numpy; "
        "install it with: python -m pip install 'pycemrg-labels[arrays]'"
    ) from error

from pycemrg.data.counting import count_values
from pycemrg.data.lookup import THREADS_FROM, RefusedError, limits_of, replace
from pycemrg.data.rules import Collisions, Rules, Unmapped

Array = np.ndarray[Any, Any]


def relabel(
    array: npt.ArrayLike,
    mapping: Mapping[int, int],
    *,
    unmapped: Unmapped = "keep",
    collisions: Collisions = "refuse",
    out: Array | None = None,
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
) -> Array:
    """Return `array` with each value replaced by ``mapping[value]``, simultaneously.

    Args:
        array: Labels of any shape, strides and byte order, of integer or boolean type;
            floating-point values must be integral.
        mapping: Source value to target value.
        unmapped: Keep other values, set them to 0 or to the given value, or refuse them.
        collisions: Whether a value that is kept may equal a target.
        out: Where to write the result: an array of the same shape, which may be `array` itself.
        dtype: The type of the result. Unless it or `out` is given, the type of `array` is kept if
            it holds every value that can result, else the result has the smallest integer type
            that does. It does not depend on the values that happen to be present.
        threads: How many threads work; by default two for more than 8 million elements.

    Returns:
        `out`, or a new array with the shape and memory order of `array`.

    Raises:
        ValueError: If a value is refused, a kept value that is present equals a target, or a
            floating-point value is not integral. Nothing is written to `out`.
        OverflowError: If `out` or `dtype` cannot hold a value that results.

    Example:
        >>> relabel([[1, 2], [2, 3]], {1: 2, 2: 1}).tolist()
        [[2, 1], [1, 3]]
        >>> relabel(np.uint8([1, 2]), {1: 300}).dtype
        dtype('uint16')
    """
    rules = Rules(mapping, unmapped, collisions)
    return relabel_by(rules, array, out=out, dtype=dtype, threads=threads)


def relabel_by(
    rules: Rules,
    array: npt.ArrayLike,
    *,
    out: Array | None = None,
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
) -> Array:
    """Return `array` relabelled by `rules`; see `relabel`."""
    array = np.asarray(array)
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"labels must be integers, not {array.dtype}")
    workers = _default_threads(array.size) if threads is None else threads
    if out is not None:
        _write_to(out, array, rules, dtype, workers)
        return out
    wanted = result_type(array.dtype, rules) if dtype is None else dtype
    result = np.empty_like(array, wanted, order="K", subok=False)
    try:
        replace(array, result, rules, workers)
    except RefusedError:
        rules.check(count_values(array), limits_of(result.dtype))
        raise
    return result


def result_type(source: np.dtype[Any], rules: Rules) -> np.dtype[Any]:
    """Return the type of the result for labels of type `source`, whichever values are present.

    Raises:
        OverflowError: If no integer type holds every value that can result.
    """
    low, high = limits_of(source)
    results = [target for value, target in rules.mapping.items() if low <= value <= high]
    if rules.fill is not None:
        results.append(rules.fill)
    elif rules.unmapped == "keep" and source.kind != "f":
        results += [low, high]
    kinds = "ui" if source.kind == "u" else "iu"
    wider = [np.dtype(f"{kind}{size}") for size in (1, 2, 4, 8) for kind in kinds]
    for candidate in (source, *wider):
        low, high = limits_of(candidate)
        if all(low <= result <= high for result in results):
            return candidate
    raise OverflowError(
        f"no integer type holds both {min(results)} and {max(results)}; pass the dtype you want"
    )


def _write_to(
    out: Array, array: Array, rules: Rules, dtype: npt.DTypeLike | None, threads: int
) -> None:
    if out.shape != array.shape or dtype is not None:
        raise ValueError(f"out must have the shape {array.shape}, and goes without dtype")
    # Checked before anything is written, so that a refusal leaves `out` as it was.
    rules.check(count_values(array), limits_of(out.dtype))
    if np.may_share_memory(array, out) and not _same_elements(array, out):
        array = array.copy()
    replace(array, out, rules, threads)


def _same_elements(array: Array, out: Array) -> bool:
    return (
        array.__array_interface__["data"] == out.__array_interface__["data"]
        and array.strides == out.strides
        and array.itemsize == out.itemsize
    )


def _default_threads(size: int) -> int:
    return min(2, os.cpu_count() or 1) if size > THREADS_FROM else 1
