"""What of a standard a format can hold, and a sentence for each thing that it cannot."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pycemrg.core.whole_files import write_whole
from pycemrg.data import colors
from pycemrg.data.annotations import Code
from pycemrg.data.colors import RGBA
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables.lines import INTEGERS


def as_it_is(name: str) -> str | None:
    """Return the name: the format holds any."""
    return name


def unless_empty(name: str) -> str | None:
    """Return the name, None if it is empty."""
    return name or None


@dataclass(frozen=True)
class Capacity:
    """What a format can hold.

    Args:
        title: Its name in a sentence.
        parts: Which of ``groups``, ``colors``, ``codes`` and ``aliases`` it has; what is missing
            here is reported, and what is present the writer takes care of.
        values: The values it can hold; by default all that can be read again.
        spell: How it writes a name, None if it cannot.
        needs_color: Whether every row must have a colour.
        needs_one_name: Whether a value can have one name only.
    """

    title: str
    parts: frozenset[str] = frozenset()
    values: range = INTEGERS
    spell: Callable[[str], str | None] = as_it_is
    needs_color: bool = False
    needs_one_name: bool = True

    def lost(self, what: str, names: Iterable[str], *, are: bool = False) -> str:
        """Return the sentence that the format has no `what`, which these names had or were."""
        return f"{self.title} has no {what}: lost {'are' if are else 'for'} {listing(names)}"


class Row(NamedTuple):
    """A label as the format can hold it."""

    name: str
    written: str
    value: int
    color: RGBA | None
    code: Code | None
    aliases: tuple[str, ...]

    @property
    def rgba(self) -> RGBA:
        """The colour, black if there is none."""
        return self.color or RGBA(0, 0, 0)


class Selection(NamedTuple):
    """The rows to write, in the order of the standard, and a sentence for each loss."""

    rows: list[Row]
    losses: list[str]


def select(labels: LabelManager, capacity: Capacity) -> Selection:
    """Return what of a standard can be written in a format.

    Raises:
        ValueError: If a name would be written as another one that the standard has.
    """
    losses: list[str] = []
    names = _within_range(labels, capacity, losses)
    names = _one_per_value(names, capacity, losses)
    written = _spelled(labels, names, capacity, losses)
    chosen = {name: value for name, value in names.items() if name in written}
    palette = _palette(labels, chosen, capacity, losses)
    codes, aliases = labels.codes, labels.aliases
    losses += _missing_parts(labels, chosen, capacity)
    losses += _besides(labels)
    rows = [
        Row(name, written[name], value, palette.get(name), codes.get(name), aliases.get(name, ()))
        for name, value in chosen.items()
    ]
    return Selection(rows, losses)


def write_lines(
    labels: LabelManager,
    path: str | os.PathLike[str],
    capacity: Capacity,
    layout: Callable[[list[Row]], Iterable[str]],
    *,
    overwrite: bool,
) -> list[str]:
    """Write the lines that `layout` makes of the rows, and return what was lost.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If it cannot be written.
        ValueError: As for `select`.
    """
    rows, losses = select(labels, capacity)
    write_whole(path, "".join(f"{line}\n" for line in layout(rows)), overwrite=overwrite)
    return losses


def listing(names: Iterable[str]) -> str:
    """Return names for a sentence, the first eight of them.

    Example:
        >>> listing(["LV", "RV"])
        "'LV', 'RV'"
    """
    return _few([repr(name) for name in names])


def _few(items: list[str]) -> str:
    more = f" and {len(items) - 8} more" if len(items) > 8 else ""
    return ", ".join(items[:8]) + more


def _within_range(labels: LabelManager, capacity: Capacity, losses: list[str]) -> dict[str, int]:
    allowed = capacity.values
    kept = {name: value for name, value in labels.labels.items() if value in allowed}
    outside = [f"{n!r} ({v})" for n, v in labels.labels.items() if v not in allowed]
    if outside:
        limits = f"{allowed[0]} to {allowed[-1]}"
        losses.append(f"{capacity.title} has values from {limits} only: {_few(outside)} left out")
    return kept


def _one_per_value(names: dict[str, int], capacity: Capacity, losses: list[str]) -> dict[str, int]:
    if not capacity.needs_one_name:
        return names
    last = {value: name for name, value in names.items()}
    others = [name for name, value in names.items() if last[value] != name]
    if others:
        losses.append(
            f"{capacity.title} has one name for a value, the last is written: "
            f"{listing(others)} left out"
        )
    return {name: value for name, value in names.items() if last[value] == name}


def _spelled(
    labels: LabelManager, names: Iterable[str], capacity: Capacity, losses: list[str]
) -> dict[str, str]:
    written: dict[str, str] = {}
    unnamed = []
    for name in names:
        text = capacity.spell(name)
        if text is None:
            unnamed.append(name)
        else:
            written[name] = text
    _refuse_confusion(labels, written, capacity)
    if unnamed:
        losses.append(f"{capacity.title} has no way to write the name {listing(unnamed)}: left out")
    changed = [f"{name!r} as {text!r}" for name, text in written.items() if text != name]
    if changed:
        losses.append(f"{capacity.title} cannot hold every character of a name: {_few(changed)}")
    return written


def _refuse_confusion(labels: LabelManager, written: dict[str, str], capacity: Capacity) -> None:
    # A name that is left out still stands for its own structure, so none may be changed into it.
    taken = {name: name for name in labels}
    for name, text in written.items():
        if taken.setdefault(text, name) != name:
            raise ValueError(
                f"{capacity.title} would write {name!r} as {text!r}, which stands for "
                f"{taken[text]!r}; rename one of the two"
            )


def _palette(
    labels: LabelManager, chosen: dict[str, int], capacity: Capacity, losses: list[str]
) -> dict[str, RGBA]:
    if "colors" not in capacity.parts:
        return {}
    known = labels.colors
    palette = {name: colors.parse(known[name]) for name in chosen if name in known}
    bare = [name for name in chosen if name not in palette]
    if capacity.needs_color and bare:
        losses.append(f"{capacity.title} has a colour for every label: made up for {listing(bare)}")
        palette.update({name: colors.made_up(chosen[name]) for name in bare})
    return palette


def _missing_parts(labels: LabelManager, chosen: dict[str, int], capacity: Capacity) -> list[str]:
    present = {
        "groups": list(labels.groups),
        "colors": [name for name in labels.colors if name in chosen],
        "codes": [name for name in labels.codes if name in chosen],
        "aliases": [name for name in labels.aliases if name in chosen],
    }
    words = {"colors": "colours", "codes": "terminology codes"}
    return [
        capacity.lost(words.get(part, part), names, are=part == "groups")
        for part, names in present.items()
        if names and part not in capacity.parts
    ]


def _besides(labels: LabelManager) -> list[str]:
    """Return what is lost of what the manifest says of other things than its labels."""
    annotated = [*labels.colors, *labels.codes, *labels.aliases]
    others = dict.fromkeys(name for name in annotated if name not in labels)
    parts = {
        "annotations of names that are no label": others,
        "other parts of the manifest": labels.other_keys,
    }
    return [f"{what} are left out: {listing(names)}" for what, names in parts.items() if names]
