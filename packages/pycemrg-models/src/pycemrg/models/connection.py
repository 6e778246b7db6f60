"""Requests over HTTP: tried again where that may help, with the passwords of ``~/.netrc``."""

from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url, get_netrc_auth
from urllib3.exceptions import HTTPError
from urllib3.util.retry import Retry

from pycemrg.models.manifest import public_url
from pycemrg.models.redaction import shown

RETRIED = (408, 429, 500, 502, 503, 504)
MAX_RETRY_AFTER = 120.0  # seconds; urllib3 would let a server hold us for six hours
TOKEN = "__token__"
HEADERS = {
    "User-Agent": "pycemrg-models",
    "Accept-Encoding": "identity",  # the sha256 is of the file, not of a compressed transfer
}


class Session(requests.Session):
    """A session that tries again and authenticates by URL or ``~/.netrc``.

    The password of the user ``__token__`` is sent as a bearer token, that of any other with the
    user name (RFC 6750, RFC 7617). Neither goes to another host after a redirect.

    Args:
        backoff: Seconds before the second retry, doubled from one to the next.
    """

    def __init__(self, backoff: float) -> None:
        super().__init__()
        self.headers.update(HEADERS)
        self.auth = _Credentials()
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=_retry(backoff)))

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Authenticate at the address of a redirect; requests would do it without bearer tokens."""
        before, now = str(response.request.url), str(prepared_request.url)
        if not self.should_strip_auth(before, now):  # type: ignore[no-untyped-call]
            return
        prepared_request.headers.pop("Authorization", None)
        # Who asked chose the first address and not this one: nothing in clear that was encrypted,
        # and nothing that ~/.netrc has for any host.
        if not (before.startswith("https:") and now.startswith("http:")) and _is_named(now):
            _Credentials()(prepared_request)


def get(
    session: requests.Session,
    url: str,
    *,
    headers: Mapping[str, str],
    accepted: tuple[int, ...],
    timeout: tuple[float, float],
) -> requests.Response:
    """Return the answer to a GET, with its body not read yet.

    Args:
        session: As made by `Session`.
        url: An ``http://`` or ``https://`` address.
        headers: More of them.
        accepted: The statuses that are no error.
        timeout: Seconds to connect, and between two packets.

    Raises:
        RuntimeError: If there is no answer, or one with another status.
    """
    cause: Exception
    try:
        response = session.get(url, headers=headers, stream=True, timeout=timeout)
    except ValueError as error:  # such as requests.exceptions.InvalidURL
        # Not said in its own words, which may quote a part of the address that holds a password.
        cause = requests.RequestException(
            f"no address, here or where it leads ({type(error).__name__})"
        )
    except (OSError, HTTPError) as error:  # OSError: also for missing certificates
        cause = shown(error)
    else:
        if response.status_code in accepted:
            return response
        response.close()
        cause = requests.HTTPError(f"{response.status_code} {response.reason}".strip())
    # Outside of the handler: the error handled there holds the whole URL, which may hold a token.
    raise RuntimeError(f"{public_url(url)}: {cause}{_advice(cause)}") from cause


def _advice(cause: Exception) -> str:
    if str(cause)[:3] in ("401", "403"):
        return f" (~/.netrc can hold user and password for the host, or {TOKEN} and a token)"
    return ""


class _Credentials(AuthBase):
    """What the URL or ``~/.netrc`` holds for the host of a request."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = str(request.url)
        user, password = get_auth_from_url(url)
        if not user:
            user, password = get_netrc_auth(url) or ("", "")
        if user == TOKEN:
            request.headers["Authorization"] = f"Bearer {password}"
        elif user:
            HTTPBasicAuth(user, password)(request)
        return request


def _is_named(url: str) -> bool:
    """Whether ``~/.netrc`` has a line for the host of `url`, and not only one for all others."""
    return get_netrc_auth(url) not in (None, get_netrc_auth("https://named-nowhere.invalid"))


class _Retry(Retry):
    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, MAX_RETRY_AFTER)


def _retry(backoff: float) -> Retry:
    return _Retry(
        total=5,
        connect=2,
        read=2,
        status_forcelist=RETRIED,
        allowed_methods=("GET",),
        backoff_factor=backoff,
        backoff_jitter=backoff,
        raise_on_status=False,
    )
