"""SHA-256 of files, and the error for bytes that are not the expected ones."""

import os
import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

CHUNK = 1 << 20

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class HashMismatchError(OSError, RuntimeError):
    """Bytes that do not have the sha256 that the manifest gives.

    Args:
        what: The file, and the model it was for.
        expected: The sha256 of the manifest.
        actual: The sha256 of the bytes.
        hint: What else is known, such as the size of the file.

    Example:
        >>> error = HashMismatchError("seg.zip", "ab" * 32, "cd" * 32)
        >>> isinstance(error, OSError) and isinstance(error, RuntimeError)
        True
        >>> error.actual[:4]
        'cdcd'
    """

    def __init__(self, what: str, expected: str, actual: str, hint: str = "") -> None:
        super().__init__(
            f"{what}: expected the sha256 {expected}, got {actual}{hint}. Either "
            f"the file is damaged or not the one that was meant, or the manifest is wrong"
        )
        self.what = what
        self.expected = expected
        self.actual = actual
        self.hint = hint

    # OSError would pickle the message alone, which cannot be given back to __init__.
    def __reduce__(self) -> tuple[type["HashMismatchError"], tuple[str, str, str, str]]:
        return type(self), (self.what, self.expected, self.actual, self.hint)


def is_sha256(text: str) -> bool:
    """Whether `text` is 64 hexadecimal digits.

    Example:
        >>> is_sha256("ab" * 32), is_sha256("ab" * 20)
        (True, False)
    """
    return _SHA256.fullmatch(text) is not None


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


class Digest(NamedTuple):
    """What is known about a run of bytes: its sha256 in hexadecimal and its size in bytes."""

    sha256: str
    size: int


def digest(source: Readable, write: Callable[[bytes], object] | None = None) -> Digest:
    """Read `source` to its end, hand each chunk to `write` if that is given, and sum it up.

    Example:
        >>> import io
        >>> digest(io.BytesIO(b"abc")).sha256[:8]
        'ba7816bf'
    """
    import hashlib  # who only catches HashMismatchError does without

    total = hashlib.sha256()
    size = 0
    while chunk := source.read(CHUNK):
        total.update(chunk)
        size += len(chunk)
        if write is not None:
            write(chunk)
    return Digest(total.hexdigest(), size)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write to a file without a buffer in between, which would copy large pieces.

    Raises:
        OSError: If it cannot be written.
    """
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def digest_of(path: str | os.PathLike[str]) -> Digest:
    """Return sha256 and size of a file.

    Raises:
        OSError: If it cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - `path` may be a str
        return digest(file)
