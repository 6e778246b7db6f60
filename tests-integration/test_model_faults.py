"""What a network, a server or a disk does wrong, and what a model comes to: right, or an error."""

import email.utils
import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from faulty_site import (
    File,
    Site,
    alone,
    chunked,
    files_in,
    folder_for_all,
    gzipped,
    left_over,
    lock_up,
    raw,
    redirect,
    reset,
    stall,
    status,
    unlock,
    until_closed,
    write_manifest,
)

from pycemrg.models import HashMismatchError, ModelManager
from pycemrg.models import download as downloads

MIB = 1 << 20
ETAG = '"first"'
HTML = b"<!doctype html><title>Please log in</title>" + b"<p>" * 5_000


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(downloads, "BACKOFF", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # power cuts are not what this is about


@pytest.fixture
def site():
    with Site() as running:
        yield running


def random_bytes(size, seed=0):
    return random.Random(seed).randbytes(size)


def zip_of(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


class Model:
    """A model on a site, and what it comes to.

    Args:
        kind: `zip` or `plain`.
        seed: Chooses the content; what has the same kind and size has the same number of bytes.
        size: Of the weights, in bytes.
    """

    def __init__(self, kind, seed=0, size=4 * MIB):
        weights = random_bytes(size, seed)
        if kind == "zip":
            self.files = {"model.pth": weights, "plans.json": b"{}"}
            self.body = zip_of({f"checkpoints/{name}": text for name, text in self.files.items()})
            self.path, self.fields = "/seg.zip", {"unzipped_target_path": "checkpoints"}
        else:
            self.files, self.body = {"": weights}, weights
            self.path, self.fields = "/seg.pth", {}
        self.kind = kind
        self.sha256 = hashlib.sha256(self.body).hexdigest()

    def is_at(self, path):
        """Whether `path` is the model and nothing else."""
        found = {file.relative_to(path).as_posix(): file.read_bytes() for file in files_in(path)}
        return (found or {"": path.read_bytes()}) == self.files

    def only_this_in(self, cache):
        """Whether the store holds this model at most."""
        trees = list(cache.glob("store-v1/objects/*/*/tree"))
        found = [tree / "checkpoints" if self.kind == "zip" else tree / "seg.pth" for tree in trees]
        return all(self.is_at(path) for path in found)


MODELS = {kind: Model(kind) for kind in ("zip", "plain")}
CHANGED = {kind: Model(kind, seed=1) for kind in MODELS}
LONGER = {kind: Model(kind, seed=2, size=5 * MIB) for kind in MODELS}


@pytest.fixture(params=["zip", "plain"])
def kind(request):
    return request.param


@pytest.fixture
def model(kind):
    return MODELS[kind]


@pytest.fixture(params=[True, False], ids=["sha256", "no-sha256"])
def summed(request):
    """Whether the manifest gives the sha256."""
    return request.param


@pytest.fixture
def manager(tmp_path, site):
    """Make a manager for one model on the site."""

    def make(model, summed, **fields):
        fields = {"url": site.url(model.path), **model.fields, **fields}
        if summed:
            fields["sha256"] = model.sha256
        return ModelManager(write_manifest(tmp_path / "models.yaml", v1=fields), tmp_path / "cache")

    return make


def objects(cache):
    return list(cache.glob("store-v1/objects/*/*"))


# Faults that pass, and faults that stay


def cut(model, tenth, **how):
    stop = len(model.body) * tenth // 10 - (tenth == 10)
    return File(model.body, stop=stop, **how)


PASSING = {
    "503": lambda _: status(503),
    "503-retry-after": lambda _: status(503, Retry_After="0"),
    "429": lambda _: status(429),
    "429-retry-after": lambda _: status(429, Retry_After="0"),
    "408": lambda _: status(408),
    "500": lambda _: status(500),
    "502": lambda _: status(502),
    "504": lambda _: status(504),
    "reset-before": lambda _: reset,
    "reset-in-the-body": lambda model: cut(model, 5, end="reset", ranges=False),
    "too-long": lambda model: File(
        model.body, headers={"Content-Length": str(len(model.body) + 1_000)}
    ),
    "chunk-cut": lambda model: chunked(model.body, stop=3 * MIB),
    "chunk-damaged": lambda model: chunked(model.body, stop=3 * MIB, last=b"no chunk\r\n"),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_not_noticed(site, tmp_path, manager, model, summed, fault):
    site.give(model.path, PASSING[fault](model), model.body)
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    # What is too long by its own account has all its bytes, and the sha256 may say so.
    assert (1 if fault == "too-long" and summed else 2) <= len(site.requests) <= 3
    assert {request.headers["accept-encoding"] for request in site.requests} == {"identity"}
    assert left_over(tmp_path / "cache") == []


@pytest.mark.parametrize("tenth", range(11))
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
def test_a_body_that_is_cut_anywhere_comes_in_the_end(
    site, tmp_path, manager, model, summed, tenth, ranges
):
    site.give(model.path, cut(model, tenth, ranges=ranges), File(model.body, ranges=ranges))
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    assert len(site.requests) == 2
    assert left_over(tmp_path / "cache") == []


def wrong(_):
    return File(random_bytes(4 * MIB, seed=7))


# What stays wrong, and the class of the error with a sha256 and without; None where nothing on the
# wire tells a wrong file from the right one.
STAYING = {
    **{name: (fault, RuntimeError, RuntimeError) for name, fault in PASSING.items()},
    "404": (lambda _: status(404), RuntimeError, RuntimeError),
    "403": (lambda _: status(403), RuntimeError, RuntimeError),
    "410": (lambda _: status(410), RuntimeError, RuntimeError),
    "204": (lambda _: status(204), RuntimeError, RuntimeError),
    "206-not-asked-for": (lambda _: status(206), RuntimeError, RuntimeError),
    "304": (lambda _: status(304), RuntimeError, RuntimeError),
    "416": (lambda _: status(416), RuntimeError, RuntimeError),
    "cut-no-ranges": (lambda model: cut(model, 6, ranges=False), RuntimeError, RuntimeError),
    "cut-at-0": (lambda model: cut(model, 0), RuntimeError, RuntimeError),
    "too-short": (
        lambda model: File(model.body, headers={"Content-Length": str(len(model.body) - 1_000)}),
        HashMismatchError,
        {"zip": RuntimeError, "plain": None},
    ),
    "no-length-and-cut": (
        lambda model: until_closed(model.body[: 3 * MIB]),
        HashMismatchError,
        {"zip": RuntimeError, "plain": None},
    ),
    "two-lengths": (
        lambda model: File(model.body, headers={"content-length": str(len(model.body) - 1_000)}),
        RuntimeError,
        RuntimeError,
    ),
    "nothing": (lambda _: b"", HashMismatchError, {"zip": RuntimeError, "plain": None}),
    "html": (lambda _: HTML, HashMismatchError, {"zip": RuntimeError, "plain": None}),
    "other-bytes": (wrong, HashMismatchError, {"zip": RuntimeError, "plain": None}),
    "loop": (lambda model: redirect(model.path), RuntimeError, RuntimeError),
    "longer-loop": (lambda _: redirect("/other"), RuntimeError, RuntimeError),
    "redirect-nowhere": (lambda _: redirect("/missing"), RuntimeError, RuntimeError),
    "redirect-without-location": (lambda _: status(302), RuntimeError, RuntimeError),
    "redirect-to-a-file": (lambda _: redirect("file:///etc/hosts"), RuntimeError, RuntimeError),
    "redirect-to-no-url": (lambda _: redirect("http://[::1/"), RuntimeError, RuntimeError),
    "gzip-damaged": (
        lambda model: File(model.body, headers={"Content-Encoding": "gzip"}),
        None,  # with a sha256 it shows that the label alone is wrong
        RuntimeError,
    ),
    "br": (
        lambda _: File(random_bytes(MIB), headers={"Content-Encoding": "br"}),
        RuntimeError,
        RuntimeError,
    ),
    "no-http": (lambda _: raw(b"SSH-2.0-OpenSSH_9.6", b""), RuntimeError, RuntimeError),
    "binary": (lambda _: raw(random_bytes(5_000)), RuntimeError, RuntimeError),
    "endless-header": (
        lambda _: raw(b"HTTP/1.1 200 OK", b"X: " + b"x" * 100_000, b"", b""),
        RuntimeError,
        RuntimeError,
    ),
    "many-headers": (
        lambda _: raw(b"HTTP/1.1 200 OK", *[b"X-%d: x" % n for n in range(200)], b"", b""),
        RuntimeError,
        RuntimeError,
    ),
}


def error_class(fault, kind, summed):
    _, with_sum, without = STAYING[fault]
    expected = with_sum if summed else without
    return expected[kind] if isinstance(expected, dict) else expected


@pytest.mark.parametrize("fault", STAYING)
def test_a_fault_that_stays_is_an_error_and_the_next_call_after_it_succeeds(
    site, tmp_path, manager, model, summed, fault
):
    expected = error_class(fault, model.kind, summed)
    site.give("/other", redirect(model.path))
    url = site.give(model.path, STAYING[fault][0](model))
    models = manager(model, summed)
    if expected is None:
        if summed:
            assert model.is_at(models.get_model_path("seg"))
        return
    if fault == "too-long" and summed:
        # All bytes are there, and the sha256 says so.
        assert model.is_at(models.get_model_path("seg"))
    else:
        with pytest.raises(expected) as caught:
            models.get_model_path("seg")
        assert type(caught.value) is expected  # no network fault reads as a hash mismatch
        assert caught.value.__cause__ is not None or expected is HashMismatchError
        assert "models.yaml" in str(caught.value)
        assert url in str(caught.value)
        assert objects(tmp_path / "cache") == []
    assert [name for name in left_over(tmp_path / "cache") if not name.startswith("partial/")] == []
    site.give(model.path, model.body)
    assert model.is_at(models.get_model_path("seg"))
    assert left_over(tmp_path / "cache") == []
    assert model.only_this_in(tmp_path / "cache")


@pytest.mark.parametrize("fault", ["before", "in-the-body"])
@pytest.mark.parametrize(("kind", "summed"), [("zip", True), ("plain", False)], indirect=True)
def test_a_server_that_stalls_is_left(site, tmp_path, manager, model, summed, monkeypatch, fault):
    monkeypatch.setattr(downloads, "TIMEOUT", (5.0, 0.5))
    stalling = stall if fault == "before" else cut(model, 5, end="stall")
    site.give(model.path, stalling, model.body)
    models = manager(model, summed)
    assert model.is_at(models.get_model_path("seg"))
    assert len(site.requests) == 2
    monkeypatch.setattr(downloads, "TIMEOUT", (5.0, 0.05))
    shutil.rmtree(tmp_path / "cache")
    site.give(model.path, stall if fault == "before" else cut(model, 5, end="stall", etag=None))
    with pytest.raises(RuntimeError) as caught:
        models.get_model_path("seg")
    assert type(caught.value) is RuntimeError
    assert objects(tmp_path / "cache") == []
    monkeypatch.setattr(downloads, "TIMEOUT", (10.0, 60.0))
    site.give(model.path, model.body)
    assert model.is_at(models.get_model_path("seg"))


def test_nobody_listening_is_an_error_until_somebody_does(tmp_path, site, manager, model, summed):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    models = manager(model, summed, url=f"http://127.0.0.1:{port}{model.path}")
    with pytest.raises(RuntimeError) as caught:
        models.get_model_path("seg")
    assert type(caught.value) is RuntimeError
    assert f"127.0.0.1:{port}" in str(caught.value)
    site.give(model.path, model.body)
    assert model.is_at(manager(model, summed).get_model_path("seg"))


@pytest.mark.parametrize("code", [503, 429])
@pytest.mark.parametrize(
    ("asked", "at_least", "at_most"),
    [
        ("7", 7, 7),
        ("21600", 120, 120),
        pytest.param(lambda: email.utils.formatdate(time.time() + 50), 30, 50, id="at"),
    ],
)
def test_a_server_says_when_to_come_back_but_not_for_more_than_two_minutes(
    site, manager, monkeypatch, code, asked, at_least, at_most
):
    model, slept = MODELS["plain"], []
    monkeypatch.setattr(time, "sleep", slept.append)
    asked = asked() if callable(asked) else asked
    site.give(model.path, status(code, Retry_After=asked), model.body)
    assert model.is_at(manager(model, True).get_model_path("seg"))
    assert at_least <= sum(slept) <= at_most + 1


# Going on where a body broke off


def test_what_came_before_a_cut_is_not_fetched_again(site, manager, kind, summed):
    model = Model(kind, size=8 * MIB)
    site.give(model.path, File(model.body, stop=len(model.body) // 2), model.body)
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    first, second = site.requests
    assert "range" not in first.headers
    assert second.headers["range"].startswith("bytes=")
    assert second.headers["if-range"] == ETAG
    assert second.headers["accept-encoding"] == "identity"
    assert 0 <= site.sent() - len(model.body) <= MIB


def test_a_line_that_drops_again_and_again_gets_there(site, tmp_path, manager, kind, summed):
    model = Model(kind, size=10 * MIB)
    site.give(model.path, File(model.body, stop=3 * MIB // 2))
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    assert len(site.requests) > downloads.TRIES
    assert left_over(tmp_path / "cache") == []


def test_the_next_call_goes_on_where_the_last_one_gave_up(site, tmp_path, manager, kind):
    model = Model(kind, size=8 * MIB)
    site.give(model.path, File(model.body, stop=len(model.body) // 2), status(404))
    with pytest.raises(RuntimeError, match="404"):
        manager(model, True).get_model_path("seg")
    assert objects(tmp_path / "cache") == []
    before = site.sent()
    site.give(model.path, model.body)
    assert model.is_at(manager(model, True).get_model_path("seg"))
    assert site.requests[-1].headers["if-range"] == ETAG
    assert before + site.requests[-1].sent - len(model.body) <= MIB
    assert left_over(tmp_path / "cache") == []


def test_without_sha256_no_call_trusts_what_another_left(site, tmp_path, manager, kind):
    model, changed = MODELS[kind], CHANGED[kind]
    site.give(model.path, cut(model, 8), status(404))
    with pytest.raises(RuntimeError, match="404"):
        manager(model, False).get_model_path("seg")
    assert left_over(tmp_path / "cache") == []
    site.give(model.path, changed.body)
    assert changed.is_at(manager(changed, False).get_model_path("seg"))
    assert site.ranges()[-1] is None


def spoil_bytes(part, _):
    with part.open("r+b") as file:
        file.write(b"spoiled")


def spoil_end(part, _):
    with part.open("ab") as file:
        file.write(b"x" * 8 * MIB)


def complete(part, record):
    total = json.loads(record.read_text())["total"]
    part.write_bytes(random_bytes(total, seed=8))


SPOILT = {
    "other-bytes": spoil_bytes,
    "too-many-bytes": spoil_end,
    "empty": lambda part, _: part.write_bytes(b""),
    "complete-but-wrong": complete,
    "record-gone": lambda _, record: record.unlink(),
    "bytes-gone": lambda part, _: part.unlink(),
    "record-no-json": lambda _, record: record.write_bytes(b"\xff{"),
    "record-of-another-kind": lambda _, record: record.write_text("[1, 2]"),
    "record-deep": lambda _, record: record.write_text("[" * 100_000),
    "record-with-other-types": lambda _, record: record.write_text(
        json.dumps({key: {"a": []} for key in json.loads(record.read_text())})
    ),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_what_a_call_left_may_be_spoilt(site, tmp_path, manager, model, spoil):
    site.give(model.path, cut(model, 8), status(404))
    with pytest.raises(RuntimeError, match="404"):
        manager(model, True).get_model_path("seg")
    part, record = sorted(
        files_in(tmp_path / "cache/store-v1/partial"), key=lambda path: path.suffix == ".json"
    )
    SPOILT[spoil](part, record)
    site.give(model.path, model.body)
    assert model.is_at(manager(model, True).get_model_path("seg"))
    assert left_over(tmp_path / "cache") == []


@pytest.mark.parametrize(
    "validators",
    [
        pytest.param({"etag": None}, id="none"),
        pytest.param({"etag": 'W/"weak"'}, id="weak-etag"),
        # RFC 9110, 8.8.2.2: it may have changed twice in the second that it gives.
        pytest.param(
            {"etag": None, "modified": "now", "conditional": False}, id="modified-this-second"
        ),
    ],
)
def test_without_a_strong_validator_nothing_is_glued_together(
    site, tmp_path, manager, kind, summed, validators
):
    model, changed = MODELS[kind], CHANGED[kind]
    if validators.get("modified"):
        now = email.utils.formatdate(usegmt=True)
        validators = {**validators, "modified": now, "headers": {"Date": now}}
    site.give(model.path, cut(model, 6, **validators), File(changed.body, **validators))
    assert changed.is_at(manager(changed, summed).get_model_path("seg"))
    assert site.ranges() == [None, None]


def test_a_date_of_long_ago_tells_the_version_too(site, manager, kind, summed):
    model = Model(kind, size=8 * MIB)
    settings = {"etag": None, "modified": email.utils.formatdate(1_600_000_000, usegmt=True)}
    site.give(model.path, cut(model, 5, **settings), File(model.body, **settings))
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    assert site.requests[1].headers["if-range"] == settings["modified"]
    assert site.sent() - len(model.body) <= MIB


CONFLICTS = {
    "if-range": {"etag": '"second"'},
    "other-etag": {"etag": '"second"', "conditional": False},
    "weak-etag-now": {"etag": 'W/"first"', "conditional": False},
    "no-etag-now": {"conditional": False, "in_206": {"ETag": None}},
    "no-ranges-now": {"etag": '"second"', "ranges": False},
    "same-etag": {"conditional": False},
}


@pytest.mark.parametrize("conflict", CONFLICTS)
@pytest.mark.parametrize("length", ["same-length", "longer"])
def test_a_body_that_changes_between_two_requests_comes_whole(
    site, tmp_path, manager, kind, summed, conflict, length
):
    model, changed = MODELS[kind], (CHANGED if length == "same-length" else LONGER)[kind]
    site.give(model.path, cut(model, 6), File(changed.body, **CONFLICTS[conflict]))
    models = manager(changed, summed)
    if conflict == "same-etag" and length == "same-length" and not summed:
        # The server swears that nothing has changed: only what is inside a zip gives it the lie.
        if kind == "zip":
            with pytest.raises(RuntimeError):
                models.get_model_path("seg")
            assert objects(tmp_path / "cache") == []
            assert changed.is_at(models.get_model_path("seg"))
        return
    assert changed.is_at(models.get_model_path("seg"))
    assert len(site.requests) <= 3
    assert site.requests[1].headers["if-range"] == ETAG
    assert changed.only_this_in(tmp_path / "cache")


def test_a_body_that_changes_to_what_is_not_meant_is_refused(site, tmp_path, manager, kind):
    model, changed = MODELS[kind], CHANGED[kind]
    site.give(model.path, cut(model, 6), File(changed.body, etag='"second"'))
    with pytest.raises(HashMismatchError) as caught:
        manager(model, True).get_model_path("seg")
    assert caught.value.expected == model.sha256
    assert caught.value.actual == changed.sha256
    assert objects(tmp_path / "cache") == []
    assert left_over(tmp_path / "cache") == []


WRONG_RANGES = {
    "none": lambda _: {"in_206": {"Content-Range": None}},
    "no-numbers": lambda _: {"in_206": {"Content-Range": "bytes all/some"}},
    "other-unit": lambda size: {"in_206": {"Content-Range": f"pages 1-2/{size}"}},
    "from-0": lambda size: {
        "in_206": {"Content-Range": f"bytes 0-{size - 1}/{size}"},
        "shift": -size,
    },
    "earlier": lambda size: {"in_206": {"Content-Range": f"bytes 1024-{size - 1}/{size}"}},
    "later": lambda size: {
        "in_206": {"Content-Range": f"bytes {size - 1000}-{size - 1}/{size}"},
        "shift": MIB,
    },
    "other-total": lambda size: {"in_206": {"Content-Range": f"bytes 2097152-{size}/{size + 1}"}},
}


@pytest.mark.parametrize("answered", WRONG_RANGES)
def test_another_range_than_the_one_asked_for_is_not_glued_on(
    site, tmp_path, manager, model, summed, answered
):
    faulty = File(model.body, **WRONG_RANGES[answered](len(model.body)))
    site.give(model.path, cut(model, 6), faulty)
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    assert site.ranges()[1] is not None
    assert left_over(tmp_path / "cache") == []


def test_a_range_that_starts_elsewhere_unseen_is_fetched_again_for_its_sha256(
    site, tmp_path, manager, model
):
    site.give(model.path, cut(model, 6), File(model.body, shift=-1_000))
    assert model.is_at(manager(model, True).get_model_path("seg"))
    assert len(site.requests) <= 3


def test_a_range_that_is_refused_is_given_up_for_the_whole(site, tmp_path, manager, model, summed):
    def refuse_ranges(handler):
        part = "range" in handler.seen.headers
        (status(416) if part else File(model.body, stop=None))(handler)

    site.give(model.path, cut(model, 6), refuse_ranges)
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    assert len(site.requests) == 3
    assert left_over(tmp_path / "cache") == []


def test_a_file_that_has_shrunk_since_is_fetched_anew(site, tmp_path, manager, kind, summed):
    model, small = MODELS[kind], Model(kind, seed=3, size=MIB)
    site.give(model.path, cut(model, 8), File(small.body, conditional=False))  # 416
    assert small.is_at(manager(small, summed).get_model_path("seg"))


# Redirects and compression


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed_also_to_another_host(site, tmp_path, manager, model, summed, code):
    site.give("/second", redirect(site.url("/third", "localhost"), code))
    site.give("/third", redirect("/fourth", code))
    site.give("/fourth", model.body)
    site.give(model.path, redirect("second", code))
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    assert site.paths() == [model.path, "/second", "/third", "/fourth"]


def test_a_body_that_is_cut_after_a_redirect_comes_in_the_end(site, manager, model, summed):
    site.give("/there", cut(model, 6), model.body)
    site.give(model.path, redirect(site.url("/there", "localhost")))
    assert model.is_at(manager(model, summed).get_model_path("seg"))


def test_a_redirect_that_leads_to_another_version_after_a_cut_is_no_mixture(
    site, manager, kind, summed
):
    model, changed = MODELS[kind], CHANGED[kind]
    site.give("/old", cut(model, 6))
    site.give("/new", File(changed.body, etag='"second"', conditional=False))
    site.give(model.path, redirect("/old"), redirect("/new"))
    assert changed.is_at(manager(changed, summed).get_model_path("seg"))


def test_a_compression_that_nobody_asked_for_is_undone(site, tmp_path, manager, model, summed):
    site.give(model.path, gzipped(model.body))
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    assert left_over(tmp_path / "cache") == []


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
def test_a_compressed_transfer_that_is_cut_comes_in_the_end(
    site, tmp_path, manager, model, summed, ranges
):
    whole = gzipped(model.body, ranges=ranges)
    half = gzipped(model.body, ranges=ranges, stop=len(model.body) // 2)
    site.give(model.path, half, whole)
    assert model.is_at(manager(model, summed).get_model_path("seg"))
    assert left_over(tmp_path / "cache") == []


def test_a_cut_and_then_a_compressed_transfer_is_no_mixture(site, tmp_path, manager, model, summed):
    in_206 = {"Content-Encoding": "gzip"}
    site.give(
        model.path, cut(model, 6), File(model.body, in_206=in_206, shift=100), gzipped(model.body)
    )
    assert model.is_at(manager(model, summed).get_model_path("seg"))


# Disks


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MiB of its own, and a way to make it larger."""
    folder = tmp_path / "cache"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "pycemrg-test", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs to mount a tmpfs: Linux, and root")

    def enlarge():
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)

    yield enlarge
    subprocess.run(["umount", str(folder)], check=True)


# The zip is smaller than the disk and larger with what it holds; the rest does not fit as it comes.
FULL = {
    "announced": lambda model: model.body,
    "unannounced": lambda model: chunked(model.body),
}


@pytest.mark.parametrize("how", FULL)
@pytest.mark.parametrize("size", [4 * MIB, 8 * MIB], ids=["unpacking", "downloading"])
def test_a_full_disk_is_an_error_until_there_is_room(
    site, tmp_path, manager, small_disk, kind, summed, how, size
):
    model = Model(kind, size=size)
    site.give(model.path, FULL[how](model))
    models = manager(model, summed)
    if kind == "plain" and size < 6 * MIB:
        assert model.is_at(models.get_model_path("seg"))  # it is moved and needs no room twice
        return
    with pytest.raises(RuntimeError) as caught:
        models.get_model_path("seg")
    assert type(caught.value) is RuntimeError
    assert str(tmp_path / "cache") in str(caught.value) or "no room" in str(caught.value)
    assert objects(tmp_path / "cache") == []
    assert [name for name in left_over(tmp_path / "cache") if not name.startswith("partial/")] == []
    small_disk()
    assert model.is_at(models.get_model_path("seg"))
    assert left_over(tmp_path / "cache") == []


LIMITED = """
import resource, signal, sys
from pycemrg.models import HashMismatchError, ModelManager
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    ModelManager(sys.argv[1], sys.argv[2]).get_model_path("seg")
except RuntimeError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits files with setrlimit")
@pytest.mark.parametrize("limit", [0, 100, 3 * MIB, 9 * MIB // 2])
def test_files_that_cannot_be_written_in_full_are_an_error(site, tmp_path, manager, kind, limit):
    """As with a quota. The largest limit lets the archive through and not what it holds."""
    model = Model(kind)
    if limit > len(model.body):
        if kind == "plain":
            return
        # Compressed to nearly nothing: 6 MiB that do not fit, in an archive that does.
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("checkpoints/model.pth", bytes(6 * MIB))
            archive.writestr("checkpoints/plans.json", b"{}")
        model.body, model.files = packed.getvalue(), {**model.files, "model.pth": bytes(6 * MIB)}
        model.sha256 = hashlib.sha256(model.body).hexdigest()
    site.give(model.path, model.body)
    models = manager(model, True)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, models.manifest_path, models.cache_dir, str(limit)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("RuntimeError "), done.stdout + done.stderr
    assert objects(tmp_path / "cache") == []
    assert model.is_at(models.get_model_path("seg"))
    assert left_over(tmp_path / "cache") == []


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_quota_that_shows_late_is_an_error(
    site, tmp_path, manager, model, summed, monkeypatch, call
):
    def full(*_, **__):
        raise OSError(122, "Disk quota exceeded")

    site.give(model.path, model.body)
    models = manager(model, summed)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(RuntimeError, match="quota") as caught:
            models.get_model_path("seg")
    assert type(caught.value) is RuntimeError
    assert objects(tmp_path / "cache") == []
    assert model.is_at(models.get_model_path("seg"))
    assert left_over(tmp_path / "cache") == []


ASK_AS_NOBODY = """
import os, sys
from pathlib import Path
from pycemrg.models import ModelManager

manifest, cache, scratch = sys.argv[1:]
ModelManager(manifest, scratch).get_model_path("seg")  # imports what it takes, while it may
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
assert not os.access(cache, os.W_OK)
try:
    print("path", ModelManager(manifest, cache).get_model_path("seg"))
except RuntimeError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def public_folder():
    with folder_for_all() as folder:
        yield folder


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of POSIX")
@pytest.mark.parametrize(("kind", "summed"), [("zip", True), ("plain", False)], indirect=True)
@pytest.mark.parametrize("state", ["whole", "new-times", "damaged", "empty", "missing"])
def test_a_cache_that_may_only_be_read_serves_what_is_right_in_it(
    site, public_folder, tmp_path, model, summed, state
):
    cache = public_folder / "cache"
    fields = {"url": site.give(model.path, model.body), **model.fields}
    if summed:
        fields["sha256"] = model.sha256
    manifest = write_manifest(public_folder / "models.yaml", v1=fields)
    if state != "missing":
        cache.mkdir()
    if state in ("whole", "new-times", "damaged"):
        path = ModelManager(manifest, cache).get_model_path("seg")
        weights = path / "model.pth" if path.is_dir() else path
        if state == "damaged":
            weights.write_bytes(b"damaged")
        elif state == "new-times":
            os.utime(weights, (1, 1))
    lock_up(public_folder)
    before = len(site.requests)
    command = [sys.executable, "-c", ASK_AS_NOBODY, manifest, cache, tmp_path / "scratch"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if state in ("whole", "new-times"):
        assert done.stdout.startswith("path ")
        assert model.is_at(Path(done.stdout.removeprefix("path ").strip()))
        assert len(site.requests) == before + 1  # that of the rehearsal
    else:
        assert done.stdout.startswith("RuntimeError ")
        assert str(cache) in done.stdout
    unlock(public_folder)
    assert model.is_at(ModelManager(manifest, cache).get_model_path("seg"))
