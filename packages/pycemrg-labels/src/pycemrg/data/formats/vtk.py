"""VTK files, legacy and XML, whose cell arrays of tags are counted and replaced."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pycemrg.data.counting import count_values
from pycemrg.data.formats.patches import Patch, patched
from pycemrg.data.formats.vtk_legacy import LegacyArrays
from pycemrg.data.formats.vtk_xml import XmlArrays
from pycemrg.data.rules import Rules


class _Arrays(Protocol):
    """The arrays of a file that hold the tags: one, or one for each piece of the mesh."""

    @property
    def values(self) -> list[np.ndarray[Any, Any]]: ...

    def patches(self, rules: Rules) -> Iterator[Patch]: ...


def relabel_vtk(source: Path, draft: Path, rules: Rules, array: str) -> None:
    """Write to `draft` the file `source` with the values of the cell array `array` replaced.

    Raises:
        ValueError: If there is no such array, it is damaged, or the rules refuse a value.
        OverflowError: If no type holds all results.
        OSError: If a file cannot be read or written.
    """
    data = source.read_bytes()
    arrays = _arrays(data, source, array)
    # All pieces of the mesh first, so that a refusal counts what the whole file holds.
    rules.check(_count(arrays))
    draft.write_bytes(patched(data, arrays.patches(rules)))


def count_vtk(source: Path, array: str) -> dict[int, int]:
    """Return how often each value of the cell array `array` occurs; see `relabel_vtk`."""
    return _count(_arrays(source.read_bytes(), source, array))


def _arrays(data: bytes, source: Path, array: str) -> _Arrays:
    return LegacyArrays(data, array) if source.suffix.lower() == ".vtk" else XmlArrays(data, array)


def _count(arrays: _Arrays) -> dict[int, int]:
    total: Counter[int] = Counter()
    for values in arrays.values:
        total.update(count_values(values))
    return dict(sorted(total.items()))
