import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from pycemrg.models import ModelManager
from pycemrg.models import store as stores
from pycemrg.models.manifest import Manifest
from pycemrg.models.store import Store, key_of, look_up

TARGET = "checkpoints/model.pth"
MEMBERS = {TARGET: b"weights", "checkpoints/plans.json": b"{}"}


@pytest.fixture
def stored(tmp_path, zip_of, sha256, manifest):
    """A manager with its model in the store, and an archive to fetch again from."""

    def store(members=MEMBERS, target=TARGET, with_sum=True):
        archive = tmp_path / "seg.zip"
        archive.write_bytes(zip_of(members))
        fields = {"url": "file://seg.zip", "unzipped_target_path": target}
        if with_sum:
            fields["sha256"] = sha256(archive.read_bytes())
        manager = ModelManager(manifest(v1=fields), tmp_path / "cache")
        manager.get_model_path("seg")
        return manager

    return store


def lookup(manager):
    """Look the model up without ever fetching it."""
    entry = Manifest(manager.manifest_path).entry("seg")
    store = Store(manager.cache_dir)
    return look_up(store.folder(entry), entry)


def object_of(tmp_path):
    (found,) = (tmp_path / "cache/store-v1/objects").glob("*/*")
    return found


def snapshot(folder):
    return {
        path: (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_ino)
        for path in [folder, *folder.rglob("*")]
    }


def test_the_layout_is_the_documented_one(tmp_path, stored):
    path = stored().get_model_path("seg")
    total = hashlib.sha256((tmp_path / "seg.zip").read_bytes()).hexdigest()
    folder = tmp_path / "cache/store-v1/objects" / total[:2] / total[:32]
    assert path == folder / "tree" / TARGET
    assert sorted(item.name for item in folder.iterdir()) == ["entry.json", "files.json", "tree"]
    marker = json.loads((folder / "entry.json").read_text())
    plans = folder / "tree/checkpoints/plans.json"
    assert (marker["sha256"], marker["size"]) == (total, (tmp_path / "seg.zip").stat().st_size)
    assert marker["files"]["checkpoints/plans.json"] == [2, plans.stat().st_mtime_ns]
    files = json.loads((folder / "files.json").read_text())["files"]
    assert files[TARGET][2] == hashlib.sha256(b"weights").hexdigest()
    tag = (tmp_path / "cache/CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert list((tmp_path / "cache/store-v1/staging").iterdir()) == []


def test_a_second_look_up_reads_and_writes_nothing_but_the_marker(tmp_path, stored, monkeypatch):
    manager = stored()
    before = snapshot(tmp_path)
    opened = []
    really_open = os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args[0]) or really_open(*args))
    manager.get_model_path("seg")
    assert opened == [str(object_of(tmp_path) / "entry.json")]
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(("age", "touched"), [(3_600, False), (90_000, True)])
def test_a_look_up_leaves_a_trace_once_a_day(tmp_path, stored, age, touched):
    manager = stored()
    marker = object_of(tmp_path) / "entry.json"
    then = time.time() - age
    os.utime(marker, (then, then))
    manager.get_model_path("seg")
    assert (marker.stat().st_mtime > then + 1) is touched


def test_a_look_up_succeeds_where_nothing_may_be_written(tmp_path, stored, monkeypatch):
    manager = stored()
    os.utime(object_of(tmp_path) / "entry.json", (0, 0))

    def refuse(*_, **__):
        raise PermissionError(30, "Read-only file system")

    for call in ("utime", "mkdir", "rename", "replace", "link", "unlink"):
        monkeypatch.setattr(os, call, refuse)
    assert manager.get_model_path("seg").read_bytes() == b"weights"


