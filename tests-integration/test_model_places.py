"""Other places where a model may be: mirrors, caches of a site, and what 0.1.x left behind."""

import hashlib
import io
import os
import shutil
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
    files_in,
    folder_for_all,
    left_over,
    lock_up,
    redirect,
    reset,
    status,
    write_manifest,
)

from pycemrg.models import HashMismatchError, ModelManager
from pycemrg.models import download as downloads

WEIGHTS = bytes(range(256)) * 16_384  # 4 MiB
DAY = 86_400


def zip_of(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


PACKED = zip_of({"model.pth": WEIGHTS, "plans.json": b"{}"})
SHA256 = hashlib.sha256(PACKED).hexdigest()
ZIP = {"unzipped_target_path": "model.pth"}


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path / "home")
    monkeypatch.setattr(downloads, "BACKOFF", 0.0)


@pytest.fixture
def site():
    with Site() as running:
        yield running


@pytest.fixture
def manager(tmp_path):
    def make(url, cache="cache", offline=None, **fields):
        fields = {"url": url, "sha256": SHA256, **ZIP, **fields}
        fields = {key: value for key, value in fields.items() if value is not None}
        manifest = write_manifest(tmp_path / "models.yaml", v1=fields)
        return ModelManager(manifest, tmp_path / cache, offline=offline)

    return make


def objects(cache):
    return list(cache.glob("store-v1/objects/*/*"))


# Mirrors

NOBODY = "http://127.0.0.1:1/seg.zip"
DEAD = {
    "nobody": None,
    "404": status(404),
    "503": status(503),
    "reset": reset,
    "cut": File(PACKED, stop=2_000_000, ranges=False),
    "loop": redirect("/seg.zip"),
    "html": b"<!doctype html>",
    "wrong-bytes": zip_of({"model.pth": b"weights of somebody else"}),
}


@pytest.mark.parametrize("fault", DEAD)
@pytest.mark.parametrize("dead", [1, 2])
def test_the_first_address_that_has_the_right_bytes_gives_them(
    site, tmp_path, manager, fault, dead
):
    answer = DEAD[fault]
    urls = [site.give(f"/{n}/seg.zip", answer) if answer else NOBODY for n in range(dead)]
    good = site.give("/mirror/other-name.zip", PACKED)
    spare = site.give("/spare.zip", PACKED)
    models = manager(urls[0], mirrors=[*urls[1:], good, spare])
    assert models.get_model_path("seg").read_bytes() == WEIGHTS
    assert site.paths()[-1] == "/mirror/other-name.zip"
    assert "/spare.zip" not in site.paths()
    assert left_over(tmp_path / "cache") == []
    asked = len(site.requests)
    assert models.get_model_path("seg").read_bytes() == WEIGHTS
    assert len(site.requests) == asked


def test_mirrors_are_left_alone_while_the_first_address_works(site, manager):
    models = manager(site.give("/seg.zip", PACKED), mirrors=[site.give("/mirror.zip", PACKED)])
    assert models.get_model_path("seg").read_bytes() == WEIGHTS
    assert site.paths() == ["/seg.zip"]


def test_a_plain_file_from_a_mirror_has_the_name_of_the_first_address(site, manager):
    mirror = site.give("/blob", WEIGHTS)
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    url = site.url("/gone/model.pth")
    path = manager(url, mirrors=[mirror], sha256=sha256, **dict.fromkeys(ZIP)).get_model_path("seg")
    assert (path.name, path.read_bytes()) == ("model.pth", WEIGHTS)


def test_an_error_names_every_address_and_what_was_wrong_with_it(site, tmp_path, manager):
    urls = [NOBODY, site.give("/b.zip", status(404)), site.give("/c.zip", status(503))]
    models = manager(urls[0], mirrors=urls[1:])
    with pytest.raises(RuntimeError) as caught:
        models.get_model_path("seg")
    assert type(caught.value) is RuntimeError
    for part in (*urls, "refused", "404", "503"):
        assert part in str(caught.value)
    assert objects(tmp_path / "cache") == []
    site.give("/c.zip", PACKED)
    assert models.get_model_path("seg").read_bytes() == WEIGHTS


