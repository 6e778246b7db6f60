"""What the store holds, and whether it is as it was stored. Nothing here writes or takes a lock."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pycemrg.models.listing import Listing
from pycemrg.models.manifest import Entry
from pycemrg.models.progress import Meter
from pycemrg.models.store import DamagedError, Record, Store, key_of, read_listing, read_record
from pycemrg.models.tree_faults import faults

MAX_REPLACED = 3  # times that one object is checked because others keep changing it
YEAR_1, YEAR_9999 = -62_135_596_800, 253_370_764_800  # seconds; datetime knows no others

_KEY = re.compile(r"[0-9a-fup][0-9a-f]{31}")


class StoredObject(NamedTuple):
    """One archive or plain file in the store.

    Attributes:
        key: The name of its folder.
        sha256: Of the archive, in hexadecimal.
        source: Where it came from, without user, password and query.
        size: Of the archive, in bytes.
        tree_size: Of what it held, in bytes.
        files: How many files it held.
        used: When it was last known to be used, at most a day too early.
    """

    key: str
    sha256: str
    source: str
    size: int
    tree_size: int
    files: int
    used: datetime


class Damage(NamedTuple):
    """An object that is not as it was stored, or something else in its place.

    Attributes:
        key: The name of its folder.
        source: Where it came from, empty if that cannot be known.
        files: What is missing, differs, cannot be read or was never stored: paths in the tree,
            ``.`` for the tree itself. Empty if it is not known what should be there.
        reason: What is wrong.
        folder: Where it is. It may be deleted: what is asked for is then fetched again.
    """

    key: str
    source: str
    files: list[str]
    reason: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.folder}: {self.reason}"


def list_objects(store: Store) -> list[StoredObject]:
    """Return what the store holds, in the order of the sources.

    What lies there and is no object is passed over; `verify_objects` reports it.

    Raises:
        RuntimeError: If the store is there and cannot be read.
    """
    found = []
    for folder, _ in _everything(store):
        try:
            found.append(_stored(folder))
        except DamagedError:
            continue
    return sorted(found, key=lambda each: (each.source, each.key))


def verify_objects(
    store: Store,
    *,
    deep: bool = False,
    keys: Iterable[str] | None = None,
    tell: Meter | None = None,
) -> list[Damage]:
    """Return what is not as it was stored, in the order of the keys.

    A file is looked at as a look-up does: its size and time of change decide, and if they are not
    the stored ones its sha256. An object that goes away meanwhile is no damage.

    Args:
        store: Where to look.
        deep: Whether to sum up every file, and to report also what was never stored: a program
            that loads a whole folder may load that.
        keys: The objects to look at, all if it is None. One that is not there is no damage.
        tell: Called after each object with the bytes of those before it, and of all in the store.

    Raises:
        RuntimeError: If the store is there and cannot be read.
    """
    if keys is None:
        places: Iterable[tuple[str, str]] = _everything(store)
    else:
        places = [(f"{store.root}/objects/{key[:2]}/{key}", "") for key in sorted(set(keys))]
    if tell is not None:
        places = _told(places, {each.key: each.tree_size for each in list_objects(store)}, tell)
    checked = (_checked(folder, barred, deep) for folder, barred in places)
    return [damage for damage in checked if damage is not None]


def _told(
    places: Iterable[tuple[str, str]], sizes: dict[str, int], tell: Meter
) -> Iterator[tuple[str, str]]:
    done = 0
    for folder, barred in places:
        yield folder, barred
        done += sizes.get(os.path.basename(folder), 0)  # noqa: PTH119
        tell(done, sum(sizes.values()))


def keys_of(entries: Iterable[Entry]) -> list[str]:
    """Return the keys under which a store may hold what some entries ask for.

    A local file that is used where it lies has none, nor has an archive without sha256 that is not
    there, for its key tells its size and time of change.
    """
    keys = []
    for entry in entries:
        if not entry.local or entry.archive is not None:
            with suppress(OSError, RuntimeError):
                keys.append(key_of(entry))
    return keys


def _everything(store: Store) -> Iterator[tuple[str, str]]:
    """Yield the path of all that lies where objects do, and why it cannot be looked into."""
    root = f"{store.root}/objects"
    try:
        groups = sorted(os.listdir(root))  # noqa: PTH208 - ten thousand of them
    except FileNotFoundError:
        return
    except OSError as error:
        raise RuntimeError(f"cannot read the store {root}: {error.strerror}") from error
    for group in groups:
        try:
            names = sorted(os.listdir(f"{root}/{group}"))  # noqa: PTH208
        except OSError as error:
            yield f"{root}/{group}", f"cannot be read: {error.strerror}"
        else:
            yield from ((f"{root}/{group}/{name}", "") for name in names)


def _stored(folder: str) -> StoredObject:
    record, used = _record(folder)
    listing = record.listing if record.whole else _listing(folder)
    return StoredObject(
        os.path.basename(folder),  # noqa: PTH119
        record.sha256,
        record.url,
        record.size,
        sum(file.size for file in listing.files.values()),
        len(listing.files),
        datetime.fromtimestamp(min(max(used, YEAR_1), YEAR_9999), UTC),
    )


def _record(folder: str) -> tuple[Record, float]:
    """Return the marker of an object after a look at each value, for anything may lie there.

    Raises:
        DamagedError: If it is no marker of ours; the message says why.
    """
    _refuse_what_is_no_object(folder)
    _refuse_what_is_no_file(folder, "entry.json")
    try:
        record, used = read_record(folder)
    except DamagedError as error:
        raise _unreadable("entry.json", error) from error
    if not (
        isinstance(record.sha256, str)
        and isinstance(record.url, str)
        and isinstance(record.size, int)
        and all(isinstance(target, str) for target in record.targets)
        and _is_sound(record.listing)
    ):
        raise _unreadable("entry.json")
    return record, used


def _listing(folder: str) -> Listing:
    _refuse_what_is_no_file(folder, "files.json")
    try:
        listing = read_listing(folder)
    except DamagedError as error:
        raise _unreadable("files.json", error) from error
    if not _is_sound(listing):
        raise _unreadable("files.json")
    return listing


def _is_sound(listing: Listing) -> bool:
    return all(
        isinstance(file.size, int)
        and isinstance(file.mtime_ns, int)
        and isinstance(file.sha256, str)
        for file in listing.files.values()
    )


def _refuse_what_is_no_object(folder: str) -> None:
    parent, key = folder.split("/")[-2:]
    try:
        is_folder = stat.S_ISDIR(os.lstat(folder).st_mode)
    except OSError as error:
        raise DamagedError(f"cannot be read: {error.strerror}") from error
    if not is_folder:
        raise DamagedError("is not a folder, so the store did not put it there")
    if not _KEY.fullmatch(key) or key[:2] != parent:
        raise DamagedError("is not named as an object, so the store did not put it there")


def _refuse_what_is_no_file(folder: str, name: str) -> None:
    """Refuse a pipe or device, from which one would read forever."""
    try:
        is_file = stat.S_ISREG(os.stat(f"{folder}/{name}").st_mode)  # noqa: PTH116
    except OSError as error:
        raise _unreadable(name, error) from error
    if not is_file:
        raise DamagedError(f"{name} is no file")


def _unreadable(name: str, error: BaseException | None = None) -> DamagedError:
    reason = error.__cause__ if isinstance(error, DamagedError) else error
    if isinstance(reason, FileNotFoundError):
        return DamagedError(f"{name} is missing")
    if isinstance(reason, OSError):
        return DamagedError(f"{name} cannot be read: {reason.strerror}")
    return DamagedError(f"{name} is not as the store writes it")


def _checked(folder: str, barred: str, deep: bool) -> Damage | None:
    """Check one object; what looks damaged while others change it is checked again."""
    damage = None
    for _ in range(MAX_REPLACED):
        before = _state(folder)
        damage = _damage(folder, barred, deep)
        after = _state(folder)
        if damage is None or after is None:
            return None
        if after == before:
            break
    return damage


def _state(folder: str) -> tuple[int, ...] | None:
    """Return what changes when another folder takes this place, None if there is nothing."""
    try:
        found = os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _damage(folder: str, barred: str, deep: bool) -> Damage | None:
    key, source = os.path.basename(folder), ""  # noqa: PTH119
    found: dict[str, list[str]] = {}
    try:
        if barred:
            raise DamagedError(barred)
        record, _ = _record(folder)
        source = record.url
        listing = _listing(folder)
        _refuse_what_does_not_fit(key, record, listing)
        for name, fault in faults(f"{folder}/tree", listing, deep=deep):
            found.setdefault(fault, []).append(name)
    except DamagedError as error:
        return Damage(key, source, [], str(error), Path(folder))
    if not found:
        return None
    names = [name for names in found.values() for name in names]
    reason = ", ".join(f"{len(names):,} {fault}" for fault, names in found.items())
    return Damage(key, source, names, reason, Path(folder))


def _refuse_what_does_not_fit(key: str, record: Record, listing: Listing) -> None:
    """Refuse a marker that would lead a look-up to other files than those that were stored."""
    if key[0] not in "up" and not record.sha256.startswith(key):
        raise DamagedError("the folder and entry.json do not have the same sha256")
    known = record.listing
    if record.whole:
        fits = known.files.keys() == listing.files.keys() and known[1:] == listing[1:]
    else:
        fits = all(listing.locate(name) == place for name, place in record.targets.items())
    if not fits:
        raise DamagedError("entry.json and files.json do not say the same")
