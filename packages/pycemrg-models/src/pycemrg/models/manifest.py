"""What an entry of a model manifest means."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from pycemrg.core import manifests
from pycemrg.core.manifests import Mapping, Node, Place, Scalar, Sequence
from pycemrg.core.near_names import did_you_mean
from pycemrg.models.checksums import is_sha256
from pycemrg.models.paths import CONTROL, inside

ARCHIVE_SUFFIXES = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.bz2": "tar",
    ".tbz2": "tar",
    ".tar.xz": "tar",
    ".txz": "tar",
}
MAX_FILE_NAME = 200  # bytes; common file systems take 255


class Entry(NamedTuple):
    """One version of one model.

    Attributes:
        model: The name of the model.
        version: The name of the version, never ``default``.
        place: Where the version stands in the manifest.
        url: The address as written. It may hold a password or token: see `source`.
        mirrors: More addresses of the same bytes, tried in turn.
        sha256: The expected sha256 in lower case, None if the manifest gives none.
        archive: ``"zip"`` or ``"tar"``, None for a file that is used as it is.
        target: The file or folder inside the archive, empty for all of it; for a file that is
            used as it is, its name.
        local: For a ``file://`` URL, the paths it may mean, the likeliest first; else empty.
    """

    model: str
    version: str
    place: Place
    url: str
    mirrors: tuple[str, ...]
    sha256: str | None
    archive: str | None
    target: str
    local: tuple[Path, ...]

    @property
    def title(self) -> str:
        """The beginning of every message about the entry."""
        return f"{self.place}: model {self.model!r} version {self.version!r}"

    @property
    def name(self) -> str:
        """Model and version, as the command line has them."""
        return f"{self.model}@{self.version}"

    @property
    def source(self) -> str:
        """The address as it may be shown and stored: no user, no password, no query."""
        return public_url(self.url)


class Manifest:
    """A file of models and their versions.

    Args:
        path: The YAML file.

    Attributes:
        root: What it says, as it is written.
        folder: Where relative ``file://`` URLs start.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not YAML, not a mapping or has a key twice. An entry that is
            malformed matters only when it is asked for.
        OSError: If the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.root = manifests.load(path)
        self._source = os.fspath(path)
        self.folder = Path(path).absolute().parent

    def models(self) -> list[str]:
        """Return the names of all models, in the order of the file."""
        return [key.text for key, value in self.root if isinstance(value, Mapping)]

    def names(self) -> list[str]:
        """Return ``model@version`` for each version, also of malformed ones.

        A model without versions stands for itself, so that asking for it says what is wrong.
        """
        names = []
        for model in self.models():
            versions = self.root.section(model).get("versions")
            known = versions.entries if isinstance(versions, Mapping) else {}
            names += [f"{model}@{version}" for version in known] or [model]
        return names

    def entry(self, model: str, version: str = "default") -> Entry:
        """Return what the manifest says about one version of a model.

        Raises:
            KeyError: If there is no such model or version; the message lists what there is.
            ValueError: If the entry is malformed; with file, line and column.
        """
        found = self.root.entries.get(model)
        if found is None:
            raise KeyError(_unknown(self._source, "model", model, self.models()))
        body = _model(found)
        wanted, asked_at = _wanted(model, body, version, found.key.place)
        versions = _versions(model, body, found.key.place)
        if wanted not in versions.entries:
            of_model = f"version of model {model!r}"
            raise KeyError(_unknown(str(asked_at), of_model, wanted, list(versions.entries)))
        key, node = versions.entries[wanted]
        if not isinstance(node, Mapping):
            raise node.place.error(f"version {wanted!r} must be a mapping with 'url'")
        return read_version(model, key, node, self.folder)

    def entries(self, names: Iterable[str] | None = None) -> list[Entry]:
        """Return every version of every model, or those that are named.

        Args:
            names: A model stands for its default version, ``model@version`` for that one.

        Raises:
            KeyError: If there is no such model or version; the message lists what there is.
            ValueError: If an entry is malformed; with file, line and column.
        """
        if names is not None:
            return [self.entry(*self._split_name(name)) for name in names]
        return [
            self.entry(found.key.text, version)
            for found in self.root
            for version in _versions(found.key.text, _model(found), found.key.place).entries
        ]

    def _split_name(self, name: str) -> tuple[str, str]:
        model, at, version = name.rpartition("@")
        return (model, version) if at and name not in self.root.entries else (name, "default")


def public_url(url: str) -> str:
    """Return `url` without user, password, query and fragment.

    Example:
        >>> public_url("https://me:secret@example.com/seg.zip?token=abc#top")
        'https://example.com/seg.zip'
    """
    if url[:5].lower() == "file:":
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _unknown(where: str, kind: str, wanted: str, known: list[str]) -> str:
    names = ", ".join(known) or "none"
    return f"{where}: no {kind} named {wanted!r}{did_you_mean(wanted, known)}; there are: {names}"


def _wanted(model: str, node: Mapping, version: str, place: Place) -> tuple[str, Place]:
    """Return the version that is meant, and the place that says so."""
    if version != "default":
        return version, place
    named = node.get("default")
    if named is None:
        raise place.error(
            f"model {model!r} has no 'default', which names the version to use; ask for a version"
        )
    if not isinstance(named, Scalar):
        raise named.place.error(f"'default' must be the name of a version, not {named.kind}")
    return named.text, named.place


def _model(found: manifests.Entry) -> Mapping:
    key, node = found
    if not isinstance(node, Mapping):
        raise node.place.error(f"model {key.text!r} must be a mapping with 'versions'")
    return node


