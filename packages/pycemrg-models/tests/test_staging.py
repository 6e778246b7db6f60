import json
import os
import sys
import time

import pytest

from pycemrg.models import staging
from pycemrg.models.owners import owned_name
from pycemrg.models.partial import Partial, Version
from pycemrg.models.store import Store


def test_staging_is_gone_when_the_block_ends_or_raises(tmp_path):
    store = Store(tmp_path / "cache")
    with staging.staging(store) as stage:
        (stage / "half").write_bytes(b"x")
        assert stage.parent == tmp_path / "cache/store-v1/staging"
    with pytest.raises(KeyboardInterrupt), staging.staging(store):
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
    staging.sweep(store)
    assert (fresh / "download").exists()
    assert not old.exists()
    assert [path for path in (store.root / "trash").glob("*") if path != fresh] == []


def test_a_download_that_goes_on_for_days_is_not_swept(tmp_path):
    store = Store(tmp_path / "cache")
    folder = left_behind(store, "staging", 3 * DAY)
    os.utime(folder / "download")
    staging.sweep(store)
    assert (folder / "download").exists()


def test_a_sweep_follows_no_link_and_takes_no_file(tmp_path):
    store = Store(tmp_path / "cache")
    kept = left_behind(Store(tmp_path / "other"), "kept", 3 * DAY)
    (store.root / "staging").mkdir(parents=True)
    (store.root / "staging/link").symlink_to(kept)
    staging.sweep(store)
    assert (kept / "download").exists()
    assert (store.root / "staging/link").is_symlink()


def test_what_cannot_be_swept_is_left_alone(tmp_path, monkeypatch):
    store = Store(tmp_path / "cache")
    folder = left_behind(store, "staging", 3 * DAY)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "rename", refuse)
    staging.sweep(store)
    assert folder.exists()


def test_a_store_that_is_not_there_needs_no_sweep(tmp_path):
    staging.sweep(Store(tmp_path / "cache"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [True, False], ids=["folder-of-a-user", "folder-of-ours"])
def test_only_a_folder_that_holds_nothing_else_is_marked_as_a_cache(tmp_path, kept):
    cache = tmp_path / "cache"
    if kept:
        cache.mkdir()
        (cache / "thesis.tex").touch()
    staging.make_cache(Store(cache))
    assert (cache / "CACHEDIR.TAG").exists() is not kept


def half_done(store, key, owner):
    """Make what a process that downloads has in staging."""
    folder = store.root / "staging" / f"{key}.{owner}"
    folder.mkdir(parents=True)
    partial = Partial(folder / staging.DOWNLOAD, key)
    partial.begin(Version("https://example.com/a.zip", '"v1"', 9))
    partial.body.write_bytes(b"half")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells of processes")
def test_what_a_killed_process_had_downloaded_is_kept_for_the_next_one(tmp_path):
    store = Store(tmp_path / "cache")
    _, _, owner = owned_name().rpartition(".")
    dead = f"{owner.rpartition('-')[0]}-1"  # a process of our number, but long ago
    left, going_on = half_done(store, "a" * 32, dead), half_done(store, "b" * 32, owner)
    staging.sweep(store)
    assert not left.exists()
    assert going_on.exists()
    assert (store.root / "partial" / ("a" * 32) / "body").read_bytes() == b"half"
    with (
        staging.staging(store) as stage,
        staging.partial_download(store, stage, "a" * 32, kept=True) as partial,
    ):
        assert (partial.size, partial.version.validator) == (4, '"v1"')
    assert not (store.root / "partial" / ("a" * 32)).exists()


@pytest.mark.parametrize("key", ["..", "../../evil", "a/b", ""])
def test_a_note_cannot_send_a_download_out_of_the_store(tmp_path, key):
    store = Store(tmp_path / "cache")
    folder = half_done(store, "x", "nobody")
    note = folder / staging.DOWNLOAD / "version.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "key": key}))
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (time.time() - 3 * DAY,) * 2)
    staging.sweep(store)
    assert not folder.exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        *("cache", "staging", "store-v1", "trash"),
    ]


@pytest.mark.parametrize(
    "error", [RuntimeError("network"), KeyboardInterrupt(), OSError(28, "full")]
)
@pytest.mark.parametrize("kept", [True, False])
def test_a_download_that_breaks_off_is_kept_if_somebody_can_tell_what_it_is(tmp_path, error, kept):
    store, key = Store(tmp_path / "cache"), "a" * 32
    with (
        pytest.raises(type(error)),
        staging.staging(store) as stage,
        staging.partial_download(store, stage, key, kept=kept) as partial,
    ):
        partial.begin(Version("https://example.com/a.zip", '"v1"', 9))
        partial.body.write_bytes(b"half")
        raise error
    assert [path.name for path in (store.root / "partial").glob("*")] == [key] * kept
    assert list((store.root / "staging").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells of processes")
def test_the_work_of_a_process_that_was_stopped_for_long_is_its_own(tmp_path):
    store = Store(tmp_path / "cache")
    _, _, owner = owned_name().rpartition(".")
    folder = half_done(store, "a" * 32, owner)
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (time.time() - 30 * DAY,) * 2)
    staging.sweep(store)
    assert (folder / staging.DOWNLOAD / "body").read_bytes() == b"half"
