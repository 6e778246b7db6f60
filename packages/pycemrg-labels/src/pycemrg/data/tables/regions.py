"""Groups as the regions of nnU-Net, in the order that puts them back into one label map.

In ``labels`` a region is a list of integers. nnU-Net predicts each region by itself and then draws
them one after another, the i-th region with the i-th value of ``regions_class_order``. What is
drawn later covers what was drawn before, so a region stands before those that it contains.

Source: https://github.com/MIC-DKFZ/nnUNet, documentation/region_based_training.md.
"""

from typing import Any

from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.selection import listing

RESERVED = ("background", "ignore")


def as_regions(labels: LabelManager, losses: list[str]) -> dict[str, list[int]]:
    """Return the values of each group that can be a region, the largest first.

    Args:
        labels: The standard.
        losses: Gets a sentence about the groups that can be none.

    Raises:
        KeyError: If a group has a member that does not exist.
        ValueError: If a group contains itself.
    """
    barred = {0, labels.labels.get("ignore", 0)}
    own = [name for name in labels.groups if name not in labels and name not in RESERVED]
    groups = {name: labels.get_values_from_names([name]) for name in own}
    regions = {n: v for n, v in groups.items() if len(v) > 1 and not barred & {*v}}
    if others := [name for name in labels.groups if name not in regions]:
        losses.append(
            "a region of nnU-Net has a name of its own and several values, "
            f"without background and 'ignore': lost are {listing(others)}"
        )
    return dict(sorted(regions.items(), key=lambda region: -len(region[1])))


def with_regions(
    labels: dict[str, int], regions: dict[str, list[int]], losses: list[str]
) -> dict[str, Any]:
    """Return ``labels`` and ``regions_class_order`` of a dataset with regions.

    Args:
        labels: Labels and values, with ``background``.
        regions: Regions and values, the largest first.
        losses: Gets a sentence about the values that these regions do not single out.

    Example:
        >>> with_regions({"background": 0, "core": 2}, {"tumor": [1, 2]}, [])
        {'labels': {'background': 0, 'tumor': [1, 2], 'core': 2}, 'regions_class_order': [1, 2]}
    """
    single = {name: value for name, value in labels.items() if name not in RESERVED}
    drawn = [*regions.values(), *([value] for value in single.values())]
    order = [_drawn_with(region, drawn[i + 1 :]) for i, region in enumerate(drawn)]
    pairs = zip(drawn, order, strict=True)
    last = {value: drawn_with for region, drawn_with in pairs for value in region}
    unclear = sorted(value for value, drawn_with in last.items() if value != drawn_with)
    if unclear:
        values = ", ".join(map(str, unclear))
        losses.append(f"nnU-Net cannot give back {values}: the regions do not single them out")
    reserved = {name: labels[name] for name in RESERVED if name in labels}
    background = {"background": reserved.pop("background", 0)}
    return {"labels": {**background, **regions, **single, **reserved}, "regions_class_order": order}


def _drawn_with(region: list[int], later: list[list[int]]) -> int:
    covered = {value for other in later for value in other}
    return min((value for value in region if value not in covered), default=min(region))
