import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from pycemrg.models import HashMismatchError, ModelManager, archive, sources, tree
from pycemrg.models import download as downloads

TARGET = "checkpoints/model.pth"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloads, "BACKOFF", 0.0)


@pytest.fixture
def packed(zip_of):
    return zip_of({TARGET: b"weights"})


@pytest.fixture
def manager(tmp_path, manifest):
    """Make a manager for one version with these fields."""

    def make(url, target=TARGET, offline=None, **fields):
        if target is not None:
            fields["unzipped_target_path"] = target
        return ModelManager(
            manifest(v1={"url": url, **fields}), tmp_path / "cache", offline=offline
        )

    return make


def left_over(tmp_path):
    """Return what lies in the store and is no object, no lock and no empty folder."""
    store = tmp_path / "cache/store-v1"
    return [
        path
        for path in store.rglob("*")
        if path.relative_to(store).parts[0] not in ("objects", "locks") and not path.is_dir()
    ]


def test_an_archive_is_downloaded_once(tmp_path, site, manager, packed, sha256):
    models = manager(site.give("/a.zip", packed), sha256=sha256(packed))
    assert models.get_model_path("seg").read_bytes() == b"weights"
    assert models.get_model_path("seg").read_bytes() == b"weights"
    assert site.paths() == ["/a.zip"]
    assert left_over(tmp_path) == []


def test_an_archive_without_sha256_is_downloaded_once_too(site, manager, packed):
    models = manager(site.give("/a.zip", packed))
    assert models.get_model_path("seg") == models.get_model_path("seg")
    assert site.paths() == ["/a.zip"]


def test_entries_that_share_an_archive_share_its_download(
    site, tmp_path, manifest, solver_tar, sha256
):
    packed = solver_tar("gz")
    fields = {"url": site.give("/solver.tar.gz", packed), "sha256": sha256(packed)}
    path = manifest(
        solver={**fields, "unzipped_target_path": "solver-2.0/bin/openCARP"},
        library={**fields, "unzipped_target_path": "solver-2.0/lib/libpetsc.so"},
    )
    models = ModelManager(path, tmp_path / "cache")
    assert os.access(models.get_model_path("seg", "solver"), os.X_OK)
    assert models.get_model_path("seg", "library").name == "libpetsc.so.3.20"
    assert site.paths() == ["/solver.tar.gz"]


@pytest.mark.parametrize("with_sum", [True, False])
def test_files_of_one_name_from_two_places_never_mix(
    site, tmp_path, manifest, zip_of, sha256, with_sum
):
    versions = {}
    for number in (1, 2):
        content = zip_of({"model.pth": f"weights {number}".encode()})
        url = site.give(f"/v{number}/model.zip", content)
        versions[f"v{number}"] = {"url": url, "unzipped_target_path": "model.pth"}
        if with_sum:
            versions[f"v{number}"]["sha256"] = sha256(content)
    models = ModelManager(manifest(**versions), tmp_path / "cache")
    for number in (1, 2, 1, 2):
        content = models.get_model_path("seg", f"v{number}").read_text()
        assert content == f"weights {number}"


def test_a_plain_file_is_kept_under_its_name_without_the_query(site, manager, sha256):
    models = manager(
        site.give("/files/model.onnx", b"graph") + "?download=1",
        target=None,
        sha256=sha256(b"graph"),
    )
    path = models.get_model_path("seg")
    assert (path.name, path.read_bytes()) == ("model.onnx", b"graph")
    models.get_model_path("seg")
    assert site.paths() == ["/files/model.onnx?download=1"]


def test_a_checkpoint_that_is_a_zip_inside_is_not_unpacked(site, manager, packed):
    path = manager(site.give("/model.pth", packed), target="ignored").get_model_path("seg")
    assert path.read_bytes() == packed


def test_an_archive_may_be_wanted_as_it_is(site, manager, packed):
    models = manager(site.give("/a.zip", packed), target=None, archive="none")
    assert zipfile.is_zipfile(models.get_model_path("seg"))


