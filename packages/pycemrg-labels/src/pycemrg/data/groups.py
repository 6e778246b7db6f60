"""Groups of labels, resolved without recursion."""

import re
from collections.abc import Iterable, Iterator, Mapping

from pycemrg.core.manifests import Place, Scalar
from pycemrg.core.near_names import did_you_mean
from pycemrg.data.problems import Problem

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
    with the number of paths through it.
    """
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
            yield _unknown(name, place, group, labels, groups, source)


def _cycle(name: str, place: Place | None, path: list[str | None]) -> Problem:
    circle = [str(group) for group in path[path.index(name) :]] + [name]
    return Problem(
        "group-cycle", "error", place, f"group {name!r} contains itself: {' -> '.join(circle)}"
    )


def _unknown(
    name: str,
    place: Place | None,
    group: str | None,
    labels: Mapping[str, int],
    groups: Mapping[str, list[Scalar]],
    source: str,
) -> Problem:
    known = f"labels: {', '.join(labels) or 'none'}; groups: {', '.join(groups) or 'none'}"
    question = did_you_mean(name, [*labels, *groups])
    if group is None:
        message = f"{source}: no label or group named {name!r}{question}; it has {known}"
        return Problem("unknown-name", "error", None, message)
    message = (
        f"no label or group named {name!r} in group {group!r}{question}; the manifest has {known}"
    )
    return Problem("undefined-member", "error", place, message)
