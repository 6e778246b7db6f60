"""Errors that say which file they are about."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put `path` in front of the message of a ValueError or OverflowError that lacks it.

    Example:
        >>> with naming(Path("heart.vtk")):
        ...     raise ValueError("no cell array 'elemTag'")
        Traceback (most recent call last):
            ...
        ValueError: heart.vtk: no cell array 'elemTag'
    """
    try:
        yield
    except (ValueError, OverflowError) as error:
        if str(error).startswith(str(path)):
            raise
        kind = OverflowError if isinstance(error, OverflowError) else ValueError
        raise kind(f"{path}: {error}") from error