def test_an_archive_without_suffix_is_unpacked_when_told_so(site, manager, packed):
    models = manager(site.give("/download", packed), archive="zip")
    assert models.get_model_path("seg").read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["/a.zip", "/a.pth"])
def test_wrong_bytes_are_refused_and_nothing_is_kept(tmp_path, site, manager, packed, sha256, name):
    url = site.give(name, packed + b"!", packed)
    models = manager(url, sha256=sha256(packed))
    with pytest.raises(HashMismatchError) as caught:
        models.get_model_path("seg")
    error = caught.value
    assert (error.expected, error.actual) == (sha256(packed), sha256(packed + b"!"))
    assert "models.yaml:4:5: model 'seg' version 'v1'" in str(error)
    assert url in str(error)
    assert "Nothing was kept" in str(error)
    assert left_over(tmp_path) == []
    assert list((tmp_path / "cache/store-v1").glob("objects/*/*")) == []
    models.get_model_path("seg")
    assert site.paths() == [name, name]


def test_a_log_in_page_instead_of_an_archive_is_called_one(site, manager, packed, sha256):
    page = b"<!doctype html><title>Log in</title>"
    with pytest.raises(HashMismatchError, match="looks like a web page"):
        manager(site.give("/a.zip", page), sha256=sha256(packed)).get_model_path("seg")
    with pytest.raises(RuntimeError, match="looks like a web page"):
        manager(site.give("/b.zip", page)).get_model_path("seg")


def test_a_fault_that_passes_leaves_nothing_behind(tmp_path, site, answers, manager, packed):
    url = site.give("/a.zip", answers.status(404), packed[:-30], packed)
    models = manager(url)
    for message in ("404", "not a whole zip archive"):
        with pytest.raises(RuntimeError, match=message) as caught:
            models.get_model_path("seg")
        assert "models.yaml:4:5: model 'seg' version 'v1': " in str(caught.value)
        assert caught.value.__cause__ is not None
        assert left_over(tmp_path) == []
    assert models.get_model_path("seg").read_bytes() == b"weights"


def test_a_wrong_target_costs_no_second_download_if_the_archive_is_the_right_one(
    site, manager, packed, sha256
):
    url = site.give("/a.zip", packed)
    with pytest.raises(RuntimeError, match=r"holds no 'model\.pth'"):
        manager(url, target="model.pth", sha256=sha256(packed)).get_model_path("seg")
    path = manager(url, sha256=sha256(packed)).get_model_path("seg")
    assert path.read_bytes() == b"weights"
    assert site.paths() == ["/a.zip"]


def test_without_sha256_an_archive_that_lacks_the_target_is_fetched_again(
    site, manager, packed, zip_of
):
    models = manager(site.give("/a.zip", zip_of({"other": b"x"}), packed))
    with pytest.raises(RuntimeError, match="it holds: other"):
        models.get_model_path("seg")
    assert models.get_model_path("seg").read_bytes() == b"weights"


@pytest.mark.parametrize("with_sum", [True, False])
def test_a_local_archive_is_verified_and_unpacked(tmp_path, manager, packed, sha256, with_sum):
    (tmp_path / "a.zip").write_bytes(packed)
    sums = {"sha256": sha256(packed)} if with_sum else {}
    path = manager("file://a.zip", **sums).get_model_path("seg")
    assert path.read_bytes() == b"weights"
    assert tmp_path / "cache" in path.parents


def test_a_local_archive_with_the_wrong_sha256_is_refused(tmp_path, manager, packed, sha256):
    (tmp_path / "a.zip").write_bytes(packed)
    with pytest.raises(HashMismatchError, match=r"a\.zip: expected the sha256 ") as caught:
        manager("file://a.zip", sha256=sha256(b"x")).get_model_path("seg")
    assert caught.value.expected == sha256(b"x")
    assert "kept" not in str(caught.value)  # it lies where it was


def test_a_local_archive_that_is_replaced_is_unpacked_again(tmp_path, manager, zip_of):
    models = manager("file://a.zip")
    for content in (b"first", b"second"):
        (tmp_path / "a.zip").write_bytes(zip_of({TARGET: content}))
        assert models.get_model_path("seg").read_bytes() == content


