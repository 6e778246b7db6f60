"""The formats of label tables: which there are, and which one a file has."""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType

from pycemrg.core.near_names import did_you_mean
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.lines import read_text


@dataclass(frozen=True)
class TableFormat:
    """A format of label tables.

    Args:
        title: What it is, for a listing.
        module: The module with its ``read(path)`` and ``write(labels, path, *, overwrite)``.
        suffixes: The ends of file names that it may have, in lower case.
    """

    title: str
    module: str
    suffixes: tuple[str, ...]

    def load(self) -> ModuleType:
        """Import and return the module."""
        return importlib.import_module(self.module)


def _format(name: str, title: str, *suffixes: str) -> tuple[str, TableFormat]:
    return name, TableFormat(title, f"{__package__}.{name}", suffixes)


FORMATS: Mapping[str, TableFormat] = MappingProxyType(
    dict(
        [
            _format("slicer_color", "3D Slicer colour table", ".ctbl", ".txt"),
            _format("slicer_csv", "3D Slicer colour table with terminology", ".csv"),
            _format("itksnap", "ITK-SNAP label descriptions", ".txt", ".label"),
            _format("freesurfer", "FreeSurfer look-up table", ".txt", ".lut", ".ctab"),
            _format("bids", "BIDS segmentation look-up table", ".tsv"),
            _format("nnunet", "nnU-Net dataset.json", ".json"),
            _format("totalsegmentator", "TotalSegmentator class map", ".json", ".py"),
        ]
    )
)


def read_table(path: str | os.PathLike[str], format: str | None = None) -> LabelManager:
    r"""Read a label table of another program.

    Args:
        path: The file.
        format: A key of `FORMATS`. If it is not given, the end of the file's name says it and,
            where formats share one, the content.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If there is no such format, neither name nor content says which one it is, or
            the file is not valid in it, with file and line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "heart.txt")
        >>> _ = path.write_text('2  161 0 92  1  1 1  "left ventricle"\n')
        >>> read_table(path).get_value("left ventricle")
        2
    """
    chosen = _named(format) if format is not None else _of_content(path)
    read: Callable[..., LabelManager] = chosen.load().read
    return read(path)


def write_table(
    labels: LabelManager,
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    overwrite: bool = False,
) -> list[str]:
    """Write a standard as a label table of another program.

    Args:
        labels: The standard.
        path: The file.
        format: A key of `FORMATS`. It may be left out if the end of the file's name is that of one
            format only.
        overwrite: Whether an existing file may be replaced.

    Returns:
        A sentence for each thing that the format cannot hold, such as groups, and for each that it
        demands and that was made up, such as a colour. An empty list if the table says all that the
        standard says.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: If there is no such format, the name does not say which one it is, or the
            standard cannot be written in it.

    Example:
        >>> import tempfile
        >>> labels = LabelManager.from_dict({"labels": {"LV": 1}, "groups": {"all": ["LV"]}})
        >>> write_table(labels, Path(tempfile.mkdtemp(), "dseg.tsv"))
        ["a BIDS look-up table has no groups: lost are 'all'"]
    """
    chosen = _named(format) if format is not None else _of_name(path)
    write: Callable[..., list[str]] = chosen.load().write
    return write(labels, path, overwrite=overwrite)


def _named(name: str) -> TableFormat:
    if name not in FORMATS:
        question = did_you_mean(name, FORMATS)
        raise ValueError(f"no table format {name!r}{question}; the formats are: {_known()}")
    return FORMATS[name]


def _of_name(path: str | os.PathLike[str]) -> TableFormat:
    candidates = _candidates(path)
    if len(candidates) > 1:
        raise _which(path, candidates, "may be in any of these formats")
    return candidates[0]


def _of_content(path: str | os.PathLike[str]) -> TableFormat:
    candidates = _candidates(path)
    if len(candidates) == 1:
        return candidates[0]
    text = read_text(path)
    found = [candidate for candidate in candidates if candidate.load().recognises(text)]
    if len(found) != 1:
        raise _which(path, found or candidates, "does not show which of these formats it has")
    return found[0]


def _candidates(path: str | os.PathLike[str]) -> list[TableFormat]:
    suffix = Path(path).suffix.lower()
    found = [candidate for candidate in FORMATS.values() if suffix in candidate.suffixes]
    if found:
        return found
    hint = "; LabelManager reads manifests" if suffix in (".yaml", ".yml") else ""
    raise ValueError(
        f"{os.fspath(path)}: no table format ends in {suffix!r}{hint}; the formats are: {_known()}"
    )


def _which(path: str | os.PathLike[str], candidates: list[TableFormat], what: str) -> ValueError:
    names = [name for name, known in FORMATS.items() if known in candidates]
    return ValueError(f"{os.fspath(path)} {what}; pass format= one of: {', '.join(names)}")


def _known() -> str:
    return ", ".join(f"{name} ({' '.join(known.suffixes)})" for name, known in FORMATS.items())
