"""Mirrors, read-only caches of a site, and fetching ahead."""

import os

import pytest

from pycemrg.models import HashMismatchError, ModelCache, ModelManager, Progress
from pycemrg.models import download as downloads
from pycemrg.models.store import DAY


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF", 0.0)


@pytest.fixture
def packed(zip_of):
    return zip_of({"model.pth": b"weights"})


@pytest.fixture
def fields(packed, sha256):
    return {"sha256": sha256(packed), "unzipped_target_path": "model.pth"}


@pytest.fixture
def mirrored(tmp_path, site, manifest, fields):
    """Make a manager whose entry has the address /a.zip and two mirrors."""
    mirrors = f"[{site.url('/b.zip')}, {site.url('/c.zip')}]"
    path = manifest(v1={"url": site.url("/a.zip"), "mirrors": mirrors, **fields})
    return ModelManager(path, tmp_path / "cache")


@pytest.mark.parametrize("wrong", [None, b"a page", b""], ids=["missing", "wrong", "empty"])
def test_a_mirror_is_asked_when_an_address_fails(site, answers, mirrored, packed, wrong):
    site.give("/a.zip", answers.status(404) if wrong is None else wrong)
    site.give("/c.zip", packed)
    assert mirrored.get_model_path("seg").read_bytes() == b"weights"
    assert site.paths() == ["/a.zip", "/b.zip", "/c.zip"]


def test_no_mirror_is_asked_when_the_address_works(site, mirrored, packed):
    site.give("/a.zip", packed)
    mirrored.get_model_path("seg")
    assert site.paths() == ["/a.zip"]


def test_when_all_fail_the_error_names_all(site, mirrored):
    with pytest.raises(RuntimeError) as caught:
        mirrored.get_model_path("seg")
    for name in ("/a.zip", "/b.zip", "/c.zip"):
        assert f"{site.url(name)}: 404" in str(caught.value)


def test_wrong_bytes_are_a_hash_mismatch_although_the_mirrors_are_dead(site, mirrored):
    site.give("/a.zip", b"another archive")
    with pytest.raises(HashMismatchError, match=r"/b\.zip: 404"):
        mirrored.get_model_path("seg")


@pytest.mark.parametrize("twice", [False, True], ids=["mended", "still-wrong"])
def test_two_parts_that_do_not_fit_are_fetched_once_more(
    tmp_path, site, manifest, packed, fields, twice
):
    """A server may know neither If-Range nor ETags that change with the file."""

    def first_half(handler):
        handler.send_response(200)
        handler.send_header("ETag", '"always"')
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.wfile.write(b"?" * 50)

    def rest(handler):
        handler.send_response(206)
        handler.send_header("ETag", '"always"')
        handler.send_header("Content-Range", f"bytes 50-{len(packed) - 1}/{len(packed)}")
        handler.send_header("Content-Length", str(len(packed) - 50))
        handler.end_headers()
        handler.wfile.write(packed[50:])

    url = site.give("/a.zip", first_half, rest, b"wrong" if twice else packed)
    models = ModelManager(manifest(v1={"url": url, **fields}), tmp_path / "cache")
    if twice:
        with pytest.raises(HashMismatchError):
            models.get_model_path("seg")
    else:
        assert models.get_model_path("seg").read_bytes() == b"weights"
    assert len(site.requests) == 3
    assert not list((tmp_path / "cache/store-v1").glob("partial/*"))