@pytest.mark.parametrize("with_sum", [True, False])
def test_a_local_archive_that_changes_while_it_is_read_is_refused(
    tmp_path, manager, packed, sha256, zip_of, monkeypatch, with_sum
):
    """Otherwise the content of one file would be stored under the name of another."""
    (tmp_path / "a.zip").write_bytes(packed)
    models = manager("file://a.zip", **({"sha256": sha256(packed)} if with_sum else {}))
    really_extract = archive.extract

    def extract(source, kind, tree, name, tell):
        listing = really_extract(source, kind, tree, name, tell)
        (tmp_path / "a.zip").write_bytes(zip_of({TARGET: b"other weights"}))
        return listing

    monkeypatch.setattr(archive, "extract", extract)
    with pytest.raises(RuntimeError, match="changed while it was read"):
        models.get_model_path("seg")


def test_a_local_archive_that_changes_between_its_sum_and_its_extraction_is_refused(
    tmp_path, manager, packed, sha256, zip_of, monkeypatch
):
    (tmp_path / "a.zip").write_bytes(packed)
    really_digest = sources.digest

    def digest(source):
        found = really_digest(source)
        (tmp_path / "a.zip").write_bytes(zip_of({TARGET: b"other weights"}))
        return found

    monkeypatch.setattr(sources, "digest", digest)
    with pytest.raises(RuntimeError, match="changed while it was read"):
        manager("file://a.zip", sha256=sha256(packed)).get_model_path("seg")


def test_a_local_archive_that_is_replaced_while_it_is_read_is_refused(
    tmp_path, manager, packed, zip_of, monkeypatch
):
    (tmp_path / "a.zip").write_bytes(packed)
    really_extract = archive.extract

    def extract(source, kind, tree, name, tell):
        (tmp_path / "b.zip").write_bytes(zip_of({TARGET: b"other weights"}))
        (tmp_path / "b.zip").rename(tmp_path / "a.zip")
        return really_extract(source, kind, tree, name, tell)

    monkeypatch.setattr(archive, "extract", extract)
    with pytest.raises(RuntimeError, match="changed while it was read"):
        manager("file://a.zip").get_model_path("seg")


def test_a_local_archive_that_is_replaced_before_it_is_read_is_refused(
    tmp_path, manager, packed, zip_of, monkeypatch
):
    """It would be stored under another name than the one that was asked for."""
    (tmp_path / "a.zip").write_bytes(packed)
    really = sources.local_file

    def local_file(entry):
        (tmp_path / "a.zip").write_bytes(zip_of({TARGET: b"other weights"}))
        return really(entry)

    monkeypatch.setattr(sources, "local_file", local_file)
    with pytest.raises(RuntimeError, match="changed while it was read"):
        manager("file://a.zip").get_model_path("seg")


def test_a_folder_is_no_archive(tmp_path, manager):
    (tmp_path / "a.zip").mkdir()
    with pytest.raises(RuntimeError, match="is a folder, not a zip archive"):
        manager("file://a.zip").get_model_path("seg")


@pytest.mark.parametrize(
    ("place", "name", "url"),
    [
        pytest.param("cache", "a.zip", "/a.zip", id="where-0.1-kept-it"),
        pytest.param("cache", "a.zip", "/a.zip?download=1", id="without-the-query"),
        pytest.param("cache", "a.zip?download=1", "/a.zip?download=1", id="with-the-query-as-0.1"),
        pytest.param("cache", "a b.zip", "/a%20b.zip", id="decoded"),
        pytest.param("cache", "a%20b.zip", "/a%20b.zip", id="as-in-the-url"),
        pytest.param("seeds", "a.zip", "/a.zip", id="seed"),
    ],
)
def test_an_archive_that_is_there_already_is_adopted_by_copy(
    tmp_path, site, manager, packed, sha256, monkeypatch, place, name, url
):
    monkeypatch.setenv("PYCEMRG_SEED_DIRS", f"{tmp_path}/none{os.pathsep}{tmp_path}/seeds")
    (tmp_path / place).mkdir()
    (tmp_path / place / name).write_bytes(packed)
    models = manager(site.url(url), sha256=sha256(packed))
    assert models.get_model_path("seg").read_bytes() == b"weights"
    assert site.paths() == []
    assert (tmp_path / place / name).read_bytes() == packed


