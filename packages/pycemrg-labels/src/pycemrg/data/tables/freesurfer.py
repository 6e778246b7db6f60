"""Colour look-up tables of FreeSurfer, ``.txt``, ``.lut`` and ``.ctab``: ``No. name R G B A``.

Source: https://surfer.nmr.mgh.harvard.edu/fswiki/LabelsClutsAnnotationFiles and, for what it leaves
open, ``CTABreadASCII`` in FreeSurfer's utils/colortab.cpp.

- Columns stand between blanks. A is transparency: 0 is a solid colour (see `color_rows`).
- Since FreeSurfer 7 a row may have a seventh column, the type of the tissue, which is passed over.
- Lines that start with ``#`` are comments, and so is what follows a ``#`` after the columns.
  FreeSurfer passes over any line that is no row; here such a line is an error, because a row with a
  fault would be lost in silence.
- A name holds no blank; an underscore is written for each one.
- FreeSurfer warns of a name that stands twice; here it is an error. It keeps the first row of an
  index that stands twice; here both names are kept.
"""

import os
from collections.abc import Iterator

from pycemrg.data.colors import RGBA
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.color_rows import convention, parse, unblanked
from pycemrg.data.tables.lines import Field, integer, read_text
from pycemrg.data.tables.selection import Capacity, Row, write_lines
from pycemrg.data.tables.standard import Standard


def read(path: str | os.PathLike[str]) -> LabelManager:
    r"""Read a look-up table.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a row is not ``No. name R G B A``, or a name stands twice; with file and
            line.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "lut.txt")
        >>> _ = path.write_text("#No. Label Name:  R G B A\n2  Left-Atrium  0 0 255  0\n")
        >>> read(path).to_dict()
        {'labels': {'Left-Atrium': 2}, 'colors': {'Left-Atrium': '#0000ff'}}
    """
    source = os.fspath(path)
    standard = Standard(source)
    for row in parse(read_text(path), source):
        _check_rest(row.rest)
        red, green, blue, transparency = row.channels
        color = RGBA(red, green, blue, 255 - transparency)
        standard.add(row.place, row.name, row.value, color=color)
    return standard.manager()


def write(
    labels: LabelManager, path: str | os.PathLike[str], *, overwrite: bool = False
) -> list[str]:
    """Write a look-up table and return what was lost, a sentence each.

    Groups, codes and aliases are lost, and so are values that are negative or need more than 31
    bits. Of several names of a value the last is written. Blanks in a name become underscores. A
    label without a colour gets one.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If a name would become another one, or a colour of the manifest is none.
    """
    return write_lines(labels, path, _CAPACITY, _lines, overwrite=overwrite)


def recognises(text: str) -> bool:
    """Return whether a text looks like such a table."""
    return convention(text) == "freesurfer"


def _lines(rows: list[Row]) -> Iterator[str]:
    width = max((len(row.written) for row in rows), default=0)
    yield f"{'#No.':<8}{'Label Name:':<{width}}    R   G   B   A"
    for row in rows:
        red, green, blue, opacity = row.rgba
        channels = " ".join(f"{part:3d}" for part in (red, green, blue, 255 - opacity))
        yield f"{row.value:<7} {row.written:<{width}}  {channels}"


def _check_rest(rest: list[Field]) -> None:
    comment = next((i for i, field in enumerate(rest) if field.text.startswith("#")), len(rest))
    if comment > 1:
        raise rest[1].place.error(f"expected nothing after the tissue type, got {rest[1].text!r}")
    for field in rest[:comment]:
        integer(field, "tissue type")


_CAPACITY = Capacity(
    "a FreeSurfer look-up table",
    parts=frozenset({"colors"}),
    values=range(2**31),
    spell=unblanked,
    needs_color=True,
)
