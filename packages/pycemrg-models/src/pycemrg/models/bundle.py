"""Bundles: the archives of a manifest in one file, for sites without internet.

A bundle is a tar file without compression. It holds the files as they were published, under
``files/SHA256/NAME``, and at its end ``bundle.json``, which says what each is. Nothing in it has to
be trusted: what is imported is known by the sha256 that its bytes have, and a manifest asks for it
by that.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pycemrg.core.manifests import Place
from pycemrg.core.whole_files import whole_file
from pycemrg.models import fetch, locks, staging
from pycemrg.models.checksums import HashMismatchError, digest, is_sha256
from pycemrg.models.manifest import Entry, file_name
from pycemrg.models.meters import Watched, meter
from pycemrg.models.progress import Report
from pycemrg.models.sources import Access, Source, find_source, state_of
from pycemrg.models.store import Store, key_of, look_up

INDEX = "bundle.json"
FORMAT = 1
MAX_INDEX = 10_000_000  # bytes


class Packed(NamedTuple):
    """One file of a bundle.

    Args:
        name: Model and version, as in ``seg@v2``.
        path: In the bundle.
        sha256: Of the file, in hexadecimal.
        source: Where it came from, without user, password and query.
        archive: ``"zip"`` or ``"tar"``, None for a file that is used as it is.
    """

    name: str
    path: str
    sha256: str
    source: str
    archive: str | None


def export_bundle(
    store: Store,
    entries: Iterable[Entry],
    path: str | os.PathLike[str],
    access: Access,
    *,
    overwrite: bool = False,
) -> list[str]:
    """Write the files of some entries to a bundle, fetching what is not at hand.

    The store keeps what archives hold and not the archives, so these are downloaded again unless
    they lie in the folder of the cache or a folder of seeds.

    Args:
        store: The cache at hand.
        entries: What to pack.
        path: The bundle to write, whole or not at all.
        access: How the files may be had.
        overwrite: Whether an existing file may be replaced.

    Returns:
        What was left out and why, a sentence each.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is False.
        FileNotFoundError: If a ``file://`` URL leads nowhere.
        HashMismatchError: If a file does not have the sha256 of its entry.
        RuntimeError: If one cannot be had.
        OSError: If the bundle cannot be written.
    """
    packed: dict[str, Packed] = {}
    left_out = []
    with whole_file(path, overwrite=overwrite) as draft, tarfile.open(draft, "w") as bundle:
        for entry in entries:
            reason = _reason_to_leave_out(entry)
            if reason:
                left_out.append(f"{entry.name} is left out: {reason}")
            elif _path(entry) not in packed:
                _pack(store, entry, bundle, access)
                packed[_path(entry)] = _packed(entry)
        _add(bundle, INDEX, _index_text(packed.values()).encode())
    return left_out


def import_bundle(
    store: Store, path: str | os.PathLike[str], report: Report | None = None
) -> list[str]:
    """Bring the files of a bundle into a store, as if they had been downloaded.

    Args:
        store: Where to put them.
        path: The bundle.
        report: Who wants to know how far it is; None for a bar on a terminal or lines in the log.

    Returns:
        The model and version of each, as in ``seg@v2``.

    Raises:
        FileNotFoundError: If there is no such bundle.
        ValueError: If it is no bundle, or not a whole one.
        HashMismatchError: If a file in it is damaged.
        RuntimeError: If an archive in it is damaged or refused.
        OSError: If the store cannot be written.
    """
    names = []
    with _opened(path) as bundle:
        index = _read_index(bundle, path)
        staging.make_cache(store)
        staging.sweep(store)
        for packed in index:
            _unpack(store, packed, bundle, path, report)
            names.append(packed.name)
    return names


def _reason_to_leave_out(entry: Entry) -> str:
    if entry.local and entry.archive is None:
        return f"{entry.url} is used where it lies"
    if entry.sha256 is None:
        return "without a sha256 in the manifest nobody could tell whether it is the right file"
    return ""


def _path(entry: Entry) -> str:
    return f"files/{entry.sha256}/{file_name(entry.url)}"


def _packed(entry: Entry) -> Packed:
    return Packed(entry.name, _path(entry), str(entry.sha256), entry.source, entry.archive)


def _index_text(packed: Iterable[Packed]) -> str:
    return json.dumps({"format": FORMAT, "files": [each._asdict() for each in packed]}, indent=1)


def _pack(store: Store, entry: Entry, bundle: tarfile.TarFile, access: Access) -> None:
    with staging.staging(store) as stage:
        source = _stored_file(store, entry) or find_source(
            store, entry, key_of(entry), stage, access
        )
        with source.file:
            source.file.seek(0)
            member = tarfile.TarInfo(_path(entry))
            member.size, member.mode = source.digest.size, 0o644
            bundle.addfile(member, source.file)
            if state_of(source.file) != source.state:
                raise RuntimeError(f"{entry.title}: the file changed while it was read")


def _stored_file(store: Store, entry: Entry) -> Source | None:
    """Open a file that is used as it is, if the store holds it with the right bytes."""
    found = look_up(store.folder(entry), entry) if entry.archive is None else None
    if found is None:
        return None
    file = found.open("rb")
    source = Source(file, state_of(file), digest(file))
    if source.digest.sha256 == entry.sha256:
        return source
    file.close()
    return None


def _add(bundle: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    bundle.addfile(member, io.BytesIO(content))


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as bundle:
            yield bundle
    except tarfile.TarError as error:
        raise ValueError(f"{os.fspath(path)} is no bundle, or not a whole one: {error}") from error


def _read_index(bundle: tarfile.TarFile, path: str | os.PathLike[str]) -> list[Packed]:
    where = os.fspath(path)
    try:
        member = bundle.getmember(INDEX)
    except KeyError as error:
        raise ValueError(f"{where} is no bundle, or not a whole one: no {INDEX} in it") from error
    file = bundle.extractfile(member) if member.size <= MAX_INDEX else None
    if file is None:
        raise ValueError(f"{where}: {INDEX} is no file, or too large")
    try:
        data = json.loads(file.read())
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}, where this version reads {FORMAT}")
        return [_checked(each) for each in data["files"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{where}: {INDEX} is not as expected: {error}") from error


def _checked(data: Any) -> Packed:
    packed = Packed(**data)
    if not all(isinstance(each, str) for each in packed[:4]):
        raise TypeError("a field that is no text")
    for text in (packed.name, packed.source):
        if not text.isprintable():  # it goes to a terminal
            raise ValueError(f"the name {text!r}")
    if packed.archive not in ("zip", "tar", None) or not is_sha256(packed.sha256):
        raise ValueError(f"{packed.name}: archive {packed.archive!r}, sha256 {packed.sha256!r}")
    return packed


def _unpack(
    store: Store,
    packed: Packed,
    bundle: tarfile.TarFile,
    path: str | os.PathLike[str],
    report: Report | None,
) -> None:
    entry = _entry(packed, path)
    folder = Path(store.folder(entry))
    with locks.lock(store, folder.name), staging.staging(store) as stage:
        if look_up(str(folder), entry) is not None:
            return
        with _copied(bundle, packed, stage / "file", report) as source:
            if source.digest.sha256 != packed.sha256:
                what = f"{os.fspath(path)}: {packed.path}"
                raise HashMismatchError(what, packed.sha256, source.digest.sha256)
            fetch.store_source(store, entry, folder, source, stage, report)


def _entry(packed: Packed, path: str | os.PathLike[str]) -> Entry:
    """Return an entry that asks for everything a file of a bundle holds."""
    model, _, version = packed.name.rpartition("@")
    target = "" if packed.archive else file_name(packed.source)
    place, url = Place(os.fspath(path)), packed.source
    return Entry(model, version, place, url, (), packed.sha256, packed.archive, target, ())


@contextmanager
def _copied(
    bundle: tarfile.TarFile, packed: Packed, to: Path, report: Report | None
) -> Iterator[Source]:
    try:
        member = bundle.getmember(packed.path)
    except KeyError as error:
        raise ValueError(f"{bundle.name!s}: {packed.path} is missing") from error
    content = bundle.extractfile(member)
    if content is None:
        raise ValueError(f"{bundle.name!s}: {packed.path} is no file")
    with to.open("w+b") as file:
        with meter(packed.name, "read", report) as tell:
            found = digest(Watched(content, member.size, tell), file.write)
        file.flush()
        yield Source(file, state_of(file), found, to)
