"""The store: where an archive lies, and whether it is there and whole."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pycemrg.core.near_names import did_you_mean
from pycemrg.models import listing as listings
from pycemrg.models.listing import Listing, Stored, stat_of
from pycemrg.models.local import local_file
from pycemrg.models.manifest import Entry

LAYOUT = "store-v1"
SMALL_TREE = 64  # up to here entry.json lists every file, and each look-up checks them all
DAY = 86_400
MAX_OFFERED = 5
MAX_COMPARED = 2_000

_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # a pipe in the place of a marker must not hold us up
_NOT_OURS = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Record(NamedTuple):
    """The marker ``entry.json`` of an object, read by each look-up.

    Args:
        sha256: Of the archive, in hexadecimal.
        size: Of the archive, in bytes.
        url: Where it came from, without user, password and query.
        whole: Whether `listing` holds the whole tree. For a large tree it holds the files that
            were asked for so far, and ``files.json`` holds all.
        listing: Size and time of change of files.
        targets: For a large tree, what was asked for so far and the file it leads to.
    """

    sha256: str
    size: int
    url: str
    whole: bool
    listing: Listing
    targets: dict[str, str]

    def locate(self, target: str) -> str | None:
        """Return where `target` is, None if the marker does not know."""
        return self.listing.locate(target) if self.whole else self.targets.get(target)


class Store:
    """The folder ``<cache_dir>/store-v1``.

    A folder under ``objects/`` came there by one rename and was whole. What happened to it since
    shows in size and time of change; a file that differs there is summed up, and only different
    content counts as damage.

    Args:
        cache_dir: The folder of the cache. It need not exist.
    """

    def __init__(self, cache_dir: str | os.PathLike[str]) -> None:
        self.cache_dir = Path(os.path.realpath(cache_dir))
        self.root = self.cache_dir / LAYOUT

    def folder(self, entry: Entry) -> str:
        """Return the path of the object that holds what `entry` asks for, there or not.

        Raises:
            FileNotFoundError: If the entry is a local file without sha256 that is not there.
        """
        key = key_of(entry)
        return f"{self.root}/objects/{key[:2]}/{key}"


def look_up(folder: str, entry: Entry, *, read_only: bool = False) -> Path | None:
    """Return the path that `entry` asks for if the object `folder` holds it.

    Args:
        folder: Of the object, there or not.
        entry: What is asked for.
        read_only: Whether to write nothing, not even that somebody uses the object.

    Returns:
        An absolute path without symbolic links; None if the object is not there or damaged.

    Raises:
        RuntimeError: If the object is there and does not hold the target of the entry; the message
            lists the closest names that it holds.
    """
    try:
        place = _find(folder, entry, read_only)
    except DamagedError:
        return None
    return Path(f"{folder}/tree/{place}")


def key_of(entry: Entry) -> str:
    """Return the name of an entry's object: 32 characters that decide what its tree holds.

    An archive is known by its content, whatever its name and URL. A plain file keeps its name, so
    the name counts as well. What has no sha256 is known by its URL or, if it is a local archive,
    by path, size and time of change, so that a replaced file is seen.

    Raises:
        FileNotFoundError: If the entry is a local file without sha256 that is not there.
    """
    if entry.archive is None:
        return "p" + _hashed(entry.target, entry.sha256 or entry.url)
    if entry.sha256 is not None:
        return entry.sha256[:32]
    if not entry.local:
        return "u" + _hashed(entry.url)
    path = local_file(entry)
    found = path.stat()
    return "u" + _hashed(os.path.realpath(path), str(found.st_size), str(found.st_mtime_ns))


def describe(folder: str, sha256: str, size: int, url: str, listing: Listing) -> None:
    """Write ``files.json`` and then the marker ``entry.json`` of an object that is being made.

    Raises:
        OSError: If they cannot be written.
    """
    whole = sum(1 for _ in listing.paths()) <= SMALL_TREE
    known = listing if whole else Listing({}, {}, [])
    record = Record(sha256, size, url, whole, known, {})
    Path(folder, "files.json").write_text(_listing_text(listing), encoding="utf-8")
    Path(folder, "entry.json").write_text(_record_text(record), encoding="utf-8")


def not_held(entry: Entry, listing: Listing) -> RuntimeError:
    """Return the error for a target that an archive does not hold, with names that it does."""
    names = sorted(listing.paths())
    base = entry.target.rpartition("/")[2]
    same_base = [name for name in names if name.rpartition("/")[2] == base]
    some = (same_base or names)[:MAX_OFFERED]
    question = did_you_mean(entry.target, names[:MAX_COMPARED])
    return RuntimeError(
        f"{entry.source} holds no {entry.target!r}{question}; "
        f"it holds: {', '.join(some) or 'nothing'}{', ...' if len(names) > len(some) else ''}"
    )


class DamagedError(Exception):
    """An object that is not there, or not as it was stored."""


def _find(folder: str, entry: Entry, read_only: bool) -> str:
    record, used = read_record(folder)
    if entry.sha256 not in (None, record.sha256):
        raise DamagedError
    if not read_only and time.time() - used > DAY:
        _touch(folder)
    listing = record.listing
    place = record.locate(entry.target)
    if place is None:
        listing = read_listing(folder)
        place = listing.locate(entry.target)
        if place is None:
            raise not_held(entry, listing)
    part = listing if record.whole else listing.under(place)
    changed = part.changed(f"{folder}/tree")
    if changed:
        _accept(folder, record, changed, read_only)
    elif listing is not record.listing and place in listing.files and not read_only:
        _remember(folder, record, entry.target, place, listing.files[place])
    return place


def _touch(folder: str) -> None:
    """Leave a trace of the use, by which pruning knows what nobody needs.

    It comes before the look at the files: what is pruned meanwhile is then seen to be missing.
    """
    try:
        os.utime(f"{folder}/entry.json")
    except FileNotFoundError as error:
        raise DamagedError from error
    except OSError:
        pass  # a cache that may only be read


def _accept(folder: str, record: Record, changed: list[str], read_only: bool) -> None:
    """Take new times for old content, as a copy of the cache leaves them; else it is damage."""
    from pycemrg.models.checksums import digest_of

    listing = read_listing(folder)
    for name in changed:
        path = f"{folder}/tree/{name}"
        file, now = listing.files.get(name), stat_of(path)
        try:
            if file is None or now is None or digest_of(path).sha256 != file.sha256:
                raise DamagedError
        except OSError as error:
            raise DamagedError from error
        listing.files[name] = Stored(*now, file.sha256)
        if name in record.listing.files:
            record.listing.files[name] = Stored(*now)
    if read_only:
        return
    with suppress(OSError):  # a cache that may only be read is summed up each time
        _rewrite(folder, "files.json", _listing_text(listing))
        _rewrite(folder, "entry.json", _record_text(record))


def _remember(folder: str, record: Record, target: str, place: str, file: Stored) -> None:
    record.targets[target] = place
    record.listing.files[place] = file
    with suppress(OSError):
        _rewrite(folder, "entry.json", _record_text(record))


def read_record(folder: str) -> tuple[Record, float]:
    """Return the marker of an object, and when the object was last known to be used.

    Raises:
        DamagedError: If there is none, or not a whole one.
    """
    try:
        content, used = _content(f"{folder}/entry.json")
        data = json.loads(content.decode())
        listing = listings.from_json(data)
        targets = dict(data["targets"])
        record = Record(data["sha256"], data["size"], data["url"], data["whole"], listing, targets)
    except _NOT_OURS as error:
        raise DamagedError from error
    return record, used


def _content(path: str) -> tuple[bytes, float]:
    """Return the bytes of a file and its time of change; half the time that `open` takes."""
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    try:
        content = b""
        while chunk := os.read(descriptor, 1 << 20):
            content += chunk
        return content, os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def _record_text(record: Record) -> str:
    files = {name: file._replace(sha256="") for name, file in record.listing.files.items()}
    data: dict[str, Any] = record._asdict()
    data.update(listings.to_json(data.pop("listing")._replace(files=files)))
    return json.dumps(data)


def read_listing(folder: str) -> Listing:
    """Return the full listing of an object.

    Raises:
        DamagedError: If there is none, or not a whole one.
    """
    try:
        return listings.from_json(json.loads(_content(f"{folder}/files.json")[0]))
    except _NOT_OURS as error:
        raise DamagedError from error


def _listing_text(listing: Listing) -> str:
    return json.dumps(listings.to_json(listing), indent=0)


def _rewrite(folder: str, name: str, text: str) -> None:
    from pycemrg.core.whole_files import write_whole  # look-ups do without

    if not os.path.isdir(folder):  # noqa: PTH112 - `write_whole` would make it again
        raise DamagedError
    write_whole(f"{folder}/{name}", text)


def _hashed(*parts: str) -> str:
    import hashlib  # 2 ms that an entry with an archive and a sha256 does not need

    text = "\n".join(parts)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:31]