@pytest.mark.parametrize("others", ["wrong-bytes", "404"])
def test_wrong_bytes_are_a_hash_mismatch_that_names_every_address(site, tmp_path, manager, others):
    urls = [
        site.give("/a.zip", DEAD["wrong-bytes"]),
        site.give("/b.zip", DEAD[others]),
        site.give("/c.zip", DEAD[others]),
    ]
    models = manager(urls[0], mirrors=urls[1:])
    with pytest.raises(HashMismatchError) as caught:
        models.get_model_path("seg")
    assert caught.value.expected == SHA256
    assert caught.value.actual == hashlib.sha256(DEAD["wrong-bytes"]).hexdigest()
    assert all(url in str(caught.value) for url in urls)
    assert objects(tmp_path / "cache") == []
    assert left_over(tmp_path / "cache") == []
    site.give("/b.zip", PACKED)
    assert models.get_model_path("seg").read_bytes() == WEIGHTS


def test_halves_of_two_addresses_are_not_glued_together(site, manager):
    other = zip_of({"model.pth": WEIGHTS[::-1], "plans.json": b"{}"})
    url = site.give("/a.zip", File(other, stop=2_000_000), status(404))
    mirror = site.give("/b.zip", File(PACKED, conditional=False))  # with the same ETag
    assert manager(url, mirrors=[mirror]).get_model_path("seg").read_bytes() == WEIGHTS


