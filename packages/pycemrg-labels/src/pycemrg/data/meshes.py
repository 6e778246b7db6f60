"""Mesh files, whose region tags are counted and replaced: openCARP ``.elem`` and VTK.

Only the tags change. Whatever else a file holds, down to its blanks, is written as it was read.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pycemrg.core.whole_files import whole_file
from pycemrg.data.extras import need
from pycemrg.data.formats.naming import naming
from pycemrg.data.progress import Progress
from pycemrg.data.rules import Collisions, Unmapped

if TYPE_CHECKING:
    from pycemrg.data.mapper import LabelMapper

SUFFIXES = (".elem", ".vtk", ".vtu", ".vtp")


def relabel_mesh(
    source_path: str | os.PathLike[str],
    target_path: str | os.PathLike[str],
    mapper: "LabelMapper",
    *,
    unmapped: Unmapped = "keep",
    collisions: Collisions = "refuse",
    overwrite: bool = False,
    array: str = "elemTag",
    progress: Progress | None = None,
) -> Path:
    r"""Write a mesh with every region tag replaced by its target value, all at once.

    An openCARP ``.elem`` file streams in constant memory, whatever types of elements it mixes. In
    VTK files (legacy ``.vtk``, text or binary, and XML ``.vtu`` and ``.vtp``) the tags are a cell
    array, which becomes an array of a wider type if the new tags need one.

    Args:
        source_path: The mesh to read.
        target_path: The mesh to write, in the same format. It may be `source_path` itself. At any
            time it is the old file or the new one, never half of one.
        mapper: From which standard to which.
        unmapped: As for `LabelMapper.apply`.
        collisions: As for `LabelMapper.apply`.
        overwrite: Whether an existing file may be replaced.
        array: The cell array of a VTK file that holds the tags.
        progress: Called with the bytes done and the bytes of the file, for ``.elem`` files.

    Returns:
        The absolute path of the new mesh.

    Raises:
        FileExistsError: If the target exists and `overwrite` is False.
        ValueError: If the mapper refuses a tag, as `LabelMapper.apply` does; if an element has no
            region tag, which the format allows; if the file is damaged or of another format.
        OverflowError: If no type of the format can hold a result.
        OSError: If a file cannot be read or written.
        ImportError: If numpy is missing (``pycemrg-labels[meshes]``).

    Example:
        >>> import tempfile
        >>> from pycemrg.data import LabelManager, LabelMapper
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "heart.elem").write_text("2\nTt 0 1 2 3 51\nTr 1 2 3 9\n")
        >>> a = LabelManager.from_dict({"labels": {"LV": 51, "RV": 9}})
        >>> b = LabelManager.from_dict({"labels": {"LV": 9, "RV": 10}})
        >>> path = relabel_mesh(folder / "heart.elem", folder / "sim.elem", LabelMapper(a, b))
        >>> path.read_text()
        '2\nTt 0 1 2 3 9\nTr 1 2 3 10\n'
    """
    source, target = Path(source_path), Path(target_path)
    suffix = _suffix(source)
    if target.suffix.lower() != suffix:
        raise ValueError(f"{target} must end in {suffix}, as {source} does; nothing is converted")
    rules = mapper.rules(unmapped=unmapped, collisions=collisions)
    need("meshes", "reading the tags of a mesh", "numpy")
    with naming(source), whole_file(target, overwrite=overwrite) as draft:
        if suffix == ".elem":
            from pycemrg.data.formats.elem import relabel_elem

            relabel_elem(source, draft, rules, progress)
        else:
            from pycemrg.data.formats.vtk import relabel_vtk

            relabel_vtk(source, draft, rules, array)
    return target.absolute()


def count_tags(
    path: str | os.PathLike[str], *, array: str = "elemTag", progress: Progress | None = None
) -> dict[int, int]:
    r"""Return how many elements have each region tag, in the order of the tags.

    Args:
        path: A mesh as `relabel_mesh` reads it.
        array: The cell array of a VTK file that holds the tags.
        progress: Called with the bytes done and the bytes of the file, for ``.elem`` files.

    Raises:
        ValueError: If an element has no region tag, or the file is damaged or of another format.
        OSError: If the file cannot be read.
        ImportError: If numpy is missing (``pycemrg-labels[meshes]``).

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "heart.elem")
        >>> _ = path.write_text("3\nTt 0 1 2 3 51\nTr 1 2 3 9\nTr 0 2 3 51\n")
        >>> count_tags(path)
        {9: 1, 51: 2}
    """
    path = Path(path)
    suffix = _suffix(path)
    need("meshes", "reading the tags of a mesh", "numpy")
    with naming(path):
        if suffix == ".elem":
            from pycemrg.data.formats.elem import count_elem

            return count_elem(path, progress)
        from pycemrg.data.formats.vtk import count_vtk

        return count_vtk(path, array)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: meshes are read from {', '.join(SUFFIXES)}, not {suffix!r}")
    return suffix