HARM = [
    pytest.param(lambda tree: (tree / TARGET).unlink(), id="target-deleted"),
    pytest.param(lambda tree: os.truncate(tree / TARGET, 3), id="target-truncated"),
    pytest.param(lambda tree: (tree / TARGET).write_bytes(b"WEIGHTS"), id="target-altered"),
    pytest.param(lambda tree: (tree / "checkpoints/plans.json").unlink(), id="neighbour-deleted"),
    pytest.param(lambda tree: shutil.rmtree(tree), id="tree-deleted"),
    pytest.param(lambda tree: (tree.parent / "files.json").unlink(), id="listing-deleted-only"),
    pytest.param(lambda tree: (tree.parent / "entry.json").unlink(), id="marker-deleted"),
    pytest.param(lambda tree: (tree.parent / "entry.json").write_text(""), id="marker-empty"),
    pytest.param(lambda tree: (tree.parent / "entry.json").write_text("[]"), id="marker-a-list"),
    pytest.param(
        lambda tree: (tree.parent / "entry.json").write_text("[" * 100_000), id="marker-deep"
    ),
    pytest.param(lambda tree: shutil.rmtree(tree.parent) or tree.parent.mkdir(), id="object-empty"),
]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("with_sum", [True, False], ids=["sha256", "no-sha256"])
def test_a_damaged_object_heals(tmp_path, stored, harm, with_sum):
    manager = stored(with_sum=with_sum)
    harm(object_of(tmp_path) / "tree")
    path = manager.get_model_path("seg")
    assert path.read_bytes() == b"weights"
    assert (path.parent / "plans.json").read_bytes() == b"{}"
    assert list((tmp_path / "cache/store-v1/trash").glob("*")) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"files": {TARGET: "x"}},
        {"files": {TARGET: [1, 2, 3, 4, 5]}},
        {"files": 7},
        {"links": {"a": 5, TARGET: 3}},
        {"folders": 1},
        {"sha256": None},
        {"whole": False, "targets": 5},
        {"files": {"a\0b": [1, 1]}},
    ],
)
def test_a_marker_with_nonsense_in_it_heals(tmp_path, stored, fields):
    manager = stored()
    marker = object_of(tmp_path) / "entry.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), **fields}))
    assert manager.get_model_path("seg").read_bytes() == b"weights"
    assert json.loads(marker.read_text())["files"][TARGET][0] == 7


def test_a_pipe_in_the_place_of_a_marker_holds_nobody_up(tmp_path, stored):
    manager = stored()
    marker = object_of(tmp_path) / "entry.json"
    marker.unlink()
    os.mkfifo(marker)
    assert manager.get_model_path("seg").read_bytes() == b"weights"
    assert marker.is_file()


def test_an_object_with_another_full_sha256_is_not_taken(tmp_path, stored):
    manager = stored()
    marker = object_of(tmp_path) / "entry.json"
    data = json.loads(marker.read_text())
    marker.write_text(json.dumps({**data, "sha256": data["sha256"][:32] + "0" * 32}))
    assert lookup(manager) is None
    assert manager.get_model_path("seg").read_bytes() == b"weights"
    assert json.loads(marker.read_text())["sha256"] == data["sha256"]


def test_new_times_on_old_content_are_taken_note_of(tmp_path, stored):
    manager = stored()
    (tmp_path / "seg.zip").unlink()
    target = object_of(tmp_path) / "tree" / TARGET
    os.utime(target, (7, 7))
    assert lookup(manager) == target
    marker = json.loads((object_of(tmp_path) / "entry.json").read_text())
    assert marker["files"][TARGET] == [7, 7_000_000_000]
    target.write_bytes(b"WEIGHTS")
    os.utime(target, (7, 7))  # nothing but a full check can see this
    assert lookup(manager) == target


def test_a_folder_with_new_times_is_summed_up_once(tmp_path, stored, monkeypatch):
    from pycemrg.models import checksums

    manager = stored(LARGE, target="data")
    for path in (object_of(tmp_path) / "tree/data").iterdir():
        os.utime(path, (7, 7))
    read = []
    really_digest = checksums.digest_of
    monkeypatch.setattr(
        checksums, "digest_of", lambda path: read.append(path) or really_digest(path)
    )
    for _ in range(2):
        assert lookup(manager) == object_of(tmp_path) / "tree/data"
    assert len(read) == 100


def test_damage_without_a_source_is_an_error_and_never_a_wrong_answer(tmp_path, stored):
    manager = stored()
    (object_of(tmp_path) / "tree" / TARGET).write_bytes(b"WEIGHTS")
    (tmp_path / "seg.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file at .*seg\.zip"):
        manager.get_model_path("seg")


LARGE = {**MEMBERS, **{f"data/{number:03}": str(number).encode() for number in range(100)}}


def test_the_marker_of_a_large_tree_holds_only_what_was_asked_for(tmp_path, stored):
    path = stored(LARGE).get_model_path("seg")
    marker = json.loads((object_of(tmp_path) / "entry.json").read_text())
    assert marker["whole"] is False
    assert marker["targets"] == {TARGET: TARGET}
    assert marker["files"] == {TARGET: [7, path.stat().st_mtime_ns]}
    assert len(json.loads((object_of(tmp_path) / "files.json").read_text())["files"]) == 102


def test_a_target_of_a_large_tree_heals(tmp_path, stored):
    manager = stored(LARGE)
    (object_of(tmp_path) / "tree" / TARGET).write_bytes(b"WEIGHTS")
    assert manager.get_model_path("seg").read_bytes() == b"weights"