def test_what_the_first_address_gave_outlives_a_mirror_that_is_dead(site, manager):
    url = site.give("/a.zip", File(PACKED, stop=len(PACKED) // 2), status(404))
    models = manager(url, mirrors=[NOBODY])
    with pytest.raises(RuntimeError):
        models.get_model_path("seg")
    site.give("/a.zip", PACKED)
    assert models.get_model_path("seg").read_bytes() == WEIGHTS
    assert site.sent() - len(PACKED) <= 1 << 20


def test_mirrors_need_a_sha256(tmp_path, manager):
    models = manager("http://127.0.0.1:1/a.zip", mirrors=["http://127.0.0.1:1/b"], sha256=None)
    with pytest.raises(ValueError, match=r"models\.yaml:1:.*sha256"):
        models.get_model_path("seg")


# Caches of a site


def state(folder):
    """Everything that a write would change; not the time of access, which reading may change."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        facts = (stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        found[str(path)] = (*facts, content)
    return found


@pytest.fixture
def site_cache(site, tmp_path, manager, monkeypatch):
    """A cache that somebody filled for the whole site."""
    manager(site.give("/seg.zip", PACKED), cache="shared").get_model_path("seg")
    site.requests.clear()
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", str(tmp_path / "shared"))
    return tmp_path / "shared"


def test_a_cache_of_the_site_is_looked_in_first(site, tmp_path, manager, site_cache):
    before = state(site_cache)
    models = manager(site.url("/seg.zip"))
    for _ in range(2):
        path = models.get_model_path("seg")
        assert path.read_bytes() == WEIGHTS
        assert site_cache in path.parents
    assert models.find_model("seg") == path
    assert state(site_cache) == before
    assert site.requests == []
    assert not (tmp_path / "cache").exists()


def test_a_cache_of_the_site_comes_before_a_full_one_of_ones_own(
    site, tmp_path, manager, site_cache, monkeypatch
):
    monkeypatch.delenv("PYCEMRG_SITE_CACHE")
    own = manager(site.url("/seg.zip")).get_model_path("seg")
    assert tmp_path / "cache" in own.parents
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", str(site_cache))
    assert site_cache in manager(site.url("/seg.zip")).get_model_path("seg").parents


def test_several_caches_of_the_site_are_looked_in_by_turns(
    site, tmp_path, manager, site_cache, monkeypatch
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    folders = [tmp_path / "missing", tmp_path / "empty", tmp_path / "file", site_cache]
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", os.pathsep.join(["", *map(str, folders)]))
    assert site_cache in manager(site.url("/seg.zip")).get_model_path("seg").parents
    manager(site.url("/seg.zip"), cache="first")
    monkeypatch.delenv("PYCEMRG_SITE_CACHE")
    first = manager(site.url("/seg.zip"), cache="first").get_model_path("seg")
    both = os.pathsep.join([str(tmp_path / "first"), str(site_cache)])
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", both)
    assert manager(site.url("/seg.zip")).get_model_path("seg") == first


def test_what_the_site_lacks_goes_into_the_own_cache(site, tmp_path, manager, site_cache):
    other = zip_of({"model.pth": b"other weights"})
    sha256 = hashlib.sha256(other).hexdigest()
    before = state(site_cache)
    path = manager(site.give("/other.zip", other), sha256=sha256).get_model_path("seg")
    assert path.read_bytes() == b"other weights"
    assert tmp_path / "cache" in path.parents
    assert state(site_cache) == before


def days_ago(cache):
    """Age the marker, which a look-up would touch to say that the object is in use."""
    for marker in cache.glob("store-v1/objects/*/*/entry.json"):
        os.utime(marker, (time.time() - 9 * DAY,) * 2)


def new_times(cache):
    """Give the files other times, as a copy does, which a look-up would take note of."""
    for path in files_in(cache):
        os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [days_ago, new_times])
def test_nothing_is_written_into_a_cache_of_the_site(site, tmp_path, manager, site_cache, change):
    change(site_cache)
    before = state(site_cache)
    path = manager(site.url("/seg.zip")).get_model_path("seg")
    assert path.read_bytes() == WEIGHTS
    assert site_cache in path.parents
    assert state(site_cache) == before
    assert site.requests == []


def test_nothing_is_noted_in_a_large_tree_of_the_site(site, tmp_path, manager, monkeypatch):
    large = zip_of({f"{number}.pth": b"%d" % number for number in range(100)})
    fields = {"sha256": hashlib.sha256(large).hexdigest(), "unzipped_target_path": "7.pth"}
    manager(site.give("/seg.zip", large), cache="shared", **fields).get_model_path("seg")
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", str(tmp_path / "shared"))
    before = state(tmp_path / "shared")
    for target in ("9.pth", "."):
        fields["unzipped_target_path"] = target
        path = manager(site.url("/seg.zip"), **fields).get_model_path("seg")
        assert tmp_path / "shared" in path.parents
    assert state(tmp_path / "shared") == before
    assert len(site.requests) == 1


def truncate(path):
    with path.open("r+b") as file:
        file.truncate(1_000)


def swap_a_byte(path):
    with path.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"?")


DAMAGE = {
    "truncated": truncate,
    "altered": swap_a_byte,
    "deleted": lambda path: path.unlink(),
    "a-folder": lambda path: (path.unlink(), path.mkdir()),
    "no-marker": lambda path: (path.parents[1] / "entry.json").unlink(),
    "marker-damaged": lambda path: (path.parents[1] / "entry.json").write_bytes(b"\xff{"),
    "listing-damaged": lambda path: (
        (path.parents[1] / "files.json").write_text("[1]"),
        os.utime(path, (1, 1)),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
def test_what_is_damaged_in_a_cache_of_the_site_is_fetched_into_the_own(
    site, tmp_path, manager, site_cache, damage, offline
):
    (found,) = site_cache.glob("store-v1/objects/*/*/tree/model.pth")
    DAMAGE[damage](found)
    before = state(site_cache)
    if offline:
        with pytest.raises(RuntimeError, match="offline"):
            manager(site.url("/seg.zip"), offline=True).get_model_path("seg")
        assert site.requests == []
    path = manager(site.url("/seg.zip")).get_model_path("seg")
    assert path.read_bytes() == WEIGHTS
    assert tmp_path / "cache" in path.parents
    assert manager(site.url("/seg.zip"), offline=offline).get_model_path("seg") == path
    assert len(site.requests) == 1
    assert state(site_cache) == before


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_cache_of_the_site_serves_offline(site, manager, site_cache, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("PYCEMRG_OFFLINE", "1")
    models = manager(site.url("/seg.zip"), offline=True if how == "argument" else None)
    assert models.get_model_path("seg").read_bytes() == WEIGHTS
    assert site.requests == []


def test_without_sha256_a_cache_of_the_site_answers_for_the_same_url(
    site, tmp_path, manager, monkeypatch
):
    url = site.give("/seg.zip", PACKED)
    other = site.give("/other/seg.zip", zip_of({"model.pth": b"other weights"}))
    manager(url, cache="shared", sha256=None).get_model_path("seg")
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", str(tmp_path / "shared"))
    assert manager(url, sha256=None).get_model_path("seg").read_bytes() == WEIGHTS
    assert manager(other, sha256=None).get_model_path("seg").read_bytes() == b"other weights"


def test_a_target_that_a_stale_copy_of_the_site_lacks_is_fetched(
    site, tmp_path, manager, monkeypatch
):
    """Without a sha256 the file behind a URL may be another one by now."""
    url = site.give("/seg.zip", zip_of({"old.pth": b"old weights"}), PACKED)
    fields = {"sha256": None, "unzipped_target_path": "old.pth"}
    manager(url, cache="shared", **fields).get_model_path("seg")
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", str(tmp_path / "shared"))
    assert manager(url, sha256=None).get_model_path("seg").read_bytes() == WEIGHTS


ASK_AS_NOBODY = """
import hashlib, os, sys
from pycemrg.models import ModelManager

manifest, cache, shared = sys.argv[1:]
os.environ["PYCEMRG_SITE_CACHE"] = shared
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
assert not os.access(shared, os.W_OK) and not os.access(os.path.dirname(cache), os.W_OK)
print(ModelManager(manifest, cache).get_model_path("seg"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of POSIX")
def test_a_cache_of_the_site_serves_who_may_write_nowhere(site, tmp_path, manager, site_cache):
    days_ago(site_cache)
    new_times(site_cache)
    models = manager(site.url("/seg.zip"))
    with folder_for_all() as folder:
        shared = shutil.copytree(site_cache, folder / "shared")
        manifest = shutil.copy(models.manifest_path, folder)
        lock_up(folder)
        command = [sys.executable, "-c", ASK_AS_NOBODY, manifest, folder / "none", shared]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        path = Path(done.stdout.strip())
        assert shared in path.parents
        assert path.read_bytes() == WEIGHTS


# What 0.1.x left: the archive beside the store, under the name in the URL


@pytest.mark.parametrize("query", ["", "?download=1"])
def test_the_right_archive_of_0_1_is_adopted_without_a_request(site, tmp_path, manager, query):
    old = tmp_path / "cache" / f"seg.zip{query}"
    old.parent.mkdir()
    old.write_bytes(PACKED)
    (tmp_path / "cache/seg").mkdir()  # where 0.1.x unpacked it
    (tmp_path / "cache/seg/model.pth").write_bytes(b"half of the weights")
    models = manager(site.url(f"/seg.zip{query}"))
    for _ in range(2):
        assert models.get_model_path("seg").read_bytes() == WEIGHTS
    assert site.requests == []
    assert old.read_bytes() == PACKED
    assert not (tmp_path / "cache/CACHEDIR.TAG").exists()  # it may hold what cannot be had again


WRONG = {
    "cut": PACKED[:-1],
    "other": zip_of({"model.pth": b"weights of another model"}),
    "html": b"<!doctype html>",
    "empty": b"",
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("online", [True, False], ids=["online", "offline"])
def test_wrong_bytes_of_0_1_are_not_adopted(site, tmp_path, manager, wrong, online):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/seg.zip").write_bytes(WRONG[wrong])
    url = site.give("/seg.zip", PACKED)
    if online:
        assert manager(url).get_model_path("seg").read_bytes() == WEIGHTS
        assert site.paths() == ["/seg.zip"]
    else:
        with pytest.raises(RuntimeError, match="offline"):
            manager(url, offline=True).get_model_path("seg")
        assert objects(tmp_path / "cache") == []
    assert (tmp_path / "cache/seg.zip").read_bytes() == WRONG[wrong]


def test_what_cannot_be_verified_is_never_adopted(site, tmp_path, manager):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/seg.zip").write_bytes(WRONG["other"])
    models = manager(site.give("/seg.zip", PACKED), sha256=None)
    assert models.get_model_path("seg").read_bytes() == WEIGHTS
    assert site.paths() == ["/seg.zip"]


def test_an_archive_under_the_name_of_a_mirror_is_adopted(site, tmp_path, manager):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/seg.zip").write_bytes(PACKED)
    models = manager(NOBODY, mirrors=[site.url("/mirror.zip")], offline=True)
    assert models.get_model_path("seg").read_bytes() == WEIGHTS
