"""Locks between processes, which spare work and decide nothing."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pycemrg.models.store import Store

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_TIMEOUT = 600.0  # seconds
POLL_INTERVAL = 0.1  # seconds

logger = logging.getLogger(__name__)


@contextmanager
def lock(store: Store, key: str) -> Iterator[None]:
    """Let one process at a time fetch an object, where the file system can do that.

    The lock spares downloads and decides nothing: on many network file systems it is granted to
    everybody. If it is denied, or another process holds it for ten minutes, the block runs anyway.
    """
    from filelock import Timeout

    path = _path(store, key)
    held = None
    try:
        try:
            held = _acquired(path, 0)
        except Timeout:
            logger.info("waiting for another process that fetches the same (%s)", path)
            held = _acquired(path, LOCK_TIMEOUT)
    except (OSError, NotImplementedError) as error:
        logger.warning("going on without a lock: %s", error)
    try:
        yield
    finally:
        _release(held)


@contextmanager
def lock_unless_held(store: Store, key: str) -> Iterator[bool]:
    """Take the lock of an object if nobody holds it, and tell whether the block may go on."""
    from filelock import Timeout

    held, free = None, True
    try:
        held = _acquired(_path(store, key), 0)
    except Timeout:
        free = False
    except (OSError, NotImplementedError):
        pass
    try:
        yield free
    finally:
        _release(held)


def _path(store: Store, key: str) -> Path:
    return store.root / "locks" / f"{key}.lock"


def _acquired(path: Path, timeout: float) -> "BaseFileLock":
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    # Without flock, filelock would leave a marker file that outlives a node that dies.
    # The mode lets a group share the cache.
    held = FileLock(path, mode=0o664, fallback_to_soft=False, poll_interval=POLL_INTERVAL)
    held.acquire(timeout=timeout)
    return held


def _release(held: "BaseFileLock | None") -> None:
    if held is not None:
        with suppress(OSError):
            held.release()
