"""Names close to one that was mistyped."""

from collections.abc import Iterable


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return at most three of the `known` names that are close to `name`, the closest first.

    Example:
        >>> near_names("LV_mio", ["RV_myo", "LV_myo", "LA"])
        ['LV_myo']
    """
    import difflib  # only a user who mistyped waits for this import

    return difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.7)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that offers the names close to `name`, or nothing if none is close.

    Example:
        >>> did_you_mean("segmentaton", ["segmentation", "meshing"])
        " (did you mean 'segmentation'?)"
    """
    matches = near_names(name, known)
    return f" (did you mean {' or '.join(map(repr, matches))}?)" if matches else ""
