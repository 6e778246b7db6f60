import os
import threading
import time

import filelock
import pytest

from pycemrg.models import ModelManager, commit
from pycemrg.models.manifest import Manifest
from pycemrg.models.store import Store


@pytest.fixture
def prepared(tmp_path, zip_of, manifest, sha256):
    """A store that holds a model, its entry, and a way to make drafts of the same object."""
    packed = zip_of({"model.pth": b"weights"})
    (tmp_path / "seg.zip").write_bytes(packed)
    fields = {
        "url": "file://seg.zip",
        "sha256": sha256(packed),
        "unzipped_target_path": "model.pth",
    }
    manager = ModelManager(manifest(v1=fields), tmp_path / "cache")
    manager.get_model_path("seg")
    return Store(tmp_path / "cache"), Manifest(manager.manifest_path).entry("seg")


def copy_of(folder, to):
    import shutil

    shutil.copytree(folder, to, symlinks=True)
    return to


def test_a_draft_is_dropped_for_a_whole_object_of_another_process(prepared, tmp_path):
    store, entry = prepared
    final = tmp_path / store.folder(entry)
    before = (final / "tree/model.pth").stat().st_ino
    draft = copy_of(final, tmp_path / "draft")
    commit.commit(store, entry, draft, final)
    assert (final / "tree/model.pth").stat().st_ino == before
    assert draft.exists()


def test_a_draft_replaces_a_damaged_object(prepared, tmp_path):
    store, entry = prepared
    final = tmp_path / store.folder(entry)
    draft = copy_of(final, tmp_path / "draft")
    (final / "tree/model.pth").write_bytes(b"damaged")
    commit.commit(store, entry, draft, final)
    assert (final / "tree/model.pth").read_bytes() == b"weights"
    assert not draft.exists()
    assert list((store.root / "trash").iterdir()) == []


def test_a_draft_takes_the_place_of_an_object_that_vanishes_meanwhile(
    prepared, tmp_path, monkeypatch
):
    store, entry = prepared
    final = tmp_path / store.folder(entry)
    draft = copy_of(final, tmp_path / "draft")

    def vanish(*_):
        commit.discard(store, final)

    monkeypatch.setattr(commit, "look_up", vanish)
    commit.commit(store, entry, draft, final)
    assert (final / "tree/model.pth").read_bytes() == b"weights"


def test_an_object_that_is_damaged_again_and_again_is_given_up(prepared, tmp_path, monkeypatch):
    store, entry = prepared
    final = tmp_path / store.folder(entry)
    draft = copy_of(final, tmp_path / "draft")
    monkeypatch.setattr(commit, "look_up", lambda *_: None)
    monkeypatch.setattr(commit, "discard", lambda *_: None)
    with pytest.raises(RuntimeError, match="damaged again each time"):
        commit.commit(store, entry, draft, final)


def test_everything_is_on_the_disk_before_the_rename(prepared, tmp_path, monkeypatch):
    store, entry = prepared
    final = tmp_path / "cache/store-v1/objects/zz/new"
    draft = copy_of(tmp_path / store.folder(entry), tmp_path / "draft")
    flushed = set()
    really_flush = os.fsync

    def flush(descriptor):
        flushed.add((os.fstat(descriptor).st_ino, final.exists()))
        really_flush(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    commit.commit(store, entry, draft, final)
    assert {(path.stat().st_ino, False) for path in [final, *final.rglob("*")]} <= flushed


@pytest.mark.parametrize("works", [True, False])
def test_a_large_tree_is_flushed_with_its_file_system_if_that_works(tmp_path, monkeypatch, works):
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(100):
        (folder / str(number)).touch()
    asked, flushed = [], []
    monkeypatch.setattr(commit, "_sync_file_system", lambda path: asked.append(path) or works)
    monkeypatch.setattr(os, "fsync", flushed.append)
    commit.flush(folder)
    assert (asked, len(flushed)) == ([folder], 0 if works else 101)


def test_the_file_system_of_a_folder_can_be_flushed(tmp_path):
    assert commit._sync_file_system(tmp_path)


def test_a_quota_that_shows_when_flushing_is_an_error(prepared, tmp_path, monkeypatch):
    store, entry = prepared
    draft = copy_of(tmp_path / store.folder(entry), tmp_path / "draft")

    def full(_):
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="quota"):
        commit.commit(store, entry, draft, tmp_path / "cache/store-v1/objects/zz/new")


