"""How often each value occurs in an array."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from pycemrg.data.chunks import chunks


def count_values(array: npt.ArrayLike) -> dict[int, int]:
    """Return ``{value: how often it occurs}`` in the order of the values.

    Args:
        array: Integers or booleans of any shape; floating-point values must be integral.

    Raises:
        ValueError: If a value is not integral, or the array holds no numbers.

    Example:
        >>> count_values([[1, 2], [2, 7]])
        {1: 1, 2: 2, 7: 1}
    """
    total: Counter[int] = Counter()
    for (part,) in chunks([np.asarray(array)]):
        total.update(_count(integral(part)))
    return dict(sorted(total.items()))


def integral(part: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return `part` as integers, or raise a ValueError if a value is not integral."""
    if part.dtype.kind in "iu":
        return part
    if part.dtype.kind == "b":
        return part.view(np.uint8)
    if part.dtype.kind != "f":
        raise ValueError(f"labels must be integers, not {part.dtype}")
    wrong = ~((np.rint(part) == part) & (np.abs(part) < 2.0**63))
    if wrong.any():
        raise ValueError(
            f"a label must be integral, and {part[wrong].flat[0]} is not; "
            "was the segmentation scaled or interpolated?"
        )
    return part.astype(np.int64)


def _count(part: np.ndarray[Any, Any]) -> dict[int, int]:
    if part.dtype.itemsize <= 2:
        lowest = int(np.iinfo(part.dtype).min)
        counts = np.bincount(part.astype(np.int64) - lowest)
        values = np.flatnonzero(counts)
        return dict(zip((values + lowest).tolist(), counts[values].tolist(), strict=True))
    values, counts = np.unique(part, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