def test_a_plain_file_that_is_there_already_is_adopted_too(tmp_path, site, manager, sha256):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/model.pth").write_bytes(b"weights")
    path = manager(site.url("/model.pth"), sha256=sha256(b"weights")).get_model_path("seg")
    assert path.read_bytes() == b"weights"
    assert not path.samefile(tmp_path / "cache/model.pth")
    assert site.paths() == []


def test_other_bytes_are_not_adopted(tmp_path, site, manager, packed, sha256):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/a.zip").write_bytes(b"a broken download of long ago")
    models = manager(site.give("/a.zip", packed), sha256=sha256(packed))
    assert models.get_model_path("seg").read_bytes() == b"weights"
    assert site.paths() == ["/a.zip"]
    assert (tmp_path / "cache/a.zip").exists()


def test_a_file_that_cannot_be_read_is_not_adopted(
    tmp_path, site, manager, packed, sha256, monkeypatch
):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/a.zip").write_bytes(packed)

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sources, "digest", broken)
    models = manager(site.give("/a.zip", packed), sha256=sha256(packed))
    assert models.get_model_path("seg").read_bytes() == b"weights"
    assert site.paths() == ["/a.zip"]


def test_without_sha256_nothing_is_adopted(tmp_path, site, manager, packed, zip_of):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/a.zip").write_bytes(zip_of({TARGET: b"of another site"}))
    assert manager(site.give("/a.zip", packed)).get_model_path("seg").read_bytes() == b"weights"


def test_an_adopted_file_that_changes_while_it_is_copied_is_refused(
    tmp_path, site, manager, sha256, monkeypatch
):
    (tmp_path / "cache").mkdir()
    file = tmp_path / "cache/model.pth"
    file.write_bytes(b"weights")
    really_digest = sources.digest

    def digest(source, write=None):
        found = really_digest(source, write)
        file.write_bytes(b"WEIGHTS")
        return found

    monkeypatch.setattr(sources, "digest", digest)
    with pytest.raises(RuntimeError, match="changed while it was copied"):
        manager(site.url("/model.pth"), sha256=sha256(b"weights")).get_model_path("seg")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_says_what_to_put_where(tmp_path, site, manager, packed, sha256, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("PYCEMRG_OFFLINE", "1")
    offline = True if how == "argument" else None
    url = site.give("/a.zip", packed)
    models = manager(url + "?token=s3cr3t", offline=offline, sha256=sha256(packed))
    with pytest.raises(RuntimeError, match="offline") as caught:
        models.get_model_path("seg")
    message = str(caught.value)
    assert url in message
    assert sha256(packed) in message
    assert str(tmp_path / "cache/a.zip") in message
    assert "s3cr3t" not in message
    assert site.paths() == []
    (tmp_path / "cache/a.zip").write_bytes(packed)
    assert models.get_model_path("seg").read_bytes() == b"weights"


def test_offline_without_sha256_says_that_one_is_needed(site, manager):
    with pytest.raises(RuntimeError, match="give the entry its sha256 first"):
        manager(site.url("/a.zip"), offline=True).get_model_path("seg")


@pytest.mark.parametrize(("value", "offline"), [("0", False), ("no", False), ("true", True)])
def test_the_variable_for_offline_is_read_as_people_write_it(manager, monkeypatch, value, offline):
    monkeypatch.setenv("PYCEMRG_OFFLINE", value)
    assert manager("file://x").offline is offline
    assert manager("file://x", offline=True).offline is True


def test_a_fetch_sweeps_what_a_killed_one_left(tmp_path, manager, packed):
    (tmp_path / "a.zip").write_bytes(packed)
    folder = tmp_path / "cache/store-v1/staging/of-a-killed-process"
    folder.mkdir(parents=True)
    (folder / "download").write_bytes(b"half")
    for path in (folder / "download", folder):
        os.utime(path, (1_600_000_000,) * 2)
    manager("file://a.zip").get_model_path("seg")
    assert not folder.exists()
    assert left_over(tmp_path) == []


def test_a_local_archive_that_cannot_be_read_is_not_blamed_on_the_cache(
    tmp_path, manager, packed, monkeypatch
):
    (tmp_path / "a.zip").write_bytes(packed)
    really_open = Path.open

    def refuse(path, *args, **kwargs):  # as chmod does it, but not for root
        if path == tmp_path / "a.zip":
            raise PermissionError(13, "Permission denied", str(path))
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RuntimeError, match=r"cannot read .*a\.zip: Permission denied") as caught:
        manager("file://a.zip").get_model_path("seg")
    assert str(tmp_path / "cache") not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "blamed"),
    [("{}/cache/store-v1", True), ("{}/cache", True), ("{}", True), (None, True), ("{}/b", False)],
)
def test_only_what_happens_in_the_cache_is_blamed_on_it(
    tmp_path, manager, packed, monkeypatch, path, blamed
):
    (tmp_path / "a.zip").write_bytes(packed)
    names = [] if path is None else [path.format(tmp_path)]

    def fail(*_):
        raise OSError(5, "Input/output error", *names)

    monkeypatch.setattr(archive, "extract", fail)
    with pytest.raises(RuntimeError, match="Input/output error") as caught:
        manager("file://a.zip").get_model_path("seg")
    assert (f"on the way into {tmp_path}/cache" in str(caught.value)) is blamed


