"""Rows ``index name R G B A``, which 3D Slicer and FreeSurfer share and understand differently.

Slicer's last number is opacity, 255 for a solid colour. FreeSurfer's is transparency, 0 for a solid
colour: its reader takes 255 minus that number (``CTABreadASCII`` in utils/colortab.cpp), although
the header of its tables calls the column A.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pycemrg.core.manifests import Place
from pycemrg.data.tables.lines import Field, channel, entries, fields, integer

COLUMNS = ("index", "name", "red", "green", "blue", "alpha")

_FREESURFER = re.compile(r"^#.*(FreeSurfer|No\.?\s+Label\s+Name|ctTType)", re.IGNORECASE | re.M)
_SLICER = re.compile(r"^#\s*(Slicer )?color (table )?file", re.IGNORECASE | re.M)
_ROW = re.compile(
    r"\s*(?P<value>-?\d{1,18})\s+\S+(\s+\d+(\.\d*)?){3}\s+(?P<alpha>\d+(\.\d*)?)(?P<seventh>\s+-?\d+)?"
    r'(\s+[^\s\d"].*)?\s*',
    re.ASCII,
)


class ColorRow(NamedTuple):
    """One row; `rest` is what follows the six columns."""

    place: Place
    value: int
    name: str
    channels: tuple[int, int, int, int]
    rest: list[Field]


def parse(text: str, source: str) -> Iterator[ColorRow]:
    """Yield the rows of a table.

    Raises:
        ValueError: If a row has less than six columns or something else than numbers in them.
    """
    for line in entries(text, source):
        found = fields(line)
        if len(found) < 6:
            message = f"expected {' '.join(COLUMNS)} (in a name, _ for each blank), got"
            raise line.place.error(f"{message} {line.text.strip()!r}")
        red, green, blue, alpha = map(channel, found[2:6], COLUMNS[2:])
        value = integer(found[0], "index")
        yield ColorRow(line.place, value, found[1].text, (red, green, blue, alpha), found[6:])


def unblanked(name: str) -> str | None:
    """Return a name as it can stand in a row, with an underscore for each blank; None for none."""
    return re.sub(r"[\0\s]", "_", name, flags=re.ASCII) or None


def convention(text: str) -> str | None:
    """Return which program's table this is, ``slicer`` or ``freesurfer``, None if nothing says so.

    The header says it; without one, a seventh column of integers is FreeSurfer's, and so is a last
    number that is 0 in every row but that of the background, where Slicer would show nothing. Some
    255 in that column is Slicer's.
    """
    rows = [_ROW.fullmatch(line.text) for line in entries(text, "")]
    if not rows or rows[0] is None:
        return None
    if _SLICER.search(text):
        return "slicer"
    if _FREESURFER.search(text) or any(row and row["seventh"] for row in rows):
        return "freesurfer"
    alphas = {float(row["alpha"]) for row in rows if row and int(row["value"])}
    return "freesurfer" if alphas == {0} else "slicer" if 255 in alphas else None
