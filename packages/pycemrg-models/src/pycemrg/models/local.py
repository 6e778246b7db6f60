"""Files behind ``file://`` URLs."""

import os
from pathlib import Path

from pycemrg.models.manifest import Entry

Verified = dict[Path, tuple[str, int, int, int]]


def local_file(entry: Entry) -> Path:
    """Return the file or folder that a ``file://`` URL means.

    Raises:
        FileNotFoundError: If there is none.
        RuntimeError: If the way to it is barred.
    """
    for path in entry.local:
        try:
            os.stat(path)  # noqa: PTH116 - Path.exists hides a folder that may not be read
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise RuntimeError(f"cannot read {path}: {error.strerror}") from error
        return path
    raise FileNotFoundError(
        f"{entry.title}: no file at {entry.local[0]} ({entry.url}; a relative path starts at the "
        f"folder of the manifest)"
    )


def plain_file(entry: Entry, verified: Verified) -> Path:
    """Return a local file that is used where it lies, verified if the entry gives a sha256.

    Args:
        entry: An entry with a ``file://`` URL and no archive.
        verified: What was summed up before. A file is read again only if it has changed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is a folder, and the entry gives a sha256.
        HashMismatchError: If the file does not have the sha256 of the entry.
        RuntimeError: If it cannot be read.
    """
    path = local_file(entry).resolve()
    if entry.sha256 is None:
        return path
    if path.is_dir():
        raise ValueError(f"{entry.title}: {path} is a folder, and 'sha256' is for files only")
    found = path.stat()
    seen = (entry.sha256, found.st_ino, found.st_size, found.st_mtime_ns)
    if verified.get(path) != seen:
        _verify(entry, entry.sha256, path)
        verified[path] = seen
    return path


def _verify(entry: Entry, expected: str, path: Path) -> None:
    from pycemrg.models.checksums import HashMismatchError, digest_of

    try:
        actual = digest_of(path).sha256
    except OSError as error:
        raise RuntimeError(f"cannot read {path}: {error.strerror}") from error
    if actual != expected:
        raise HashMismatchError(f"{entry.title}: {path}", expected, actual)
