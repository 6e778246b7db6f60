"""Label descriptions of ITK-SNAP, ``.txt`` and ``.label``: rows ``IDX R G B A VIS MSH "LABEL"``.

Source: the header that ITK-SNAP writes into each such file, and ``LoadFromFile`` and ``SaveToFile``
in its Logic/Common/ColorLabelTable.cxx.

- Columns stand between blanks; R, G and B are from 0 to 255, A is opacity from 0 to 1 (it has 256
  levels), VIS and MSH say whether a label is visible in slices and in 3D (0 or 1).
- The name stands in double quotes and ends at the next one, so it may hold blanks but no double
  quote. A label without a name is passed over. The two flags are checked and not kept: an invisible
  label is a label. Those of a written label are 1, of index 0 they are 0.
- Lines that start with ``#`` are comments.
- Indices go from 0 to 65,535. ITK-SNAP shows index 0 as ``Clear Label`` whatever its row says; here
  it keeps its name.
"""

import os
import re
from collections.abc import Iterator

from pycemrg.data.colors import RGBA
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.lines import (
    Field,
    channel,
    entries,
    fields,
    integer,
    number,
    one_line,
    read_text,
)
from pycemrg.data.tables.selection import Capacity, Row, write_lines
from pycemrg.data.tables.standard import Standard

COLUMNS = ("IDX", "R", "G", "B", "A", "VIS", "MSH")

_ROW = re.compile(r'(?P<numbers>[^"]*)"(?P<name>[^"]*)"\s*')


def read(path: str | os.PathLike[str]) -> LabelManager:
    r"""Read label descriptions.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a row is not ``IDX R G B A VIS MSH "LABEL"``, or a name stands twice; with
            file and line.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "heart.txt")
        >>> _ = path.write_text('3  0 0 255  0.5  1 1  "left atrium"\n')
        >>> read(path).to_dict()
        {'labels': {'left atrium': 3}, 'colors': {'left atrium': '#0000ff80'}}
    """
    source = os.fspath(path)
    standard = Standard(source)
    for line in entries(read_text(path), source):
        index, name, color = _row(line)
        if name:
            standard.add(line.place, name, index, color=color)
    return standard.manager()


def write(
    labels: LabelManager, path: str | os.PathLike[str], *, overwrite: bool = False
) -> list[str]:
    """Write label descriptions and return what was lost, a sentence each.

    Groups, codes and aliases are lost, and so are negative values and those above 65,535. Of
    several names of a value the last is written. A double quote in a name becomes an apostrophe. A
    label without a colour gets one.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If a name would become another one, or a colour of the manifest is none.
    """
    return write_lines(labels, path, _CAPACITY, _lines, overwrite=overwrite)


def recognises(text: str) -> bool:
    """Return whether a text looks like label descriptions."""
    first = next(entries(text, ""), None)
    found = _ROW.fullmatch(first.text) if first else None
    return found is not None and len(found["numbers"].split()) == len(COLUMNS)


def _row(line: Field) -> tuple[int, str, RGBA]:
    found = _ROW.fullmatch(line.text)
    numbers = fields(line._replace(text=found["numbers"])) if found else []
    if found is None or len(numbers) != len(COLUMNS):
        message = f'expected {" ".join(COLUMNS)} "LABEL", got {line.text.strip()!r}'
        raise line.place.error(message)
    red, green, blue = map(channel, numbers[1:4], COLUMNS[1:4])
    opacity = int(number(numbers[4], "A", 1) * 255 + 0.5)
    for flag, what in zip(numbers[5:], COLUMNS[5:], strict=True):
        number(flag, what, 1)
    return integer(numbers[0], "IDX"), found["name"], RGBA(red, green, blue, opacity)


def _lines(rows: list[Row]) -> Iterator[str]:
    yield "# ITK-SnAP Label Description File"
    yield "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL"
    yield from map(_line, rows)


def _line(row: Row) -> str:
    red, green, blue, opacity = row.rgba
    # ITK-SNAP cuts 255 * A off where it should round, so the last digit is rounded up.
    alpha = f"{-(-opacity * 10_000 // 255) / 10_000:g}"
    shown = int(row.value != 0)
    return (
        f"{row.value:5d}  {red:4d} {green:4d} {blue:4d}  {alpha:>6}  {shown}  {shown}"
        f'  "{row.written}"'
    )


def _spell(name: str) -> str | None:
    return one_line(name).replace('"', "'") or None


_CAPACITY = Capacity(
    "an ITK-SNAP label description",
    parts=frozenset({"colors"}),
    values=range(2**16),
    spell=_spell,
    needs_color=True,
)
