"""Which label of one standard is which label of another."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pycemrg.core.near_names import did_you_mean
from pycemrg.data.annotations import usable

if TYPE_CHECKING:
    from pycemrg.data.manager import LabelManager


def match_names(
    source: "LabelManager", target: "LabelManager", pairs: Mapping[str, str]
) -> dict[str, str]:
    """Return ``{source name: target name}`` in the order of the source.

    A source label goes to the target label that `pairs` gives it, else to the one of the same name,
    else to the one that has a name or alias in common with it.

    Raises:
        KeyError: If `pairs` names a label that its standard does not have.
        ValueError: If a label shares aliases with several labels of the target.
    """
    _check_pairs(source, target, pairs)
    source_aliases = usable(lambda: source.aliases)
    target_aliases = usable(lambda: target.aliases)
    by_alias = _target_names(target, target_aliases)
    matches = {}
    for name in source:
        if name in pairs:
            matches[name] = pairs[name]
        elif name in target:
            matches[name] = name
        elif found := _by_alias([name, *source_aliases.get(name, ())], source, by_alias):
            matches[name] = found
    return matches


def _check_pairs(source: "LabelManager", target: "LabelManager", pairs: Mapping[str, str]) -> None:
    for names, standard in (pairs.keys(), source), (pairs.values(), target):
        for name in names:
            if name not in standard:
                question = did_you_mean(name, standard)
                raise KeyError(f"pairs: no label named {name!r} in {standard.source}{question}")


def _target_names(
    target: "LabelManager", aliases: Mapping[str, tuple[str, ...]]
) -> dict[str, set[str]]:
    """Return every name that a target label goes by, with the labels that go by it."""
    known: dict[str, set[str]] = {name: {name} for name in target}
    for name, others in aliases.items():
        for other in others:
            if name in target:
                known.setdefault(other, set()).add(name)
    return known


def _by_alias(
    names: list[str], source: "LabelManager", known: Mapping[str, set[str]]
) -> str | None:
    found = set().union(*(known.get(name, set()) for name in names))
    if len(found) > 1:
        raise ValueError(
            f"{source.source}: by its aliases, {names[0]!r} is each of {', '.join(sorted(found))}; "
            "say which one in pairs={source name: target name}"
        )
    return found.pop() if found else None
