"""Make an idealised four-chamber heart, labelled with the names of the clinical standard.

The heart stands upright in scanner space (RAS, in mm): x to the patient's right, y to the front,
z up, the apex of the left ventricle below. Its sizes are those of an adult at end diastole.

    python scripts/make_heart.py OUT.nii.gz
"""

import argparse
import signal
import sys
from pathlib import Path
from typing import NamedTuple

try:
    import nibabel as nib
    import numpy as np
    import numpy.typing as npt

    from pycemrg.core.whole_files import whole_file
    from pycemrg.data import LabelManager
except ImportError as error:
    command = f'python -m pip install -e "{Path(__file__).resolve().parent.parent}"'
    sys.exit(f"this script needs {error.name or error}; install what the study needs: {command}")

CLINICAL_LABELS = Path(__file__).resolve().parent.parent / "config" / "clinical_labels.yaml"

SHAPE = (128, 112, 144)
AFFINE = np.array(  # voxels of 1 mm; the last column is the centre of voxel (0, 0, 0)
    [[1.0, 0.0, 0.0, -56.5], [0.0, 1.0, 0.0, -49.0], [0.0, 0.0, 1.0, -75.25], [0.0, 0.0, 0.0, 1.0]]
)
BASE = 16.0  # mm; the ventricles are cut off here, above their widest part
LID = BASE + 2.0  # mm; up to here the valves and the wall between them
FLOOR = LID + 2.0  # mm; up to here the floor of the atria, open above the valves

Mask = npt.NDArray[np.bool_]
Volume = npt.NDArray[np.uint8]


class Ellipsoid(NamedTuple):
    """A cavity: centre and half axes in mm, and the thickness of the wall around it."""

    centre: tuple[float, float, float]
    half_axes: tuple[float, float, float]
    wall: float


class Disc(NamedTuple):
    """A valve, seen from above: centre and radius in mm."""

    centre: tuple[float, float]
    radius: float


CAVITIES = {
    "LV": Ellipsoid((-15.0, -4.0, 0.0), (27.5, 27.5, 66.0), wall=8.0),
    "RV": Ellipsoid((21.0, 7.0, 0.0), (35.0, 38.0, 58.0), wall=3.5),
    "LA": Ellipsoid((-18.0, -16.0, 38.0), (32.0, 28.0, 26.0), wall=2.0),
    "RA": Ellipsoid((34.0, -3.0, 38.0), (28.0, 31.0, 26.0), wall=2.0),
}
VALVES = {
    "mitral_valve": Disc((-20.0, -13.0), 14.0),
    "aortic_valve": Disc((-8.0, 11.0), 9.5),
    "tricuspid_valve": Disc((36.0, -3.0), 15.0),
    "pulmonary_valve": Disc((22.0, 27.0), 10.0),
}


def make_heart(labels: LabelManager) -> Volume:
    """Return the label volume, indexed [x, y, z]; what is painted first keeps its voxels.

    So the left ventricle with its wall takes its part out of the right one, which becomes the
    crescent that it is, and the left atrium out of the right one.
    """
    volume = np.zeros(SHAPE, dtype=np.uint8)
    x, y, z = (
        index * AFFINE[axis, axis] + AFFINE[axis, 3]
        for axis, index in enumerate(np.indices(SHAPE, sparse=True))
    )

    def inside(cavity: str, grow: float = 0.0) -> Mask:
        (cx, cy, cz), (a, b, c), _ = CAVITIES[cavity]
        squares = ((x - cx) / (a + grow)) ** 2 + ((y - cy) / (b + grow)) ** 2
        return np.asarray(squares + ((z - cz) / (c + grow)) ** 2 <= 1.0)

    def under(valve: str) -> Mask:
        (cx, cy), radius = VALVES[valve]
        return np.asarray((x - cx) ** 2 + (y - cy) ** 2 <= radius**2)

    def paint(name: str, mask: Mask) -> None:
        volume[mask & (volume == 0)] = labels.get_value(name)

    for valve in VALVES:
        paint(valve, under(valve) & (z >= BASE) & (z < LID) & (inside("LV") | inside("RV")))
    for cavity in ("LV", "RV"):
        paint(f"{cavity}_bp", inside(cavity) & (z < BASE))
        paint(f"{cavity}_myo", inside(cavity, CAVITIES[cavity].wall) & (z < LID))
    for cavity, valve in (("LA", "mitral_valve"), ("RA", "tricuspid_valve")):
        paint(f"{cavity}_bp", inside(cavity) & ((z >= FLOOR) | (under(valve) & (z >= LID))))
        paint(f"{cavity}_wall", inside(cavity, CAVITIES[cavity].wall) & (z >= LID))
    return volume


def save(volume: Volume, path: Path) -> None:
    """Write a NIfTI file, whole or not at all."""
    image = nib.Nifti1Image(volume, AFFINE)
    image.header.set_xyzt_units("mm")
    with whole_file(path) as draft:
        nib.save(image, draft)


def main() -> int:
    """Write the heart to the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="NIfTI file to write (.nii or .nii.gz)")
    parser.add_argument("--labels", type=Path, default=CLINICAL_LABELS, help="label standard")
    args = parser.parse_args()
    try:
        save(make_heart(LabelManager(args.labels)), args.out)
    except (KeyError, OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"make_heart: {message}", file=sys.stderr)
        return 1
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, which removes drafts
    sys.exit(main())
