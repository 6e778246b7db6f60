"""A decompressed stream that stops before a bomb fills memory or disk."""

from typing import Protocol

from pycemrg.models.checksums import Readable

HARMLESS = 4 << 30  # bytes; below this, the check of free disk is enough
MAX_RATIO = 900  # beyond it; label volumes reach some hundreds, a bomb of deflate 1,032
MAX_READ = 16 << 20  # bytes at once; a tar header that claims more is an attack


class Stream(Readable, Protocol):
    """What bytes can be read from, at a position."""

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Move."""

    def tell(self) -> int:
        """Return the position."""


class Inflated:
    """Reads a decompressed stream up to a length.

    Args:
        stream: The decompressed stream.
        most: How many bytes may come, beside those that `allow` adds.
        name: What to call it in messages.

    Example:
        >>> import gzip, io
        >>> zeros = gzip.compress(bytes(5_000))
        >>> stream = Inflated(gzip.GzipFile(fileobj=io.BytesIO(zeros)), 3_000, "zeros.gz")
        >>> while stream.read(1_000):
        ...     pass
        Traceback (most recent call last):
        RuntimeError: zeros.gz: inflates to more than 3,000 bytes
    """

    def __init__(self, stream: Stream, most: int, name: str) -> None:
        self._stream = stream
        self._most = most
        self._name = name
        self.last = b""

    def allow(self, size: int) -> None:
        """Let `size` more bytes come, because somebody else has checked them."""
        self._most += size

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            RuntimeError: If the stream has become too long, or `size` is beyond reason.
        """
        if not 0 <= size <= MAX_READ:
            raise RuntimeError(f"{self._name}: a header of {size:,} bytes")
        self.last = self._stream.read(size)
        self._check(self._stream.tell())
        return self.last

    def seek(self, position: int) -> int:
        """Move in the stream.

        Raises:
            RuntimeError: If what lies before `position` is too long to be read.
        """
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        """Return the position in the stream."""
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._most:
            raise RuntimeError(f"{self._name}: inflates to more than {self._most:,} bytes")


def limit(size: int) -> int:
    """Return how many bytes may come out of a compressed file of `size` bytes."""
    return max(HARMLESS, MAX_RATIO * size)
