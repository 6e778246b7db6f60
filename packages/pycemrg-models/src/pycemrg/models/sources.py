"""Where the bytes of an entry come from: the disk, a file that somebody put there, the network."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from pycemrg.models import archive
from pycemrg.models.checksums import Digest, HashMismatchError, digest
from pycemrg.models.local import local_file
from pycemrg.models.manifest import Entry, file_name, public_url
from pycemrg.models.meters import Watched, meter
from pycemrg.models.progress import Report
from pycemrg.models.staging import partial_download
from pycemrg.models.store import Store

if TYPE_CHECKING:
    from pycemrg.models.partial import Partial

logger = logging.getLogger(__name__)


class Access(NamedTuple):
    """How bytes may be had, and who is told.

    Args:
        offline: Whether the network must be left alone.
        seeds: Folders with files that somebody put there. One with the right sha256 is adopted,
            the others stay unread.
        report: Who wants to know how far it is; None for a bar on a terminal or lines in the log.
    """

    offline: bool
    seeds: Sequence[Path]
    report: Report | None = None


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


def find_source(store: Store, entry: Entry, key: str, stage: Path, access: Access) -> Source:
    """Return the bytes of an entry, verified and open for reading.

    Args:
        store: The store that they are for. 0.1.x kept archives beside it.
        entry: What is wanted.
        key: The object that they are for.
        stage: Our staging folder.
        access: How they may be had.

    Raises:
        FileNotFoundError: If a ``file://`` URL leads nowhere.
        HashMismatchError: If they do not have the sha256 of the entry.
        RuntimeError: If they cannot be had.
        OSError: If they cannot be written.
    """
    if entry.local:
        return _local(entry, access.report)
    adopted = _adopted(entry, [store.cache_dir, *access.seeds], access.report)
    if adopted is not None:
        return adopted
    if access.offline:
        raise RuntimeError(_offline(entry, store.cache_dir))
    return _first_that_works(
        entry, lambda url: _downloaded(store, entry, url, key, stage, access.report)
    )


def state_of(file: BinaryIO) -> tuple[int, int]:
    """Return size and time of change of an open file."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _local(entry: Entry, report: Report | None) -> Source:
    path = local_file(entry)
    if path.is_dir():
        raise RuntimeError(f"{path} is a folder, not a {entry.archive} archive")
    logger.info("%s: reading %s", entry.title, path)
    try:
        source = _summed_up(path, entry, report)
    except OSError as error:
        raise RuntimeError(f"cannot read {path}: {error.strerror}") from error
    _verify(entry, source, str(path))
    return source


def _summed_up(path: Path, entry: Entry, report: Report | None) -> Source:
    file = path.open("rb")
    try:
        state = state_of(file)
        with meter(entry.name, "read", report) as tell:
            return Source(file, state, digest(Watched(file, state[0], tell)))
    except BaseException:
        file.close()
        raise


def _adopted(entry: Entry, folders: Iterable[Path], report: Report | None) -> Source | None:
    """Open a file of the right name and sha256 that lies in one of `folders`."""
    if entry.sha256 is None:
        return None
    for path in [folder / name for folder in folders for name in _old_names(entry.url)]:
        try:
            if not path.is_file():
                continue
            source = _summed_up(path, entry, report)
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


def _first_that_works(entry: Entry, fetched: Callable[[str], Source]) -> Source:
    """Try the address of an entry and then its mirrors."""
    failures: list[RuntimeError] = []
    for url in (entry.url, *entry.mirrors):
        try:
            return fetched(url)
        except RuntimeError as error:
            failures.append(error)
            if entry.mirrors:
                logger.warning("%s: %s", entry.title, error)
    if len(failures) == 1:
        raise failures[0]
    listed = "; ".join(str(error) for error in failures)
    for wrong in failures:
        if isinstance(wrong, HashMismatchError):
            facts = (wrong.what, wrong.expected, wrong.actual)
            raise HashMismatchError(*facts, f"{wrong.hint}; all addresses: {listed}") from wrong
    raise RuntimeError(f"none of {len(failures)} addresses gave it: {listed}") from failures[0]


def _downloaded(
    store: Store, entry: Entry, url: str, key: str, stage: Path, report: Report | None
) -> Source:
    logger.info("%s: fetching %s", entry.title, public_url(url))
    kept = entry.sha256 is not None
    with partial_download(store, stage, key, kept=kept) as partial:
        source, resumed = _received(entry, url, partial, report)
    try:
        _verify_download(entry, source, url, partial)
    except HashMismatchError:
        if not resumed:
            raise
        logger.warning("%s: what came in two parts does not fit; beginning again", entry.title)
        source, _ = _received(entry, url, partial, report)
        _verify_download(entry, source, url, partial)
    return source


def _verify_download(entry: Entry, source: Source, url: str, partial: "Partial") -> None:
    try:
        _verify(entry, source, public_url(url), ". Nothing was kept")
    except HashMismatchError:
        partial.begin(None)  # a mirror that is dead would keep it for whoever tries next
        raise


def _received(
    entry: Entry, url: str, partial: "Partial", report: Report | None
) -> tuple[Source, bool]:
    from pycemrg.models.download import download  # a site without network does without requests

    with meter(entry.name, "download", report) as tell:
        received = download(url, partial, sha256=entry.sha256, tell=tell)
    file = partial.body.open("rb")
    state = state_of(file)
    if state[0] != received.digest.size:
        file.close()
        raise RuntimeError(f"{partial.body} changed while it was written")
    return Source(file, state, received.digest, partial.body), received.resumed


def _verify(entry: Entry, source: Source, what: str, outcome: str = "") -> None:
    found = source.digest
    if entry.sha256 is None or entry.sha256 == found.sha256:
        return
    with source.file:
        hint = f" ({found.size:,} bytes{archive.looks(source.file)}){outcome}"
    raise HashMismatchError(f"{entry.title}: {what}", entry.sha256, found.sha256, hint)
