"""Colour tables of 3D Slicer, ``.ctbl`` and ``.txt``: rows ``index name R G B A``.

Source: https://slicer.readthedocs.io/en/latest/developer_guide/modules/colors.html and, for what it
leaves open, ``ReadCtblFile`` and ``WriteCtblFile`` in Slicer's vtkMRMLColorTableStorageNode.cxx.

- Columns stand between blanks, all numbers are from 0 to 255, A is opacity. Lines that start with
  ``#`` are comments; what follows the six columns is a comment too, if it is not a number (then a
  blank in a name is likelier).
- A name holds no blank. Slicer writes an underscore for each one and shows a blank for each
  underscore; here an underscore stays one when read. Apostrophes around a name are dropped.
- An index without a name is called ``(none)`` by Slicer; such rows are passed over.
- Indices go from 0 to 1,000,000. A table with a larger one is refused by Slicer as a whole.
"""

import os
import re
from collections.abc import Iterator

from pycemrg.core.manifests import Place
from pycemrg.data.colors import RGBA
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.color_rows import convention, parse, unblanked
from pycemrg.data.tables.lines import read_text
from pycemrg.data.tables.selection import Capacity, Row, write_lines
from pycemrg.data.tables.standard import Standard

UNNAMED = "(none)"
MAX_INDEX = 1_000_000

_NUMBER = re.compile(r"-?[0-9.]+", re.ASCII)
_PROCEDURAL = re.compile(r"^# Color procedural file", re.MULTILINE)


def read(path: str | os.PathLike[str]) -> LabelManager:
    r"""Read a colour table.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a row is not ``index name R G B A``, a name stands twice, or the table is a
            continuous scale; with file and line.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "heart.ctbl")
        >>> _ = path.write_text("# Color table file\n0 background 0 0 0 0\n1 LV 161 0 92 255\n")
        >>> read(path).to_dict()["colors"]
        {'background': '#00000000', 'LV': '#a1005c'}
    """
    source = os.fspath(path)
    text = read_text(path)
    standard = Standard(source)
    if _PROCEDURAL.search(text):
        raise Place(source, 1, 1).error("a continuous colour scale has no labels; give a table")
    for row in parse(text, source):
        if row.rest and _NUMBER.fullmatch(row.rest[0].text):
            raise row.rest[0].place.error(
                "a seventh number; in Slicer's tables a name has _ for each blank, "
                "and FreeSurfer's tables (format 'freesurfer') have a seventh column"
            )
        name = row.name.strip("'")
        if name and name != UNNAMED:
            standard.add(row.place, name, row.value, color=RGBA(*row.channels))
    return standard.manager()


def write(
    labels: LabelManager, path: str | os.PathLike[str], *, overwrite: bool = False
) -> list[str]:
    """Write a colour table and return what was lost, a sentence each.

    Groups, codes and aliases are lost, and so are negative values and those above 1,000,000. Of
    several names of a value the last is written. Blanks in a name become underscores. A label
    without a colour gets one.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If a name would become another one, or a colour of the manifest is none.
    """
    return write_lines(labels, path, _CAPACITY, _lines, overwrite=overwrite)


def recognises(text: str) -> bool:
    """Return whether a text looks like such a table."""
    return convention(text) == "slicer"


def _lines(rows: list[Row]) -> Iterator[str]:
    yield "# Color table file"
    yield f"# {len(rows)} values"
    for row in rows:
        yield f"{row.value} {row.written} {' '.join(map(str, row.rgba))}"


def _spell(name: str) -> str | None:
    written = (unblanked(name) or "").strip("'")
    return None if written in ("", UNNAMED) else written


_CAPACITY = Capacity(
    "a Slicer colour table",
    parts=frozenset({"colors"}),
    values=range(MAX_INDEX + 1),
    spell=_spell,
    needs_color=True,
)
