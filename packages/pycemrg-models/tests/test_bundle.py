"""What one site exports another imports, and no altered byte gets in."""

import io
import json
import tarfile

import pytest

from pycemrg.models import HashMismatchError, ModelCache, ModelManager


@pytest.fixture
def published(tmp_path, site, manifest, solver_tar, sha256):
    """A manifest with an archive of each kind, a plain file, and what no bundle can hold."""
    packed = solver_tar("gz")
    (tmp_path / "local.pth").write_bytes(b"local")
    return manifest(
        v1={
            "url": site.give("/solver.tar.gz", packed),
            "sha256": sha256(packed),
            "unzipped_target_path": "solver-2.0/lib/libpetsc.so",
        },
        again={
            "url": site.url("/solver.tar.gz"),
            "sha256": sha256(packed),
            "unzipped_target_path": "solver-2.0/bin/openCARP",
        },
        weights={
            "url": site.give("/model.pth", b"weights") + "?token=s3cr3t",
            "sha256": sha256(b"weights"),
        },
        unknown={"url": site.give("/unknown.pth", b"?")},
        local={"url": "file://local.pth", "sha256": sha256(b"local")},
    )


@pytest.fixture
def bundle(tmp_path, published):
    """A bundle of all that the manifest has."""
    path = tmp_path / "models.tar"
    ModelManager(published, tmp_path / "here").export_bundle(path)
    return path


