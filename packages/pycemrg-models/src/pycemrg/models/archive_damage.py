"""How a damaged archive shows: in one of a dozen exceptions of what reads it."""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


class DamagedMemberError(Exception):
    """A member is damaged; the message says which."""


_DAMAGE = (
    DamagedMemberError,
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,  # a compression method that zipfile does not know
    OverflowError,
    ValueError,
)


def is_damage(error: Exception) -> bool:
    """Whether `error`, raised by what reads an archive, is the archive's fault.

    Example:
        >>> is_damage(EOFError()), is_damage(OSError("Invalid data stream"))  # as bz2 says it
        (True, True)
        >>> is_damage(OSError(28, "No space left on device"))
        False
    """
    if isinstance(error, OSError):
        return error.errno is None
    return isinstance(error, _DAMAGE)


@contextmanager
def naming(member: str) -> Iterator[None]:
    """Say which member it was if the block finds damage.

    Raises:
        DamagedMemberError: If it does.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DamagedMemberError) or not is_damage(error):
            raise
        raise DamagedMemberError(f"{member!r}: {error or type(error).__name__}") from error


def looks(source: BinaryIO) -> str:
    """Return a remark if `source` starts like a web page, as an error or log-in page does."""
    source.seek(0)
    start = source.read(64).lstrip().lower()
    web_page = start.startswith((b"<!doctype", b"<html", b"<?xml"))
    return "; it looks like a web page" if web_page else ""
