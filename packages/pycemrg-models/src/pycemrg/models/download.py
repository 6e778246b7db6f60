"""Bytes over HTTP, into a file."""

import gzip
import hashlib
import logging
import re
import shutil
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from pycemrg.models.checksums import CHUNK, Digest, digest
from pycemrg.models.inflated import Inflated, limit
from pycemrg.models.manifest import public_url

TRIES = 5  # of a body that is cut short
BACKOFF = 0.5  # seconds, doubled from try to try
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two packets
RETRIED = (408, 429, 500, 502, 503, 504)
MAX_RETRY_AFTER = 120.0  # seconds; urllib3 would let a server hold us for six hours
HEADERS = {
    "User-Agent": "pycemrg-models",
    "Accept-Encoding": "identity",  # the sha256 is of the file, not of a compressed transfer
}

# A query may hold quotes and brackets, so those after it in a message are lost with it.
_SECRETS = re.compile(r"\?\S*|(?<=//)[^/?\s]*@")
_URLLIB3_LOGGERS = ("urllib3.connectionpool", "urllib3.util.retry")

logger = logging.getLogger(__name__)


def download(url: str, path: Path, *, sha256: str | None = None) -> Digest:
    """Fetch `url` into the file `path`.

    Statuses that may pass (408, 429, 500, 502, 503, 504) and connections that fail are tried
    again, and so is a body that is cut short. Passwords come from the URL or from ``~/.netrc``.

    Args:
        url: An ``http://`` or ``https://`` address.
        path: The file to write.
        sha256: What the file should have. It is not enforced here; it tells a server that
            compresses a transfer on its own from one that serves a compressed file.

    Returns:
        The sha256 and size of what was written.

    Raises:
        RuntimeError: If the bytes cannot be had.
        OSError: If the file cannot be written.
    """
    with _session() as session, _no_secrets_in_logs():
        for attempt in range(TRIES):
            if attempt:
                time.sleep(BACKOFF * 2 ** (attempt - 1))
            with _get(session, url) as response:
                got = _receive(response, path)
                if not isinstance(got, str):
                    return _decoded(response, path, got, sha256)
            logger.warning("%s: %s (try %d of %d)", public_url(url), got, attempt + 1, TRIES)
    raise RuntimeError(f"{public_url(url)}: {got}; gave up after {TRIES} tries")


class _Retry(Retry):
    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, MAX_RETRY_AFTER)


def _session() -> requests.Session:
    retry = _Retry(
        total=5,
        connect=2,
        read=2,
        status_forcelist=RETRIED,
        allowed_methods=("GET",),
        backoff_factor=BACKOFF,
        backoff_jitter=BACKOFF,
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers.update(HEADERS)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _get(session: requests.Session, url: str) -> requests.Response:
    cause: Exception
    try:
        response = session.get(url, stream=True, timeout=TIMEOUT)
    except (OSError, HTTPError, UnicodeError) as error:  # OSError: also for missing certificates
        cause = _shown(error)
    else:
        if response.status_code == 200:
            return response
        response.close()
        cause = requests.HTTPError(f"{response.status_code} {response.reason}".strip())
    # Outside of the handler: the error handled there holds the whole URL, which may hold a token.
    raise RuntimeError(f"{public_url(url)}: {cause}{_advice(cause)}") from cause


def _receive(response: requests.Response, path: Path) -> Digest | str:
    """Write the body to `path`; return what came, or the reason why it is not all of it."""
    length = response.headers.get("Content-Length", "")
    _check_space(path, length)
    total = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        while True:
            try:
                chunk = response.raw.read(CHUNK, decode_content=False)
            except HTTPError as error:  # urllib3 wraps what the socket raises
                return f"the transfer broke off after {size:,} bytes ({_shown(error)})"
            if not chunk:
                break
            total.update(chunk)
            size += len(chunk)
            file.write(chunk)
    if length.isdigit() and int(length) != size:
        return f"the transfer broke off after {size:,} of {int(length):,} bytes"
    return Digest(total.hexdigest(), size)


def _decoded(response: requests.Response, path: Path, got: Digest, sha256: str | None) -> Digest:
    """Undo a compression that the server applied although it was asked not to.

    Some servers label a ``.tar.gz`` as a compressed transfer of a ``.tar``; there the bytes as
    they came are the file.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    is_file = got.sha256 == sha256 if sha256 else public_url(response.url).endswith(("gz", "GZ"))
    if encoding in ("", "identity") or is_file:
        return got
    url = public_url(response.url)
    if encoding not in ("gzip", "x-gzip"):
        raise RuntimeError(f"{url}: sent with the Content-Encoding {encoding!r}, not asked for")
    draft = path.with_name(f"{path.name}.decoded")
    try:
        with gzip.open(path) as source, draft.open("wb") as file:
            found = digest(Inflated(source, limit(got.size), url), file.write)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RuntimeError(f"{url}: damaged Content-Encoding {encoding!r} ({error})") from error
    draft.replace(path)
    return found


def _check_space(path: Path, length: str) -> None:
    free = shutil.disk_usage(path.parent).free
    if length.isdigit() and int(length) > free:
        raise RuntimeError(f"needs {int(length):,} bytes in {path.parent}, where {free:,} are free")


def _shown(error: Exception) -> Exception:
    """Return an error that says the reason of `error` without queries and passwords."""
    reason: object = error
    while isinstance(inner := _inner(reason), Exception):
        reason = inner
    return requests.RequestException(_without_secrets(str(reason)) or type(reason).__name__)


def _inner(error: object) -> object:
    return getattr(error, "reason", None) or next(iter(getattr(error, "args", ())), None)


def _advice(cause: Exception) -> str:
    if str(cause)[:3] in ("401", "403"):
        return " (a user and password for the host can stand in ~/.netrc)"
    return ""


def _without_secrets(text: str) -> str:
    return _SECRETS.sub("", text)


class _NoSecrets(logging.Filter):
    """Takes queries and passwords out of what urllib3 logs while this thread downloads."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread in (None, self._thread):
            record.msg, record.args = _without_secrets(record.getMessage()), None
        return True


@contextmanager
def _no_secrets_in_logs() -> Iterator[None]:
    cleaner = _NoSecrets()
    loggers = [logging.getLogger(name) for name in _URLLIB3_LOGGERS]
    for each in loggers:
        each.addFilter(cleaner)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(cleaner)