def _versions(model: str, node: Mapping, place: Place) -> Mapping:
    versions = node.get("versions")
    if versions is None or (isinstance(versions, Mapping) and not versions.entries):
        raise place.error(f"model {model!r} has no 'versions'; each needs a name and a 'url'")
    if not isinstance(versions, Mapping):
        raise versions.place.error(f"'versions' must be a mapping, not {versions.kind}")
    return versions


def read_version(model: str, key: Scalar, node: Mapping, folder: Path) -> Entry:
    """Return what the fields of one version mean.

    Args:
        model: The name of the model.
        key: The name of the version.
        node: Its fields.
        folder: Where relative ``file://`` URLs start.

    Raises:
        ValueError: If they are malformed; with file, line and column.
    """
    url = _text(node, "url")
    if url is None:
        raise key.place.error(f"version {key.text!r} of model {model!r} has no 'url'")
    parts = _split(url)
    address = url.text.strip()
    local = _local_paths(address, folder, url.place) if parts.scheme == "file" else ()
    archive = _archive(node, address if local else parts.path)
    target = _target(node, key.place) if archive else file_name(address)
    sha256 = _sha256(node)
    mirrors = _mirrors(node, sha256, local)
    return Entry(model, key.text, key.place, address, mirrors, sha256, archive, target, local)


def file_name(url: str) -> str:
    """Return the name of the file behind `url`, without query and fit for a folder of ours.

    Example:
        >>> file_name("https://zenodo.org/records/1/files/seg%20v2.zip?download=1")
        'seg v2.zip'
    """
    name = re.sub(r"[\x00-\x1f\x7f\\]", "_", unquote(urlsplit(url).path).rpartition("/")[2])
    name = name.encode(errors="replace")[-MAX_FILE_NAME:].decode(errors="ignore")
    return "file" if name in ("", ".", "..") else name


def _text(node: Mapping, key: str) -> Scalar | None:
    """Return the value of `key`, None if it is missing, null or blank."""
    value = node.get(key)
    if value is None:
        return None
    if not isinstance(value, Scalar):
        raise value.place.error(f"{key!r} must be a text, not {value.kind}")
    return value if value.text.strip() else None


def _split(url: Scalar) -> SplitResult:
    allowed = "it must start with https://, http:// or file://"
    try:
        parts = urlsplit(url.text.strip())
        port = parts.port  # raises for `host:port` with a port that is no number
    except ValueError:
        # Not chained: the message may quote a part of the address that holds a password.
        raise url.place.error(f"'url' is not an address; {allowed}") from None
    if parts.scheme not in ("http", "https", "file"):
        raise url.place.error(f"'url' has the scheme {parts.scheme!r}; {allowed}")
    if parts.scheme != "file" and (not parts.hostname or port == 0):
        raise url.place.error(f"'url' names no host; {allowed}")
    if CONTROL.search(url.text.strip()):  # urlsplit would drop some of them
        raise url.place.error("'url' holds control characters")
    return parts


def _local_paths(address: str, folder: Path, place: Place) -> tuple[Path, ...]:
    path = address[len("file:") :].removeprefix("//")
    if not path:
        raise place.error(
            "'url' names no file; write file:///absolute/path or file://relative/path"
        )
    readings = [path, unquote(path)]
    if path.startswith("localhost/"):  # RFC 8089: the host of a local file
        readings.append(unquote(path.removeprefix("localhost")))
    return tuple(dict.fromkeys(folder / reading for reading in readings))


def _archive(node: Mapping, path: str) -> str | None:
    kind = _text(node, "archive")
    if kind is not None:
        if kind.text not in ("zip", "tar", "none"):
            raise kind.place.error(f"'archive' must be zip, tar or none, not {kind.text!r}")
        return None if kind.text == "none" else kind.text
    name = path.lower()
    return next((found for end, found in ARCHIVE_SUFFIXES.items() if name.endswith(end)), None)


def _sha256(node: Mapping) -> str | None:
    value = _text(node, "sha256")
    if value is None:
        return None
    text = value.text.strip()
    if not is_sha256(text):
        raise value.place.error(
            f"'sha256' must be 64 hexadecimal digits, as `sha256sum FILE` prints them, "
            f"not {text!r} ({len(text)} characters)"
        )
    return text.lower()


def _mirrors(node: Mapping, sha256: str | None, local: tuple[Path, ...]) -> tuple[str, ...]:
    value = node.get("mirrors")
    if value is None:
        return ()
    items = value.items if isinstance(value, Sequence) else []
    if not items:
        raise value.place.error("'mirrors' must be a list of addresses, such as [https://...]")
    if sha256 is None or local:
        raise value.place.error(
            "'mirrors' need an https:// url and a 'sha256': by it alone do the same bytes come "
            "from everywhere"
        )
    return tuple(_mirror(item) for item in items)


def _mirror(item: Node) -> str:
    if not isinstance(item, Scalar) or item.is_null:
        raise item.place.error("a mirror must be an address, such as https://example.com/seg.zip")
    if _split(item).scheme == "file":
        raise item.place.error(
            "a mirror must start with https:// or http://; PYCEMRG_SEED_DIRS names local folders"
        )
    return item.text.strip()


def _target(node: Mapping, place: Place) -> str:
    value = _text(node, "unzipped_target_path")
    if value is None:
        raise place.error(
            "an archive needs 'unzipped_target_path', the file or folder inside it that is wanted; "
            "for a file that is used as it is, write `archive: none`"
        )
    path = inside(value.text.strip())
    if path is None:
        raise value.place.error(
            f"'unzipped_target_path' must be a path inside the archive, with '/' between its "
            f"parts and without '..', not {value.text!r}"
        )
    return path