def test_a_cache_that_cannot_be_written_is_an_error_of_the_cache(tmp_path, site, manager, packed):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(RuntimeError, match=r"on the way into .*cache"):
        manager(site.give("/a.zip", packed)).get_model_path("seg")


def test_a_full_disk_is_an_error_and_leaves_nothing_behind(
    tmp_path, site, manager, packed, monkeypatch
):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    models = manager(site.give("/a.zip", packed))
    with monkeypatch.context() as patch:
        patch.setattr(tree, "write_all", full)
        with pytest.raises(RuntimeError, match="No space left on device"):
            models.get_model_path("seg")
    assert left_over(tmp_path) == []
    assert models.get_model_path("seg").read_bytes() == b"weights"


def test_a_shared_cache_can_be_read_by_the_group(site, manager, packed):
    before = os.umask(0o022)
    try:
        path = manager(site.give("/a.zip", packed)).get_model_path("seg")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o755
    assert (path.parents[2] / "entry.json").stat().st_mode & 0o777 == 0o644


def test_the_store_keeps_no_secret(tmp_path, site, manager, packed):
    url = site.give("/a.zip", packed).replace("//", "//me:s3cr3t@")
    manager(url + "?token=s3cr3t").get_model_path("seg")
    for path in (tmp_path / "cache").rglob("*"):
        assert "s3cr3t" not in str(path)
        assert path.is_dir() or b"s3cr3t" not in path.read_bytes()


def test_a_local_archive_needs_no_network_library(tmp_path, manager, packed):
    import subprocess

    (tmp_path / "a.zip").write_bytes(packed)
    models = manager("file://a.zip")
    code = (
        "import sys; from pycemrg.models import ModelManager; "
        f"ModelManager({str(models.manifest_path)!r}, {str(models.cache_dir)!r})"
        ".get_model_path('seg'); print('requests' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert run.stdout.strip() == b"False"


def test_an_archive_that_is_all_header_is_an_empty_tree(site, manager):
    packed = io.BytesIO()
    zipfile.ZipFile(packed, "w").close()
    with pytest.raises(RuntimeError, match=r"holds no 'checkpoints/model\.pth'; it holds: nothing"):
        manager(site.give("/a.zip", packed.getvalue())).get_model_path("seg")
