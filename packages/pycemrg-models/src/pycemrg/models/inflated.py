"""A decompressed stream that stops before a bomb fills memory or disk."""

from typing import Protocol

from pycemrg.models.checksums import Readable

MAX_RATIO = 200  # deflate can reach 1,032 with a run of one byte, weights and programs reach 10
HARMLESS = 32 << 20  # bytes; below this, a high ratio is no threat
MAX_READ = 16 << 20  # bytes at once; a tar header that claims more is an attack


class Stream(Readable, Protocol):
    """What bytes can be read from, at a position."""

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Move."""

    def tell(self) -> int:
        """Return the position."""


class Inflated:
    """Reads a decompressed stream as long as it stays in proportion to its source.

    Args:
        stream: The decompressed stream.
        size: Of the compressed file, in bytes.
        name: What to call it in messages.

    Example:
        >>> import gzip, io
        >>> zeros = gzip.compress(bytes(40 << 20))
        >>> stream = Inflated(gzip.GzipFile(fileobj=io.BytesIO(zeros)), len(zeros), "zeros.gz")
        >>> while stream.read(1 << 20):
        ...     pass
        Traceback (most recent call last):
        RuntimeError: zeros.gz: inflates to more than 200 times its size
    """

    def __init__(self, stream: Stream, size: int, name: str) -> None:
        self._stream = stream
        self._limit = limit(size)
        self._name = name
        self.last = b""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            RuntimeError: If the stream has become too long, or `size` is beyond reason.
        """
        if not 0 <= size <= MAX_READ:
            raise RuntimeError(f"{self._name}: a header of {size:,} bytes")
        self.last = self._stream.read(size)
        if self._stream.tell() > self._limit:
            raise RuntimeError(f"{self._name}: inflates to more than {MAX_RATIO} times its size")
        return self.last

    def seek(self, position: int, whence: int = 0) -> int:
        """Move in the stream."""
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        """Return the position in the stream."""
        return self._stream.tell()


def limit(size: int) -> int:
    """Return how many bytes may come out of a compressed file of `size` bytes."""
    return max(HARMLESS, MAX_RATIO * size)
