"""The ``labels`` of nnU-Net's ``dataset.json``, version 1 and 2.

Source: https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md,
region_based_training.md and ignore_label.md, and nnunetv2/utilities/label_handling.

- Version 1 has ``{"0": "background", "1": "heart"}``, version 2 ``{"background": 0, "heart": 1}``.
  Both are read, version 2 is written.
- Version 2 may have regions: ``{"whole_tumor": [1, 2, 3], "enhancing": 3}``. A list of several
  integers becomes a group; its members are the labels of these values, or the number where no label
  has it.
- nnU-Net demands a label ``background`` of 0, all other values consecutive from 1, and, if there is
  a label ``ignore``, that it has the highest. `consecutive` gives a standard that is so.
"""

import json
import os
from pathlib import Path
from typing import Any

from pycemrg.core.manifests import Mapping, Node, Scalar, Sequence
from pycemrg.core.whole_files import write_whole
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables import json_nodes
from pycemrg.data.tables.lines import Field, integer, read_text
from pycemrg.data.tables.regions import as_regions, with_regions
from pycemrg.data.tables.selection import Capacity, listing, select
from pycemrg.data.tables.standard import Standard

BACKGROUND = "background"
IGNORE = "ignore"


def read(path: str | os.PathLike[str]) -> LabelManager:
    r"""Read the labels of a dataset.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no JSON, has no map ``labels``, or a label is not an integer or a list
            of integers; with file, line and column.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "dataset.json")
        >>> _ = path.write_text('{"labels": {"background": 0, "LV": 1, "RV": 2, "both": [1, 2]}}')
        >>> labels = read(path)
        >>> labels.get_value("RV"), labels.groups["both"]
        (2, ('LV', 'RV'))
    """
    source = os.fspath(path)
    root = json_nodes.parse(read_text(path), source)
    section = root.get("labels") if isinstance(root, Mapping) else None
    if not isinstance(section, Mapping):
        raise root.place.error('expected an object with "labels": {"background": 0, ...}')
    standard = Standard(source)
    if version_1 := _version_1(section):
        for key, name in version_1:
            standard.add(key.place, name, integer(Field(key.place, key.text), "a label"))
    else:
        _read_version_2(section, standard)
    return standard.manager()


def write(
    labels: LabelManager,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    regions: bool = False,
) -> list[str]:
    """Write the labels into a dataset.json and return what was lost, a sentence each.

    Colours, codes and aliases are lost. A file that is replaced keeps what it says besides labels;
    a new one has the labels only, and nnU-Net needs ``channel_names``, ``numTraining`` and
    ``file_ending`` too.

    Args:
        labels: The standard; its values must be consecutive, see `consecutive`.
        path: The file.
        overwrite: Whether an existing file may be replaced.
        regions: Whether groups are written as regions, which makes nnU-Net train on regions instead
            of labels. If not, groups are lost.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If the values are not consecutive; if an annotation of the manifest is none; if
            a group contains itself.
        KeyError: If a group has a member that does not exist.
    """
    rows, losses = select(labels, _CAPACITY)
    values = {row.name: row.value for row in rows}
    groups = as_regions(labels, losses) if regions else {}
    if labels.groups and not regions:
        lost = listing(labels.groups)
        losses.append(f"groups are written with regions=True only: lost are {lost}")
    _refuse_gaps(labels, values, groups)
    values = _with_background(values, losses)
    content = with_regions(values, groups, losses) if groups else {"labels": values}
    kept = _others(path) if overwrite else {}
    text = json.dumps({**kept, **content}, indent=4, ensure_ascii=False)
    write_whole(path, text + "\n", overwrite=overwrite)
    return losses


def consecutive(labels: LabelManager) -> LabelManager:
    """Return the standard with values as nnU-Net demands them, to map data to before training.

    The background (the label of this name, else the labels with the value 0) gets 0, ``ignore``
    the highest value, all others 1, 2, 3 ... in the order of their values. Labels that share a
    value share the new one. Names, colours, codes, aliases and groups stay.

    Raises:
        ValueError: If a group has a number as a member that no label has as its value.

    Example:
        >>> from pycemrg.data import LabelMapper
        >>> scanner = LabelManager.from_dict({"labels": {"background": 0, "LV": 205, "RV": 600}})
        >>> dense = consecutive(scanner)
        >>> dense.to_dict()
        {'labels': {'background': 0, 'LV': 1, 'RV': 2}}
        >>> LabelMapper(scanner, dense).apply([0, 600, 205]).tolist()
        [0, 2, 1]
    """
    data = labels.to_dict()
    renumbered = _renumbered(labels)
    data["labels"] = {name: renumbered[value] for name, value in labels.labels.items()}
    data["groups"] = {
        group: [_member(labels, group, member, renumbered) for member in members]
        for group, members in labels.groups.items()
    }
    return LabelManager.from_dict(data, source=f"{labels.source}, consecutive")


