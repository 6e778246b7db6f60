"""NIfTI volumes, whose labels are read and replaced; everything else in the header stays."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from pycemrg.data.chunks import chunks
from pycemrg.data.counting import integral
from pycemrg.data.relabel import relabel_by
from pycemrg.data.rules import Rules

Array = np.ndarray[Any, Any]

MILLIMETRES = {"meter": 1000.0, "micron": 0.001}  # of a unit; "unknown" is taken for millimetres


def read_nifti(path: Path) -> tuple[Array, Array]:
    """Return the labels and the affine from voxels to RAS+ millimetres.

    Raises:
        ValueError: If the file is no NIfTI image, or a value is not integral.
        OSError: If it cannot be read.
    """
    image = _load(path)
    labels = _labels(image)
    for (part,) in chunks([labels]):
        integral(part)
    unit, _ = image.header.get_xyzt_units()
    to_millimetres = np.diag([MILLIMETRES.get(unit, 1.0)] * 3 + [1.0])
    return labels, to_millimetres @ np.asarray(image.affine)


def relabel_nifti(source: Path, draft: Path, rules: Rules, dtype: npt.DTypeLike | None) -> None:
    """Write to `draft` the image `source` with every label replaced.

    Raises:
        ValueError: If the file is no NIfTI image, a value is not integral, the rules refuse one,
            or the format has no such type.
        OverflowError: If a type cannot hold a result.
        OSError: If a file cannot be read or written.
    """
    image = _load(source)
    result = relabel_by(rules, _labels(image), dtype=dtype)
    header = image.header.copy()
    try:
        header.set_data_dtype(result.dtype)
    except HeaderDataError as error:
        raise ValueError(f"NIfTI has no type {result.dtype}") from error
    # nibabel forgets the scaling when it reads, and writes slope 1 for values of the header's type.
    type(image)(result, None, header).to_filename(draft)


def _load(path: Path) -> Any:
    with _damage():
        image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image):
        raise ValueError(f"this is no NIfTI image but a {type(image).__name__}")
    return image


def _labels(image: Any) -> Array:
    stored = image.dataobj
    with _damage():
        raw = np.asarray(stored.get_unscaled())
    if (stored.slope, stored.inter) == (1, 0) or raw.dtype.kind not in "iuf":
        return raw
    return _unscaled(raw, float(stored.slope), float(stored.inter))


@contextmanager
def _damage() -> Iterator[None]:
    """Turn what nibabel and zlib raise for a file that is no NIfTI image into a ValueError."""
    try:
        yield
    except (ImageFileError, HeaderDataError, EOFError, zlib.error) as error:
        raise ValueError(f"this is no NIfTI image, or it is damaged: {error}") from error
    except OSError as error:
        if error.errno is not None or isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"this is no NIfTI image, or it is damaged: {error}") from error


def _unscaled(raw: Array, slope: float, inter: float) -> Array:
    """Return the integers that were stored in steps of `slope`."""
    scaled = np.multiply(raw, slope, dtype=np.float64)
    scaled += inter
    labels = np.rint(scaled)
    # A stored integer comes back at most half a step away, and a single-precision slope is inexact.
    away = np.abs(scaled - labels) > max(1e-3, min(abs(slope) / 2, 0.1))
    away |= ~np.isfinite(scaled)
    if away.any():
        raise ValueError(
            f"a label must be integral, and scl_slope {slope:g} and scl_inter {inter:g} make "
            f"{scaled[away][0]:g}; is this a segmentation?"
        )
    low, high = labels.min(initial=0), labels.max(initial=0)
    kept = [raw.dtype] if raw.dtype.kind in "iu" else []
    for dtype in [*kept, *map(np.dtype, ("u1", "i2", "i4"))]:
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return labels.astype(dtype)
    raise ValueError(f"scaled labels reach from {low:g} to {high:g}; is this a segmentation?")
