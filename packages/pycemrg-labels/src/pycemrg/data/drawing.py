"""A picture of a segmentation: its three middle slices, with names, colours and volumes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycemrg.core.whole_files import whole_file
from pycemrg.data.annotations import usable
from pycemrg.data.colors import made_up, parse
from pycemrg.data.extras import need

if TYPE_CHECKING:
    import numpy as np

    from pycemrg.data.manager import LabelManager
    from pycemrg.data.volumes import LabelVolume

Rgb = tuple[float, float, float]

VIEWS = ("sagittal", "coronal", "axial")
DIRECTIONS = ("L to R", "P to A", "I to S")


def draw_slices(
    volume: "LabelVolume",
    labels: "LabelManager",
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> Path:
    """Draw the middle slices through the labelled part of a volume to a picture.

    The slices are cut along the axes of the file: sagittal, coronal and axial, with superior or
    anterior up and the patient's right on the right. A label has the colour of its standard, or the
    one that tables are given for it. The background, 0, is left white.

    Args:
        volume: What `pycemrg.data.volumes.read_labels` returns, with three axes.
        labels: The standard that the volume is labelled by.
        path: The picture to write; its suffix gives the format (``.png``, ``.pdf``, ``.svg``).
        overwrite: Whether an existing file may be replaced.

    Returns:
        The absolute path of the picture.

    Raises:
        ValueError: If the volume does not have three axes or the suffix names no format.
        FileExistsError: If the picture exists and `overwrite` is False.
        ImportError: If matplotlib is missing (``pycemrg-labels[plots]``).
    """
    need("plots", "drawing a picture", "matplotlib", "numpy")
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    from pycemrg.data.counting import count_values

    array, spacing = _to_ras(volume)
    counts = count_values(array)
    colors = _colors([value for value in counts if value != 0], labels)
    handles = [
        Patch(facecolor=color, label=_caption(value, counts[value] * volume.voxel_ml, labels))
        for value, color in colors.items()
    ]
    size, columns = _layout([str(handle.get_label()) for handle in handles])
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, (view, ax) in enumerate(zip(VIEWS, axes, strict=True)):
        across, up = [other for other in range(3) if other != axis]
        ax.imshow(
            _painted(_middle_slice(array, axis), colors),
            origin="lower",
            interpolation="nearest",
            aspect=spacing[up] / spacing[across],
        )
        ax.set_title(view)
        ax.set(xticks=[], yticks=[], xlabel=DIRECTIONS[across], ylabel=DIRECTIONS[up])
    legend = figure.legend(
        handles=handles, loc="outside right upper", fontsize="small", ncols=columns
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name is no formula, whatever dollars it has
    target = Path(path)
    with whole_file(target, overwrite=overwrite) as draft:
        figure.savefig(draft, dpi=150)
    return target.absolute()


def _layout(captions: list[str]) -> tuple[tuple[float, float], int]:
    """Return a size in inches that has room for the captions, and in how many columns they go."""
    columns = min(1 + len(captions) // 27, 4)
    rows = -(-len(captions) // columns)
    width = 0.7 + 0.08 * max(map(len, captions), default=0)
    return (9 + columns * width, max(4.5, 0.5 + 0.2 * rows)), columns


def _to_ras(volume: "LabelVolume") -> "tuple[np.ndarray[Any, Any], list[float]]":
    """Turn and flip the axes so that they point right, to the front and up; give their spacing."""
    import numpy as np

    if volume.array.ndim != 3:
        raise ValueError(f"a picture needs a volume of three axes, not {volume.array.ndim}")
    directions = volume.affine[:3, :3]
    order: list[int] = []
    for world in range(3):
        free = [axis for axis in range(3) if axis not in order]
        order.append(max(free, key=lambda axis: abs(directions[world, axis])))
    array = np.transpose(volume.array, order)
    for world, axis in enumerate(order):
        if directions[world, axis] < 0:
            array = np.flip(array, world)
    return array, [float(np.linalg.norm(directions[:, axis])) for axis in order]


def _middle_slice(array: "np.ndarray[Any, Any]", axis: int) -> "np.ndarray[Any, Any]":
    """Return the slice through the middle of what is labelled, with the second axis up."""
    import numpy as np

    others = tuple(other for other in range(3) if other != axis)
    labelled = np.flatnonzero((array != 0).any(axis=others))
    index = int(labelled[len(labelled) // 2]) if labelled.size else array.shape[axis] // 2
    return np.asarray(np.take(array, index, axis=axis).T)


def _painted(labels: "np.ndarray[Any, Any]", colors: dict[int, Rgb]) -> "np.ndarray[Any, Any]":
    import numpy as np

    picture = np.ones((*labels.shape, 3))
    for value, color in colors.items():
        picture[labels == value] = color
    return picture


def _colors(values: list[int], labels: "LabelManager") -> dict[int, Rgb]:
    known = usable(lambda: labels.colors)
    given = {labels.labels[name]: parse(color) for name, color in known.items() if name in labels}
    chosen = {value: given.get(value) or made_up(value) for value in values}
    return {v: (c.red / 255, c.green / 255, c.blue / 255) for v, c in chosen.items()}


def _caption(value: int, ml: float, labels: "LabelManager") -> str:
    name = labels.get_name(value) if value in labels.labels.values() else "(no name)"
    return f"{value}  {name}  {ml:,.1f} ml"
