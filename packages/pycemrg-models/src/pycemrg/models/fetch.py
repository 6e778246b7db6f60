"""From an entry that is not in the store to an object that is."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

from pycemrg.models import archive, commit
from pycemrg.models.checksums import Digest, HashMismatchError, digest
from pycemrg.models.listing import Listing, Stored
from pycemrg.models.local import local_file
from pycemrg.models.manifest import Entry, file_name
from pycemrg.models.store import Store, describe, key_of, look_up, not_held

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """The verified bytes of an entry.

    Args:
        file: Open for reading.
        state: Size and time of change of the file before it was summed up.
        digest: What it sums up to.
        ours: Its path, if it was downloaded into our staging folder.
    """

    file: BinaryIO
    state: tuple[int, int]
    digest: Digest
    ours: Path | None = None


def fetch(store: Store, entry: Entry, *, offline: bool, seeds: Sequence[Path]) -> Path:
    """Bring what `entry` asks for into the store and return its path.

    Args:
        store: Where to put it.
        entry: Anything but a local file that is used where it lies.
        offline: Whether the network must be left alone.
        seeds: Folders with archives that somebody put there; so is the folder of the cache, where
            0.1.x kept them. One with the right sha256 is adopted, the others stay unread.

    Raises:
        FileNotFoundError: If a ``file://`` URL leads nowhere.
        HashMismatchError: If the bytes do not have the sha256 of the entry.
        RuntimeError: If they cannot be had, unpacked or stored.
    """
    if entry.local:
        local_file(entry)
    folder = store.folder(entry)
    try:
        commit.make_cache(store)
        with commit.lock(store, os.path.basename(folder)):  # noqa: PTH119
            found = look_up(folder, entry)
            if found is None:
                commit.sweep(store)
                _bring_in(store, Path(folder), entry, offline, seeds)
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


def _bring_in(
    store: Store, folder: Path, entry: Entry, offline: bool, seeds: Sequence[Path]
) -> None:
    with commit.staging(store) as stage:
        draft = stage / "object"
        tree = draft / "tree"
        tree.mkdir(parents=True)
        source = _source(store, entry, stage, offline, seeds)
        with source.file:
            listing = _unpack(entry, source, tree)
        if entry.local and entry.sha256 is None and key_of(entry) != folder.name:
            raise RuntimeError(f"{entry.local[0]} changed while it was read")
        # With a sha256 the archive is what was meant; it stays when only the target is wrong.
        if entry.sha256 is None and listing.locate(entry.target) is None:
            raise not_held(entry, listing)
        describe(str(draft), *source.digest, entry.source, listing)
        commit.commit(store, entry, draft, folder)
    logger.info("%s: stored %s", entry.title, entry.source)


def _source(
    store: Store, entry: Entry, stage: Path, offline: bool, seeds: Sequence[Path]
) -> Source:
    if entry.local:
        return _local(entry)
    adopted = _adopted(entry, [store.cache_dir, *seeds])
    if adopted is not None:
        return adopted
    if offline:
        raise RuntimeError(_offline(entry, store.cache_dir))
    return _downloaded(entry, stage / "download")


def _local(entry: Entry) -> Source:
    path = local_file(entry)
    if path.is_dir():
        raise RuntimeError(f"{path} is a folder, not a {entry.archive} archive")
    logger.info("%s: reading %s", entry.title, path)
    try:
        source = _summed_up(path)
    except OSError as error:
        raise RuntimeError(f"cannot read {path}: {error.strerror}") from error
    _verify(entry, source, str(path))
    return source


def _summed_up(path: Path) -> Source:
    file = path.open("rb")
    try:
        return Source(file, _state(file), digest(file))
    except BaseException:
        file.close()
        raise


def _state(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _adopted(entry: Entry, folders: Iterable[Path]) -> Source | None:
    """Open a file of the right name and sha256 that lies in one of `folders`."""
    if entry.sha256 is None:
        return None
    for path in [folder / name for folder in folders for name in _old_names(entry.url)]:
        try:
            if not path.is_file():
                continue
            source = _summed_up(path)
        except OSError:
            continue
        if source.digest.sha256 == entry.sha256:
            logger.info("%s: adopting %s", entry.title, path.with_name(file_name(entry.url)))
            return source
        source.file.close()
        logger.info("%s: a file of that name in %s has another sha256", entry.title, path.parent)
    return None


def _old_names(url: str) -> list[str]:
    """Return the names under which an archive may lie; 0.1.x kept the query in the name."""
    parts = urlsplit(url)
    raw = parts.path.rpartition("/")[2]
    with_query = [f"{raw}?{parts.query}"] if parts.query and "/" not in parts.query else []
    return [name for name in dict.fromkeys([file_name(url), raw, *with_query]) if name]


def _offline(entry: Entry, folder: Path) -> str:
    place = folder / file_name(entry.url)
    if entry.sha256 is None:
        advice = "give the entry its sha256 first, for a file without is never adopted; then put it"
    else:
        advice = f"its sha256 is {entry.sha256}; put it"
    return f"not in the cache, and offline. Fetch {entry.source} elsewhere, {advice} at {place}"


def _downloaded(entry: Entry, path: Path) -> Source:
    from pycemrg.models.download import download  # a site without network does without requests

    logger.info("%s: fetching %s", entry.title, entry.source)
    found = download(entry.url, path, sha256=entry.sha256)
    file = path.open("rb")
    source = Source(file, _state(file), found, path)
    _verify(entry, source, entry.source, ". Nothing was kept")
    return source


def _verify(entry: Entry, source: Source, what: str, outcome: str = "") -> None:
    found = source.digest
    if entry.sha256 is None or entry.sha256 == found.sha256:
        return
    with source.file:
        hint = f" ({found.size:,} bytes{archive.looks(source.file)}){outcome}"
    raise HashMismatchError(f"{entry.title}: {what}", entry.sha256, found.sha256, hint)


def _unpack(entry: Entry, source: Source, tree: Path) -> Listing:
    if entry.archive is None:
        listing = _place(source, tree, entry.target)
    else:
        listing = archive.extract(source.file, entry.archive, tree, entry.source)
    if _state(source.file) != source.state:
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
