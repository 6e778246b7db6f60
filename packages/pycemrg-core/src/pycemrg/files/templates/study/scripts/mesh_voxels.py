"""Turn a label volume into an openCARP mesh: every voxel with a label becomes one hexahedron.

Writes OUT_BASE.pts (micrometres), OUT_BASE.elem (the label is the region tag) and OUT_BASE.lon
(the same fibre everywhere: a placeholder until real fibres are computed).

    python scripts/mesh_voxels.py LABELS.nii.gz OUT_BASE
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

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
    try:
        image: Any = nib.load(path)
        values = np.asarray(image.dataobj)
    except Exception as error:  # a damaged file makes nibabel raise whatever it ran into
        raise ValueError(f"{path}: cannot be read as an image: {error}") from error
    unit = image.header.get_xyzt_units()[0] if isinstance(image, nib.Nifti1Pair) else "mm"
    if unit not in ("mm", "unknown"):
        raise ValueError(f"{path}: coordinates are in {unit}; expected mm")
    if values.ndim != 3:
        raise ValueError(f"{path}: the volume has the shape {values.shape}; expected 3 dimensions")
    if values.dtype.kind == "f" and np.all(np.abs(values - np.rint(values)) < 1e-3):
        values = np.rint(values).astype(np.int64)  # a scaled header gives 2.99999 for 3
    if values.dtype.kind not in "iu":
        raise ValueError(f"{path}: not a label volume; expected integers")
    if not values.any():
        raise ValueError(f"{path}: no voxel has a label, there is nothing to mesh")
    return values, np.asarray(image.affine, dtype=np.float64)


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
    """Write the three files under temporary names, and rename them when all are complete."""
    tagged = np.column_stack([elements, tags])
    contents = {
        ".pts": text("%.3f %.3f %.3f\n", points, "points"),
        ".elem": text("Hx %d %d %d %d %d %d %d %d %d\n", tagged, "elements"),
        ".lon": iter(["1\n", "1 0 0\n" * len(elements)]),
    }
    drafts = {suffix: base.with_name(f".{os.getpid()}.{base.name}{suffix}") for suffix in contents}
    try:
        for suffix, lines in contents.items():
            with drafts[suffix].open("w", encoding="ascii", newline="\n") as file:
                file.writelines(lines)
        for suffix, draft in drafts.items():
            draft.replace(base.with_name(base.name + suffix))
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def main() -> int:
    """Mesh the volume named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="label volume (.nii or .nii.gz), affine in mm")
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
    sys.exit(main())
