"""Parts of a file over HTTP, and whether they are of the same version of it (RFC 9110)."""

import re
from email.utils import parsedate_to_datetime

from requests import Response

from pycemrg.models.partial import Version

_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20}|\*)", re.ASCII)
_LENGTH = re.compile(r"\d{1,20}", re.ASCII)


def length_of(response: Response) -> int | None:
    """Return how many bytes an answer announces, None if it does not say."""
    length = response.headers.get("Content-Length", "").strip()
    return int(length) if _LENGTH.fullmatch(length) else None


def version_of(response: Response, url: str) -> Version | None:
    """Return the version of the file that is sent, None if no part of it can be asked for later.

    Args:
        response: To a request for the whole file.
        url: What was asked for, without secrets.
    """
    headers = response.headers
    total = length_of(response)
    if total is None or headers.get("Accept-Ranges") == "none" or headers.get("Content-Encoding"):
        return None
    etag = headers.get("ETag", "").strip()
    if etag.startswith('"'):  # not W/"...", which different bytes may share
        return Version(url, etag, total)
    modified = headers.get("Last-Modified", "").strip()
    return Version(url, modified, total) if not etag and _is_strong(response) else None


def is_rest(response: Response, version: Version | None, size: int) -> bool:
    """Whether a 206 holds what comes after the first `size` bytes, of the same version.

    A server may answer for another version all the same: one that does not know If-Range, or a
    cache in between.
    """
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if version is None or found is None or response.headers.get("Content-Encoding"):
        return False
    first, last, total = found.groups()
    whole = str(version.total)
    if (int(first), int(last)) != (size, version.total - 1) or total not in ("*", whole):
        return False
    if version.validator.startswith('"'):  # an ETag must be repeated (15.3.7), a date need not be
        return response.headers.get("ETag", "").strip() == version.validator
    return response.headers.get("Last-Modified", version.validator).strip() == version.validator


def _is_strong(response: Response) -> bool:
    """Whether the file cannot have changed again within the second of Last-Modified (8.8.2.2)."""
    try:
        modified = parsedate_to_datetime(response.headers["Last-Modified"])
        return (parsedate_to_datetime(response.headers["Date"]) - modified).total_seconds() >= 1
    except (KeyError, ValueError, TypeError):
        return False
