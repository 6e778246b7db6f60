"""Segmentation look-up tables of BIDS, ``dseg.tsv``.

Source: BIDS specification, Derivatives, Imaging, "Common image-derived labels",
https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html, and its rules for
tabular files.

- Tab-separated, UTF-8. Columns, in any order: ``index`` and ``name``, which must be there,
  ``abbreviation``, ``color`` (``#rrggbb``) and ``mapping``, the integer of the same structure in
  the table of labels that BIDS itself has. Others are passed over. ``n/a`` is a missing value, and
  a row without a name is passed over. A value that holds a tab stands in double quotes.
- An abbreviation becomes an alias, and the first alias of a label becomes its abbreviation. Early
  drafts called the column ``abbr``.
- ``mapping`` becomes a code of the scheme ``BIDS``: 1 is gray matter, 2 white matter, 3
  cerebrospinal fluid ...
"""

import os
import re

from pycemrg.data import colors
from pycemrg.data.annotations import Code
from pycemrg.data.colors import RGBA
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.columns import Record, read_records, write_records
from pycemrg.data.tables.lines import integer, one_line
from pycemrg.data.tables.selection import Capacity, Row, select
from pycemrg.data.tables.standard import Standard

COLUMNS = ("index", "name", "abbreviation", "color", "mapping")
MISSING = "n/a"
SCHEME = "BIDS"

_MAPPING = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_COLOR = re.compile(r"#?([0-9a-fA-F]{6})", re.ASCII)


def read(path: str | os.PathLike[str]) -> LabelManager:
    r"""Read a segmentation look-up table.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If ``index`` or ``name`` is missing, an index or a mapping is no integer, a
            colour is not ``#rrggbb``, a row has more or less cells than the header, or a name
            stands twice; with file and line.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "dseg.tsv")
        >>> _ = path.write_text("index\tname\tabbreviation\n1\tleft atrium\tLA\n")
        >>> read(path).to_dict()
        {'labels': {'left atrium': 1}, 'aliases': {'left atrium': ['LA']}}
    """
    standard = Standard(os.fspath(path))
    for record in read_records(path, "\t", COLUMNS[:2]):
        index = integer(record.field("index"), "index")
        name = record.cells["name"]
        if _present(name):
            short = _text(record, "abbreviation") or _text(record, "abbr")
            aliases = [short] if short not in ("", name) else []
            code = _code(record)
            standard.add(
                record.place, name, index, color=_color(record), code=code, aliases=aliases
            )
    return standard.manager()


def write(
    labels: LabelManager, path: str | os.PathLike[str], *, overwrite: bool = False
) -> list[str]:
    """Write a segmentation look-up table and return what was lost, a sentence each.

    Groups, the opacity of colours, aliases but the first, codes but integers of the scheme ``BIDS``
    and the meaning of codes are lost. Of several names of a value the last is written. A column
    without any value is left out.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If a name would become another one, or a colour, code or alias of the manifest
            is none.
    """
    rows, losses = select(labels, _CAPACITY)
    losses += _lost(rows)
    cells = [_cells(row) for row in rows]
    used = [i for i in range(len(COLUMNS)) if i < 2 or any(row[i] != MISSING for row in cells)]
    table = [[row[i] for i in used] for row in [list(COLUMNS), *cells]]
    write_records(path, "\t", table, overwrite=overwrite)
    return losses


def _present(text: str) -> bool:
    return text.strip() not in ("", MISSING)


def _text(record: Record, column: str) -> str:
    text = record.text(column)
    return text if _present(text) else ""


def _color(record: Record) -> RGBA | None:
    text = _text(record, "color")
    found = _COLOR.fullmatch(text)
    if text and found is None:
        raise record.place.error(f"expected a color such as #ff53bb or n/a, got {text!r}")
    return colors.parse(f"#{found[1]}") if found else None


def _code(record: Record) -> Code | None:
    if not _text(record, "mapping"):
        return None
    return Code(SCHEME, str(integer(record.field("mapping"), "mapping")))


def _is_mapping(code: Code) -> bool:
    return code.scheme == SCHEME and _MAPPING.fullmatch(code.value) is not None


def _abbreviation(row: Row) -> str:
    can = (a for a in row.aliases if _spell(a) == a.strip() == a and a != row.written)
    return next(can, "")


def _cells(row: Row) -> list[str]:
    return [
        str(row.value),
        row.written,
        _abbreviation(row) or MISSING,
        row.color._replace(opacity=255).text() if row.color else MISSING,
        row.code.value if row.code and _is_mapping(row.code) else MISSING,
    ]


def _lost(rows: list[Row]) -> list[str]:
    lost = {
        "opacity": [row.name for row in rows if row.color and row.color.opacity != 255],
        "aliases but one abbreviation": [
            row.name for row in rows if row.aliases not in ((), (_abbreviation(row),))
        ],
        "codes but an integer of the scheme BIDS": [
            row.name for row in rows if row.code and not _is_mapping(row.code)
        ],
        "meaning of a code": [
            row.name for row in rows if row.code and _is_mapping(row.code) and row.code.meaning
        ],
    }
    return [_CAPACITY.lost(what, names) for what, names in lost.items() if names]


def _spell(name: str) -> str | None:
    return one_line(name) if _present(name) else None


_CAPACITY = Capacity(
    "a BIDS look-up table",
    parts=frozenset({"colors", "codes", "aliases"}),
    spell=_spell,
)