def test_staging_is_gone_when_the_block_ends_or_raises(tmp_path):
    store = Store(tmp_path / "cache")
    with commit.staging(store) as stage:
        (stage / "half").write_bytes(b"x")
        assert stage.parent == tmp_path / "cache/store-v1/staging"
    with pytest.raises(KeyboardInterrupt), commit.staging(store):
        raise KeyboardInterrupt
    assert list(stage.parent.iterdir()) == []


DAY = 86_400


def left_behind(store, place, age):
    """Make what a killed process leaves, last touched `age` seconds ago."""
    folder = store.root / place / f"aged-{age}"
    (folder / "object").mkdir(parents=True)
    (folder / "download").write_bytes(b"half")
    for path in (folder / "object", folder / "download", folder):
        os.utime(path, (time.time() - age,) * 2)
    return folder


@pytest.mark.parametrize("place", ["staging", "trash"])
def test_what_killed_processes_left_is_swept_after_two_days(tmp_path, place):
    store = Store(tmp_path / "cache")
    fresh, old = left_behind(store, place, 2 * DAY - 60), left_behind(store, place, 2 * DAY + 60)
    commit.sweep(store)
    assert (fresh / "download").exists()
    assert not old.exists()
    assert [path for path in (store.root / "trash").glob("*") if path != fresh] == []


def test_a_download_that_goes_on_for_days_is_not_swept(tmp_path):
    store = Store(tmp_path / "cache")
    folder = left_behind(store, "staging", 3 * DAY)
    os.utime(folder / "download")
    commit.sweep(store)
    assert (folder / "download").exists()


def test_a_sweep_follows_no_link_and_takes_no_file(tmp_path):
    store = Store(tmp_path / "cache")
    kept = left_behind(Store(tmp_path / "other"), "kept", 3 * DAY)
    (store.root / "staging").mkdir(parents=True)
    (store.root / "staging/link").symlink_to(kept)
    commit.sweep(store)
    assert (kept / "download").exists()
    assert (store.root / "staging/link").is_symlink()


def test_what_cannot_be_swept_is_left_alone(tmp_path, monkeypatch):
    store = Store(tmp_path / "cache")
    folder = left_behind(store, "staging", 3 * DAY)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "rename", refuse)
    commit.sweep(store)
    assert folder.exists()


def test_a_store_that_is_not_there_needs_no_sweep(tmp_path):
    commit.sweep(Store(tmp_path / "cache"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [True, False], ids=["folder-of-a-user", "folder-of-ours"])
def test_only_a_folder_that_holds_nothing_else_is_marked_as_a_cache(tmp_path, kept):
    cache = tmp_path / "cache"
    if kept:
        cache.mkdir()
        (cache / "thesis.tex").touch()
    commit.make_cache(Store(cache))
    assert (cache / "CACHEDIR.TAG").exists() is not kept


def test_a_lock_keeps_others_out_until_the_block_ends(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    store = Store(tmp_path)
    order = []
    inside, leave = threading.Event(), threading.Event()

    def first():
        with commit.lock(store, "k"):
            inside.set()
            leave.wait(30)
            order.append("first")

    holder = threading.Thread(target=first)
    holder.start()
    assert inside.wait(30)
    # The second one says that it waits; then the first may go on.
    monkeypatch.setattr(commit.logger, "info", lambda *_: leave.set())
    with commit.lock(store, "k"):
        order.append("second")
    holder.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(PermissionError(13, "Permission denied"), id="denied"),
        pytest.param(OSError(38, "Function not implemented"), id="no-flock"),
        pytest.param(NotImplementedError(), id="unsupported"),
        pytest.param(filelock.Timeout("k.lock"), id="held-for-ten-minutes"),
    ],
)
def test_the_block_runs_without_a_lock_too(tmp_path, monkeypatch, caplog, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    ran = []
    with commit.lock(Store(tmp_path), "k"):
        ran.append(True)
    assert ran == [True]
    assert "going on without a lock" in caplog.text


def test_a_lock_leaves_no_marker_that_outlives_its_process(tmp_path, monkeypatch):
    """Where flock is missing, filelock would fall back to a file that means `locked`."""
    import fcntl

    def missing(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    for _ in range(2):
        with commit.lock(Store(tmp_path), "k"):
            pass


def test_the_lock_file_can_be_shared_with_a_group(tmp_path):
    before = os.umask(0o077)
    try:
        with commit.lock(Store(tmp_path), "k"):
            mode = (tmp_path / "store-v1/locks/k.lock").stat().st_mode
    finally:
        os.umask(before)
    assert mode & 0o777 == 0o664
