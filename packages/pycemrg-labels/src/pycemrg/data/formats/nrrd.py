"""NRRD volumes, whose labels are read and replaced; every other line of the header stays.

The format is that of https://teem.sourceforge.net/nrrd/format.html.
"""

import bz2
import gzip
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from pycemrg.data.formats.nrrd_header import Header, read_header
from pycemrg.data.formats.text_array import TextArray
from pycemrg.data.formats.voxels import damage, read_voxels, skip, write_voxels
from pycemrg.data.progress import Progress, Tally
from pycemrg.data.relabel import relabel_by
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

# Each makes of an open file one that expands, or compresses, what goes through it.
_Coder = Callable[[BinaryIO], AbstractContextManager[Any]]
_DECODERS: dict[str, _Coder] = {
    "raw": nullcontext,
    "text": nullcontext,
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
}
_ENCODERS: dict[str, _Coder] = {
    "raw": nullcontext,
    "gzip": lambda file: gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0),
    "bzip2": partial(bz2.BZ2File, mode="wb"),
}
_DETACHED = ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip")

# The spaces whose first two axes point the other way than those of RAS+.
_FLIPS = {"left-posterior-superior": (-1, -1), "lps": (-1, -1)}
_FLIPS |= {"left-anterior-superior": (-1, 1), "las": (-1, 1)}


def read_nrrd(path: Path, progress: Progress | None = None) -> tuple[Array, Array]:
    """Return the labels and the affine from voxels to RAS+ millimetres.

    Raises:
        ValueError: If the file is no NRRD volume of labels, or is damaged.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        header = _read_header(file)
        values = _read_values(file, path, header, Tally(progress, math.prod(header.shape)))
    return values.labels, _affine(header)


def relabel_nrrd(
    source: Path,
    draft: Path,
    rules: Rules,
    dtype: npt.DTypeLike | None,
    progress: Progress | None = None,
) -> None:
    """Write to `draft` the volume `source` with every label replaced, in the header as well.

    Raises:
        ValueError: If the file is no NRRD volume of labels or is damaged, if a value is not
            integral, if the rules refuse one, or if the format has no such type.
        OverflowError: If a type cannot hold a result.
        OSError: If a file cannot be read or written.
    """
    with source.open("rb") as file:
        header = _read_header(file)
        tally = Tally(progress, 2 * math.prod(header.shape))
        values = _read_values(file, source, header, tally)
    result = relabel_by(rules, values.labels, dtype=dtype)
    # A segment without a voxel must not take the value that another structure gets.
    rules.check(dict.fromkeys((v for v in header.segments.values() if v is not None), 0))
    header = header.with_segments(rules.result).with_dtype(result.dtype).without(*_DETACHED)
    with draft.open("wb") as output:
        output.write(b"".join(header.lines))
        output.write(b"\r\n" if header.lines[0].endswith(b"\r\n") else b"\n")
        if values.text is not None:
            output.write(values.text.replaced(rules) + b"\n")
            tally.add(result.size)
        else:
            with _ENCODERS[header.encoding](output) as stream:
                write_voxels(stream, result, header.dtype, tally)


class _Values(NamedTuple):
    labels: Array
    text: TextArray | None


def _read_header(file: BinaryIO) -> Header:
    header = read_header(file)
    shape = header.shape
    if header.segments and len(shape) > 3:
        raise ValueError(
            f"the segments overlap and are stored in {shape[0]} layers, where a voxel has several "
            "labels; export them to one label map first"
        )
    return header


def _read_values(file: BinaryIO, path: Path, header: Header, tally: Tally) -> _Values:
    """Return the values behind the header, or in the file that it names."""
    name = header.field("data file", "datafile")
    if name is None:
        return _decoded(file, header, tally)
    if name.startswith("LIST") or "%" in name:
        raise ValueError(f"the data are in several files ({name!r}); join them in one first")
    with (path.parent / name).open("rb") as data:
        return _decoded(data, header, tally)


def _decoded(file: BinaryIO, header: Header, tally: Tally) -> _Values:
    """Return the values; lines are skipped before they are expanded, bytes after."""
    for _ in range(header.number("line skip", "lineskip")):
        if not file.readline():
            break
    with damage("the data are damaged"), _DECODERS[header.encoding](file) as stream:
        _skip_bytes(file, stream, header)
        if header.encoding == "text":
            return _written_out(stream, header, tally)
        labels = read_voxels(stream, header.shape, header.dtype, tally)
        if header.encoding != "raw":
            skip(stream)
    return _Values(labels, None)


def _written_out(stream: Any, header: Header, tally: Tally) -> _Values:
    count = math.prod(header.shape)
    text = TextArray(stream.read(), header.dtype, count)
    tally.add(count)
    return _Values(text.values.reshape(header.shape, order="F"), text)


def _skip_bytes(file: BinaryIO, stream: Any, header: Header) -> None:
    size = header.number("byte skip", "byteskip")
    if size >= 0:
        skip(stream, size)
    elif header.encoding != "raw":
        raise ValueError(f"a byte skip of {size} is for the encoding 'raw' only")
    else:  # -1: the values are at the end of the file
        length = math.prod(header.shape) * header.dtype.itemsize
        start = os.fstat(file.fileno()).st_size - length
        file.seek(max(start, file.tell()))


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