def rewritten(bundle, change):
    """Write the members of a bundle again after `change` has had a look at each."""
    with tarfile.open(bundle) as before:
        members = [(each.name, before.extractfile(each).read()) for each in before]
    with tarfile.open(bundle, "w") as after:
        for name, content in filter(None, (change(*member) for member in members)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            after.addfile(info, io.BytesIO(content))


def test_a_bundle_goes_where_there_is_no_internet(tmp_path, site, published, bundle):
    asked = len(site.requests)
    there = ModelManager(published, tmp_path / "there", offline=True)
    assert there.cache.import_bundle(bundle) == ["seg@v1", "seg@weights"]
    assert there.get_model_path("seg", "v1").read_bytes() == b"machine code"
    assert there.get_model_path("seg", "again").stat().st_mode & 0o111
    assert there.get_model_path("seg", "weights").read_bytes() == b"weights"
    assert len(site.requests) == asked
    assert there.cache.import_bundle(bundle) == ["seg@v1", "seg@weights"]


def test_what_a_bundle_cannot_hold_is_said(tmp_path, published):
    left_out = ModelManager(published, tmp_path / "here").export_bundle(tmp_path / "models.tar")
    assert [sentence.split(":")[0] for sentence in left_out] == [
        "seg@unknown is left out",
        "seg@local is left out",
    ]


def test_a_file_is_packed_once_and_as_it_was_published(bundle, sha256, solver_tar):
    with tarfile.open(bundle) as packed:
        contents = {each.name: packed.extractfile(each).read() for each in packed}
    index = json.loads(contents.pop("bundle.json"))
    assert list(contents.values()) == [solver_tar("gz"), b"weights"]
    assert [each["sha256"] for each in index["files"]] == [
        sha256(content) for content in contents.values()
    ]
    assert b"s3cr3t" not in bundle.read_bytes()


def test_a_plain_file_comes_from_the_cache_unless_it_is_damaged_there(tmp_path, site, published):
    models = ModelManager(published, tmp_path / "here")
    stored = models.get_model_path("seg", "weights")
    models.export_bundle(tmp_path / "a.tar", ["seg@weights"])
    assert len(site.requests) == 1
    stored.write_bytes(b"WEIGHTS")
    models.export_bundle(tmp_path / "b.tar", ["seg@weights"])
    assert len(site.requests) == 2
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_bundle_is_there_whole_or_not_at_all(tmp_path, site, answers, published):
    site.give("/model.pth", answers.status(404))
    models = ModelManager(published, tmp_path / "here")
    with pytest.raises(RuntimeError, match="404"):
        models.export_bundle(tmp_path / "models.tar")
    assert not (tmp_path / "models.tar").exists()
    (tmp_path / "models.tar").write_text("mine")
    with pytest.raises(FileExistsError):
        models.export_bundle(tmp_path / "models.tar", ["seg@v1"])
    assert (tmp_path / "models.tar").read_text() == "mine"


def test_a_byte_that_changed_on_the_way_is_noticed(tmp_path, bundle):
    def change(name, content):
        return name, content[:-9] + b"!" + content[-8:] if name.endswith(".gz") else content

    rewritten(bundle, change)
    cache = ModelCache(tmp_path / "there")
    with pytest.raises(HashMismatchError, match=r"models\.tar: files/.*/solver\.tar\.gz"):
        cache.import_bundle(bundle)
    assert list(cache.store.root.glob("objects/*/*")) == []


def test_another_file_under_a_known_name_is_never_found(
    tmp_path, site, published, bundle, sha256, zip_of
):
    """The index may lie as it likes: what a manifest asks for is known by its bytes."""
    evil = b"evil weights"

    def change(name, content):
        if name.endswith("model.pth"):
            return name, evil
        return name, content.replace(sha256(b"weights").encode(), sha256(evil).encode())

    rewritten(bundle, change)
    with tarfile.open(bundle) as packed:
        wanted = json.loads(packed.extractfile("bundle.json").read())["files"][1]["path"]
    rewritten(
        bundle,
        lambda name, content: (wanted if name.endswith("model.pth") else name, content),
    )
    there = ModelManager(published, tmp_path / "there", offline=True)
    there.cache.import_bundle(bundle)
    assert there.find_model("seg", "weights") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda name, content: None if name == "bundle.json" else (name, content),
            "no bundle.json in it",
            id="no-index",
        ),
        pytest.param(
            lambda name, content: (name, b"[" * 10**6 if name == "bundle.json" else content),
            "not as expected",
            id="nonsense",
        ),
        pytest.param(
            lambda name, content: (name, content.replace(b'"format": 1', b'"format": 2')),
            "format 2",
            id="of-the-future",
        ),
        pytest.param(
            lambda name, content: None if name.endswith(".pth") else (name, content),
            "model.pth is missing",
            id="file-missing",
        ),
        pytest.param(
            lambda name, content: (name, content.replace(b'"tar"', b'"rar"')), "'rar'", id="rar"
        ),
        pytest.param(
            lambda name, content: (name, content.replace(b"seg@v1", b"seg\\u001b[2J@v1")),
            r"the name 'seg\\x1b",
            id="escape-sequence",
        ),
        pytest.param(
            lambda name, content: (name, content.replace(b'/solver.tar.gz"', b'/\\u001b[2J"')),
            r"the name 'http.*x1b",
            id="escape-sequence-in-the-source",
        ),
    ],
)
def test_what_is_no_whole_bundle_is_refused(tmp_path, bundle, change, message):
    rewritten(bundle, change)
    with pytest.raises(ValueError, match=message) as caught:
        ModelCache(tmp_path / "there").import_bundle(bundle)
    assert str(bundle) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10_240])
def test_what_is_no_tar_is_no_bundle(tmp_path, content):
    (tmp_path / "models.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"models\.tar is no bundle"):
        ModelCache(tmp_path / "there").import_bundle(tmp_path / "models.tar")


def test_a_bundle_that_breaks_off_is_no_bundle(tmp_path, bundle):
    whole = bundle.read_bytes()
    for length in range(1_024, len(whole) - 10_240, 2_048):
        bundle.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is no bundle, or not a whole one"):
            ModelCache(tmp_path / "there").import_bundle(bundle)


def test_no_bundle_at_all_is_a_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        ModelCache(tmp_path / "there").import_bundle(tmp_path / "models.tar")
