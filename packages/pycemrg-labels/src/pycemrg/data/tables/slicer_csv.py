"""Colour tables of 3D Slicer as ``.csv``, with terminology codes.

Source: https://slicer.readthedocs.io/en/latest/developer_guide/modules/colors.html and
``ReadCsvFile`` in Slicer's vtkMRMLColorTableStorageNode.cxx.

- Columns, in any order: ``LabelValue``; ``Name``; ``Color_R``, ``Color_G``, ``Color_B`` and
  ``Color_A`` (0 to 255, without ``Color_A`` all are opaque); for each of ``Category``, ``Type``,
  ``TypeModifier``, ``Region`` and ``RegionModifier`` three more, such as ``Type_CodingScheme``,
  ``Type_CodeValue`` and ``Type_CodeMeaning``. Only ``LabelValue`` must be there; columns of other
  names are passed over.
- The code of a label is its Type. Category, modifiers and region cannot be kept in a standard. A
  written code gets the category Anatomical Structure (SCT 123037004), because Slicer wants a
  category beside a type.
- A label without a name is called by the meaning of its type, after that of the type's modifier:
  ``Left Kidney``. One without that either, or called ``(none)``, is passed over.
- Slicer's reader has no way to write a quotation mark in a value; elsewhere two stand for one, and
  that is read here. Values that hold a comma stand in quotation marks.
"""

import csv
import io
import os

from pycemrg.core.whole_files import write_whole
from pycemrg.data.annotations import Code
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.colors import RGBA
from pycemrg.data.tables.columns import Record, read_records
from pycemrg.data.tables.lines import channel, integer, one_line
from pycemrg.data.tables.selection import Capacity, Row, listing, select
from pycemrg.data.tables.slicer_color import MAX_INDEX, UNNAMED
from pycemrg.data.tables.standard import Standard

COLORS = ("Color_R", "Color_G", "Color_B", "Color_A")
CODES = tuple(
    f"{concept}_{part}"
    for concept in ("Category", "Type", "TypeModifier", "Region", "RegionModifier")
    for part in ("CodingScheme", "CodeValue", "CodeMeaning")
)
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
    standard = Standard(os.fspath(path))
    for record in read_records(path, ",", ["LabelValue"]):
        value = integer(record.field("LabelValue"), "LabelValue")
        name = _name(record)
        if name and name != UNNAMED:
            standard.add(record.place, name, value, color=_color(record), code=_code(record))
    return standard.manager()


def write(
    labels: LabelManager, path: str | os.PathLike[str], *, overwrite: bool = False
) -> list[str]:
    """Write a colour table and return what was lost, a sentence each.

    Groups and aliases are lost, and so are negative values and those above 1,000,000. Of several
    names of a value the last is written. A quotation mark in a name or a code becomes an
    apostrophe. A label without a colour gets one.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If a name would become another one, or a colour or a code of the manifest is
            none.
    """
    rows, losses = select(labels, _CAPACITY)
    changed = [row.name for row in rows if row.code and any(_plain(p) != p for p in row.code)]
    if changed:
        what = f"cannot hold every character of a code: changed for {listing(changed)}"
        losses.append(f"{_CAPACITY.title} {what}")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    columns = CODES if any(row.code for row in rows) else ()
    writer.writerow(["LabelValue", "Name", *COLORS, *columns])
    for row in rows:
        codes = _codes(row)[: len(columns)]
        writer.writerow([row.value, row.written, *(row.color or ()), *codes])
    write_whole(path, table.getvalue(), overwrite=overwrite)
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
