"""Work in progress, things on their way out, and what killed processes left of both."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pycemrg.core.whole_files import write_whole
from pycemrg.models.owners import has_ended, owned_name
from pycemrg.models.partial import Partial, key_of_partial
from pycemrg.models.store import Store

STALE = 2 * 86_400  # seconds; no fetch takes as long
DOWNLOAD = "download"  # the partial download in a staging folder

CACHEDIR_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# This folder holds downloads that can be fetched again (https://bford.info/cachedir/).
"""

_KEY = re.compile(r"[0-9a-z]{32}")


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
def staging(store: Store) -> Iterator[Path]:
    """Hand out an empty folder on the file system of the store, and remove it in the end.

    Raises:
        OSError: If the cache cannot be written.
    """
    folder = store.root / "staging" / owned_name()
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def partial_download(store: Store, stage: Path, key: str, *, kept: bool) -> Iterator[Partial]:
    """Hand out the download of an object, begun by a process before us or new.

    Args:
        store: Where such downloads are kept.
        stage: Our staging folder, which it moves to.
        key: The object that it is for.
        kept: Whether it is kept if the block raises, for whoever tries next.
    """
    ours, theirs = stage / DOWNLOAD, store.root / "partial" / key
    if kept:
        with suppress(OSError):
            theirs.rename(ours)
    try:
        yield Partial(ours, key if kept else None)
    except BaseException:
        if kept:
            _keep(store, ours)
        raise


def discard(store: Store, folder: Path) -> None:
    """Take an object away: it is renamed first, so that nobody sees half of it, then deleted."""
    trash = to_trash(store, folder)
    if trash is not None:
        delete(trash)


def to_trash(store: Store, folder: Path) -> Path | None:
    """Rename a folder to where nobody looks for it; return None if somebody else took it."""
    trash = store.root / "trash" / owned_name()
    trash.parent.mkdir(parents=True, exist_ok=True)
    try:
        return folder.rename(trash)
    except FileNotFoundError:
        return None


def put_back(trash: Path, folder: Path) -> bool:
    """Rename what was taken away to where it was; return whether there was room for it."""
    try:
        trash.rename(folder)
    except OSError:  # another one has come
        return False
    return True


def delete(path: Path) -> None:
    """Delete a folder, or whatever lies in the place of one, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def sweep(store: Store) -> None:
    """Delete what processes that were killed left behind in staging and trash.

    What such a process had downloaded is kept for whoever asks for the same. The work of others
    stays: a folder goes when its process is known to have ended or, where that cannot be known,
    when nobody has touched it for two days. What cannot be deleted is left to the next one.
    """
    for folder in abandoned(store, "staging"):
        _keep(store, folder / DOWNLOAD)
        with suppress(OSError):
            discard(store, folder)
    for folder in abandoned(store, "trash"):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(store: Store, part: str) -> list[Path]:
    """Return the folders in ``staging`` or ``trash`` that nobody works on any more."""
    try:
        folders = [
            path
            for path in (store.root / part).iterdir()
            if path.is_dir() and not path.is_symlink()
        ]
    except OSError:
        return []
    return [folder for folder in folders if _is_abandoned(folder)]


def _is_abandoned(folder: Path) -> bool:
    # A process that was stopped for a week still holds what it writes to.
    ended = has_ended(folder.name)
    return age(folder) > STALE if ended is None else ended


def age(folder: Path) -> float:
    """Return for how many seconds nothing in `folder` has changed; 0 if that cannot be told."""
    try:
        # A long download changes its file and not the folder around it.
        inside = [*folder.iterdir(), *(folder / DOWNLOAD).glob("*")]
        return time.time() - max(path.lstat().st_mtime for path in (folder, *inside))
    except OSError:
        return 0.0


def _keep(store: Store, folder: Path) -> None:
    """Put a download that can go on where the next process looks for it."""
    key = key_of_partial(folder)
    if key is None or not _KEY.fullmatch(key):  # whoever may write here may write a note
        return
    with suppress(OSError):  # no room, or another one is there
        (store.root / "partial").mkdir(exist_ok=True)
        folder.rename(store.root / "partial" / key)
