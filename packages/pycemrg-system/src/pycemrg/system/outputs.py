"""What a command must leave behind: that it is there, and that this run has written it."""

import itertools
import logging
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pycemrg.core.near_names import near_names

CLOCK_TICK = 0.02
"""Seconds within which two writes can bear the same time: kernels tick every 10 ms or faster."""

_MOST_NAMES = 2_000


class Stamp(NamedTuple):
    """What changes about a file when it is written or replaced, whatever its bytes."""

    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int


class ExpectedOutputs:
    """The files that a command must write, as they were before it ran.

    Args:
        paths: Files or folders. A folder is only asked to exist.
        cwd: The folder that relative paths start from; None for that of this process.

    Raises:
        TypeError: If `paths` is one path, not several, or an item is no path.
    """

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]] | None, cwd: Path | None = None
    ) -> None:
        if isinstance(paths, str | bytes | os.PathLike):
            raise TypeError(f"expected_outputs must be a list of paths, not {paths!r} alone")
        folder = (cwd or Path()).absolute() if paths else Path()
        self.paths = tuple(folder / path for path in paths or ())
        self._before = {path: stamp(path) for path in self.paths}
        self._let_the_clock_tick()

    def check(self, command: str, *, fresh: bool, logger: logging.Logger) -> None:
        """Check after the command what it has left.

        Args:
            command: The command, for messages.
            fresh: Whether a file that it has not touched is an error; else it is a warning.
            logger: Where the warning goes.

        Raises:
            FileNotFoundError: If an output is missing, or stale and `fresh` is asked for.
        """
        missing = [path for path in self.paths if not _is_there(path)]
        if missing:
            reasons = "".join(f"\n  {path}; {_what_is_there(path)}" for path in missing)
            raise FileNotFoundError(f"{command} has ended, but did not write:{reasons}")
        stale = [path for path in self.paths if self._is_stale(path)]
        if not stale:
            return
        names = "".join(f"\n  {path}" for path in stale)
        text = f"{command} has ended, but has not touched what was there before:{names}"
        if fresh:
            raise FileNotFoundError(text)
        logger.warning("%s", text)

    def _is_stale(self, path: Path) -> bool:
        before = self._before[path]
        if before is None or stamp(path) != before:
            return False
        # Over NFS, opening a file fetches attributes that another node has changed.
        with suppress(OSError), path.open("rb"):
            pass
        return stamp(path) == before

    def _let_the_clock_tick(self) -> None:
        """Wait if an output was written so recently that writing it again might not show."""
        newest = max((known.ctime_ns for known in self._before.values() if known), default=0)
        age = time.time() - newest / 1e9
        if 0 <= age < CLOCK_TICK:
            time.sleep(CLOCK_TICK - age)


def stamp(path: Path) -> Stamp | None:
    """Return the stamp of a file, None if there is none at `path`."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def _is_there(path: Path) -> bool:
    for _ in range(2):
        with suppress(OSError):
            path.stat()
            return True
        # Over NFS, listing a folder makes the client forget that it has not seen the file.
        with suppress(OSError):
            list(path.parent.iterdir())
    return False


def _what_is_there(path: Path) -> str:
    try:
        names = [entry.name for entry in itertools.islice(path.parent.iterdir(), _MOST_NAMES)]
    except OSError as error:
        return f"its folder cannot be read: {error.strerror}"
    if not names:
        return "its folder is empty"
    near = near_names(path.name, names)
    if near:
        return f"there is {', '.join(near)}"
    more = ", ..." if len(names) > 5 else ""
    return f"its folder holds {', '.join(sorted(names)[:5])}{more}"
