"""The one rename that makes a finished draft an object of the store."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from pycemrg.models.manifest import Entry
from pycemrg.models.staging import delete, put_back, to_trash
from pycemrg.models.store import Store, look_up

MAX_RACES = 10
MANY = 64  # files


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
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            _sync_folder(final.parent)
            return
        if look_up(str(final), entry) is not None or _is_good_now(store, entry, final):
            return
    raise RuntimeError(f"{final} is damaged again each time it is replaced")


def _is_good_now(store: Store, entry: Entry, final: Path) -> bool:
    """Take a damaged object away; put back a good one that came meanwhile, and tell."""
    taken = to_trash(store, final)
    if taken is None:
        return False
    if look_up(str(taken), entry, read_only=True) is not None and put_back(taken, final):
        return True
    delete(taken)
    return False


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
