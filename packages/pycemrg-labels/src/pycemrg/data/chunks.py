"""Arrays, a piece at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

SIZE = 256 * 1024
"""Elements in a piece: it stays in the processor's cache from one step to the next."""


def chunks(
    arrays: Sequence[np.ndarray[Any, Any]],
) -> Iterator[tuple[np.ndarray[Any, Any], ...]]:
    """Yield matching one-dimensional pieces of arrays of one shape, in the machine's byte order.

    The first array is read, the others may be written: what is written to a piece is in the array
    when the next one is asked for. Any strides, order and byte order will do.
    """
    if all(_is_plain(array) for array in arrays):
        flat = [array.reshape(-1) for array in arrays]
    elif all(_is_plain(array.T) for array in arrays):
        flat = [array.T.reshape(-1) for array in arrays]
    else:
        yield from _buffered(arrays)
        return
    for start in range(0, flat[0].size, SIZE):
        yield tuple(array[start : start + SIZE] for array in flat)


def _is_plain(array: np.ndarray[Any, Any]) -> bool:
    return bool(array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative)


def _buffered(
    arrays: Sequence[np.ndarray[Any, Any]],
) -> Iterator[tuple[np.ndarray[Any, Any], ...]]:
    iterator = np.nditer(  # type: ignore[call-overload]  # numpy's stubs call "contig" "config"
        arrays,
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[
            ["readonly" if n == 0 else "writeonly", "contig", "aligned", "nbo"]
            for n in range(len(arrays))
        ],
        order="K",
        casting="equiv",
        buffersize=SIZE,
    )
    with iterator:
        for parts in iterator:
            yield parts if isinstance(parts, tuple) else (parts,)
