"""What a mapping does, in words, before it is applied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pycemrg.core.near_names import near_names

if TYPE_CHECKING:
    from pycemrg.data.manager import LabelManager

COMPARISONS = 50_000
"""How many pairs of names are compared to find near ones: less than a second."""


@dataclass(frozen=True)
class MapReport:
    """What a `LabelMapper` does with each label, and what it cannot do.

    Args:
        changed: ``(name, source value, target value)`` of matched labels whose value changes.
        unchanged: The same of those whose value stays.
        only_in_source: ``(name, value)`` of labels that the target does not have.
        only_in_target: Names that no source label became, with near names among the unmatched
            source labels.
        merged: Target value to the names of the source labels, of different values, that become it:
            what was distinct before is not any more.
        conflicting: Source value to ``(name, target value)`` of its names, where these differ.
        colliding: ``(source name, value, target name)`` of labels without a target whose value, if
            it is kept, means another structure in the target.
        unnamed: Value to count of values that are present and have no name in the source.
        same_value: ``(source name, value, target name)`` of labels without a target whose value, if
            it is kept, has another name in the target, which no label becomes. They are not
            refused, because they may well be one structure under two names.
    """

    changed: list[tuple[str, int, int]]
    unchanged: list[tuple[str, int, int]]
    only_in_source: list[tuple[str, int]]
    only_in_target: dict[str, list[str]]
    merged: dict[int, list[str]]
    conflicting: dict[int, list[tuple[str, int]]]
    colliding: list[tuple[str, int, str]]
    unnamed: dict[int, int]
    same_value: list[tuple[str, int, str]]

    @property
    def is_lossy(self) -> bool:
        """Whether labels that were distinct become one."""
        return bool(self.merged)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        total = len(self.changed) + len(self.unchanged)
        yield f"{total} labels matched: {len(self.changed)} change, {len(self.unchanged)} stay"
        for name, value, target in self.changed:
            yield f"  {name}: {value} -> {target}"
        if self.only_in_source:
            yield f"{len(self.only_in_source)} labels only in the source:"
            yield from (f"  {name}: {value}" for name, value in self.only_in_source)
        if self.only_in_target:
            yield f"{len(self.only_in_target)} labels only in the target:"
            yield from (f"  {name}{_near(near)}" for name, near in self.only_in_target.items())
        for target, names in self.merged.items():
            yield f"lossy: {', '.join(names)} all become {target}"
        for value, targets in self.conflicting.items():
            listed = ", ".join(f"{name} -> {target}" for name, target in targets)
            yield f"conflict: the value {value} has several names: {listed}"
        for name, value, other in self.colliding:
            yield f"collision: {name} would keep {value}, which is {other} in the target"
        for name, value, other in self.same_value:
            yield f"same value: {name} keeps {value}, which the target calls {other}"
        for value, count in self.unnamed.items():
            yield f"no name: the value {value}, present {count:,} times"


def _near(names: list[str]) -> str:
    return f" (near: {', '.join(names)})" if names else ""


def make_report(
    source: "LabelManager",
    target: "LabelManager",
    matches: Mapping[str, str],
    counts: Mapping[int, int] | None,
) -> MapReport:
    """Return the report on `matches`, of the values in `counts` if they are given."""
    labels = {
        name: value for name, value in source.labels.items() if counts is None or value in counts
    }
    matched = [
        (name, value, target.labels[matches[name]])
        for name, value in labels.items()
        if name in matches
    ]
    targets = {target.labels[other] for other in matches.values()}
    kept = list(_kept_under_another_name(labels, source, target, matches))
    return MapReport(
        changed=[row for row in matched if row[1] != row[2]],
        unchanged=[row for row in matched if row[1] == row[2]],
        only_in_source=[(name, value) for name, value in labels.items() if name not in matches],
        only_in_target=_only_in_target(source, target, matches),
        merged=_merged(matched),
        conflicting=_conflicting(matched),
        colliding=[row for row in kept if row[1] in targets],
        unnamed={v: n for v, n in (counts or {}).items() if v not in source._names},
        same_value=[row for row in kept if row[1] not in targets],
    )


def _only_in_target(
    source: "LabelManager", target: "LabelManager", matches: Mapping[str, str]
) -> dict[str, list[str]]:
    free, reached = [name for name in source if name not in matches], set(matches.values())
    missing = [name for name in target if name not in reached]
    sought = COMPARISONS // max(len(free), 1)
    return {name: near_names(name, free) if n < sought else [] for n, name in enumerate(missing)}


def _merged(matched: list[tuple[str, int, int]]) -> dict[int, list[str]]:
    by_target: dict[int, dict[int, str]] = {}
    for name, value, target in matched:
        by_target.setdefault(target, {})[value] = name
    return {t: list(names.values()) for t, names in by_target.items() if len(names) > 1}


def _conflicting(matched: list[tuple[str, int, int]]) -> dict[int, list[tuple[str, int]]]:
    by_value: dict[int, list[tuple[str, int]]] = {}
    for name, value, target in matched:
        by_value.setdefault(value, []).append((name, target))
    return {v: rows for v, rows in by_value.items() if len({target for _, target in rows}) > 1}


def _kept_under_another_name(
    labels: Mapping[str, int],
    source: "LabelManager",
    target: "LabelManager",
    matches: Mapping[str, str],
) -> Iterator[tuple[str, int, str]]:
    mapped = {source.labels[name] for name in matches}
    names = {**target._names, **{target.labels[other]: other for other in matches.values()}}
    for name, value in labels.items():
        if value in names and value not in mapped:
            yield name, value, names[value]
