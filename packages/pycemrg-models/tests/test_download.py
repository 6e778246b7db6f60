import gzip
import logging
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
import requests
import responses
from urllib3.response import HTTPResponse

from pycemrg.models import connection
from pycemrg.models import download as downloads
from pycemrg.models.partial import Partial
from pycemrg.models.redaction import without_secrets

CONTENT = bytes(range(256)) * 20_000  # 5 MB, several chunks
SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF", 0.0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "download/body"


def download(url, path, sha256=None):
    """Download into an empty folder; give what arrived."""
    return downloads.download(url, Partial(path.parent), sha256=sha256).digest


def test_the_bytes_arrive_and_are_summed_up(site, path, sha256):
    url = site.give("/a.zip", CONTENT)
    assert download(url, path) == (sha256(CONTENT), len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_the_server_is_asked_for_the_file_as_it_is(site, path):
    download(site.give("/a.zip", CONTENT), path)
    ((_, headers),) = site.requests
    assert headers["Accept-Encoding"] == "identity"


def test_a_body_without_a_length_is_read_to_its_end(site, path):
    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT)

    assert download(site.give("/a", answer), path).size == len(CONTENT)


def test_an_empty_file_is_a_file(site, path):
    assert download(site.give("/a", b""), path).size == 0
    assert path.read_bytes() == b""


