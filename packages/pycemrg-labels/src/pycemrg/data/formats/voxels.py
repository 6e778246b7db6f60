"""The voxels of a file, read and written a piece at a time.

Their bytes stand in the file with the first axis fastest, as NIfTI and NRRD have it.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from pycemrg.data.progress import Tally

Array = np.ndarray[Any, Any]

PIECE = 2**20
"""Bytes that are read or written at a time."""


class Readable(Protocol):
    """A binary file, or what expands one."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes; none at the end."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill a buffer and return how many bytes it got; 0 at the end."""


class Writable(Protocol):
    """A binary file, or what compresses into one."""

    def write(self, data: Any, /) -> object:
        """Write the bytes of an array."""


@contextmanager
def damage(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn `errors`, and what is raised for damaged compressed data, into a ValueError.

    Example:
        >>> with damage("the data are damaged"):
        ...     zlib.decompress(b"no data")
        Traceback (most recent call last):
            ...
        ValueError: the data are damaged: Error -3 while decompressing data: incorrect header check
    """
    known: tuple[type[Exception], ...] = (EOFError, zlib.error, *errors)
    try:
        yield
    except known as error:
        raise ValueError(f"{what}: {error}") from error
    except OSError as error:  # gzip and bz2 raise it too, without a number
        if error.errno is not None or isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{what}: {error}") from error


def read_voxels(
    stream: Readable, shape: tuple[int, ...], dtype: np.dtype[Any], tally: Tally
) -> Array:
    """Return the array whose bytes come next in a file.

    Raises:
        ValueError: If there are too few, or the array is larger than the memory.
        OSError: If the file cannot be read.
    """
    try:
        array = np.empty(shape, dtype, order="F")
    except (MemoryError, ValueError) as error:
        raise ValueError(f"a volume of the shape {shape} does not fit the memory") from error
    memory = array.reshape(-1, order="F").view(np.uint8).data
    filled = 0
    while filled < len(memory):
        count = stream.readinto(memory[filled : filled + PIECE])
        if not count:
            had = f"{filled:,} bytes for {array.size:,} {dtype}"
            raise ValueError(f"the file is damaged or cut off: {had}")
        tally.add((filled + count) // dtype.itemsize - filled // dtype.itemsize)
        filled += count
    return array


def skip(stream: Readable, size: int | None = None) -> None:
    """Read over some bytes, or all that are left, at whose end gzip keeps its checksum."""
    while size is None or size > 0:
        count = len(stream.read(PIECE if size is None else min(size, PIECE)))
        if not count:
            return
        size = None if size is None else size - count


def write_voxels(stream: Writable, array: Array, dtype: np.dtype[Any], tally: Tally) -> None:
    """Write an array as values of the type `dtype`, which must hold them."""
    flat = array.reshape(-1, order="F")
    step = PIECE // dtype.itemsize
    for start in range(0, flat.size, step):
        piece = flat[start : start + step].astype(dtype, copy=False)
        stream.write(piece.view(np.uint8))
        tally.add(piece.size)
