"""Passwords and tokens go to the host that they are for, and are told to nobody else."""

import base64
import hashlib
import io
import json
import logging
import sys
import traceback
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
    redirect,
    reset,
    stall,
    status,
    write_manifest,
)

from pycemrg.core.logs import setup_logging
from pycemrg.models import ModelManager
from pycemrg.models import download as downloads

WEIGHTS = bytes(range(256)) * 12_000  # 3 MB, some chunks


def zip_of(content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model.pth", content)
    return packed.getvalue()


PACKED = zip_of(WEIGHTS)
SHA256 = hashlib.sha256(PACKED).hexdigest()
FIELDS = {"unzipped_target_path": "model.pth", "sha256": SHA256}


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(downloads, "BACKOFF", 0.0)


@pytest.fixture
def site():
    with Site() as running:
        yield running


@pytest.fixture
def netrc(tmp_path):
    """Write what the user has in `~/.netrc`."""

    def write(**machines):
        path = tmp_path / "home/.netrc"
        path.parent.mkdir()
        lines = [
            f"machine {host} login {login} password {password}\n"
            for host, login, password in (
                (name.replace("_", "."), *entry) for name, entry in machines.items()
            )
        ]
        path.write_text("".join(lines))
        path.chmod(0o600)

    return write


@pytest.fixture
def manager(tmp_path):
    def make(url, **fields):
        manifest = write_manifest(tmp_path / "models.yaml", v1={"url": url, **FIELDS, **fields})
        return ModelManager(manifest, tmp_path / "cache")

    return make


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def authorizations(site):
    return [request.headers.get("authorization") for request in site.requests]


HERE = "127_0_0_1"


# Who gets a token


@pytest.mark.parametrize(
    ("login", "expected"),
    [("__token__", "Bearer s3cr3t"), ("me", basic("me", "s3cr3t"))],
    ids=["token", "password"],
)
class TestNetrc:
    def test_is_sent_with_every_request_to_its_host(self, site, netrc, manager, login, expected):
        netrc(**{HERE: (login, "s3cr3t")})
        url = site.give("/seg.zip", status(503), File(PACKED, stop=2_000_000), reset, PACKED)
        assert manager(url).get_model_path("seg").read_bytes() == WEIGHTS
        assert authorizations(site) == [expected] * 4

    def test_is_not_sent_to_another_host(self, site, netrc, manager, login, expected):
        netrc(**{HERE: (login, "s3cr3t")})
        url = site.url("/seg.zip", "localhost")
        site.give("/seg.zip", PACKED)
        assert manager(url).get_model_path("seg").read_bytes() == WEIGHTS
        assert authorizations(site) == [None]

    def test_does_not_follow_a_redirect_to_another_host(
        self, site, netrc, manager, login, expected
    ):
        netrc(**{HERE: (login, "s3cr3t")})
        url = site.give("/seg.zip", redirect("/second"))
        site.give("/second", redirect(site.url("/third", "localhost")))
        site.give("/third", redirect("/fourth"))
        site.give("/fourth", File(PACKED, stop=2_000_000), PACKED)
        assert manager(url).get_model_path("seg").read_bytes() == WEIGHTS
        assert authorizations(site) == [expected, expected, None, None] * 2

    def test_of_the_host_that_a_redirect_leads_to_is_sent_there(
        self, site, netrc, manager, login, expected
    ):
        netrc(**{HERE: ("someone", "else"), "localhost": (login, "s3cr3t")})
        url = site.give("/seg.zip", redirect(site.url("/there", "localhost")))
        site.give("/there", PACKED)
        assert manager(url).get_model_path("seg").read_bytes() == WEIGHTS
        assert authorizations(site) == [basic("someone", "else"), expected]

    def test_does_not_go_to_a_mirror(self, site, netrc, manager, login, expected):
        netrc(**{HERE: (login, "s3cr3t")})
        url = site.give("/seg.zip", status(404))
        site.give("/mirror.zip", PACKED)
        models = manager(url, mirrors=[site.url("/mirror.zip", "localhost")])
        assert models.get_model_path("seg").read_bytes() == WEIGHTS
        assert authorizations(site) == [expected, None]


@pytest.mark.parametrize(
    ("user", "expected"),
    [("__token__", "Bearer s3/cr%3t"), ("me", basic("me", "s3/cr%3t"))],
    ids=["token", "password"],
)
def test_what_is_in_the_url_is_decoded_and_stays_with_its_host(site, manager, user, expected):
    url = site.give("/seg.zip", redirect(site.url("/there", "localhost")))
    site.give("/there", redirect("/again"))
    site.give("/again", PACKED)
    models = manager(url.replace("//", f"//{user}:s3%2Fcr%253t@"))
    assert models.get_model_path("seg").read_bytes() == WEIGHTS
    assert authorizations(site) == [expected, None, None]


def test_what_is_in_the_url_does_not_follow_to_another_port(site, manager):
    url = site.give("/seg.zip", status(404)).replace("//", "//me:s3cr3t@")
    with Site() as other:
        site.give("/seg.zip", redirect(other.give("/there", PACKED)))
        assert manager(url).get_model_path("seg").read_bytes() == WEIGHTS
        assert authorizations(other) == [None]


# Who hears of it

PASSWORD, TOKEN, LOCATION, NETRC = "PASSWORD-aaaa", "TOKEN-bbbb", "LOCATION-cccc", "NETRC-dddd"
QUOTED = "TOK1'LEAKA)LEAKB\"LEAKC>LEAKD]LEAKE"
SECRETS = [PASSWORD, TOKEN, LOCATION, NETRC, "TOK1", "LEAK"]
SECRETS += [basic("me", text).removeprefix("Basic ") for text in SECRETS]


def elsewhere(site, path, **how):
    """A redirect to another host, with a token as storage behind a web site asks for."""
    there = site.url(path, "localhost").replace("//", f"//him:{LOCATION}@")
    return redirect(f"{there}?X-Amz-Signature={LOCATION}", **how)


FAULTS = {
    "fine": lambda _: [PACKED],
    "404": lambda _: [status(404)],
    "401": lambda _: [status(401, WWW_Authenticate="Bearer")],
    "403": lambda _: [status(403)],
    "503": lambda _: [status(503)],
    "503-at-first": lambda _: [status(503, Retry_After="0"), PACKED],
    "reset": lambda _: [reset],
    "reset-in-the-body": lambda _: [File(PACKED, stop=2_000_000, end="reset", ranges=False)],
    "cut-and-on": lambda _: [File(PACKED, stop=2_000_000), PACKED],
    "cut-and-gone": lambda _: [File(PACKED, stop=2_000_000), status(404)],
    "chunk-damaged": lambda _: [chunked(PACKED, stop=2_000_000, last=b"no chunk\r\n")],
    "stall": lambda _: [stall],
    "html": lambda _: [b"<!doctype html>"],
    "no-zip": lambda _: [b"PK nonsense"],
    "gzip-damaged": lambda _: [File(b"no gzip", headers={"Content-Encoding": "gzip"})],
    "range-refused": lambda _: [File(PACKED, stop=2_000_000), status(416)],
    "redirect": lambda site: [elsewhere(site, "/there")],
    "redirect-within": lambda _: [redirect(f"/there?token={LOCATION}", 307)],
    "redirect-to-404": lambda site: [elsewhere(site, "/missing")],
    "redirect-to-503": lambda site: [elsewhere(site, "/broken")],
    "redirect-to-reset": lambda site: [elsewhere(site, "/reset")],
    "redirect-to-nobody": lambda _: [redirect(f"http://me:{LOCATION}@127.0.0.1:1/?t={LOCATION}")],
    "redirect-to-no-host": lambda _: [redirect(f"http://me:{LOCATION}@.example/a?t={LOCATION}")],
    "redirect-to-no-port": lambda _: [redirect(f"http://him:{LOCATION}")],
    "redirect-to-no-address": lambda _: [redirect(f"http://[{LOCATION}/?t={LOCATION}")],
    "redirect-to-ftp": lambda _: [redirect(f"ftp://me:{LOCATION}@example.com/?t={LOCATION}")],
    "loop": lambda _: [redirect(f"/seg.zip?token={LOCATION}")],
}


@pytest.fixture
def told(tmp_path, caplog, capfd):
    """Call a function; return its error, and all that is told of it to anybody."""
    log = tmp_path / "log.txt"
    setup_logging(log_level=logging.DEBUG, log_file=log)
    caplog.set_level(logging.DEBUG)

    def listen(function):
        failure = error = None
        try:
            function()
        except (OSError, RuntimeError) as raised:
            failure = error = raised
        shown = ["".join(traceback.format_exception(error))] if error else []
        while error is not None:  # what a reporter of errors may walk through
            shown += [str(error), repr(error.args), repr(vars(error))]
            error = error.__cause__ or error.__context__
        for record in caplog.records:
            shown += [record.getMessage(), repr(record.msg), repr(record.args)]
            shown.append(str(record.exc_text))
        shown += [log.read_text(), *capfd.readouterr()]
        for path in (tmp_path / "cache").rglob("*"):
            shown.append(str(path))
        shown += [path.read_bytes().decode("latin-1") for path in files_in(tmp_path / "cache")]
        return failure, "\n".join(shown)

    return listen


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("how", ["url", "quoted-url", "no-sha256", "netrc", "mirrors", "callback"])
def test_nobody_hears_of_a_secret(site, tmp_path, netrc, told, monkeypatch, fault, how):
    monkeypatch.setattr(downloads, "TIMEOUT", (5.0, 0.05 if fault == "stall" else 10.0))
    site.give("/there", PACKED)
    site.give("/broken", status(503))
    site.give("/reset", reset)
    url = site.give("/seg.zip", *FAULTS[fault](site))
    fields, steps, settings = {**FIELDS}, [], {}
    if how == "netrc":
        netrc(**{HERE: ("__token__", NETRC)})
        fields["url"] = f"{url}?token={TOKEN}"
    else:
        token = QUOTED if how == "quoted-url" else TOKEN
        fields["url"] = f"{url}?token={token}".replace("//", f"//me:{PASSWORD}@")
    if how == "no-sha256":
        del fields["sha256"]
    if how == "callback":
        settings["progress"] = steps.append
    if how == "mirrors":
        site.give("/other.zip", *FAULTS[fault](site))
        mirror = f"//him:{PASSWORD}@"
        fields["mirrors"] = [
            site.url("/other.zip", "localhost").replace("//", mirror) + f"?token={TOKEN}",
            f"http://him:{PASSWORD}@127.0.0.1:1/gone.zip?token={TOKEN}",
        ]
    manifest = write_manifest(tmp_path / "models.yaml", v1=fields)
    models = ModelManager(manifest, tmp_path / "cache", **settings)
    error, all_told = told(lambda: models.get_model_path("seg"))
    all_told += repr(steps)
    for secret in SECRETS:
        assert secret not in all_told
    # They were used, and there was something to hear.
    assert "token=" in site.requests[0].path
    assert "Starting new HTTP connection" in all_told
    assert site.requests[0].headers["authorization"]
    assert error is None or url in str(error)


def test_an_error_of_mirrors_names_them_without_their_secrets(site, manager, told):
    urls = [site.give(f"/{number}.zip", status(404)) for number in range(3)]
    secret = [f"{url}?token={TOKEN}".replace("//", f"//me:{PASSWORD}@") for url in urls]
    error, all_told = told(lambda: manager(secret[0], mirrors=secret[1:]).get_model_path("seg"))
    assert all(url in str(error) for url in urls)
    assert [secret for secret in SECRETS if secret in all_told] == []


@pytest.mark.parametrize("call", ["find_model", "get_model_path"])
def test_offline_nobody_hears_of_a_secret_either(tmp_path, told, monkeypatch, call):
    monkeypatch.setenv("PYCEMRG_OFFLINE", "1")
    url = f"https://me:{PASSWORD}@example.com/seg.zip?token={TOKEN}"
    mirrors = [f"https://me:{PASSWORD}@example.org/seg.zip?token={TOKEN}"]
    manifest = write_manifest(
        tmp_path / "models.yaml", v1={"url": url, "mirrors": mirrors, **FIELDS}
    )
    models = ModelManager(manifest, tmp_path / "cache")
    error, all_told = told(lambda: getattr(models, call)("seg"))
    assert (error is None) is (call == "find_model")
    assert [secret for secret in SECRETS if secret in all_told] == []


@pytest.mark.parametrize("place", ["url", "mirrors"])
@pytest.mark.parametrize(
    "broken",
    [
        f"http://me:{PASSWORD}@example.com:port/?token={TOKEN}",
        f"http://me:{PASSWORD}@[::1/?token={TOKEN}",
        f"ftp://me:{PASSWORD}@example.com/?token={TOKEN}",
        f"http://me:{PASSWORD}@/?token={TOKEN}",
        f"http://me:{PASSWORD}",
        f"http://me:{PASSWORD}@example.com/\x7f?token={TOKEN}",
        f"me:{PASSWORD}@example.com/seg.zip?token={TOKEN}",
    ],
)
def test_a_malformed_address_is_refused_without_being_quoted(tmp_path, place, broken):
    fields = {"url": "http://127.0.0.1:1/seg.zip", **FIELDS}
    fields[place] = broken if place == "url" else [broken]
    manifest = write_manifest(tmp_path / "models.yaml", v1=fields)
    with pytest.raises(ValueError, match=r"models\.yaml:1:") as caught:
        ModelManager(manifest, tmp_path / "cache").get_model_path("seg")
    shown = "".join(traceback.format_exception(caught.value)) + json.dumps(str(caught.value.args))
    assert [secret for secret in SECRETS if secret in shown] == []
