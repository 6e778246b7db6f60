"""What nobody has used for long, and what killed processes left, taken out of the store."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pycemrg.models import locks, staging
from pycemrg.models.inventory import StoredObject, list_objects
from pycemrg.models.store import DAY, Store

LEAST = 2.0  # days; a use leaves a trace once a day
DRAFTS = ".????????.*.json"  # what `write_whole` leaves in an object if it is killed


class Pruned(NamedTuple):
    """What was taken out, or would be.

    Attributes:
        objects: What nobody had used for long.
        leftovers: What processes that were killed had left.
        size: Of both, in bytes.
    """

    objects: list[StoredObject]
    leftovers: list[Path]
    size: int


def prune(store: Store, *, older_than: float, dry_run: bool = False) -> Pruned:
    """Delete the objects that nobody has used for `older_than` days, and what was left behind.

    A process that looks an object up leaves a trace, once a day at most, before it looks whether
    the files are there. An object whose trace is new when it is on its way out is put back.

    Args:
        store: Where to look.
        older_than: Days, 2 or more.
        dry_run: Whether to delete nothing and only tell.

    Raises:
        ValueError: If `older_than` is less than 2: the object may be in use.
    """
    if not older_than >= LEAST:
        raise ValueError(f"older_than must be {LEAST:g} days or more, not {older_than:g}")
    limit = time.time() - older_than * DAY
    old = [each for each in list_objects(store) if each.used.timestamp() < limit]
    if not dry_run:
        old = [each for each in old if _taken_out(store, each.key, limit)]
    left = _leftovers(store, limit)
    size = sum(each.tree_size for each in old) + sum(_size(path) for path in left)
    if not dry_run:
        staging.sweep(store)
        # Sweeping puts downloads of dead processes aside, also of what is stored by now.
        for path in [*left, *_leftovers(store, limit)]:
            _delete(store, path)
    return Pruned(old, left, size)


def _taken_out(store: Store, key: str, limit: float) -> bool:
    folder = store.root / "objects" / key[:2] / key
    with locks.lock_unless_held(store, key) as free:
        trash = staging.to_trash(store, folder) if free else None
        if trash is None:
            return False
        if _used(trash) >= limit and staging.put_back(trash, folder):
            return False
    staging.delete(trash)
    return True


def _used(folder: Path) -> float:
    try:
        return (folder / "entry.json").stat().st_mtime
    except OSError:
        return 0.0


def _leftovers(store: Store, limit: float) -> list[Path]:
    """Return what nobody will ask for: work of dead processes, downloads that came to nothing."""
    dead = staging.abandoned(store, "staging") + staging.abandoned(store, "trash")
    downloads = [
        path
        for path in (store.root / "partial").glob("*")
        if _is_stored(store, path.name) or _changed(path) < limit
    ]
    drafts = [
        path for path in (store.root / "objects").glob(f"*/*/{DRAFTS}") if _changed(path) < limit
    ]
    return [*dead, *downloads, *drafts, *_ruins(store, limit)]


def _ruins(store: Store, limit: float) -> Iterator[Path]:
    """Yield what lies among the objects without a marker, which no look-up can use."""
    for folder in (store.root / "objects").glob("*/*"):
        if not (folder / "entry.json").is_file() and _changed(folder) < limit:
            yield folder


def _delete(store: Store, path: Path) -> None:
    """Delete what was left; a whole object that has come in its place meanwhile stays."""
    if path.parents[1] == store.root / "objects":
        taken = staging.to_trash(store, path)
        if taken is None or ((taken / "entry.json").exists() and staging.put_back(taken, path)):
            return
        path = taken
    staging.delete(path)


def _is_stored(store: Store, key: str) -> bool:
    return (store.root / "objects" / key[:2] / key).is_dir()


def _changed(path: Path) -> float:
    try:
        return max(each.lstat().st_mtime for each in (path, *path.glob("*")))
    except OSError:
        return time.time()


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
        for folder, _, names in os.walk(path)
        for name in names
    )
