"""Tables whose first row names the columns."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pycemrg.core.manifests import Place
from pycemrg.core.whole_files import write_whole
from pycemrg.data.tables.lines import Field, read_text, records


class Record(NamedTuple):
    """A row: the text of each column that the table has."""

    place: Place
    cells: dict[str, str]

    def text(self, column: str) -> str:
        """Return the text in a column without blanks around it, empty if there is no such one."""
        return self.cells.get(column, "").strip()

    def field(self, column: str) -> Field:
        """Return a column with the place of its row."""
        return Field(self.place, self.text(column))


def read_records(
    path: str | os.PathLike[str], delimiter: str, required: Sequence[str]
) -> Iterator[Record]:
    """Yield the rows of a table below its header.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a required column is missing, a column stands twice, or a row has more or
            less cells than the header.
    """
    source = os.fspath(path)
    rows = records(read_text(path), source, delimiter)
    place, header = next(rows, (Place(source, 1, 1), []))
    names = [name.strip() for name in header]
    _check_header(place, names, required)
    for place, cells in rows:
        if len(cells) != len(names):
            raise place.error(f"expected {len(names)} columns as in the header, got {len(cells)}")
        yield Record(place, dict(zip(names, cells, strict=True)))


def write_records(
    path: str | os.PathLike[str],
    delimiter: str,
    rows: Iterable[Sequence[object]],
    *,
    overwrite: bool,
) -> None:
    """Write the rows of a table, of which the first names the columns.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
    """
    table = io.StringIO()
    csv.writer(table, delimiter=delimiter, lineterminator="\n").writerows(rows)
    write_whole(path, table.getvalue(), overwrite=overwrite)


def _check_header(place: Place, names: list[str], required: Sequence[str]) -> None:
    shown = ", ".join(names) or "none"
    for name in required:
        if name not in names:
            raise place.error(
                f"the first row must name a column {name!r}; its columns are: {shown}"
            )
    for name in names:
        if name and names.count(name) > 1:
            raise place.error(f"the first row names the column {name!r} twice")
