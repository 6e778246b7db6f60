"""NIfTI volumes, whose labels are read and replaced; everything else in the header stays."""

import gzip
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError

from pycemrg.data.chunks import chunks
from pycemrg.data.counting import integral
from pycemrg.data.formats.voxels import damage, read_voxels, skip, write_voxels
from pycemrg.data.progress import Progress, Tally
from pycemrg.data.relabel import relabel_by
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

MILLIMETRES = {1: 1000.0, 3: 0.001}  # of a metre and a micron; any other unit is taken for 1 mm

_DAMAGED = "this is no NIfTI image, or it is damaged"


def read_nifti(path: Path, progress: Progress | None = None) -> tuple[Array, Array]:
    """Return the labels and the affine from voxels to RAS+ millimetres.

    Raises:
        ValueError: If the file is no NIfTI image or is damaged, or a value is not integral.
        OSError: If it cannot be read.
    """
    image = _load(path)
    labels = _labels(image, path, Tally(progress, math.prod(image.shape)))
    for (part,) in chunks([labels]):
        integral(part)
    unit = MILLIMETRES.get(int(image.header["xyzt_units"]) & 7, 1.0)
    return labels, np.diag([unit, unit, unit, 1.0]) @ np.asarray(image.affine)


def relabel_nifti(
    source: Path,
    draft: Path,
    rules: Rules,
    dtype: npt.DTypeLike | None,
    progress: Progress | None = None,
) -> None:
    """Write to `draft` the image `source` with every label replaced.

    Raises:
        ValueError: If the file is no NIfTI image or is damaged, a value is not integral, the rules
            refuse one, or the format has no such type.
        OverflowError: If a type cannot hold a result.
        OSError: If a file cannot be read or written.
    """
    image = _load(source)
    tally = Tally(progress, 2 * math.prod(image.shape))
    result = relabel_by(rules, _labels(image, source, tally), dtype=dtype)
    header = image.header.copy()
    try:
        header.set_data_dtype(result.dtype)
    except HeaderDataError as error:
        raise ValueError(f"NIfTI has no type {result.dtype}") from error
    header["magic"] = header.single_magic
    header.set_slope_inter(1, 0)
    with ImageOpener(os.fspath(draft), "wb") as file:
        header.write_to(file)
        write_voxels(file, result, header.get_data_dtype(), tally)


def _load(path: Path) -> Any:
    """Return the image with its header; its voxels are still in the file."""
    with damage(_DAMAGED, ImageFileError, HeaderDataError, OverflowError, ValueError):
        image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image):
        raise ValueError(f"this is no NIfTI image but a {type(image).__name__}")
    if min(image.shape) < 1:
        raise ValueError(f"the header gives the shape {image.shape}, which has no voxels")
    return image


def _labels(image: Any, path: Path, tally: Tally) -> Array:
    stored = image.dataobj
    compressed = path.suffix.lower() == ".gz"
    # Not by nibabel, which stops before the checksum of a compressed file.
    open_file: Callable[..., Any] = gzip.open if compressed else Path.open
    with damage(_DAMAGED), open_file(path, "rb") as stream:
        skip(stream, stored.offset)
        raw = read_voxels(stream, stored.shape, stored.dtype, tally)
        if compressed:
            skip(stream)
    if (stored.slope, stored.inter) == (1, 0) or raw.dtype.kind not in "iuf":
        return raw
    return _unscaled(raw, float(stored.slope), float(stored.inter))


def _unscaled(raw: Array, slope: float, inter: float) -> Array:
    """Return the integers that were stored in steps of `slope`."""
    low = high = 0.0
    for (part,) in chunks([raw]):
        steps = _steps(part, slope, inter)
        low, high = min(low, float(steps.min())), max(high, float(steps.max()))
    labels = np.empty_like(raw, _narrowest(raw.dtype, low, high))
    for part, out in chunks([raw, labels]):
        out[...] = _steps(part, slope, inter)
    return labels


def _steps(raw: Array, slope: float, inter: float) -> Array:
    """Return the integers as floating-point values."""
    scaled = np.multiply(raw, slope, dtype=np.float64)
    scaled += inter
    labels = np.rint(scaled)
    # A stored integer comes back at most half a step away, and a single-precision slope is inexact.
    away = ~(np.abs(scaled - labels) <= max(1e-3, min(abs(slope) / 2, 0.1)))
    if away.any():
        raise ValueError(
            f"a label must be integral, and scl_slope {slope:g} and scl_inter {inter:g} make "
            f"{scaled[away][0]:g}; is this a segmentation?"
        )
    return labels


def _narrowest(stored: np.dtype[Any], low: float, high: float) -> np.dtype[Any]:
    kept = [stored] if stored.kind in "iu" else []
    for dtype in [*kept, *map(np.dtype, ("u1", "i2", "i4"))]:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    raise ValueError(f"scaled labels reach from {low:g} to {high:g}; is this a segmentation?")
