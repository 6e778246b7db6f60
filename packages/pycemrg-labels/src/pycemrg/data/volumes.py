"""Volume files, whose labels are read and replaced: NIfTI and NRRD."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pycemrg.core.whole_files import whole_file
from pycemrg.data.extras import need
from pycemrg.data.formats.naming import naming
from pycemrg.data.progress import Progress
from pycemrg.data.rules import Collisions, Unmapped

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pycemrg.data.mapper import LabelMapper

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr")

_WHAT = "reading or writing a volume"


class LabelVolume(NamedTuple):
    """The labels of a volume and where its voxels are.

    Attributes:
        array: The label of each voxel, with the axes in the order of the file.
        affine: From voxel indices to millimetres, 4 x 4. The axes point to the right, to the front
            and up (RAS+), whatever the format says.
    """

    array: "np.ndarray[Any, Any]"
    affine: "np.ndarray[Any, Any]"

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel in millilitres."""
        import numpy as np

        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


def read_labels(path: str | os.PathLike[str], *, progress: Progress | None = None) -> LabelVolume:
    r"""Return the labels of a NIfTI (``.nii``, ``.nii.gz``) or NRRD (``.nrrd``, ``.nhdr``) volume.

    Scaled NIfTI values are rounded to the integers that they stand for.

    Args:
        path: The volume.
        progress: Called now and then with the voxels that are read and the voxels of the volume.

    Raises:
        ValueError: If a value is not integral, if segments are stored in layers, where a voxel has
            several labels, or if the file is damaged or of another format.
        OSError: If the file cannot be read.
        ImportError: If numpy or nibabel is missing (``pycemrg-labels[volumes]``).

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "seg.nrrd")
        >>> _ = path.write_bytes(
        ...     b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 1\n"
        ...     b"spacings: 1 1 3\nencoding: raw\n\n\0\1\2\2"
        ... )
        >>> volume = read_labels(path)
        >>> volume.array[..., 0].tolist()
        [[0, 2], [1, 2]]
        >>> round(volume.voxel_ml, 6)
        0.003
    """
    path = Path(path)
    if _suffix(path).startswith(".nii"):
        need("volumes", _WHAT, "numpy", "nibabel")
        from pycemrg.data.formats.nifti import read_nifti as read
    else:
        need("volumes", _WHAT, "numpy")
        from pycemrg.data.formats.nrrd import read_nrrd as read
    with naming(path):
        return LabelVolume(*read(path, progress))


def relabel_volume(
    source_path: str | os.PathLike[str],
    target_path: str | os.PathLike[str],
    mapper: "LabelMapper",
    *,
    unmapped: Unmapped = "keep",
    collisions: Collisions = "refuse",
    overwrite: bool = False,
    dtype: "npt.DTypeLike | None" = None,
    progress: Progress | None = None,
) -> Path:
    r"""Write a volume with every label replaced by its target value, all at once.

    A NIfTI image keeps its header, affine and extensions. Scaled values are rounded to the integers
    that they stand for, and written without scaling. A NRRD volume keeps every line of its header;
    ``SegmentN_LabelValue`` gets the new value, and segments that become 0 are left out.

    Args:
        source_path: The volume to read: NIfTI (``.nii``, ``.nii.gz``) or NRRD (``.nrrd``, or
            ``.nhdr`` with its data file).
        target_path: The volume to write, in the same format; ``.nrrd`` for a ``.nhdr``, whose two
            files no rename can replace at once. It may be `source_path` itself. At any time it is
            the old file or the new one, never half of one.
        mapper: From which standard to which.
        unmapped: As for `LabelMapper.apply`.
        collisions: As for `LabelMapper.apply`.
        overwrite: Whether an existing file may be replaced.
        dtype: The type of the result, as for `LabelMapper.apply`.
        progress: Called now and then with the voxels done and the voxels to do: each is counted
            when it is read and again when it is written, so there are twice as many to do as the
            volume has.

    Returns:
        The absolute path of the new volume.

    Raises:
        FileExistsError: If the target exists and `overwrite` is False.
        ValueError: If the mapper refuses a label, as `LabelMapper.apply` does; if a value is not
            integral; if segments are stored in layers; if the file is damaged or of another format.
        OverflowError: If `dtype` cannot hold a result.
        OSError: If a file cannot be read or written.
        ImportError: If numpy or nibabel is missing (``pycemrg-labels[volumes]``).

    Example:
        >>> import tempfile
        >>> from pycemrg.data import LabelManager, LabelMapper
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "seg.nrrd").write_bytes(
        ...     b"NRRD0004\ntype: uint8\ndimension: 1\nsizes: 3\nencoding: raw\n\n\0\1\2"
        ... )
        >>> a = LabelManager.from_dict({"labels": {"LV": 1, "RV": 2}})
        >>> b = LabelManager.from_dict({"labels": {"LV": 2, "RV": 7}})
        >>> path = relabel_volume(folder / "seg.nrrd", folder / "new.nrrd", LabelMapper(a, b))
        >>> path.read_bytes().splitlines()[-1]
        b'\x00\x02\x07'
    """
    source, target = Path(source_path), Path(target_path)
    is_nifti = _suffix(source).startswith(".nii")
    fitting = (".nii", ".nii.gz") if is_nifti else (".nrrd",)
    if not target.name.lower().endswith(fitting):
        listed = " or ".join(fitting)
        raise ValueError(f"{target} must end in {listed}, as {source} is relabelled, not converted")
    rules = mapper.rules(unmapped=unmapped, collisions=collisions)
    if is_nifti:
        need("volumes", _WHAT, "numpy", "nibabel")
        from pycemrg.data.formats.nifti import relabel_nifti as relabel
    else:
        need("volumes", _WHAT, "numpy")
        from pycemrg.data.formats.nrrd import relabel_nrrd as relabel
    with naming(source), whole_file(target, overwrite=overwrite) as draft:
        relabel(source, draft, rules, dtype, progress)
    return target.absolute()


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise ValueError(f"{path}: volumes are read from {', '.join(SUFFIXES)}, not {path.suffix!r}")
