"""Downloads that break off go on where they were, and never glue two versions together."""

import json
import os

import pytest

from pycemrg.models import download as downloads
from pycemrg.models.download import download
from pycemrg.models.partial import Partial, Version, key_of_partial

OLD, NEW = os.urandom(3_000_000), os.urandom(3_000_000)
HALF = 1_234_567
DATE = "Tue, 24 Nov 2026 10:00:00 GMT"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF", 0.0)


def ranged(content, etag='"v1"', *, sent=None, knows_if_range=True, etag_in_206=True, **headers):
    """Answer as a server that can send parts, of which the first `sent` bytes arrive."""

    def answer(handler):
        asked = handler.headers.get("Range")
        fits = not knows_if_range or handler.headers.get("If-Range") == etag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and fits else 0
        if start >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            last = len(content) - 1
            handler.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        if etag and (not start or etag_in_206):
            handler.send_header("ETag", etag)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content[start : None if sent is None else start + sent])

    return answer


def asked(site):
    return [(headers.get("Range"), headers.get("If-Range")) for _, headers in site.requests]


@pytest.fixture
def partial(tmp_path):
    return Partial(tmp_path / "download", "k")


def test_what_is_there_is_not_fetched_again(site, partial, sha256):
    url = site.give("/a", ranged(OLD, sent=HALF), ranged(OLD))
    found = download(url, partial)
    assert (found.digest.sha256, found.resumed) == (sha256(OLD), True)
    assert partial.body.read_bytes() == OLD
    assert asked(site) == [(None, None), (f"bytes={HALF}-", '"v1"')]


def test_a_download_that_always_gets_further_is_never_given_up(site, partial, sha256):
    url = site.give("/a", ranged(OLD, sent=200_000))
    assert download(url, partial).digest.sha256 == sha256(OLD)
    assert len(site.requests) == 15


def test_another_process_goes_on(site, partial, sha256, monkeypatch):
    url = site.give("/a", ranged(OLD, sent=HALF), ranged(OLD))
    monkeypatch.setattr(downloads, "TRIES", 1)
    with pytest.raises(RuntimeError, match="broke off after 1,234,567 of 3,000,000 bytes"):
        download(url, partial)
    told = []
    again = Partial(partial.folder, "k")
    found = download(url, again, tell=lambda done, total: told.append((done, total)))
    assert (found.digest.sha256, found.resumed) == (sha256(OLD), True)
    assert asked(site)[1] == (f"bytes={HALF}-", '"v1"')
    assert told[0][0] > HALF
    assert told[-1] == (3_000_000, 3_000_000)


def test_a_body_that_came_whole_before_the_process_died_needs_no_request(site, partial, sha256):
    url = site.give("/a", ranged(OLD))
    download(url, partial)
    assert download(url, Partial(partial.folder, "k")).digest == (sha256(OLD), len(OLD))
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(ranged(NEW, '"v2"'), id="if-range-is-known"),
        pytest.param(ranged(NEW, '"v2"', knows_if_range=False), id="206-with-another-etag"),
        pytest.param(ranged(NEW, '"v2"', knows_if_range=False, etag_in_206=False), id="no-etag"),
        pytest.param(ranged(NEW[:-9], '"v1"', knows_if_range=False), id="shorter"),
        pytest.param(ranged(NEW + b"!", '"v1"', knows_if_range=False), id="longer"),
        pytest.param(ranged(NEW[:HALF], '"v1"', knows_if_range=False), id="416"),
        pytest.param(ranged(NEW, 'W/"v1"', knows_if_range=False), id="206-with-a-weak-etag"),
    ],
)
def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(site, partial, sha256, second):
    changed = ranged(NEW, '"v2"')
    url = site.give("/a", ranged(OLD, sent=HALF), second, changed)
    found = download(url, partial)
    assert found.digest.sha256 in {sha256(NEW), sha256(NEW[:-9]), sha256(NEW + b"!")}
    assert partial.body.read_bytes().startswith(NEW[:HALF])


