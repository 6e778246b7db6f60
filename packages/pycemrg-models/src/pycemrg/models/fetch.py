"""From an entry that is not in the store to an object that is."""

import logging
import os
from pathlib import Path

from pycemrg.models import archive, commit, locks, staging
from pycemrg.models.checksums import HashMismatchError, digest
from pycemrg.models.listing import Listing, Stored
from pycemrg.models.local import local_file
from pycemrg.models.manifest import Entry
from pycemrg.models.meters import meter
from pycemrg.models.progress import Report
from pycemrg.models.sources import Access, Source, find_source, state_of
from pycemrg.models.store import Store, describe, key_of, look_up, not_held

logger = logging.getLogger(__name__)


def fetch(store: Store, entry: Entry, access: Access) -> Path:
    """Bring what `entry` asks for into the store and return its path.

    Args:
        store: Where to put it.
        entry: Anything but a local file that is used where it lies.
        access: How its bytes may be had.

    Raises:
        FileNotFoundError: If a ``file://`` URL leads nowhere.
        HashMismatchError: If the bytes do not have the sha256 of the entry.
        RuntimeError: If they cannot be had, unpacked or stored.
    """
    if entry.local:
        local_file(entry)
    folder = store.folder(entry)
    try:
        staging.make_cache(store)
        with locks.lock(store, os.path.basename(folder)):  # noqa: PTH119
            found = look_up(folder, entry)
            if found is None:
                staging.sweep(store)
                _bring_in(store, Path(folder), entry, access)
                found = look_up(folder, entry)
    except HashMismatchError:
        raise
    except OSError as error:
        raise RuntimeError(f"{error}{_on_the_way(error, store.cache_dir)}") from error
    if found is None:
        raise RuntimeError(f"{folder} was damaged or removed as soon as it was there")
    return found


def _on_the_way(error: OSError, cache_dir: Path) -> str:
    """Return a remark that names the cache, unless the error is about a file elsewhere."""
    path = error.filename
    if isinstance(path, str | os.PathLike):
        place = Path(path).absolute()
        if not (place.is_relative_to(cache_dir) or cache_dir.is_relative_to(place)):
            return ""
    return f", on the way into {cache_dir}"


def _bring_in(store: Store, folder: Path, entry: Entry, access: Access) -> None:
    with staging.staging(store) as stage:
        source = find_source(store, entry, folder.name, stage, access)
        with source.file:
            store_source(store, entry, folder, source, stage, access.report)


def store_source(
    store: Store, entry: Entry, folder: Path, source: Source, stage: Path, report: Report | None
) -> None:
    """Make an object of the bytes of an entry and put it into the store.

    Args:
        store: Where to put it.
        entry: What the bytes are for.
        folder: Of the object, as it was before the bytes were read.
        source: The bytes.
        stage: Our staging folder.
        report: Who wants to know how far it is.

    Raises:
        RuntimeError: If the archive is damaged or refused, changes while it is read, or does not
            hold the target although nobody but the entry knows what it should hold.
        OSError: If the store cannot be written.
    """
    draft = stage / "object"
    tree = draft / "tree"
    tree.mkdir(parents=True)
    listing = _unpack(entry, source, tree, report)
    if entry.local and entry.sha256 is None and key_of(entry) != folder.name:
        raise RuntimeError(f"{entry.local[0]} changed while it was read")
    # With a sha256 the archive is what was meant; it stays when only the target is wrong.
    if entry.sha256 is None and listing.locate(entry.target) is None:
        raise not_held(entry, listing)
    describe(str(draft), *source.digest, entry.source, listing)
    commit.commit(store, entry, draft, folder)
    logger.info("%s: stored %s", entry.title, entry.source)


def _unpack(entry: Entry, source: Source, tree: Path, report: Report | None) -> Listing:
    if entry.archive is None:
        listing = _place(source, tree, entry.target)
    else:
        with meter(entry.name, "unpack", report) as tell:
            listing = archive.extract(source.file, entry.archive, tree, entry.source, tell)
    if state_of(source.file) != source.state:
        raise RuntimeError("the archive changed while it was read")
    return listing


def _place(source: Source, tree: Path, name: str) -> Listing:
    path = tree / name
    if source.ours is not None:
        source.ours.rename(path)
    else:
        source.file.seek(0)
        with path.open("xb") as file:
            if digest(source.file, file.write) != source.digest:
                raise RuntimeError("the file changed while it was copied")
    found = path.stat()
    return Listing({name: Stored(found.st_size, found.st_mtime_ns, source.digest.sha256)}, {}, [])
