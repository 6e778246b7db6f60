"""Bytes over HTTP, into a file; what breaks off goes on where it was."""

import gzip
import hashlib
import logging
import shutil
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import requests
from urllib3.exceptions import HTTPError

from pycemrg.models.checksums import CHUNK, Digest, digest, write_all
from pycemrg.models.connection import Session, get
from pycemrg.models.inflated import Inflated, limit
from pycemrg.models.manifest import public_url
from pycemrg.models.partial import Partial
from pycemrg.models.progress import Meter
from pycemrg.models.ranges import is_rest, length_of, version_of
from pycemrg.models.redaction import no_secrets_in_logs, shown

TRIES = 5  # of a body that is cut short and gets no further
BACKOFF = 0.5  # seconds, doubled from try to try
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two packets

logger = logging.getLogger(__name__)


class Received(NamedTuple):
    """What was downloaded, and whether it was put together from the answers to several requests."""

    digest: Digest
    resumed: bool


def download(
    url: str, partial: Partial, *, sha256: str | None = None, tell: Meter | None = None
) -> Received:
    """Fetch `url` into the file ``partial.body``.

    Statuses that may pass (408, 429, 500, 502, 503, 504) and connections that fail are tried
    again. A body that is cut short goes on where it was if the server can tell that it still has
    the same version of the file, else it begins again; five tries in a row that get no further are
    the end. Passwords and tokens come from the URL or from ``~/.netrc``.

    Args:
        url: An ``http://`` or ``https://`` address.
        partial: Where to write. What it holds already is used if it belongs to this URL.
        sha256: What the file should have. It is not enforced here; it tells a server that
            compresses a transfer on its own from one that serves a compressed file.
        tell: Called with the bytes so far and in all.

    Raises:
        RuntimeError: If the bytes cannot be had.
        OSError: If the file cannot be written.
    """
    with Session(BACKOFF) as session, no_secrets_in_logs():
        body = _Body(partial, public_url(url), tell)
        failures = furthest = 0
        while (problem := _attempt(session, url, body)) is not None:
            if body.is_complete or (sha256 and sha256 == body.digest().sha256):
                break
            failures = 1 if body.size > furthest else failures + 1
            furthest = max(furthest, body.size)
            if failures == TRIES:
                raise RuntimeError(f"{body.url}: {problem}; gave up after {TRIES} tries")
            logger.warning("%s: %s; trying again", body.url, problem)
            time.sleep(BACKOFF * 2 ** (failures - 1))
        return Received(_decoded(body, sha256), body.resumed)


def size_of(url: str) -> int | None:
    """Ask a server how many bytes a file has; None if it does not say.

    Raises:
        RuntimeError: If it does not answer, or has no such file.
    """
    # HEAD is refused by many a store that answers GET, and the body is not read.
    with (
        Session(BACKOFF) as session,
        no_secrets_in_logs(),
        get(session, url, headers={}, accepted=(200,), timeout=TIMEOUT) as response,
    ):
        return length_of(response)


class _Body:
    """The bytes of a download so far, and what is known of them."""

    def __init__(self, partial: Partial, url: str, tell: Meter | None) -> None:
        self.partial = partial
        self.url = url
        # What another address gave stays until this one gives something: it may be dead.
        ours = partial.version is not None and partial.version.url == url
        self.size = partial.size if ours else 0
        self.resumed = False
        self.encoding = ""
        self.served_by = url
        self._tell = tell
        self._total: int | None = None
        self._hash = hashlib.sha256()
        self._hashed = 0

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are there, as far as the server said how many there are."""
        version = self.partial.version
        return version is not None and self.size == version.total

    def begin(self, response: requests.Response | None) -> None:
        """Drop what there is, for the answer to a request without range."""
        self._hash, self._hashed, self.size, self._total = hashlib.sha256(), 0, 0, None
        version = None
        if response is not None:
            self.encoding = response.headers.get("Content-Encoding", "").strip().lower()
            self.served_by = public_url(str(response.url))
            self._total = length_of(response)
            version = version_of(response, self.url)
        self.partial.begin(version)

    def range(self) -> dict[str, str]:
        """Return the headers that ask for the rest, none if all is wanted (RFC 9110, 13.1.5)."""
        version = self.partial.version
        if version is None or self.size == 0:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": version.validator}

    def add(self, chunk: bytes) -> None:
        """Take note of bytes that were written."""
        self._hash.update(chunk)
        self.size += len(chunk)
        self._hashed = self.size
        if self._tell is not None:
            version = self.partial.version
            self._tell(self.size, version.total if version else self._total)

    def digest(self) -> Digest:
        """Return what the bytes sum up to; those of another process are read once."""
        if self._hashed < self.size:
            with self.partial.body.open("rb") as file:
                while chunk := file.read(CHUNK):
                    self._hash.update(chunk)
            self._hashed = self.size
        return Digest(self._hash.hexdigest(), self.size)


def _attempt(session: requests.Session, url: str, body: _Body) -> str | None:
    """Ask for what is missing; return None if it has come, else why not."""
    if body.is_complete:
        body.resumed = True
        return None
    asked = body.range()
    accepted = (200, 206, 416) if asked else (200,)
    with get(session, url, headers=asked, accepted=accepted, timeout=TIMEOUT) as response:
        if response.status_code == 200:
            body.begin(response)
        elif response.status_code == 206 and is_rest(response, body.partial.version, body.size):
            logger.info("%s: going on after %s bytes", body.url, f"{body.size:,}")
            body.digest()
            body.resumed = True
        else:
            body.begin(None)
            return "the server has no rest that fits what came before"
        return _receive(response, body)


def _receive(response: requests.Response, body: _Body) -> str | None:
    length, before = length_of(response), body.size
    of_all = "" if length is None else f" of {before + length:,}"
    _check_space(body.partial.folder, length)
    with body.partial.body.open("ab", buffering=0) as file:
        while True:
            try:
                chunk = response.raw.read(CHUNK, decode_content=False)
            except HTTPError as error:  # urllib3 wraps what the socket raises
                return f"the transfer broke off after {body.size:,}{of_all} bytes ({shown(error)})"
            if not chunk:
                break
            write_all(file.fileno(), chunk)
            body.add(chunk)
    if length is not None and body.size - before != length:
        return f"the transfer broke off after {body.size:,}{of_all} bytes"
    return None


def _decoded(body: _Body, sha256: str | None) -> Digest:
    """Undo a compression that the server applied although it was asked not to.

    Some servers label a ``.tar.gz`` as a compressed transfer of a ``.tar``; there the bytes as
    they came are the file.
    """
    got = body.digest()
    is_file = got.sha256 == sha256 if sha256 else body.served_by.endswith(("gz", "GZ"))
    if body.encoding in ("", "identity") or is_file:
        return got
    url, encoding = body.served_by, f"Content-Encoding {body.encoding!r}"
    if body.encoding not in ("gzip", "x-gzip"):
        raise RuntimeError(f"{url}: sent with the {encoding}, which was not asked for")
    path = body.partial.body
    draft = path.with_name(f"{path.name}.decoded")
    try:
        with gzip.open(path) as source, draft.open("wb") as file:
            found = digest(Inflated(source, limit(got.size), url), file.write)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RuntimeError(f"{url}: damaged {encoding} ({error})") from error
    draft.replace(path)
    return found


def _check_space(folder: Path, length: int | None) -> None:
    free = shutil.disk_usage(folder).free
    if length is not None and length > free:
        raise RuntimeError(f"needs {length:,} bytes in {folder}, where {free:,} are free")