def snapshot(folder):
    return {path: path.lstat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


@pytest.fixture
def at_site(tmp_path, site, manifest, packed, fields, monkeypatch):
    """A model in the cache of a site, and a manager of somebody else there."""
    path = manifest(v1={"url": site.give("/a.zip", packed), **fields})
    stored = ModelManager(path, tmp_path / "site").get_model_path("seg")
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", f"{tmp_path}/none{os.pathsep}{tmp_path}/site")
    site.requests.clear()
    return stored, ModelManager(path, tmp_path / "cache")


def test_the_cache_of_a_site_is_looked_in_first_and_nothing_is_written_there(
    tmp_path, site, at_site
):
    stored, models = at_site
    marker = stored.parents[1] / "entry.json"
    os.utime(marker, (marker.stat().st_atime, marker.stat().st_mtime - 3 * DAY))
    before = snapshot(tmp_path / "site")
    assert models.get_model_path("seg") == stored
    assert models.find_model("seg") == stored
    assert site.requests == []
    assert snapshot(tmp_path / "site") == before
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("harm", ["content", "times"])
def test_what_is_damaged_there_is_fetched_for_ourselves(tmp_path, site, at_site, harm):
    stored, models = at_site
    if harm == "content":
        stored.write_bytes(b"WEIGHTS")
    os.utime(stored, (1, 1))
    before = snapshot(tmp_path / "site")
    found = models.get_model_path("seg")
    assert found.read_bytes() == b"weights"
    assert (found == stored) is (harm == "times")
    assert snapshot(tmp_path / "site") == before


def test_what_is_not_there_can_be_asked_for_without_fetching_it(tmp_path, site, manifest, fields):
    path = manifest(v1={"url": site.url("/a.zip"), **fields})
    assert ModelManager(path, tmp_path / "cache").find_model("seg") is None
    assert site.requests == []


def test_to_ask_where_a_model_is_leaves_no_trace(tmp_path, site, manifest, packed, fields):
    path = manifest(v1={"url": site.give("/a.zip", packed), **fields})
    models = ModelManager(path, tmp_path / "cache")
    marker = models.get_model_path("seg").parents[1] / "entry.json"
    os.utime(marker, (1, marker.stat().st_mtime - 3 * DAY))
    before = snapshot(tmp_path / "cache")
    assert models.find_model("seg") is not None
    assert snapshot(tmp_path / "cache") == before


def test_fetching_ahead_gets_all_that_can_be_had(tmp_path, site, manifest, packed, fields):
    good, bad = site.give("/good.zip", packed), site.url("/bad.zip")
    path = manifest(
        v1={"url": good, **fields},
        v2={"url": bad, **fields, "sha256": "1" * 64},
        v3={"url": site.url("/worse.zip"), **fields, "sha256": "2" * 64},
    )
    models = ModelManager(path, tmp_path / "cache")
    assert set(models.prefetch(["seg"])) == {"seg@v1"}
    with pytest.raises(RuntimeError, match="2 could not be fetched") as caught:
        models.prefetch()
    assert f"{bad}: 404" in str(caught.value)
    assert "/worse.zip: 404" in str(caught.value)
    told = []
    paths = models.prefetch(["seg@v1", "seg"], tell=lambda *each: told.append(each))
    assert paths["seg@v1"].read_bytes() == b"weights"
    assert told == list(paths.items())


def test_fetching_ahead_goes_on_after_a_malformed_entry(tmp_path, site, manifest, packed, fields):
    path = manifest(
        bad={"url": "https://example.com/a.zip"}, v1={"url": site.give("/a.zip", packed), **fields}
    )
    models = ModelManager(path, tmp_path / "cache")
    with pytest.raises(RuntimeError, match="needs 'unzipped_target_path'"):
        models.prefetch()
    assert models.find_model("seg", "v1").read_bytes() == b"weights"
    with pytest.raises(KeyError):
        models.prefetch(["seg@v1", "no-such"])


def test_whoever_asks_is_told_how_far_it_is(tmp_path, site, manifest, zip_of, sha256):
    packed = zip_of({f"{number}.pth": os.urandom(2_000_000) for number in range(3)})
    fields = {"sha256": sha256(packed), "unzipped_target_path": "0.pth"}
    told = []
    path = manifest(v1={"url": site.give("/a.zip", packed), **fields})
    ModelManager(path, tmp_path / "cache", progress=told.append).get_model_path("seg")
    assert {(each.title, each.step) for each in told} == {
        ("seg@v1", "download"),
        ("seg@v1", "unpack"),
    }
    for step, total in (("download", len(packed)), ("unpack", 6_000_000)):
        steps = [each for each in told if each.step == step]
        assert steps == sorted(steps, key=lambda each: each.done)
        assert steps[-1] == Progress("seg@v1", step, total, total)


def test_reading_what_is_there_is_told_too(tmp_path, manifest, zip_of, sha256):
    packed = zip_of({"model.pth": os.urandom(3_000_000)})
    (tmp_path / "a.zip").write_bytes(packed)
    fields = {"sha256": sha256(packed), "unzipped_target_path": "model.pth"}
    told = []
    models = ModelManager(
        manifest(v1={"url": "file://a.zip", **fields}), tmp_path / "here", progress=told.append
    )
    models.get_model_path("seg")
    read = [each for each in told if each.step == "read"]
    assert read[-1] == Progress("seg@v1", "read", len(packed), len(packed))
    assert len(read) > 3
    told.clear()
    assert models.cache.verify(deep=True) == []
    assert told == [Progress("cache", "read", 3_000_000, 3_000_000)]
    told.clear()
    models.export_bundle(tmp_path / "models.tar")
    there = ModelCache(tmp_path / "there", progress=told.append)
    told.clear()
    there.import_bundle(tmp_path / "models.tar")
    assert Progress("seg@v1", "read", len(packed), len(packed)) in told
    assert Progress("seg@v1", "unpack", 3_000_000, 3_000_000) in told
