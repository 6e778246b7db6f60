"""What of a standard a format can hold, and a sentence for each thing that it cannot."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pycemrg.data.annotations import Code
from pycemrg.data.manager import LabelManager
from pycemrg.data.tables import colors
from pycemrg.data.tables.colors import RGBA


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
        values: The values it can hold, None for all integers.
        spell: How it writes a name, None if it cannot.
        needs_color: Whether every row must have a colour.
        needs_one_name: Whether a value can have one name only.
    """

    title: str
    parts: frozenset[str] = frozenset()
    values: range | None = None
    spell: Callable[[str], str | None] = as_it_is
    needs_color: bool = False
    needs_one_name: bool = True


class Row(NamedTuple):
    """A label as the format can hold it."""

    name: str
    written: str
    value: int
    color: RGBA | None
    code: Code | None
    aliases: tuple[str, ...]


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
    rows = [
        Row(name, written[name], value, palette.get(name), codes.get(name), aliases.get(name, ()))
        for name, value in chosen.items()
    ]
    return Selection(rows, losses)


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
    if allowed is None:
        return dict(labels.labels)
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
        f"{capacity.title} has no {words.get(part, part)}: lost "
        f"{'are' if part == 'groups' else 'for'} {listing(names)}"
        for part, names in present.items()
        if names and part not in capacity.parts
    ]
