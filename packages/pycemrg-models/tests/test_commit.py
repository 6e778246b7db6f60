import os
import shutil

import pytest

from pycemrg.models import ModelManager, commit, staging
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
        staging.discard(store, final)

    monkeypatch.setattr(commit, "look_up", vanish)
    commit.commit(store, entry, draft, final)
    assert (final / "tree/model.pth").read_bytes() == b"weights"


def test_a_good_object_that_came_meanwhile_is_put_back(prepared, tmp_path, monkeypatch):
    """Without locks somebody else may replace the damaged object just before it is taken away."""
    store, entry = prepared
    final = tmp_path / store.folder(entry)
    good = copy_of(final, tmp_path / "good")
    draft = copy_of(final, tmp_path / "draft")
    (final / "tree/model.pth").write_bytes(b"damaged")
    really = commit.to_trash

    def replaced_first(store, folder):
        shutil.rmtree(folder)
        good.rename(folder)
        return really(store, folder)

    monkeypatch.setattr(commit, "to_trash", replaced_first)
    inode = (good / "tree/model.pth").stat().st_ino
    commit.commit(store, entry, draft, final)
    assert (final / "tree/model.pth").stat().st_ino == inode
    assert list((store.root / "trash").iterdir()) == []


def test_a_file_in_the_place_of_an_object_gives_way(prepared, tmp_path):
    store, entry = prepared
    final = tmp_path / store.folder(entry)
    draft = copy_of(final, tmp_path / "draft")
    shutil.rmtree(final)
    final.write_text("?")
    commit.commit(store, entry, draft, final)
    assert (final / "tree/model.pth").read_bytes() == b"weights"
    assert list((store.root / "trash").iterdir()) == []


def test_an_object_that_is_damaged_again_and_again_is_given_up(prepared, tmp_path, monkeypatch):
    store, entry = prepared
    final = tmp_path / store.folder(entry)
    draft = copy_of(final, tmp_path / "draft")
    monkeypatch.setattr(commit, "look_up", lambda *_, **__: None)
    monkeypatch.setattr(commit, "to_trash", lambda *_: None)
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
