"""How a VTK XML file holds binary arrays: behind a header, compressed or not, in base64 or raw.

The header is one number, the bytes that follow, or for compressed data: how many blocks there are,
the bytes of a whole one and of the last if it is shorter, and what each has become (VTK wiki, "VTK
XML Formats").
"""

import base64
import binascii
import lzma
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_BLOCK = 32_768
_Coder = Callable[[bytes], bytes]
_DECOMPRESS: dict[str, _Coder] = {
    "vtkZLibDataCompressor": zlib.decompress,
    "vtkLZMADataCompressor": lzma.decompress,
}
_COMPRESS: dict[str, _Coder] = {
    "vtkZLibDataCompressor": zlib.compress,
    "vtkLZMADataCompressor": lzma.compress,
}


class Encoding(NamedTuple):
    """How the arrays of a file are stored.

    Args:
        header: The type of the numbers in the header, in the byte order of the file.
        compressor: The VTK class that compresses, or None.
        base64: Whether the bytes are written in base64.
        apart: Whether the header of uncompressed data is in base64 apart from the data.
        block: Bytes in a block before they are compressed.
    """

    header: np.dtype[Any]
    compressor: str | None
    base64: bool
    apart: bool = False
    block: int = _BLOCK

    def decode(self, data: bytes, start: int = 0) -> tuple[bytes, int, "Encoding"]:
        """Return the values whose code begins at `start`, where it stops, and how to write them.

        Raises:
            ValueError: If the code is damaged or the compressor is not known.
        """
        try:
            if self.compressor is None:
                return self._uncompressed(data, start)
            return self._compressed(data, start)
        except (zlib.error, lzma.LZMAError, binascii.Error, IndexError) as error:
            raise ValueError(f"the array is damaged: {error}") from error

    def encode(self, values: bytes) -> bytes:
        """Return the code of `values`."""
        if self.compressor is None:
            header = self._header(len(values))
            if self.apart:
                return self._coded(header) + self._coded(values)
            return self._coded(header + values)
        parts = [values[at : at + self.block] for at in range(0, len(values), self.block)]
        packed = [_COMPRESS[self.compressor](part) for part in parts]
        last = len(values) % self.block
        header = self._header(len(parts), self.block, last, *map(len, packed))
        return self._coded(header) + self._coded(b"".join(packed))

    def _uncompressed(self, data: bytes, start: int) -> tuple[bytes, int, "Encoding"]:
        width = self.header.itemsize
        first, at = self._bytes(data, start, width)
        count = self._numbers(first, 1)[0]
        if self.base64 and len(first) == width and count:
            values, stop = self._bytes(data, at, count)
            return values, stop, self._replace(apart=True)
        values, stop = self._bytes(data, start, width + count)
        return values[width:], stop, self

    def _compressed(self, data: bytes, start: int) -> tuple[bytes, int, "Encoding"]:
        if self.compressor not in _DECOMPRESS:
            known = ", ".join(_DECOMPRESS)
            raise ValueError(f"compressed by {self.compressor}; save it with one of: {known}")
        width = self.header.itemsize
        first, _ = self._bytes(data, start, 3 * width)
        blocks, size, _ = self._numbers(first, 3)
        header, at = self._bytes(data, start, (3 + blocks) * width)
        lengths = self._numbers(header, 3 + blocks)[3:]
        packed, stop = self._bytes(data, at, sum(lengths))
        values, begin = [], 0
        for length in lengths:
            values.append(_DECOMPRESS[self.compressor](packed[begin : begin + length]))
            begin += length
        return b"".join(values), stop, self._replace(block=size or _BLOCK)

    def _bytes(self, data: bytes, start: int, count: int) -> tuple[bytes, int]:
        """Return at least `count` bytes whose code begins at `start`, and where it stops."""
        stop = start + (4 * -(-count // 3) if self.base64 else count)
        found = data[start:stop]
        if self.base64:
            found = base64.b64decode(found, validate=True)
        if len(found) < count:
            raise ValueError(f"the array is cut off: {count:,} bytes expected, {len(found):,} left")
        return found, stop

    def _numbers(self, data: bytes, count: int) -> list[int]:
        numbers: list[int] = np.frombuffer(data, self.header, count).tolist()
        return numbers

    def _header(self, *numbers: int) -> bytes:
        return np.array(numbers, self.header).tobytes()

    def _coded(self, data: bytes) -> bytes:
        return base64.b64encode(data) if self.base64 else data
