import pytest
import requests

from pycemrg.models import connection
from pycemrg.models import download as downloads
from pycemrg.models.partial import Partial

SECRET = "s3cr3t"


@pytest.fixture
def netrc(tmp_path, monkeypatch):
    """Write lines to ~/.netrc."""

    def write(*lines):
        path = tmp_path / "home/.netrc"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o600)

    return write


@pytest.fixture
def fetched(tmp_path):
    def fetch(url):
        return downloads.download(url, Partial(tmp_path / "download"))

    return fetch


def sent(site):
    return [headers.get("Authorization", "") for _, headers in site.requests]


def test_a_token_in_netrc_is_sent_as_a_bearer_token(site, netrc, fetched):
    netrc(f"machine 127.0.0.1 login __token__ password {SECRET}")
    fetched(site.give("/a", b"ok"))
    assert sent(site) == [f"Bearer {SECRET}"]


def test_a_token_in_the_url_is_sent_as_a_bearer_token(site, fetched):
    fetched(site.give("/a", b"ok").replace("//", f"//__token__:{SECRET}@"))
    assert sent(site) == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("user", ["me", "__token__"])
def test_a_redirect_to_another_host_takes_nothing_along(site, answers, netrc, fetched, user):
    netrc(f"machine 127.0.0.1 login {user} password {SECRET}")
    site.give("/b", b"ok")
    fetched(site.give("/a", answers.status(302, Location=site.url("/b", "localhost"))))
    assert [bool(header) for header in sent(site)] == [True, False]


@pytest.mark.parametrize("user", ["me", "__token__"])
def test_a_redirect_on_the_same_host_keeps_what_was_sent(site, answers, netrc, fetched, user):
    netrc(f"machine 127.0.0.1 login {user} password {SECRET}")
    site.give("/b", b"ok")
    fetched(site.give("/a", answers.status(302, Location="/b")))
    first, second = sent(site)
    assert first == second != ""


def test_the_host_of_a_redirect_gets_its_own_token(site, answers, netrc, fetched):
    netrc(
        "machine 127.0.0.1 login __token__ password first",
        "machine localhost login __token__ password second",
    )
    site.give("/b", b"ok")
    fetched(site.give("/a", answers.status(302, Location=site.url("/b", "localhost"))))
    assert sent(site) == ["Bearer first", "Bearer second"]


def test_a_line_of_netrc_for_any_host_is_for_the_one_that_was_asked(site, answers, netrc, fetched):
    netrc(f"default login me password {SECRET}")
    site.give("/b", b"ok")
    fetched(site.give("/a", answers.status(302, Location=site.url("/b", "localhost"))))
    assert [bool(header) for header in sent(site)] == [True, False]


def test_nothing_that_was_encrypted_goes_on_in_clear(netrc):
    netrc(f"machine example.com login __token__ password {SECRET}")
    session = connection.Session(0.0)
    for now, kept in (("http", False), ("https", True)):
        first = session.prepare_request(requests.Request("GET", "https://example.com/a"))
        assert first.headers["Authorization"] == f"Bearer {SECRET}"
        answer = requests.Response()
        answer.request = first
        second = first.copy()
        second.prepare_url(f"{now}://example.com/b", None)
        session.rebuild_auth(second, answer)
        assert ("Authorization" in second.headers) is kept


def test_the_size_of_a_file_is_asked_without_its_body(site, answers):
    url = site.give("/a", answers.body(b"x" * 10_000_000, sent=0))
    assert downloads.size_of(url) == 10_000_000


def test_a_file_that_is_not_there_has_no_size(site, answers):
    with pytest.raises(RuntimeError, match="/a: 404 Not Found"):
        downloads.size_of(site.give("/a", answers.status(404)))
