import os
import subprocess
import sys
import time

import pytest

from pycemrg.models import ModelManager, locks, pruning
from pycemrg.models.owners import owned_name
from pycemrg.models.partial import Partial, Version
from pycemrg.models.store import DAY

DEAD = "0" * 32


@pytest.fixture
def models(tmp_path, manifest, zip_of, sha256):
    """Two stored models, ``old`` not used for 40 days and ``new`` for 20."""
    fields = {}
    for name in ("old", "new"):
        packed = zip_of({"model.pth": name.encode() * 1_000})
        (tmp_path / f"{name}.zip").write_bytes(packed)
        fields[name] = {
            "url": f"file://{name}.zip",
            "sha256": sha256(packed),
            "unzipped_target_path": "model.pth",
        }
    manager = ModelManager(manifest(None, **fields), tmp_path / "cache")
    for name, days in (("old", 40), ("new", 20)):
        age(manager.get_model_path("seg", name).parents[1] / "entry.json", days)
    for name in ("old", "new"):
        (tmp_path / f"{name}.zip").unlink()
    return manager


def age(path, days):
    os.utime(path, (time.time() - days * DAY,) * 2)


def there(models, folder):
    return {
        name
        for name in ("old", "new")
        if (models.cache.store.root / "objects").is_dir()
        and any(
            path.read_bytes() == name.encode() * 1_000
            for path in folder.glob("store-v1/objects/*/*/tree/model.pth")
        )
    }


def test_what_nobody_used_for_long_goes(tmp_path, models):
    pruned = models.cache.prune()
    assert there(models, tmp_path / "cache") == {"new"}
    assert [each.source for each in pruned.objects] == ["file://old.zip"]
    assert pruned.size == 3_000
    assert list((tmp_path / "cache/store-v1/trash").iterdir()) == []


def test_a_dry_run_tells_and_does_nothing(tmp_path, models):
    pruned = models.cache.prune(older_than=10, dry_run=True)
    assert {each.source for each in pruned.objects} == {"file://old.zip", "file://new.zip"}
    assert there(models, tmp_path / "cache") == {"old", "new"}


@pytest.mark.parametrize("days", [0, 1.9, -1, float("nan")])
def test_less_than_two_days_is_refused(models, days):
    with pytest.raises(ValueError, match="must be 2 days or more"):
        models.cache.prune(older_than=days)


def test_a_use_is_a_reason_to_stay(tmp_path, models):
    models.get_model_path("seg", "old")
    assert models.cache.prune(older_than=2).objects[0].source == "file://new.zip"
    assert there(models, tmp_path / "cache") == {"old"}


def test_what_is_used_while_it_is_on_its_way_out_is_put_back(tmp_path, models, monkeypatch):
    really = pruning.staging.to_trash

    def used_meanwhile(store, folder):
        os.utime(folder / "entry.json")
        return really(store, folder)

    monkeypatch.setattr(pruning.staging, "to_trash", used_meanwhile)
    assert models.cache.prune().objects == []
    assert there(models, tmp_path / "cache") == {"old", "new"}


def test_a_look_up_that_meets_a_pruning_gets_no_path_to_nowhere(tmp_path, models, monkeypatch):
    """The trace is left before the files are looked at; here they go in between."""
    from pycemrg.models import store

    really = os.utime

    def pruned_meanwhile(path, *times):
        monkeypatch.setattr(os, "utime", really)
        models.cache.prune()
        really(path, *times)

    monkeypatch.setattr(store.os, "utime", pruned_meanwhile)
    with pytest.raises(FileNotFoundError, match=r"old\.zip"):  # it is fetched again
        models.get_model_path("seg", "old")


def test_what_another_process_is_fetching_stays(tmp_path, models):
    key = models.find_model("seg", "new").parents[1].name
    age(tmp_path / f"cache/store-v1/objects/{key[:2]}/{key}/entry.json", 40)
    with locks.lock(models.cache.store, key):
        assert [each.source for each in models.cache.prune().objects] == ["file://old.zip"]
    assert [each.source for each in models.cache.prune().objects] == ["file://new.zip"]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells of processes")
def test_what_a_killed_process_left_goes_at_once_and_the_work_of_others_stays(tmp_path, models):
    root = models.cache.store.root
    child = subprocess.run(
        [sys.executable, "-c", "from pycemrg.models import owners; print(owners.owned_name())"],
        capture_output=True,
        text=True,
        check=True,
    )
    dead, alive = child.stdout.strip(), owned_name()
    for place in ("staging", "trash"):
        for name in (dead, alive):
            (root / place / name / "object").mkdir(parents=True)
    pruned = models.cache.prune()
    assert {path.name for path in pruned.leftovers} == {dead}
    for place in ("staging", "trash"):
        assert [path.name for path in (root / place).iterdir()] == [alive]


def test_downloads_that_came_to_nothing_go(tmp_path, models):
    root = models.cache.store.root
    (root / "partial").mkdir()
    stored = models.find_model("seg", "new").parents[1].name
    for key, days in (("a" * 32, 40), ("b" * 32, 20), (stored, 0)):
        partial = Partial(root / "partial" / key, key)
        partial.begin(Version("https://example.com/a", '"v1"', 9))
        partial.body.write_bytes(b"half")
        for path in (*partial.folder.iterdir(), partial.folder):
            age(path, days)
    models.cache.prune()
    assert [path.name for path in (root / "partial").iterdir()] == ["b" * 32]


def test_a_draft_that_a_killed_process_left_in_an_object_goes(models):
    folder = models.find_model("seg", "new").parents[1]
    for name, days in ((".0123abcd.entry.json", 40), (".4567abcd.files.json", 1)):
        (folder / name).touch()
        age(folder / name, days)
    models.cache.prune()
    assert {path.name for path in folder.iterdir()} == {
        *("entry.json", "files.json", "tree", ".4567abcd.files.json"),
    }


def test_what_no_look_up_can_use_goes_when_it_is_old(models):
    objects = models.cache.store.root / "objects"
    for name, days in (("old", 40), ("new", 1)):
        (objects / "zz" / name / "tree").mkdir(parents=True)
        for path in ((objects / "zz" / name / "tree"), objects / "zz" / name):
            age(path, days)
    (objects / "zz" / "file").touch()
    age(objects / "zz" / "file", 40)
    models.cache.prune()
    assert [path.name for path in (objects / "zz").iterdir()] == ["new"]


def test_an_object_that_comes_in_the_place_of_a_ruin_stays(models, monkeypatch):
    folder = models.find_model("seg", "new").parents[1]
    marker, kept = folder / "entry.json", folder.parent.parent / "kept.json"
    marker.rename(kept)
    for path in (*folder.iterdir(), folder):
        age(path, 40)
    really = pruning.staging.sweep

    def fetched_meanwhile(store):
        kept.rename(marker)
        really(store)

    monkeypatch.setattr(pruning.staging, "sweep", fetched_meanwhile)
    models.cache.prune()
    assert models.find_model("seg", "new") is not None


def test_a_cache_that_is_not_there_needs_no_pruning(tmp_path):
    from pycemrg.models import ModelCache

    assert ModelCache(tmp_path / "none").prune() == ([], [], 0)
    assert list(tmp_path.iterdir()) == []
