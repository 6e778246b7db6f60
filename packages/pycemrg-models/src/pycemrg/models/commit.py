"""Work in progress, and the one rename that makes it an object of the store."""

import errno
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pycemrg.core.whole_files import write_whole
from pycemrg.models.manifest import Entry
from pycemrg.models.store import Store, look_up

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_TIMEOUT = 600.0  # seconds
POLL_INTERVAL = 0.1  # seconds
MAX_RACES = 10
MANY = 64  # files
STALE = 2 * 86_400  # seconds; no fetch takes as long

CACHEDIR_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# This folder holds downloads that can be fetched again (https://bford.info/cachedir/).
"""

logger = logging.getLogger(__name__)


def make_cache(store: Store) -> None:
    """Make the folder of the cache and tell backup programs what it is.

    A folder that held other things before is not marked: a backup may be wanted of them.

    Raises:
        OSError: If it cannot be made.
    """
    with suppress(FileExistsError):
        store.cache_dir.mkdir(parents=True)
    if not any(store.cache_dir.iterdir()):
        write_whole(store.cache_dir / "CACHEDIR.TAG", CACHEDIR_TAG)


@contextmanager
def lock(store: Store, key: str) -> Iterator[None]:
    """Let one process at a time fetch an object, where the file system can do that.

    The lock spares downloads and decides nothing: on many network file systems it is granted to
    everybody. If it is denied, or another process holds it for ten minutes, the block runs anyway.
    """
    held = _acquire(store.root / "locks" / f"{key}.lock")
    try:
        yield
    finally:
        if held is not None:
            with suppress(OSError):
                held.release()


@contextmanager
def staging(store: Store) -> Iterator[Path]:
    """Hand out an empty folder on the file system of the store, and remove it in the end.

    Raises:
        OSError: If the cache cannot be written.
    """
    folder = store.root / "staging" / uuid.uuid4().hex
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def commit(store: Store, entry: Entry, draft: Path, final: Path) -> None:
    """Rename the folder `draft` to the object `final`, unless a whole one is there already.

    Raises:
        OSError: If the store cannot be written.
        RuntimeError: If other processes keep putting damaged objects there.
    """
    flush(draft)
    final.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(MAX_RACES):
        try:
            draft.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            _sync_folder(final.parent)
            return
        if look_up(str(final), entry) is not None:
            return
        discard(store, final)
    raise RuntimeError(f"{final} is damaged again each time it is replaced")


def discard(store: Store, folder: Path) -> None:
    """Take an object away: it is renamed first, so that nobody sees half of it, then deleted."""
    trash = store.root / "trash" / uuid.uuid4().hex
    trash.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # somebody else took it
        folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def sweep(store: Store) -> None:
    """Delete what processes that were killed left behind in staging and trash.

    Only what nobody has touched for two days goes, so that the work of others stays. What cannot
    be deleted is left to the next one.
    """
    for folder in _abandoned(store.root / "staging"):
        with suppress(OSError):
            discard(store, folder)
    for folder in _abandoned(store.root / "trash"):
        shutil.rmtree(folder, ignore_errors=True)


def _abandoned(parent: Path) -> list[Path]:
    try:
        folders = [path for path in parent.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
    return [folder for folder in folders if time.time() - _touched(folder) > STALE]


def _touched(folder: Path) -> float:
    """Return when `folder` or something right in it changed last; now, if that cannot be told."""
    try:
        # A long download changes its file and not the folder around it.
        return max(path.lstat().st_mtime for path in (folder, *folder.iterdir()))
    except OSError:
        return time.time()


def flush(folder: Path) -> None:
    """Have everything in `folder` on the disk, so that a power cut cannot empty what is renamed."""
    paths = [folder, *folder.rglob("*")]
    if len(paths) > MANY and _sync_file_system(folder):
        return
    for path in paths:
        if path.is_dir():
            _sync_folder(path)
        elif not path.is_symlink():
            _sync_file(path)


def _sync_file_system(folder: Path) -> bool:
    """Flush the whole file system at once, where Linux does that: 8 ms a file otherwise."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            return bool(libc.syncfs(descriptor) == 0)
        finally:
            os.close(descriptor)
    except (ImportError, AttributeError, OSError):
        return False


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            # Not every file system can. A full quota on NFS, though, may show only here.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
                raise


def _sync_folder(path: Path) -> None:
    # Some network file systems refuse to sync a folder; the rename is still atomic there.
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _acquire(path: Path) -> "BaseFileLock | None":
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without flock, filelock would leave a marker file that outlives a node that dies.
        # The mode lets a group share the cache.
        held = FileLock(path, mode=0o664, fallback_to_soft=False, poll_interval=POLL_INTERVAL)
        try:
            held.acquire(timeout=0)
        except Timeout:
            logger.info("waiting for another process that fetches the same (%s)", path)
            held.acquire(timeout=LOCK_TIMEOUT)
    except (OSError, NotImplementedError) as error:
        logger.warning("going on without a lock: %s", error)
        return None
    return held