@pytest.mark.parametrize("sent", [0, 1, len(CONTENT) // 2, len(CONTENT) - 1])
def test_a_body_that_is_cut_short_is_fetched_again(site, answers, path, sha256, sent):
    url = site.give("/a", answers.body(CONTENT, sent=sent), CONTENT)
    assert download(url, path).sha256 == sha256(CONTENT)
    assert path.read_bytes() == CONTENT
    assert site.paths() == ["/a", "/a"]


def test_a_chunked_body_that_is_cut_short_is_fetched_again(site, path):
    def answer(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n")
        handler.close_connection = True

    assert download(site.give("/a", answer, CONTENT), path).size == len(CONTENT)


def test_a_body_that_is_always_cut_short_is_given_up(site, answers, path):
    url = site.give("/a", answers.body(CONTENT, sent=1_000))
    with pytest.raises(RuntimeError, match=r"/a: the transfer broke off.*gave up after 5 tries"):
        download(url, path)
    assert len(site.requests) == 5


def test_a_short_body_is_noticed_even_if_the_library_says_nothing(site, answers, path, monkeypatch):
    """The count is ours: not every urllib3 compares it with Content-Length."""
    really_init = HTTPResponse.__init__

    def lenient(self, *args, **fields):
        really_init(self, *args, **{**fields, "enforce_content_length": False})

    monkeypatch.setattr(HTTPResponse, "__init__", lenient)
    url = site.give("/a", answers.body(CONTENT, sent=1_000))
    with pytest.raises(RuntimeError, match="broke off after 1,000 of 5,120,000 bytes"):
        download(url, path)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_tried_again(site, answers, path, code):
    url = site.give("/a", answers.status(code), answers.status(code, Retry_After="0"), b"ok")
    assert download(url, path).size == 2


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 501, 206, 204])
def test_a_status_that_will_not_pass_is_an_error_at_once(site, answers, path, code):
    with pytest.raises(RuntimeError, match=f"/a: {code} "):
        download(site.give("/a", answers.status(code)), path)
    assert len(site.requests) == 1


def test_a_server_that_never_recovers_is_given_up(site, answers, path):
    with pytest.raises(RuntimeError, match="/a: 503 Service Unavailable"):
        download(site.give("/a", answers.status(503)), path)
    assert len(site.requests) == 6


@pytest.mark.parametrize(("asked", "waited"), [("5", 5), ("21600", 120), ("999999999", 120)])
def test_a_server_cannot_hold_us_for_more_than_two_minutes(asked, waited):
    response = HTTPResponse(status=503, headers={"Retry-After": asked})
    assert connection._Retry().get_retry_after(response) == waited
    assert connection._Retry().get_retry_after(HTTPResponse(status=503)) is None


def test_a_connection_that_is_reset_before_any_answer_is_tried_again(site, path):
    def reset(handler):
        handler.connection.close()

    assert download(site.give("/a", reset, b"ok"), path).size == 2


def test_a_server_that_stalls_is_left_and_tried_again(site, path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", (5.0, 0.2))
    end, waited_out = threading.Event(), []

    def stall(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(b"half ")
        handler.wfile.flush()
        if not end.wait(10):
            waited_out.append(True)

    try:
        assert download(site.give("/a", stall, b"half whole"), path).size == 10
    finally:
        end.set()
    assert path.read_bytes() == b"half whole"
    assert waited_out == []


def test_nobody_listening_is_an_error_that_says_so(path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(RuntimeError, match=r"/a: .*[Cc]onnection refused"):
        download(f"http://127.0.0.1:{port}/a", path)


def test_redirects_are_followed_and_loops_are_not(site, answers, path):
    site.give("/new", b"ok")
    assert download(site.give("/old", answers.status(302, Location="/new")), path).size == 2
    with pytest.raises(RuntimeError, match=r"/loop: Exceeded \d+ redirects"):
        download(site.give("/loop", answers.status(302, Location="/loop")), path)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        pytest.param("/a.tar", True, id="compressed-on-the-way"),
        pytest.param("/a.tar", False, id="compressed-on-the-way-no-sha256"),
        pytest.param("/a.tar.gz", True, id="although-named-gz"),
    ],
)
def test_a_transfer_that_the_server_compresses_is_undone(site, answers, path, sha256, name, given):
    url = site.give(name, answers.body(gzip.compress(CONTENT), Content_Encoding="gzip"))
    found = download(url, path, sha256=sha256(CONTENT) if given else None)
    assert found == (sha256(CONTENT), len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert [item.name for item in path.parent.iterdir()] == ["body"]


@pytest.mark.parametrize("given", [True, False])
def test_a_compressed_file_that_is_labelled_as_a_transfer_stays_compressed(
    site, answers, path, sha256, given
):
    packed = gzip.compress(CONTENT)
    url = site.give("/a.tar.gz", answers.body(packed, Content_Encoding="x-gzip"))
    assert download(url, path, sha256=sha256(packed) if given else None).sha256 == sha256(packed)
    assert path.read_bytes() == packed


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        pytest.param("br", b"x", id="unknown"),
        pytest.param("gzip", b"no gzip", id="no-gzip"),
        pytest.param("gzip", gzip.compress(b"x")[:-4], id="cut-off"),
    ],
)
def test_a_transfer_that_cannot_be_undone_is_an_error(site, answers, path, encoding, content):
    url = site.give("/a.pth", answers.body(content, Content_Encoding=encoding))
    with pytest.raises(RuntimeError, match=f"Content-Encoding '{encoding}'"):
        download(url, path)


def test_a_file_that_the_disk_cannot_hold_is_not_begun(site, path):
    def huge(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 60))
        handler.end_headers()

    with pytest.raises(RuntimeError, match="needs 1,152,921,504,606,846,976 bytes"):
        download(site.give("/a", huge), path)
    assert len(site.requests) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_that_is_full_is_not_taken_for_a_bad_network(site, tmp_path):
    class OnAFullDisk(Partial):
        def begin(self, version):
            self.body = Path("/dev/full")

    url = site.give("/a", CONTENT)
    with pytest.raises(OSError, match="No space left"):
        downloads.download(url, OnAFullDisk(tmp_path / "download"))
    assert len(site.requests) == 1


def test_a_password_in_the_url_reaches_the_server_alone(site, path):
    url = site.give("/a", b"ok").replace("//", f"//me:{SECRET}@")
    download(url, path)
    assert site.requests[0][1]["Authorization"].startswith("Basic ")


def test_a_password_in_netrc_is_found(site, path, tmp_path):
    (tmp_path / "home").mkdir()
    netrc = tmp_path / "home/.netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    download(site.give("/a", b"ok"), path)
    assert site.requests[0][1]["Authorization"].startswith("Basic ")


def test_a_password_does_not_follow_a_redirect_to_another_host(site, answers, path):
    site.give("/b", b"ok")
    url = site.give("/a", answers.status(302, Location=site.url("/b", "localhost")))
    download(url.replace("//", f"//me:{SECRET}@"), path)
    assert [("Authorization" in headers) for _, headers in site.requests] == [True, False]


