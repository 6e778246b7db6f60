import hashlib
import json
import os
import shutil
import threading
import zipfile
from datetime import UTC, datetime

import pytest

from pycemrg.models import ModelCache, ModelManager, inventory, tree_faults
from pycemrg.models.store import Store

MEMBERS = {"checkpoints/model.pth": b"weights", "checkpoints/plans.json": b"{}", "empty/": b""}
LARGE = {**MEMBERS, **{f"data/{number:03}": str(number).encode() for number in range(100)}}


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def store_of(tmp_path):
    """Put zip archives and plain files into the cache, as a manifest asks for them."""

    def store(**models):
        lines = []
        for name, members in models.items():
            path = tmp_path / (f"{name}.zip" if isinstance(members, dict) else f"{name}.pth")
            if isinstance(members, dict):
                with zipfile.ZipFile(path, "w") as archive:
                    for member, content in members.items():
                        archive.writestr(member, content)
            else:
                path.write_bytes(members)
            lines += [
                f"{name}:",
                "  default: v1",
                "  versions:",
                "    v1:",
                f"      url: 'file://{path.name}'",
                f"      sha256: {sha256_of(path)}",
                "      unzipped_target_path: .",
            ]
        (tmp_path / "models.yaml").write_text("\n".join(lines) + "\n")
        manager = ModelManager(tmp_path / "models.yaml", tmp_path / "cache")
        manager.prefetch()
        return manager

    return store


@pytest.fixture
def solver(tmp_path, manifest, solver_tar):
    """A solver with executables and links, in the cache."""
    (tmp_path / "solver.tgz").write_bytes(solver_tar("gz"))
    fields = {"url": "file://solver.tgz", "unzipped_target_path": "'.'"}
    manager = ModelManager(manifest(v1=fields), tmp_path / "cache")
    return manager, manager.get_model_path("seg") / "solver-2.0"


def folders(tmp_path):
    return sorted((tmp_path / "cache/store-v1/objects").glob("*/*"))


def only(tmp_path):
    (folder,) = folders(tmp_path)
    return folder