def recognises(text: str) -> bool:
    """Return whether a text looks like a dataset.json."""
    root = json_nodes.peek(text)
    return isinstance(root, Mapping) and isinstance(root.get("labels"), Mapping)


def _version_1(section: Mapping) -> list[tuple[Scalar, str]]:
    """Return values and names if all keys are numbers of names, as in version 1, else none."""
    pairs = [
        (key, value.text)
        for key, value in section
        if key.text.isdecimal() and isinstance(value, Scalar) and not value.plain
    ]
    return pairs if len(pairs) == len(section.entries) else []


def _read_version_2(section: Mapping, standard: Standard) -> None:
    names: dict[int, str] = {}
    regions = []
    for key, node in section:
        values = [_integer(item) for item in (node.items if isinstance(node, Sequence) else [node])]
        if len(values) == 1:
            standard.add(key.place, key.text, values[0])
            names.setdefault(values[0], key.text)
        else:
            regions.append((key, values))
    for key, values in regions:
        for value in values:
            if value not in names and str(value) in section.entries:
                raise key.place.error(f"{value} in {key.text!r} is a value and a name; rename it")
        standard.add_group(key.place, key.text, [names.get(v, str(v)) for v in values])


def _integer(node: Node) -> int:
    if not isinstance(node, Scalar):
        raise node.place.error(f"expected an integer or a list of integers, not {node.kind}")
    # nnU-Net itself takes "1" for 1.
    return integer(Field(node.place, node.text), "a label")


def _renumbered(labels: LabelManager) -> dict[int, int]:
    background = labels.labels.get(BACKGROUND, 0)
    ignored = labels.labels.get(IGNORE)
    others = sorted({*labels.labels.values()} - {background, ignored})
    last = [] if ignored in (None, background) else [ignored]
    return {background: 0, **{value: new for new, value in enumerate([*others, *last], 1)}}


def _member(labels: LabelManager, group: str, member: str, renumbered: dict[int, int]) -> str:
    if member in labels.labels or member in labels.groups:
        return member
    try:
        return str(renumbered[int(member)])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{labels.source}: group {group!r} has the member {member!r}, which is no label and "
            "the value of none; give it a label"
        ) from error


def _refuse_gaps(
    labels: LabelManager, values: dict[str, int], groups: dict[str, list[int]]
) -> None:
    used = {*values.values(), *(value for members in groups.values() for value in members)} - {0}
    expected = range(1, len(used) + 1)
    if used != set(expected):
        missing = next(value for value in expected if value not in used)
        wrong = f"must be consecutive, and no label has the value {missing}"
    elif values.get(BACKGROUND, 0) != 0:
        wrong = f"must be 0 for 'background', not {values[BACKGROUND]}"
    elif IGNORE in values and values[IGNORE] != len(used):
        wrong = f"must be highest for 'ignore', not {values[IGNORE]}"
    else:
        return
    raise ValueError(
        f"{labels.source}: the values of an nnU-Net dataset {wrong}; write "
        "pycemrg.data.tables.nnunet.consecutive(labels) instead, and map images to it with "
        "LabelMapper(labels, consecutive(labels))"
    )


def _with_background(values: dict[str, int], losses: list[str]) -> dict[str, int]:
    others = [name for name, value in values.items() if value == 0 and name != BACKGROUND]
    if others:
        losses.append(f"nnU-Net calls the value 0 'background': {listing(others)} not written")
    elif BACKGROUND not in values:
        losses.append("nnU-Net demands a label 'background': added with the value 0")
    return {BACKGROUND: 0, **{name: value for name, value in values.items() if value != 0}}


def _others(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what an existing dataset.json says besides labels."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    known = content if isinstance(content, dict) else {}
    return {key: known[key] for key in known if key not in ("labels", "regions_class_order")}


_CAPACITY = Capacity("an nnU-Net dataset", parts=frozenset({"groups"}), needs_one_name=False)
