"""Downloads that broke off, and what must be the same before they may go on.

A download is a folder with the bytes so far and, if its server names the version of the file, a
note of it. It lies in the staging folder of the process that works on it, else under ``partial/``,
and moves between the two by one rename, so that no two processes write to it.
"""

import json
from pathlib import Path
from typing import NamedTuple

from pycemrg.core.whole_files import write_whole


class Version(NamedTuple):
    """Which version of a file some bytes belong to, as its server said.

    Args:
        url: Where they came from, without secrets.
        validator: A strong ETag, or a date of Last-Modified (RFC 9110, section 8.8).
        total: How many bytes the whole file has.
    """

    url: str
    validator: str
    total: int


class Partial:
    """The bytes of a download so far.

    Args:
        folder: Where they are, or will be.
        key: The object that they are for. Without it no other process may go on with them: only
            a sha256 tells whether what two processes fetched fits together.
    """

    def __init__(self, folder: Path, key: str | None = None) -> None:
        self.folder = folder
        self.body = folder / "body"
        self.key = key
        self._note = folder / "version.json"
        folder.mkdir(exist_ok=True)
        self.version = _noted(self._note)[1]

    @property
    def size(self) -> int:
        """How many bytes there are."""
        try:
            return self.body.stat().st_size
        except FileNotFoundError:
            return 0

    def begin(self, version: Version | None) -> None:
        """Drop the bytes and note what the next ones belong to, None if nobody can tell.

        Raises:
            OSError: If that cannot be written.
        """
        self.body.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.version = version
        if version is not None and self.key is not None:
            write_whole(self._note, json.dumps({"key": self.key, **version._asdict()}))


def key_of_partial(folder: Path) -> str | None:
    """Return for which object somebody can go on with `folder`, None if nobody can."""
    key, version = _noted(folder / "version.json")
    return key if version is not None and (folder / "body").is_file() else None


def _noted(note: Path) -> tuple[str, Version | None]:
    try:
        data = json.loads(note.read_bytes())
        version = Version(str(data["url"]), str(data["validator"]), int(data["total"]))
        return str(data["key"]), version
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", None
