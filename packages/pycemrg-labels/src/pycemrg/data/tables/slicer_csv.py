"""Colour tables of 3D Slicer as ``.csv``, with terminology codes.

Source: https://slicer.readthedocs.io/en/latest/developer_guide/modules/colors.html and
``ReadCsvFile`` in Slicer's vtkMRMLColorTableStorageNode.cxx.

- Columns, in any order: ``LabelValue``; ``Name``; ``Color_R``, ``Color_G``, ``Color_B`` and
  ``Color_A`` (0 to 255, without ``Color_A`` all are opaque); for each of ``Category``, ``Type``,
  ``TypeModifier``, ``Region`` and ``RegionModifier`` three more, such as ``Type_CodingScheme``,
  ``Type_CodeValue`` and ``Type_CodeMeaning``. Only ``LabelValue`` must be there; columns of other
  names are passed over.
- The code of a label is its Type. Category, modifiers and region cannot be kept in a standard; a
  warning is logged where modifiers or regions make the code say more. A written code gets the
  category Anatomical Structure (SCT 123037004), because Slicer wants a category beside a type.
- A label without a name is called by the meaning of its type, after that of the type's modifier:
  ``Left Kidney``. One without that either, or called ``(none)``, is passed over.
- Slicer's reader has no way to write a quotation mark in a value; elsewhere two stand for one, and
  that is read here. Values that hold a comma stand in quotation marks.
"""

import logging
import os

from pycemrg.data.annotations import Code
from pycemrg.data.colors import RGBA
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.columns import Record, read_records, write_records
from pycemrg.data.tables.lines import channel, integer, one_line
from pycemrg.data.tables.selection import Capacity, Row, listing, select
from pycemrg.data.tables.slicer_color import MAX_INDEX, UNNAMED
from pycemrg.data.tables.standard import Standard

logger = logging.getLogger(__name__)

COLORS = ("Color_R", "Color_G", "Color_B", "Color_A")
CODES = tuple(
    f"{concept}_{part}"
    for concept in ("Category", "Type", "TypeModifier", "Region", "RegionModifier")
    for part in ("CodingScheme", "CodeValue", "CodeMeaning")
)
_REFINEMENTS = ("TypeModifier", "Region", "RegionModifier")
_CATEGORY = ("SCT", "123037004", "Anatomical Structure")


def read(path: str | os.PathLike[str]) -> LabelManager:
    r"""Read a colour table.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If there is no column ``LabelValue``, a value or a colour is no number, a row
            has more or less cells than the header, or a name stands twice; with file and line.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "heart.csv")
        >>> _ = path.write_text("LabelValue,Name,Color_R,Color_G,Color_B\n1,LV,161,0,92\n")
        >>> read(path).to_dict()
        {'labels': {'LV': 1}, 'colors': {'LV': '#a1005c'}}
    """
    source = os.fspath(path)
    standard, refined = Standard(source), []
    for record in read_records(path, ",", ["LabelValue"]):
        value = integer(record.field("LabelValue"), "LabelValue")
        name = _name(record)
        if name and name != UNNAMED:
            code = _code(record)
            standard.add(record.place, name, value, color=_color(record), code=code)
            if code and any(record.text(f"{concept}_CodeValue") for concept in _REFINEMENTS):
                refined.append(name)
    if refined:
        logger.warning("%s: modifiers and regions are not kept of %s", source, listing(refined))
    return standard.manager()


def write(
    labels: LabelManager, path: str | os.PathLike[str], *, overwrite: bool = False
) -> list[str]:
    """Write a colour table and return what was lost, a sentence each.

    Groups and aliases are lost, and so are negative values and those above 1,000,000. Of several
    names of a value the last is written. A quotation mark in a name or a code becomes an
    apostrophe, and a code has no blanks around it. A label without a colour gets one.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If a name would become another one, or a colour or a code of the manifest is
            none.
    """
    rows, losses = select(labels, _CAPACITY)
    changed = [row.name for row in rows if row.code and _read_again(row.code) != row.code]
    if changed:
        what = f"cannot hold every code as it is: changed for {listing(changed)}"
        losses.append(f"{_CAPACITY.title} {what}")
    columns = CODES if any(row.code for row in rows) else ()
    table = [
        ("LabelValue", "Name", *COLORS, *columns),
        *((row.value, row.written, *row.rgba, *_codes(row)[: len(columns)]) for row in rows),
    ]
    write_records(path, ",", table, overwrite=overwrite)
    return losses


def _name(record: Record) -> str:
    name = record.cells.get("Name", "")
    if name.strip():
        return name
    meanings = [record.text("TypeModifier_CodeMeaning"), record.text("Type_CodeMeaning")]
    return " ".join(filter(None, meanings)) if meanings[1] else ""


def _color(record: Record) -> RGBA | None:
    present = [column for column in COLORS if record.text(column)]
    if not present:
        return None
    red, green, blue = (channel(record.field(column), column) for column in COLORS[:3])
    opacity = channel(record.field("Color_A"), "Color_A") if "Color_A" in present else 255
    return RGBA(red, green, blue, opacity)


def _code(record: Record) -> Code | None:
    scheme, value = record.text("Type_CodingScheme"), record.text("Type_CodeValue")
    meaning = record.cells.get("Type_CodeMeaning", "")
    return Code(scheme, value, meaning) if scheme and value else None


def _read_again(code: Code) -> Code | None:
    """Return what will be read of a code that is written."""
    scheme, value, meaning = map(_plain, code)
    return (
        Code(scheme.strip(), value.strip(), meaning) if scheme.strip() and value.strip() else None
    )


def _codes(row: Row) -> list[str]:
    known = [*_CATEGORY, *map(_plain, row.code)] if row.code else []
    return known + [""] * (len(CODES) - len(known))


def _plain(text: str) -> str:
    return one_line(text).replace('"', "'")


def _spell(name: str) -> str | None:
    written = _plain(name)
    return None if written.strip() == "" or written == UNNAMED else written


_CAPACITY = Capacity(
    "a Slicer colour table (csv)",
    parts=frozenset({"colors", "codes"}),
    values=range(MAX_INDEX + 1),
    spell=_spell,
    needs_color=True,
)