@pytest.mark.parametrize("start", [HALF - 1, HALF + 1, 0])
def test_a_part_that_begins_elsewhere_is_not_taken(site, partial, sha256, start):
    def lying(handler):
        handler.send_response(206)
        handler.send_header("ETag", '"v1"')
        handler.send_header("Content-Range", f"bytes {start}-{len(OLD) - 1}/{len(OLD)}")
        handler.send_header("Content-Length", str(len(OLD) - start))
        handler.end_headers()
        handler.wfile.write(OLD[start:])

    url = site.give("/a", ranged(OLD, sent=HALF), lying, ranged(OLD))
    assert download(url, partial).digest.sha256 == sha256(OLD)
    assert asked(site)[2] == (None, None)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(ranged(OLD, 'W/"v1"', sent=HALF), id="weak-etag"),
        pytest.param(ranged(OLD, "", sent=HALF), id="nothing"),
        pytest.param(ranged(OLD, sent=HALF, Accept_Ranges="none"), id="no-ranges"),
        pytest.param(ranged(OLD, sent=HALF, Content_Encoding="gzip"), id="compressed"),
        pytest.param(
            ranged(OLD, "", sent=HALF, Last_Modified="Fri, 31 Dec 2100 23:59:59 GMT"),
            id="changed-this-second",
        ),
        pytest.param(ranged(OLD, "", sent=HALF, Last_Modified="yesterday"), id="no-date"),
    ],
)
def test_without_a_strong_validator_a_download_begins_again(site, partial, sha256, first):
    url = site.give("/a", first, ranged(OLD))
    found = download(url, partial)
    assert (found.digest.sha256, found.resumed) == (sha256(OLD), False)
    assert asked(site) == [(None, None)] * 2


def test_a_date_that_is_old_enough_is_a_strong_validator(site, partial, sha256):
    dated = {"etag": "", "knows_if_range": False, "Last_Modified": DATE}
    url = site.give("/a", ranged(OLD, sent=HALF, **dated), ranged(OLD, **dated))
    assert download(url, partial).digest.sha256 == sha256(OLD)
    assert asked(site)[1] == (f"bytes={HALF}-", DATE)


def test_bytes_from_another_address_are_not_used(site, partial, sha256):
    partial.begin(Version("http://elsewhere.example/a", '"v1"', len(OLD)))
    partial.body.write_bytes(NEW[:HALF])
    found = download(site.give("/a", ranged(OLD)), Partial(partial.folder, "k"))
    assert (found.digest.sha256, found.resumed) == (sha256(OLD), False)


def test_the_right_bytes_are_taken_although_the_server_promised_more(site, partial, sha256):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(OLD) + 1))
        handler.end_headers()
        handler.wfile.write(OLD)

    found = download(site.give("/a", answer), partial, sha256=sha256(OLD))
    assert found.digest == (sha256(OLD), len(OLD))
    assert len(site.requests) == 1


def test_what_a_partial_download_is_for_is_noted_without_secrets(site, partial, monkeypatch):
    url = site.give("/a", ranged(OLD, sent=HALF)).replace("//", "//me:s3cr3t@") + "?token=s3cr3t"
    monkeypatch.setattr(downloads, "TRIES", 1)
    with pytest.raises(RuntimeError):
        download(url, partial)
    noted = (partial.folder / "version.json").read_text()
    assert "s3cr3t" not in noted
    assert json.loads(noted)["key"] == "k"
    assert key_of_partial(partial.folder) == "k"


@pytest.mark.parametrize(
    "note", [b"", b"{", b"[]", b"null", b"\xff", b'{"key": "k"}', b'{"total": []}', b"[" * 10**5]
)
def test_a_note_with_nonsense_in_it_is_as_good_as_none(partial, note):
    partial.body.write_bytes(b"half")
    (partial.folder / "version.json").write_bytes(note)
    assert Partial(partial.folder, "k").version is None
    assert key_of_partial(partial.folder) is None