def altered(path):
    """Change the content of a file and neither its size nor its time of change."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def snapshot(folder):
    return {
        path: (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_ino)
        for path in [folder, *folder.rglob("*")]
    }


def test_an_empty_cache_holds_nothing_and_nothing_is_damaged(tmp_path):
    cache = ModelCache(tmp_path / "nowhere")
    assert (cache.list_objects(), cache.verify(), cache.verify(deep=True)) == ([], [], [])
    assert not (tmp_path / "nowhere").exists()


def test_what_is_stored_is_listed_in_the_order_of_the_sources(tmp_path, store_of):
    manager = store_of(b_large=LARGE, a_small=MEMBERS)
    first, second = manager.cache.list_objects()
    for found, name, members in ((first, "a_small", MEMBERS), (second, "b_large", LARGE)):
        total = sha256_of(tmp_path / f"{name}.zip")
        marker = tmp_path / "cache/store-v1/objects" / total[:2] / total[:32] / "entry.json"
        assert found == (
            total[:32],
            total,
            f"file://{name}.zip",
            (tmp_path / f"{name}.zip").stat().st_size,
            sum(map(len, members.values())),
            len(members) - 1,  # one is a folder
            datetime.fromtimestamp(marker.stat().st_mtime, UTC),
        )
        assert found.used.tzinfo is UTC


def test_the_source_of_a_download_is_listed_without_secrets(tmp_path, site, manifest):
    url = site.give("/a.pth", b"weights").replace("http://", "http://me:pw@") + "?token=abc"
    ModelManager(manifest(v1={"url": url}), tmp_path / "cache").get_model_path("seg")
    (found,) = ModelCache(tmp_path / "cache").list_objects()
    assert found.source == site.url("/a.pth")
    assert (found.size, found.tree_size, found.files) == (7, 7, 1)
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert found.key == only(tmp_path).name


@pytest.mark.parametrize("used", [-(2.0**40), 2.0**40])
def test_a_time_that_no_calendar_knows_is_listed_all_the_same(store_of, monkeypatch, used):
    cache = store_of(seg=MEMBERS).cache
    really = inventory.read_record  # not every file system can hold such a time
    monkeypatch.setattr(inventory, "read_record", lambda folder: (really(folder)[0], used))
    (found,) = cache.list_objects()
    assert (found.used.year == 1) is (used < 0)


def test_what_is_as_it_was_stored_is_no_damage(tmp_path, store_of):
    cache = store_of(small=MEMBERS, large=LARGE).cache
    assert cache.verify() == []
    assert cache.verify(deep=True) == []


def test_folders_that_hold_only_folders_are_no_damage(store_of):
    assert store_of(seg={"a/b/c/d.pth": b"weights"}).cache.verify(deep=True) == []


def test_links_and_empty_folders_are_no_damage(tmp_path, solver):
    assert solver[0].cache.verify() == []
    assert solver[0].cache.verify(deep=True) == []


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("members", [MEMBERS, LARGE], ids=["small", "large"])
def test_files_that_are_missing_or_differ_are_named(tmp_path, store_of, members, deep):
    cache = store_of(seg=members, other={"other": b""}).cache
    folder = next(each for each in folders(tmp_path) if (each / "tree/empty").exists())
    (folder / "tree/checkpoints/plans.json").unlink()
    (folder / "tree/empty").rmdir()
    (folder / "tree/checkpoints/model.pth").write_bytes(b"WEIGHTS")
    (found,) = cache.verify(deep=deep)
    assert found.key == folder.name
    assert found.source == "file://seg.zip"
    assert sorted(found.files) == ["checkpoints/model.pth", "checkpoints/plans.json", "empty"]
    assert "2 missing" in found.reason
    assert "1 changed" in found.reason
    assert found.folder == folder
    assert str(found) == f"{folder}: {found.reason}"


@pytest.mark.parametrize("members", [MEMBERS, LARGE], ids=["small", "large"])
def test_an_altered_file_with_the_old_size_and_time_shows_in_the_deep(tmp_path, store_of, members):
    cache = store_of(seg=members).cache
    altered(only(tmp_path) / "tree/checkpoints/model.pth")
    assert cache.verify() == []
    (found,) = cache.verify(deep=True)
    assert (found.files, found.reason) == (["checkpoints/model.pth"], "1 changed")


@pytest.mark.parametrize("deep", [False, True])
def test_new_times_on_old_content_are_no_damage(tmp_path, store_of, deep):
    cache = store_of(seg=MEMBERS).cache
    os.utime(only(tmp_path) / "tree/checkpoints/model.pth", (7, 7))
    assert cache.verify(deep=deep) == []


@pytest.mark.parametrize("deep", [False, True])
def test_links_that_lead_elsewhere_are_damage(tmp_path, solver, deep):
    manager, folder = solver
    (folder / "lib/libpetsc.so.3").unlink()
    (folder / "lib/libpetsc.so").unlink()
    (folder / "lib/libpetsc.so").symlink_to("/etc/passwd")
    (folder / "current").unlink()
    (folder / "current").mkdir()
    (found,) = manager.cache.verify(deep=deep)
    assert sorted(found.files) == [
        "solver-2.0/current",
        "solver-2.0/lib/libpetsc.so",
        "solver-2.0/lib/libpetsc.so.3",
    ]
    assert "1 missing" in found.reason
    assert "2 changed" in found.reason


def test_what_was_never_stored_shows_in_the_deep(tmp_path, store_of):
    cache = store_of(seg=MEMBERS).cache
    tree = only(tmp_path) / "tree"
    (tree / "checkpoints/sitecustomize.py").write_text("import evil")
    (tree / "empty/.hidden").touch()
    (tree / "more/and/more").mkdir(parents=True)
    (tree / "link").symlink_to("/")
    assert cache.verify() == []
    (found,) = cache.verify(deep=True)
    assert sorted(found.files) == ["checkpoints/sitecustomize.py", "empty/.hidden", "link", "more"]
    assert found.reason == "4 never stored"


def test_a_folder_that_became_a_link_shows_in_the_deep(tmp_path, store_of):
    cache = store_of(seg=MEMBERS).cache
    folder = only(tmp_path) / "tree/checkpoints"
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    (found,) = cache.verify(deep=True)
    assert found.files == ["checkpoints"]


@pytest.mark.parametrize("deep", [False, True])
def test_verifying_writes_nothing_and_takes_no_lock(tmp_path, store_of, deep):
    cache = store_of(seg=LARGE, solver=MEMBERS).cache
    for folder in folders(tmp_path):
        os.utime(folder / "entry.json", (7, 7))
        os.utime(folder / "tree/checkpoints/model.pth", (7, 7))
    shutil.rmtree(tmp_path / "cache/store-v1/locks")
    before = snapshot(tmp_path)
    assert cache.verify(deep=deep) == []
    assert [each.used.timestamp() for each in cache.list_objects()] == [7, 7]
    assert snapshot(tmp_path) == before


def changed_marker(**fields):
    def change(folder):
        marker = folder / "entry.json"
        marker.write_text(json.dumps({**json.loads(marker.read_text()), **fields}))

    return change


HARM = [
    pytest.param(lambda it: (it / "entry.json").unlink(), "entry.json is missing", id="no-marker"),
    pytest.param(lambda it: (it / "entry.json").write_text(""), "entry.json", id="empty-marker"),
    pytest.param(lambda it: (it / "entry.json").write_text("[]"), "entry.json", id="marker-a-list"),
    pytest.param(
        lambda it: (it / "entry.json").write_text("[" * 100_000), "entry.json", id="marker-deep"
    ),
    pytest.param(
        lambda it: (it / "entry.json").unlink() or (it / "entry.json").mkdir(),
        "entry.json is no file",
        id="marker-a-folder",
    ),
    pytest.param(
        lambda it: (it / "entry.json").unlink() or os.mkfifo(it / "entry.json"),
        "entry.json is no file",
        id="marker-a-pipe",
    ),
    pytest.param(
        lambda it: (it / "entry.json").unlink() or (it / "entry.json").symlink_to("/dev/zero"),
        "entry.json is no file",
        id="marker-without-end",
    ),
    pytest.param(changed_marker(sha256=5), "entry.json", id="sha256-a-number"),
    pytest.param(changed_marker(sha256="0" * 64), "sha256", id="another-sha256"),
    pytest.param(changed_marker(size="7"), "entry.json", id="size-a-text"),
    pytest.param(changed_marker(url=None), "entry.json", id="url-null"),
    pytest.param(changed_marker(files={"a": "xy"}), "entry.json", id="file-of-letters"),
    pytest.param(changed_marker(files={"a": [1, 2, 3]}), "entry.json", id="file-sha256-a-number"),
    pytest.param(changed_marker(files={"../a": [1, 2]}), "do not say the same", id="other-files"),
    pytest.param(changed_marker(files={}), "do not say the same", id="no-files"),
    pytest.param(changed_marker(links={"a": "b"}), "do not say the same", id="other-links"),
    pytest.param(
        changed_marker(whole=False, targets={"": "empty"}), "do not say the same", id="other-target"
    ),
    pytest.param(changed_marker(whole=False, targets=[[1, 2]]), "entry.json", id="target-a-number"),
    pytest.param(lambda it: (it / "files.json").unlink(), "files.json is missing", id="no-listing"),
    pytest.param(
        lambda it: (it / "files.json").write_text('{"files": {"a": ["b", "c"]}}'),
        "files.json",
        id="listing-of-nonsense",
    ),
    pytest.param(lambda it: shutil.rmtree(it / "tree"), "1 missing", id="no-tree"),
    pytest.param(
        lambda it: shutil.rmtree(it / "tree") or (it / "tree").write_text("x"),
        "1 missing",
        id="tree-a-file",
    ),
    pytest.param(
        lambda it: (it / "tree").rename(it / "t") and (it / "tree").symlink_to("t"),
        "1 missing",
        id="tree-a-link",
    ),
    pytest.param(lambda it: shutil.rmtree(it) or it.mkdir(), "entry.json is missing", id="empty"),
    pytest.param(lambda it: shutil.rmtree(it) or it.write_text("x"), "not a folder", id="a-file"),
    pytest.param(lambda it: shutil.rmtree(it) or os.mkfifo(it), "not a folder", id="a-pipe"),
    pytest.param(
        lambda it: it.rename(it.with_name("x")) and it.symlink_to("x"), "not a folder", id="a-link"
    ),
    pytest.param(lambda it: shutil.rmtree(it) or it.symlink_to(it), "not a folder", id="a-circle"),
]


@pytest.mark.parametrize(("harm", "reason"), HARM)
@pytest.mark.parametrize("deep", [False, True])
def test_what_is_no_whole_object_is_damage_and_nothing_raises(
    tmp_path, store_of, harm, reason, deep
):
    cache = store_of(seg=MEMBERS).cache
    folder = only(tmp_path)
    harm(folder)
    found = [damage for damage in cache.verify(deep=deep) if damage.key == folder.name]
    assert len(found) == 1
    assert reason in found[0].reason
    assert found[0].folder == folder
    cache.list_objects()


def test_what_is_no_object_is_not_listed(tmp_path, store_of):
    cache = store_of(seg=MEMBERS).cache
    folder = only(tmp_path)
    objects = folder.parent.parent
    shutil.copytree(folder, folder.with_name("0" * 31))
    shutil.copytree(folder, objects / "zz" / folder.name)
    shutil.copytree(folder, folder.with_name(folder.name[:2] + "g" * 30))
    (objects / "file").touch()
    os.mkfifo(objects / "pipe")
    (objects / "circle").symlink_to("circle")
    (objects / "ab" / "\udcff\n").mkdir(parents=True, exist_ok=True)
    assert [each.key for each in cache.list_objects()] == [folder.name]
    found = {str(damage.folder.relative_to(objects)): damage.reason for damage in cache.verify()}
    assert found.keys() == {
        f"{folder.parent.name}/{'0' * 31}",
        f"zz/{folder.name}",
        f"{folder.parent.name}/{folder.name[:2]}{'g' * 30}",
        "file",
        "pipe",
        "circle",
        "ab/\udcff\n",
    }
    assert "not named as an object" in found[f"zz/{folder.name}"]
    assert found["file"] == "cannot be read: Not a directory"


def refuse(monkeypatch, call, refused):
    """Deny a call for some paths, as permissions do it, but not for root."""
    really = getattr(os, call)

    def denied(path, *args, **kwargs):
        if str(path) in refused:
            raise PermissionError(13, "Permission denied", path)
        return really(path, *args, **kwargs)

    monkeypatch.setattr(os, call, denied)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("call", "part", "reason"),
    [
        ("listdir", "..", "cannot be read: Permission denied"),
        ("lstat", ".", "cannot be read: Permission denied"),
        ("stat", "entry.json", "entry.json cannot be read: Permission denied"),
        ("open", "entry.json", "entry.json cannot be read: Permission denied"),
        ("open", "files.json", "files.json cannot be read: Permission denied"),
    ],
)
def test_what_may_not_be_read_is_damage(tmp_path, store_of, monkeypatch, call, part, reason, deep):
    cache = store_of(seg=MEMBERS).cache
    refuse(monkeypatch, call, {os.path.normpath(only(tmp_path) / part)})
    (found,) = cache.verify(deep=deep)
    assert found.reason == reason
    cache.list_objects()


def test_a_folder_that_may_not_be_read_is_damage_in_the_deep(tmp_path, store_of, monkeypatch):
    cache = store_of(seg=MEMBERS).cache
    refuse(monkeypatch, "scandir", {str(only(tmp_path) / "tree/empty") + "/"})
    (found,) = cache.verify(deep=True)
    assert (found.files, found.reason) == (["empty"], "1 unreadable")


def test_a_file_that_may_not_be_read_is_damage_in_the_deep(tmp_path, store_of, monkeypatch):
    cache = store_of(seg=MEMBERS).cache
    really = tree_faults.digest_of

    def denied(path):
        if path.endswith("plans.json"):
            raise PermissionError(13, "Permission denied", path)
        return really(path)

    monkeypatch.setattr(tree_faults, "digest_of", denied)
    assert cache.verify() == []
    (found,) = cache.verify(deep=True)
    assert (found.files, found.reason) == (["checkpoints/plans.json"], "1 unreadable")


def test_a_store_that_is_no_folder_is_an_error(tmp_path):
    (tmp_path / "store-v1").mkdir()
    (tmp_path / "store-v1/objects").touch()
    for call in (ModelCache(tmp_path).verify, ModelCache(tmp_path).list_objects):
        with pytest.raises(RuntimeError, match=r"cannot read the store .*objects: Not a dir"):
            call()


def test_an_object_that_is_pruned_meanwhile_is_no_damage(tmp_path, store_of, monkeypatch):
    cache = store_of(seg=MEMBERS).cache
    folder = only(tmp_path)
    really = inventory.read_listing

    def late(path):
        listing = really(path)
        shutil.rmtree(folder.parent)
        return listing

    monkeypatch.setattr(inventory, "read_listing", late)
    assert cache.verify() == []
    assert not folder.exists()


def test_a_shelf_that_is_removed_meanwhile_is_no_damage(tmp_path, store_of, monkeypatch):
    cache = store_of(seg=MEMBERS).cache
    really = os.listdir

    def late(path):
        names = really(path)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        return names

    monkeypatch.setattr(os, "listdir", late)
    assert (cache.verify(), cache.list_objects()) == ([], [])


def test_an_object_that_is_replaced_meanwhile_is_checked_again(tmp_path, store_of, monkeypatch):
    cache = store_of(seg=MEMBERS).cache
    folder = only(tmp_path)
    shutil.copytree(folder, tmp_path / "good", symlinks=True)
    (folder / "tree/checkpoints/model.pth").unlink()
    really = inventory.read_listing
    replaced = []

    def late(path):
        listing = really(path)
        if not replaced:
            folder.rename(tmp_path / "bad")
            (tmp_path / "good").rename(folder)
            (folder / "tree/checkpoints/model.pth").write_bytes(b"weights")
            (folder / "tree/checkpoints/plans.json").unlink()
        replaced.append(path)
        return listing

    monkeypatch.setattr(inventory, "read_listing", late)
    (found,) = cache.verify()
    assert len(replaced) == 2
    assert found.files == ["checkpoints/plans.json"]


def test_more_objects_than_a_process_may_open_files_are_listed_and_verified(tmp_path, store_of):
    cache = store_of(seg={"a": b"weights"}).cache
    folder = only(tmp_path)
    for number in range(2_000):
        key = "u" + hashlib.sha256(str(number).encode()).hexdigest()[:31]
        copy = folder.parent.parent / key[:2] / key
        copy.parent.mkdir(exist_ok=True)
        copy.mkdir()
        (copy / "tree").mkdir()
        for name in ("entry.json", "files.json", "tree/a"):
            os.link(folder / name, copy / name)
    assert len(cache.list_objects()) == 2_001
    assert cache.verify(deep=True) == []


def test_a_manager_verifies_what_its_manifest_names(tmp_path, store_of):
    store_of(gone=MEMBERS)
    shutil.rmtree(only(tmp_path) / "tree")
    manager = store_of(seg=MEMBERS | {"x": b"1"}, other=MEMBERS | {"x": b"2"}, plain=b"3")
    for folder in folders(tmp_path):
        if (folder / "tree/x").exists():
            altered(folder / "tree/x")
    assert manager.verify() == []
    assert [each.source for each in manager.verify(["seg"], deep=True)] == ["file://seg.zip"]
    assert [each.source for each in manager.verify(["other@v1"], deep=True)] == ["file://other.zip"]
    assert manager.verify(["plain"], deep=True) == []
    assert len(manager.verify(deep=True)) == 2
    assert len(manager.cache.verify(deep=True)) == 3
    with pytest.raises(KeyError, match="no model named 'sek'"):
        manager.verify(["sek"])


def test_a_manager_verifies_the_caches_of_its_site_too(tmp_path, store_of, monkeypatch):
    store_of(seg=MEMBERS)
    altered(only(tmp_path) / "tree/checkpoints/model.pth")
    monkeypatch.setenv("PYCEMRG_SITE_CACHE", str(tmp_path / "cache"))
    manager = ModelManager(tmp_path / "models.yaml", tmp_path / "own")
    (found,) = manager.verify(deep=True)
    assert found.folder == only(tmp_path)
    assert manager.cache.verify(deep=True) == []


def test_what_is_not_there_yet_is_no_damage(tmp_path, manifest):
    path = manifest(
        v1={"url": "https://example.com/a.zip", "unzipped_target_path": "x"},
        v2={"url": "file://gone.zip", "unzipped_target_path": "x"},
        v3={"url": "file://gone.pth", "sha256": "0" * 64},
    )
    assert ModelManager(path, tmp_path / "cache").verify(deep=True) == []


def test_many_verify_while_others_look_up_and_heal(tmp_path, store_of):
    manager = store_of(seg=LARGE)
    folder = only(tmp_path)
    stop = threading.Event()
    failures = []

    def verify():
        while not stop.is_set():
            try:
                inventory.verify_objects(Store(tmp_path / "cache"), deep=True)
                inventory.list_objects(Store(tmp_path / "cache"))
            except Exception as error:
                failures.append(error)

    thread = threading.Thread(target=verify)
    thread.start()
    try:
        for number in range(10):
            (folder / f"tree/data/{number:03}").unlink()
            manager.get_model_path("seg")
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert manager.cache.verify(deep=True) == []
