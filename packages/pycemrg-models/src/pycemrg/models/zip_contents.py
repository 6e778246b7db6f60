"""What a member of a zip holds, in pieces that are checked as they come."""

import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from pycemrg.models.tree import PIECE

ReadAt = Callable[[memoryview, int], int]

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# APPNOTE.TXT 4.3.7: what a local header starts with, and the lengths of its name and extra field.
_LOCAL = struct.Struct("<4s22xHH")
_UTF8 = 0x800  # 4.4.4, bit 11


def reader_of(source: BinaryIO) -> ReadAt:
    """Return what fills a buffer from a position in `source` and tells how many bytes it got.

    Several threads may use it at once; they share the file that was verified.
    """
    try:
        descriptor = source.fileno()
    except OSError:  # it is in memory
        return _in_turns(source)
    if not hasattr(os, "preadv"):
        return _in_turns(source)

    def read_at(buffer: memoryview, position: int) -> int:
        return os.preadv(descriptor, [buffer], position)

    return read_at


def _in_turns(source: BinaryIO) -> ReadAt:
    turn = threading.Lock()

    def read_at(buffer: memoryview, position: int) -> int:
        with turn:
            source.seek(position)
            data = source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    return read_at


def pieces(read_at: ReadAt, member: zipfile.ZipInfo, end: int) -> Iterator[bytes | memoryview]:
    """Yield the content of a member that is compressed by one of `METHODS`.

    zipfile could do it, but copies more and takes a lock around each read. A piece is valid until
    the next one is asked for. They may come to less than the member claims.

    Args:
        read_at: From `reader_of` the archive.
        member: As the directory of the archive describes it.
        end: Where its bytes have to end: where the next member begins.

    Raises:
        zipfile.BadZipFile: If header or checksum are wrong, or the member reaches into another one
            or holds more than it claims.
        zlib.error: If it cannot be inflated.
    """
    start = _start(read_at, member)
    if start + member.compress_size > end:
        raise zipfile.BadZipFile("overlaps what comes after it")
    content: Iterable[bytes | memoryview] = _stretch(read_at, start, member.compress_size)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        content = _inflate(content)
    left, checksum = member.file_size, 0
    for piece in content:
        left -= len(piece)
        if left < 0:
            raise zipfile.BadZipFile(f"holds more than the {member.file_size:,} bytes it claims")
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if left == 0 and checksum != member.CRC:
        raise zipfile.BadZipFile(f"its CRC-32 is {checksum:08x}, expected {member.CRC:08x}")


def _start(read_at: ReadAt, member: zipfile.ZipInfo) -> int:
    """Return where the content begins, after a header that has to agree with the directory."""
    header = _exactly(read_at, member.header_offset, _LOCAL.size)
    signature, length, extra = _LOCAL.unpack(header)
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("no header where the directory says")
    at = member.header_offset + _LOCAL.size
    encoding = "utf-8" if member.flag_bits & _UTF8 else "cp437"
    name = _exactly(read_at, at, length).decode(encoding)
    if name != member.orig_filename:
        raise zipfile.BadZipFile(f"called {name!r} in its own header")
    return int(at + length + extra)


def _exactly(read_at: ReadAt, start: int, size: int) -> bytes:
    data = b"".join(_stretch(read_at, start, size))
    if len(data) != size:
        raise zipfile.BadZipFile("the archive ends in its header")
    return data


def _stretch(read_at: ReadAt, start: int, size: int) -> Iterator[memoryview]:
    """Yield the bytes of the archive from `start` on in one buffer, again and again."""
    buffer = memoryview(bytearray(min(size, PIECE)))
    end = start + size
    while got := read_at(buffer[: end - start], start):
        start += got
        yield buffer[:got]


def _inflate(packed: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for data in packed:
        while data and not inflater.eof:
            yield inflater.decompress(data, PIECE)
            data = inflater.unconsumed_tail
        if inflater.eof:
            return
    yield inflater.flush()  # what a few last bits mean: some KiB at most
