"""NRRD volumes, whose labels are read and replaced; every other line of the header stays.

The format is that of https://teem.sourceforge.net/nrrd/format.html.
"""

import bz2
import gzip
import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pycemrg.data.formats.nrrd_header import Header, parse_header
from pycemrg.data.formats.text_array import TextArray
from pycemrg.data.relabel import relabel_by
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

_DECODE: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "text": bytes,
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
}
_ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gzip": partial(gzip.compress, compresslevel=6, mtime=0),
    "bzip2": bz2.compress,
}
_DETACHED = ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip")

# The spaces whose first two axes point the other way than those of RAS+.
_FLIPS = {"left-posterior-superior": (-1, -1), "lps": (-1, -1)}
_FLIPS |= {"left-anterior-superior": (-1, 1), "las": (-1, 1)}


def read_nrrd(path: Path) -> tuple[Array, Array]:
    """Return the labels and the affine from voxels to RAS+ millimetres.

    Raises:
        ValueError: If the file is no NRRD volume of labels, or is damaged.
        OSError: If it cannot be read.
    """
    volume = _read(path)
    return volume.labels, _affine(volume.header)


def relabel_nrrd(source: Path, draft: Path, rules: Rules, dtype: npt.DTypeLike | None) -> None:
    """Write to `draft` the volume `source` with every label replaced, in the header as well.

    Raises:
        ValueError: If the file is no NRRD volume of labels or is damaged, if a value is not
            integral, if the rules refuse one, or if the format has no such type.
        OverflowError: If a type cannot hold a result.
        OSError: If a file cannot be read or written.
    """
    volume = _read(source)
    result = relabel_by(rules, volume.labels, dtype=dtype)
    header = volume.header
    # A segment without a voxel must not take the value that another structure gets.
    rules.check(dict.fromkeys((v for v in header.segments.values() if v is not None), 0))
    header = header.with_segments(rules.result).with_dtype(result.dtype).without(*_DETACHED)
    with draft.open("wb") as output:
        output.write(b"".join(header.lines))
        output.write(b"\r\n" if header.lines[0].endswith(b"\r\n") else b"\n")
        if volume.text is not None:
            output.write(volume.text.replaced(rules) + b"\n")
        else:
            stored = result.astype(header.dtype, copy=False)
            output.write(_ENCODE[header.encoding](stored.tobytes(order="F")))


class _Volume(NamedTuple):
    header: Header
    labels: Array
    text: TextArray | None


def _read(path: Path) -> _Volume:
    data = path.read_bytes()
    header, start = parse_header(data)
    shape, dtype = header.shape, header.dtype
    if header.segments and len(shape) > 3:
        raise ValueError(
            f"the segments overlap and are stored in {shape[0]} layers, where a voxel has several "
            "labels; export them to one label map first"
        )
    if name := header.field("data file", "datafile"):
        if name.startswith("LIST") or "%" in name:
            raise ValueError(f"the data are in several files ({name!r}); join them in one first")
        data, start = (path.parent / name).read_bytes(), 0
    payload = _payload(data, start, header)
    count = math.prod(shape)
    if header.encoding == "text":
        text = TextArray(payload, dtype, count)
        return _Volume(header, text.values.reshape(shape, order="F"), text)
    if len(payload) < count * dtype.itemsize:
        raise ValueError(f"the data are cut off: {len(payload):,} bytes for {count:,} {dtype}")
    return _Volume(header, np.frombuffer(payload, dtype, count).reshape(shape, order="F"), None)


def _payload(data: bytes, start: int, header: Header) -> bytes:
    """Return the bytes of the values; lines are skipped before they are expanded, bytes after."""
    for _ in range(header.number("line skip", "lineskip")):
        start = data.find(b"\n", start) + 1 or len(data)
    try:
        data = _DECODE[header.encoding](data[start:])
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"the data are damaged: {error}") from error
    skip = header.number("byte skip", "byteskip")
    if skip < 0:  # -1: the values are at the end of the file
        skip = len(data) - math.prod(header.shape) * header.dtype.itemsize
    return data[max(skip, 0) :]


def _affine(header: Header) -> Array:
    """Return the affine to RAS+ millimetres, or the scaling by spacings if no space is given."""
    affine = np.eye(4)
    directions = header.vectors("space directions")
    if len(directions) == 3 and all(len(vector) == 3 for vector in directions):
        affine[:3, :3] = np.transpose(directions)
        affine[:3, 3] = (header.vectors("space origin") or [(0.0, 0.0, 0.0)])[0]
        affine[:2] *= np.array(_FLIPS.get(header.fields.get("space", "").lower(), (1, 1)))[:, None]
    else:
        spacings = [float(text) for text in header.fields.get("spacings", "").split()]
        spacings = [spacing for spacing in spacings if math.isfinite(spacing)]
        if len(spacings) == 3:
            affine[range(3), range(3)] = spacings
    return affine + 0.0  # no -0.0
