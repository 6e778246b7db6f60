"""Passwords, tokens and queries, kept out of messages and logs."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import requests

# A query may hold quotes and brackets, so those after it in a message are lost with it.
_SECRETS = re.compile(r"\?\S*|(?<=//)[^/?\s]*@")
_URLLIB3_LOGGERS = ("urllib3.connectionpool", "urllib3.util.retry")


def without_secrets(text: str) -> str:
    """Return `text` without the user, password and query of the URLs in it.

    Example:
        >>> without_secrets("GET https://me:pw@example.com/a.zip?token=abc: 403")
        'GET https://example.com/a.zip 403'
    """
    return _SECRETS.sub("", text)


def shown(error: Exception) -> Exception:
    """Return an error that says the innermost reason of `error` and holds no secret."""
    reason: object = error
    while isinstance(inner := _inner(reason), Exception):
        reason = inner
    said = next(iter(getattr(reason, "args", ())), None)
    text = said if isinstance(said, str) else str(reason)  # urllib3 adds the error to its text
    return requests.RequestException(without_secrets(text) or type(reason).__name__)


def _inner(error: object) -> object:
    return getattr(error, "reason", None) or next(iter(getattr(error, "args", ())), None)


class _NoSecrets(logging.Filter):
    """Takes secrets out of what is logged in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread in (None, self._thread):
            record.msg, record.args = without_secrets(record.getMessage()), None
        return True


@contextmanager
def no_secrets_in_logs() -> Iterator[None]:
    """Take secrets out of what urllib3 logs in this thread until the block ends."""
    cleaner = _NoSecrets()
    loggers = [logging.getLogger(name) for name in _URLLIB3_LOGGERS]
    for each in loggers:
        each.addFilter(cleaner)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(cleaner)