def faults(site, answers):
    def reset(handler):
        handler.connection.close()

    site.give("/ok", b"ok")
    return {
        "fine": site.url("/ok"),
        "not-found": site.url("/missing"),
        "forbidden": site.give("/forbidden", answers.status(403)),
        "unavailable": site.give("/unavailable", answers.status(503)),
        "reset": site.give("/reset", reset),
        "cut": site.give("/cut", answers.body(CONTENT, sent=9)),
        "loop": site.give("/loop", answers.status(302, Location=f"/loop?X-Amz-Signature={SECRET}")),
        "elsewhere": site.give(
            "/elsewhere", answers.status(302, Location=f"ftp://me:{SECRET}@example.com/?k={SECRET}")
        ),
        "refused": "http://127.0.0.1:1/refused",
        "bad-host": "http://.example/a",
        "broken": site.give("/broken", answers.body(b"x", Content_Encoding="gzip")),
    }


@pytest.mark.parametrize(
    "fault",
    [
        "fine",
        "not-found",
        "forbidden",
        "unavailable",
        "reset",
        "cut",
        "loop",
        "elsewhere",
        "refused",
        "bad-host",
        "broken",
    ],
)
def test_no_secret_reaches_a_message_a_traceback_or_a_log(site, answers, path, caplog, fault):
    caplog.set_level(logging.DEBUG)
    url = faults(site, answers)[fault].replace("//", f"//me:{SECRET}@") + f"?token={SECRET}"
    shown = ""
    try:
        download(url, path)
    except RuntimeError as error:
        shown = "".join(traceback.format_exception(error))
        while error is not None:  # what a reporter of errors may walk through
            shown += f"{error} {error.args!r}"
            error = error.__cause__ or error.__context__
    assert (shown == "") is (fault == "fine")
    assert SECRET not in shown
    for record in caplog.records:
        assert SECRET not in record.getMessage() + repr(record.args) + str(record.msg)


@pytest.mark.parametrize("way", ["direct", "redirected", "unavailable"])
def test_no_part_of_a_token_with_quotes_reaches_the_log_file(site, answers, tmp_path, way):
    """In a process of its own: logging is set up as a program does it."""
    site.give("/a.zip", answers.status(503) if way == "unavailable" else b"ok")
    token = "TOK1'LEAKA)LEAKB\"LEAKC>LEAKD]LEAKE"
    there = site.url("/a.zip") + "?token=" + token
    url = site.give("/r", answers.status(302, Location=there)) if way == "redirected" else there
    code = (
        "import sys; from pathlib import Path; from pycemrg.core.logs import setup_logging; "
        "from pycemrg.models import download, partial; download.BACKOFF = 0; "
        "setup_logging(log_file=sys.argv[1]); "
        "download.download(sys.argv[2], partial.Partial(Path(sys.argv[3])))"
    )
    log = tmp_path / "log.txt"
    run = subprocess.run(
        [sys.executable, "-c", code, log, url, tmp_path / "a.zip"], capture_output=True, text=True
    )
    assert (run.returncode == 0) is (way != "unavailable")
    assert "LEAKA" in site.requests[-1][0]
    assert "GET /a.zip" in log.read_text()
    for secret in ("TOK1", "LEAK"):
        assert secret not in log.read_text() + run.stderr


@pytest.mark.parametrize("password", ["p'ss", 'p"ss', "p@ss", "p)ss"])
def test_a_password_with_quotes_is_taken_out_of_a_message(password):
    shown = without_secrets(f"for 'https://me:{password}@example.com/a.zip' (502)")
    assert shown == "for 'https://example.com/a.zip' (502)"


def test_certificates_that_are_missing_are_not_blamed_on_the_cache(path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/certificates.pem")
    with pytest.raises(RuntimeError, match=r"/a: .*/nowhere/certificates\.pem"):
        download("https://127.0.0.1:1/a", path)


def test_the_logs_of_other_threads_stay_as_they_are(site, path, caplog):
    caplog.set_level(logging.DEBUG)
    other = logging.getLogger("urllib3.connectionpool")

    def answer(handler):
        other.debug("GET /theirs?page=%d", 2)
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    download(site.give("/a", answer), path)
    other.debug("GET /later?page=%d", 3)
    assert {"GET /theirs?page=2", "GET /later?page=3"} <= set(caplog.messages)
    assert other.filters == []


@responses.activate
def test_no_error_class_of_a_library_comes_out(path):
    for error in (
        requests.exceptions.SSLError("certificate"),
        requests.exceptions.ChunkedEncodingError("chunk"),
        requests.exceptions.InvalidURL("url"),
        UnicodeError("label too long"),
    ):
        responses.reset()
        responses.get("https://example.com/a", body=error)
        with pytest.raises(RuntimeError) as caught:
            download("https://example.com/a", path)
        assert type(caught.value) is RuntimeError
