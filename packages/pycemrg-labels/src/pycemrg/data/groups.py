"""Groups of labels, resolved without recursion."""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from pycemrg.core.manifests import Place, Scalar
from pycemrg.core.near_names import did_you_mean
from pycemrg.data.problems import Problem

COMPARISONS = 50_000
"""How many pairs of names one walk compares to find near ones: less than a second."""
SHOWN = 40
"""How many names the message on a member lists, of which there may be many at once."""

_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)

Name = tuple[str, Place | None]


def walk(
    names: Iterable[str],
    labels: Mapping[str, int],
    groups: Mapping[str, list[Scalar]],
    source: str,
) -> Iterator[int | Problem]:
    """Yield the value of every label that `names` stand for, or the `Problem` with a name.

    A name is looked up as a label, then as a group, then read as a number. Each group is opened
    once, however many others contain it, so the time grows with the size of the manifest and not
    with the number of paths through it. Near names are offered as long as that takes no time.
    """
    questions = COMPARISONS // (len(labels) + len(groups) + 1) + 1
    finished: set[str | None] = set()
    path: dict[str | None, Iterator[Name]] = {None: ((name, None) for name in names)}
    while path:
        group = next(reversed(path))
        name, place = next(path[group], (None, None))
        if name is None:
            finished.add(group)
            del path[group]
        elif name in labels:
            yield labels[name]
        elif name in path:
            yield _cycle(name, place, list(path))
        elif name in groups:
            if name not in finished:
                path[name] = ((member.text, member.place) for member in groups[name])
        elif _NUMBER.fullmatch(name) and len(name) < 4300:  # the most digits that Python converts
            yield int(name)
        else:
            questions -= 1
            question = did_you_mean(name, [*labels, *groups]) if questions >= 0 else ""
            if group is None:
                yield _unknown(name, question, labels, groups, source)
            else:
                yield _undefined(name, place, group, question, labels, groups)


def _cycle(name: str, place: Place | None, path: list[str | None]) -> Problem:
    circle = [str(group) for group in path[path.index(name) :]] + [name]
    return Problem(
        "group-cycle", "error", place, f"group {name!r} contains itself: {' -> '.join(circle)}"
    )


def _unknown(
    name: str,
    question: str,
    labels: Mapping[str, int],
    groups: Mapping[str, list[Scalar]],
    source: str,
) -> Problem:
    known = f"labels: {', '.join(labels) or 'none'}; groups: {', '.join(groups) or 'none'}"
    message = f"{source}: no label or group named {name!r}{question}; it has {known}"
    return Problem("unknown-name", "error", None, message)


def _undefined(
    name: str,
    place: Place | None,
    group: str,
    question: str,
    labels: Mapping[str, int],
    groups: Mapping[str, list[Scalar]],
) -> Problem:
    known = f"labels: {_some(labels)}; groups: {_some(groups)}"
    message = (
        f"no label or group named {name!r} in group {group!r}{question}; the manifest has {known}"
    )
    return Problem("undefined-member", "error", place, message)


def _some(names: Mapping[str, object]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return (", ".join(islice(names, SHOWN)) or "none") + more
