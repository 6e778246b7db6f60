"""New entries for a manifest: from an address or a file to the lines that describe it."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from pycemrg.core import manifests
from pycemrg.core.manifests import Mapping, Place, Scalar
from pycemrg.models import archive as archives
from pycemrg.models.appending import append_entry, appended
from pycemrg.models.checksums import Digest, digest
from pycemrg.models.listing import Listing
from pycemrg.models.local import local_file
from pycemrg.models.manifest import Entry, file_name, read_version
from pycemrg.models.manifest_problems import secret_in
from pycemrg.models.meters import meter
from pycemrg.models.new_entry import NewEntry
from pycemrg.models.progress import Report
from pycemrg.models.store import not_held

__all__ = ["NewEntry", "append_entry", "describe_source"]

WEIGHTS = (".pth", ".pt", ".onnx", ".ckpt", ".h5", ".safetensors")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|file:", re.IGNORECASE)
_ENCODED = re.compile(r"^\s|\s$|[\x00-\x1f\x7f\[\]]")  # what would not be read as it is
_PACKED = {b"PK\x03\x04": "a zip", b"\x1f\x8b": "a gzip", b"BZh": "a bzip2", b"\xfd7zXZ": "an xz"}


def describe_source(
    model: str,
    version: str,
    source: str | os.PathLike[str],
    *,
    target: str | None = None,
    archive: str | None = None,
    manifest: str | os.PathLike[str] | None = None,
    progress: Report | None = None,
) -> NewEntry:
    """Return the entry for an address or a file, after reading all of it.

    A download goes to a temporary folder and is gone afterwards. An archive is unpacked there, as
    it will be for whoever asks for the model; what would be refused then is refused now.

    Args:
        model: The name of the new model.
        version: The name of its version.
        source: An ``https://`` or ``http://`` address, or a file. The URL of a file is absolute,
            or relative to the folder of `manifest` if it lies there.
        target: The file or folder of an archive that is wanted. If there is just one file, or just
            one that looks like weights, that is taken, and a remark says so.
        archive: ``"zip"``, ``"tar"`` or ``"none"``, where the name does not say how it is packed.
        manifest: What the entry is for. A name that it has already is refused before anything is
            fetched.
        progress: As for `ModelManager`.

    Raises:
        FileNotFoundError: If there is no such file or manifest.
        ValueError: If a name or the address is malformed or holds a password, if `manifest` has
            the model or cannot be appended to, or if `target` is for an archive and this is none.
        RuntimeError: If the bytes cannot be had or unpacked, or the archive lacks `target`.
        OSError: If a file cannot be read or the temporary folder not be written.

    Example:
        >>> import zipfile
        >>> path = Path(tempfile.mkdtemp(), "seg.zip")
        >>> with zipfile.ZipFile(path, "w") as packed:
        ...     packed.writestr("checkpoints/model.pth", "weights")
        ...     packed.writestr("README", "how to")
        >>> entry = describe_source("seg", "v1", path)
        >>> entry.target, entry.remarks
        ('checkpoints/model.pth', ('took checkpoints/model.pth, the only weight file of 2 files',))
    """
    _check_name(model)
    _check_name(version)
    if manifest is not None:
        appended(manifest, NewEntry(model, version, "file://later", "0" * 64, 0))
    folder = None if manifest is None else Path(manifest).absolute().parent
    fields = {"unzipped_target_path": "." if target is None else target, "archive": archive}
    entry = _entry(model, version, {"url": _address(source, folder), **fields}, folder)
    remarks = _secrets(entry)
    if target is not None and entry.archive is None:
        raise ValueError(
            f"{entry.source} is no archive by its name, so there is nothing to choose in it; "
            f"if it is one, pass archive='zip' or archive='tar'"
        )
    with tempfile.TemporaryDirectory() as temporary, _opened(entry, temporary, progress) as opened:
        file, found = opened
        new = NewEntry(model, version, entry.url, *found, archive, remarks=remarks)
        if entry.archive is None:
            return new._replace(remarks=(*remarks, *_look_at(file, entry, archive)))
        listing = _unpack(file, entry, Path(temporary, "tree"), progress)
    return _choose(new, entry, listing, target)


def _check_name(name: str) -> None:
    if not name.isprintable() or name.strip() != name or name in ("", "default") or "@" in name:
        raise ValueError(
            f"{name!r} cannot be a name: it must be printable and without '@', which stands "
            f"between model and version, and not 'default', which means the default version"
        )


def _address(source: str | os.PathLike[str], folder: Path | None) -> str:
    """Return the URL of an address or a file."""
    text = os.fspath(source)
    if not _URL.match(text):
        return _file_url(Path(text), folder)
    if text[:5].lower() != "file:":
        return text
    entry = _entry("file", "v", {"url": text, "archive": "none"}, folder)
    return _file_url(local_file(entry), folder)


def _file_url(path: Path, folder: Path | None) -> str:
    if not path.exists():
        raise FileNotFoundError(f"no file at {path}; an address starts with https:// or http://")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, which has no sha256; pack it into an archive")
    return f"file://{_encoded(_place(path, folder).as_posix())}"


def _place(path: Path, folder: Path | None) -> Path:
    """Return a path from `folder` if it leads down from there, as written or without links."""
    real = Path(os.path.realpath(path.parent), path.name)
    if folder is not None:
        for place, above in ((path.absolute(), folder), (real, Path(os.path.realpath(folder)))):
            if ".." not in place.parts and place.is_relative_to(above):
                return place.relative_to(above)
    return real if ".." in path.parts else path.absolute()


def _encoded(path: str) -> str:
    """Return a path as it stands in a URL, where it is tried as it is and then without %XX."""
    try:
        encoded = quote(path)
    except UnicodeEncodeError:  # it quotes the whole path, which no terminal can show
        raise ValueError(f"{path!r} is no text and cannot be written as a URL") from None
    return encoded if _ENCODED.search(path) else path


def _entry(model: str, version: str, fields: dict[str, str | None], folder: Path | None) -> Entry:
    place = Place(f"{model}@{version}")
    node = manifests.from_data(fields, place.file)
    assert isinstance(node, Mapping)
    return read_version(model, Scalar(place, version), node, folder or Path.cwd())


def _secrets(entry: Entry) -> tuple[str, ...]:
    """Refuse a password in the address of an entry, and remark on what looks like a secret."""
    secret = secret_in(entry.url)
    if "@" in urlsplit(entry.url).netloc and not entry.local:
        raise ValueError(
            f"the address of {entry.source} holds {secret}, which the manifest would hand on; "
            f"leave that out and put it into ~/.netrc"
        )
    if not secret:
        return ()
    return (f"the address holds {secret}: if it is secret, whoever gets the manifest has it",)


@contextmanager
def _opened(
    entry: Entry, temporary: str, progress: Report | None
) -> Iterator[tuple[BinaryIO, Digest]]:
    if entry.local:
        with local_file(entry).open("rb") as file:
            yield file, digest(file)
        return
    from pycemrg.models.download import download  # a local file does without requests
    from pycemrg.models.partial import Partial

    partial = Partial(Path(temporary, "download"))
    with meter(entry.name, "download", progress) as tell:
        received = download(entry.url, partial, tell=tell)
    with partial.body.open("rb") as file:
        yield file, received.digest


def _unpack(file: BinaryIO, entry: Entry, tree: Path, progress: Report | None) -> Listing:
    tree.mkdir()
    with meter(entry.name, "unpack", progress) as tell:
        return archives.extract(file, str(entry.archive), tree, entry.source, tell)


def _look_at(file: BinaryIO, entry: Entry, archive: str | None) -> tuple[str, ...]:
    """Refuse a web page in the place of weights, and remark on what seems to be an archive."""
    suffix = PurePosixPath(file_name(entry.url)).suffix.lower()
    if suffix not in ("", *WEIGHTS):
        return ()
    if remark := archives.looks(file):
        raise RuntimeError(f"{entry.source} cannot be what is meant{remark}")
    file.seek(0)
    start = file.read(8)
    packed = next((kind for magic, kind in _PACKED.items() if start.startswith(magic)), None)
    if suffix or archive or packed is None:  # weights may be zip files inside
        return ()
    remark = (
        f"the file begins like {packed} archive and will be used as it is; to have it unpacked, "
    )
    return (f"{remark}pass archive='zip' or archive='tar'",)


def _choose(new: NewEntry, entry: Entry, listing: Listing, target: str | None) -> NewEntry:
    """Fill in what is wanted of an archive, if that is known."""
    files = sorted(filter(_is_meant, listing.files), key=lambda name: (not _is_weights(name), name))
    if not files:
        raise RuntimeError(f"{entry.source} holds no files")
    if target is not None:
        if listing.locate(entry.target) is None:
            raise not_held(entry, listing)
        return new._replace(target=entry.target or ".", members=tuple(files))
    weights = [name for name in files if _is_weights(name)]
    if len(files) == 1:
        chosen, why = files[0], "the only file"
    elif len(weights) == 1:
        chosen, why = weights[0], f"the only weight file of {len(files)} files"
    else:
        return new._replace(members=tuple(files))
    remarks = (*new.remarks, f"took {chosen}, {why}")
    return new._replace(target=chosen, members=tuple(files), remarks=remarks)


def _is_weights(name: str) -> bool:
    return name.lower().endswith(WEIGHTS)


def _is_meant(name: str) -> bool:
    """Whether a file is not what macOS puts into every archive."""
    return not (name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store")
