"""Report a case: a table of its structures, and slices of it before and after relabelling.

python scripts/report_case.py CLINICAL.nii.gz SIMULATION.nii.gz MESH.elem RANGES.csv OUT.csv OUT.png
"""

import argparse
import csv
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import matplotlib as mpl
    import nibabel as nib
    import numpy as np
    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from pycemrg.core.whole_files import whole_file
    from pycemrg.data import LabelManager
    from pycemrg.data.meshes import count_tags
    from pycemrg.data.volumes import read_labels
except ImportError as error:
    command = f'python -m pip install -e "{Path(__file__).resolve().parent.parent}"'
    sys.exit(f"this script needs {error.name or error}; install what the study needs: {command}")

CONFIG = Path(__file__).resolve().parent.parent / "config"
STANDARDS = ("clinical", "atlas", "simulation")
PLANE = {"L": "sagittal", "P": "coronal", "I": "axial"}
PLANE |= {"R": "sagittal", "A": "coronal", "S": "axial"}
OPPOSITE = dict(zip("LRPAIS", "RLAPSI", strict=True))
BEFORE_AFTER = {1: "before", 3: "after"}  # the table's columns of labels that are drawn
MARGIN = 4  # voxels of background around the heart
NUMBERED = 150  # pixels; in a smaller region the number would hide it

Volume = npt.NDArray[np.integer[Any]]
Table = list[list[str]]


def tabulate(elem: Path, voxel_ml: float, ranges: Path) -> Table:
    """Return a header and a row for each tag of the mesh, its volume against that of adults."""
    with ranges.open(encoding="utf-8", newline="") as file:
        known = {row["structure"]: (row["low_ml"], row["high_ml"]) for row in csv.DictReader(file)}
    standards = [LabelManager(CONFIG / f"{name}_labels.yaml") for name in STANDARDS]
    table = [["structure", *STANDARDS, "elements", "ml", "adults_ml", "verdict"]]
    for tag, count in count_tags(elem).items():
        name = standards[-1].get_name(tag)
        values = [str(standard.get_value(name)) for standard in standards]
        low, high = known.get(name, ("", ""))
        verdict = (
            "plausible" if low and float(low) <= count * voxel_ml <= float(high) else "LOOK AGAIN"
        )
        judged = [f"{low}-{high}", verdict] if low else ["", ""]
        table.append([name, *values, str(count), f"{count * voxel_ml:.3f}", *judged])
    return table


def draw(volumes: Sequence[Volume], affine: npt.NDArray[np.float64], table: Table) -> Figure:
    """Return a figure, before above after: a colour is a structure, a number is its label.

    The slices go through the middle of the first structure, which is the left ventricle.
    """
    rows = sorted(table[1:], key=lambda row: int(row[1]))
    shades = [mpl.colormaps["tab20"](i % 20) for i in range(len(rows))]
    colours = ListedColormap([(1.0, 1.0, 1.0, 1.0), *shades])
    heart = tuple(
        slice(max(i.min() - MARGIN, 0), i.max() + MARGIN + 1) for i in volumes[0].nonzero()
    )
    volumes = [volume[heart] for volume in volumes]
    middle = [round(i.mean()) for i in np.nonzero(volumes[0] == int(rows[0][1]))]
    spacing, codes = np.linalg.norm(affine[:3, :3], axis=0), nib.aff2axcodes(affine)
    planes = [(1, 2), (0, 2), (0, 1)]  # the axes that a slice across i, j and k shows

    figure = Figure(figsize=(15, 9))
    widths = [volumes[0].shape[across] * spacing[across] for across, _ in planes]
    axes = figure.subplots(2, 3, width_ratios=widths)
    figure.subplots_adjust(left=0.03, right=0.8, bottom=0.05, top=0.95, wspace=0.12)
    for axis, (across, up) in enumerate(planes):
        for volume, column, at in zip(volumes, BEFORE_AFTER, axes[:, axis], strict=True):
            order = {int(row[column]): number for number, row in enumerate(rows, start=1)}
            draw_slice(at, np.take(volume, middle[axis], axis=axis), order, colours)
            title = f"{BEFORE_AFTER[column]}: {table[0][column]}, {PLANE[codes[axis]]}"
            x, y = (f"{OPPOSITE[codes[shown]]} to {codes[shown]}" for shown in (across, up))
            at.set(title=title, xlabel=x, ylabel=y, aspect=spacing[up] / spacing[across])
    figure.legend(
        handles=[
            Patch(color=colours(number), label=f"{row[0]:15} {row[1]:>3} {row[2]:>3} {row[3]:>3}")
            for number, row in enumerate(rows, start=1)
        ],
        title="structure, and its label in the\nclinical, atlas, simulation standard",
        loc="center right",
        prop={"family": "monospace"},
    )
    return figure


def draw_slice(at: Axes, labels: Volume, order: dict[int, int], colours: ListedColormap) -> None:
    """Draw one slice, and on each of its regions the label."""
    picture = np.zeros(labels.shape, dtype=np.uint8)
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for label, number in order.items():
        spots = np.argwhere(labels == label)
        picture[labels == label] = number
        if len(spots) >= NUMBERED:
            x, y = spots[np.abs(spots - spots.mean(axis=0)).sum(axis=1).argmin()]
            at.text(x, y, str(label), ha="center", va="center", fontsize=9, bbox=box)
    at.imshow(
        picture.T, origin="lower", cmap=colours, vmin=0, vmax=len(order), interpolation="none"
    )
    at.set(xticks=[], yticks=[])


def main() -> int:
    """Write the table and the picture, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("clinical", "simulation", "elem", "ranges", "table", "picture"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    try:
        before, after = read_labels(args.clinical), read_labels(args.simulation)
        table = tabulate(args.elem, before.voxel_ml, args.ranges)
        figure = draw([before.array, after.array], before.affine, table)
        with whole_file(args.table) as rows, whole_file(args.picture) as picture:
            with rows.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(table)
            figure.savefig(picture, dpi=110)
    except (KeyError, OSError, ValueError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"report_case: {message}", file=sys.stderr)
        return 1
    for row in table:
        print("{:16}{:>9}{:>7}{:>12}{:>10}{:>10}{:>11}  {}".format(*row).rstrip())
    print(f"\npicture: {args.picture}")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, which removes drafts
    sys.exit(main())
