"""Turn a label volume into an openCARP mesh: every voxel with a label becomes one hexahedron.

Writes OUT_BASE.pts (micrometres), OUT_BASE.elem (the label is the region tag) and OUT_BASE.lon
(the same fibre everywhere: a placeholder until real fibres are computed).

    python scripts/mesh_voxels.py LABELS.nii.gz OUT_BASE
"""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

try:
    import nibabel as nib
    import numpy as np
    import numpy.typing as npt

    from pycemrg.core.whole_files import whole_file
    from pycemrg.data.volumes import read_labels
except ImportError as error:
    command = f'python -m pip install -e "{Path(__file__).resolve().parent.parent}"'
    sys.exit(f"this script needs {error.name or error}; install what the study needs: {command}")

UM_PER_MM = 1000.0
CHUNK = 100_000  # rows of text made at a time

# The nodes of a hexahedron (Hx) as steps from the voxel's lowest corner. openCARP goes around the
# lower face, then around the upper one the other way: node 4 lies over node 0, but 5 over 3 and 7
# over 1. Facts taken from the sources of openCARP's tools: meshtool's conversion to VTK
# (perm_con_carp_to_vtk in vtk_utils.cpp) and faces (insert_surf_hex in mesh_utils.cpp), and
# meshalyzer's list of edges (hex_edges in Hexahedron.cc).
HEXAHEDRON = np.array(
    [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 1]]
)

Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


def load_labels(path: Path) -> tuple[Integers, Floats]:
    """Return the label volume and its affine from voxel indices to mm."""
    values, affine = read_labels(path)
    if ".nii" in path.name.lower():
        image: Any = nib.load(path)
        if (unit := image.header.get_xyzt_units()[0]) not in ("mm", "unknown"):
            raise ValueError(f"{path}: coordinates are in {unit}; expected mm")
    if values.dtype.kind == "f" and np.allclose(values, np.rint(values), rtol=0, atol=1e-3):
        values = np.rint(values).astype(np.int64)
    if values.ndim != 3 or values.dtype.kind not in "iu":
        raise ValueError(f"{path}: {values.dtype} {values.shape}; expected a volume of integers")
    if not values.any():
        raise ValueError(f"{path}: no voxel has a label, there is nothing to mesh")
    return values, affine


def build_mesh(labels: Integers, affine: Floats) -> tuple[Floats, Integers, Integers]:
    """Return points in micrometres (n, 3), the nodes of each element (m, 8) and its tag (m,)."""
    handedness = np.linalg.det(affine[:3, :3])
    if not abs(handedness) > 1e-9:  # mm3; NaN ends here too
        raise ValueError(f"the affine gives voxels no volume: {affine.tolist()}")
    # A mirrored x turns the order of the nodes around, so that the element's volume is positive.
    steps = HEXAHEDRON if handedness > 0 else HEXAHEDRON ^ np.array([1, 0, 0])

    voxels = np.argwhere(labels)
    lowest = voxels.min(axis=0)
    grid = tuple(voxels.max(axis=0) - lowest + 2)  # of corners, one more than voxels
    corner_of = np.stack([np.ravel_multi_index((voxels - lowest + s).T, grid) for s in steps], 1)
    used = np.zeros(int(np.prod(grid)), dtype=bool)
    used[corner_of] = True
    number = np.cumsum(used, dtype=np.int64) - 1

    corners = np.stack(np.unravel_index(np.flatnonzero(used), grid), axis=1) + lowest - 0.5
    points = (corners @ affine[:3, :3].T + affine[:3, 3]) * UM_PER_MM
    points = np.round(points, 3) + 0.0  # no "-0.000" in the file
    return points, number[corner_of], labels[tuple(voxels.T)].astype(np.int64)


def text(template: str, rows: Floats | Integers, what: str) -> Iterator[str]:
    """Yield a line for each row, many at a time, and say how far it is."""
    yield f"{len(rows)}\n"
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        yield template * len(chunk) % tuple(chunk.ravel().tolist())
        print(f"{what}: {start + len(chunk):,} of {len(rows):,}", flush=True)


def write_mesh(base: Path, points: Floats, elements: Integers, tags: Integers) -> None:
    """Write the three files; none has its name before all are complete."""
    tagged = np.column_stack([elements, tags])
    contents = {
        ".pts": text("%.3f %.3f %.3f\n", points, "points"),
        ".elem": text("Hx %d %d %d %d %d %d %d %d %d\n", tagged, "elements"),
        ".lon": iter(["1\n", "1 0 0\n" * len(elements)]),
    }
    with ExitStack() as renamed_together:
        for suffix, lines in contents.items():
            path = base.with_name(base.name + suffix)
            draft = renamed_together.enter_context(whole_file(path))
            with draft.open("w", encoding="ascii", newline="\n") as file:
                file.writelines(lines)


def main() -> int:
    """Mesh the volume named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="label volume (.nii, .nii.gz or .nrrd) in mm")
    parser.add_argument("out_base", type=Path, help="path of the mesh, without a suffix")
    args = parser.parse_args()
    try:
        points, elements, tags = build_mesh(*load_labels(args.labels))
        write_mesh(args.out_base, points, elements, tags)
    except (MemoryError, OSError, ValueError) as error:
        print(f"mesh_voxels: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.out_base}: {len(points):,} points, {len(elements):,} hexahedra")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, which removes drafts
    sys.exit(main())