def test_a_folder_of_a_large_tree_is_checked_as_a_whole(tmp_path, stored):
    manager = stored(LARGE, target="data")
    assert manager.get_model_path("seg") == object_of(tmp_path) / "tree/data"
    (object_of(tmp_path) / "tree/data/077").write_bytes(b"XX")
    assert (manager.get_model_path("seg") / "077").read_bytes() == b"77"
    (object_of(tmp_path) / "tree/data/078").unlink()
    assert (manager.get_model_path("seg") / "078").read_bytes() == b"78"


@pytest.mark.parametrize("members", [MEMBERS, LARGE], ids=["small", "large"])
def test_a_target_may_be_a_link_and_comes_back_without_links(tmp_path, manifest, members):
    import tarfile

    for name, content in members.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "in/latest").symlink_to("checkpoints")
    with tarfile.open(tmp_path / "seg.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "in", ".")
    fields = {"url": "file://seg.tar.gz", "unzipped_target_path": "latest/model.pth"}
    (tmp_path / "linked").symlink_to(tmp_path / "cache")
    manager = ModelManager(manifest(v1=fields), tmp_path / "linked")
    for _ in range(2):
        path = manager.get_model_path("seg")
        assert path == object_of(tmp_path) / "tree" / TARGET == path.resolve()


def test_the_whole_tree_may_be_the_target(tmp_path, stored):
    assert stored(target=".").get_model_path("seg") == object_of(tmp_path) / "tree"


def test_a_target_that_the_archive_lacks_is_answered_with_names_that_it_has(
    tmp_path, stored, manifest, sha256
):
    stored()
    archive = (tmp_path / "seg.zip").read_bytes()
    fields = {"url": "file://seg.zip", "sha256": sha256(archive)}
    path = manifest(v1={**fields, "unzipped_target_path": "model.pth"})
    with pytest.raises(RuntimeError, match=r"holds no .*; it holds: checkpoints/model\.pth"):
        ModelManager(path, tmp_path / "cache").get_model_path("seg")
    path = manifest(v1={**fields, "unzipped_target_path": "checkpoint/model.pt"})
    with pytest.raises(RuntimeError, match=r"did you mean .checkpoints/model\.pth"):
        ModelManager(path, tmp_path / "cache").get_model_path("seg")


def keys(tmp_path, *versions):
    lines = [f"    v{number}: {version}" for number, version in enumerate(versions)]
    path = tmp_path / "keys.yaml"
    path.write_text("seg:\n  versions:\n" + "\n".join(lines) + "\n")
    return [key_of(Manifest(path).entry("seg", f"v{number}")) for number in range(len(versions))]


SUM, OTHER = "ab" * 32, "cd" * 32


def test_an_archive_is_known_by_its_content_whatever_its_name(tmp_path):
    first, second, other = keys(
        tmp_path,
        f"{{url: 'https://a.org/a.zip', sha256: {SUM}, unzipped_target_path: x}}",
        f"{{url: 'https://b.org/b.zip', sha256: {SUM.upper()}, unzipped_target_path: y}}",
        f"{{url: 'https://a.org/a.zip', sha256: {OTHER}, unzipped_target_path: x}}",
    )
    assert first == second == SUM[:32]
    assert other == OTHER[:32]


def test_urls_with_the_same_file_name_have_objects_of_their_own(tmp_path):
    found = keys(
        tmp_path,
        "{url: 'https://a.org/model.zip', unzipped_target_path: x}",
        "{url: 'https://b.org/model.zip', unzipped_target_path: x}",
        "{url: 'https://b.org/model.zip?version=2', unzipped_target_path: x}",
        "{url: 'https://a.org/model.zip', archive: none}",
        "{url: 'https://b.org/model.zip', archive: none}",
        f"{{url: 'https://a.org/model.zip', sha256: {SUM}, archive: none}}",
        f"{{url: 'https://a.org/model.onnx', sha256: {SUM}}}",
    )
    assert len(set(found)) == len(found)
    assert {len(key) for key in found} == {32}


def test_a_local_archive_without_sha256_is_known_by_path_size_and_time(tmp_path):
    text = "{url: 'file://seg.zip', unzipped_target_path: x}"
    archive = Path(tmp_path, "seg.zip")
    found = set()
    for content, time_ns in ((b"one", 1), (b"one", 2), (b"other", 2)):
        archive.write_bytes(content)
        os.utime(archive, ns=(0, time_ns))
        found.update(keys(tmp_path, text))
    assert len(found) == 3
    archive.rename(tmp_path / "moved.zip")
    archive.symlink_to("moved.zip")
    assert keys(tmp_path, text) == keys(tmp_path, text.replace("seg.zip", "moved.zip"))


def test_a_look_up_does_not_make_a_folder_again_that_was_taken_away(tmp_path):
    with pytest.raises(stores.DamagedError):
        stores._rewrite(str(tmp_path / "gone"), "entry.json", "{}")
    assert list(tmp_path.iterdir()) == []
