"""Replace the values of an array all at once."""

from collections.abc import Mapping
from typing import Any, Literal

try:
    import numpy as np
    import numpy.typing as npt
except ImportError as error:
    raise ImportError(
        "relabelling an array needs numpy; "
        "install it with: python -m pip install 'pycemrg-labels[arrays]'"
    ) from error

Array = np.ndarray[Any, Any]


def relabel(
    array: npt.ArrayLike,
    mapping: Mapping[int, int],
    *,
    unmapped: Literal["keep", "zero", "error"] | int = "keep",
    collisions: Literal["refuse", "allow"] = "refuse",
    names: Mapping[int, str] | None = None,
) -> Array:
    """Return `array` with each value replaced by ``mapping[value]``, simultaneously.

    Args:
        array: Labels of any shape and integer or boolean type; floating-point values must be
            integral.
        mapping: Source value to target value.
        unmapped: Keep other values, set them to 0 or to the given value, or refuse them.
        collisions: Whether a value that is kept may equal a target.
        names: Names of source values for error messages.

    Returns:
        A new array of the same shape; its type is kept if all values fit, else it is the smallest
        integer type that they fit.

    Raises:
        ValueError: If a value is refused, a kept value that is present equals a target, or a
            floating-point value is not integral.
        OverflowError: If no integer type holds all values.

    Example:
        >>> relabel([[1, 2], [2, 3]], {1: 2, 2: 1}).tolist()
        [[2, 1], [1, 3]]
    """
    labels = _integers(np.asarray(array))
    present, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
    values = [int(value) for value in present]
    named = _Names(names or {}, dict(zip(values, counts.tolist(), strict=True)))
    if unmapped == "error":
        _refuse_unmapped(values, mapping, named)
    if unmapped == "keep" and collisions == "refuse":
        _refuse_collisions(values, mapping, named)
    fill = (
        {"keep": None, "zero": 0, "error": None}[unmapped]
        if isinstance(unmapped, str)
        else unmapped
    )
    results = [mapping.get(value, value if fill is None else fill) for value in values]
    table = np.array(results, dtype=_fitting(labels.dtype, results))
    return table[positions].reshape(labels.shape)


class _Names:
    """Describes a value with its name and voxel count, for messages."""

    def __init__(self, names: Mapping[int, str], counts: Mapping[int, int]) -> None:
        self.names = names
        self.counts = counts

    def describe(self, value: int) -> str:
        name = f" ({self.names[value]})" if value in self.names else ""
        return f"{value}{name} in {self.counts[value]:,} elements"


def _integers(array: Array) -> Array:
    if array.dtype.kind in "iub":
        return array.astype(np.uint8) if array.dtype.kind == "b" else array
    if array.dtype.kind != "f":
        raise ValueError(f"labels must be integers, not {array.dtype}")
    rounded = np.rint(array)
    wrong = ~((rounded == array) & (np.abs(array) < 2.0**63))
    if wrong.any():
        raise ValueError(
            f"{np.count_nonzero(wrong):,} values are not integral, such as {array[wrong].flat[0]}; "
            "labels that were scaled or interpolated cannot be relabelled"
        )
    return rounded.astype(np.int64)


def _refuse_unmapped(values: list[int], mapping: Mapping[int, int], named: _Names) -> None:
    missing = [value for value in values if value not in mapping]
    if missing:
        listed = "; ".join(map(named.describe, missing))
        raise ValueError(f"the mapping has no target for: {listed}")


def _refuse_collisions(values: list[int], mapping: Mapping[int, int], named: _Names) -> None:
    targets = set(mapping.values())
    kept = [value for value in values if value not in mapping and value in targets]
    if kept:
        listed = "; ".join(map(named.describe, kept))
        raise ValueError(
            f"a value without a target is kept, and another label has the same target: {listed}; "
            "map it too, or pass unmapped='zero' or collisions='allow'"
        )


def _fitting(dtype: np.dtype[Any], results: list[int]) -> np.dtype[Any]:
    """Return `dtype` if it holds all results, else the smallest integer type that does."""
    kinds = "ui" if dtype.kind == "u" else "iu"
    candidates = [dtype, *(np.dtype(f"{kind}{size}") for size in (1, 2, 4, 8) for kind in kinds)]
    for candidate in candidates:
        limits = np.iinfo(candidate)
        if all(limits.min <= result <= limits.max for result in results):
            return candidate
    raise OverflowError(f"no integer type holds both {min(results)} and {max(results)}")
