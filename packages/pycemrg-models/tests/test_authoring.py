import hashlib
import io
import os
import tarfile
from pathlib import Path
from urllib.parse import unquote

import pytest

from pycemrg.core import manifests
from pycemrg.models import ModelManager
from pycemrg.models.authoring import append_entry, describe_source

MEMBERS = {"checkpoints/model.pth": b"weights" * 9, "plans.json": b"{}", "__MACOSX/x": b"junk"}
MANY = {f"fold_{number}/model.pth": b"%d" % number for number in range(5)} | {"README": b""}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.yaml").write_text("# Our models\n")
    return tmp_path


def fetched(manifest, name="seg"):
    return ModelManager(manifest, manifest.parent / "cache").get_model_path(name)


def test_an_address_becomes_an_entry_that_can_be_fetched(folder, site, zip_of, sha256):
    packed = zip_of(MEMBERS)
    url = site.give("/seg.zip", packed) + "?download=1"
    entry = describe_source("seg", "v1", url, manifest="models.yaml")
    assert (entry.url, entry.sha256, entry.size) == (url, sha256(packed), len(packed))
    append_entry("models.yaml", entry)
    assert fetched(folder / "models.yaml").read_bytes() == b"weights" * 9


def test_the_download_and_what_it_held_are_gone_afterwards(folder, site, zip_of, monkeypatch):
    (folder / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder / "tmp"))
    describe_source("seg", "v1", site.give("/seg.zip", zip_of(MEMBERS)))
    assert list((folder / "tmp").iterdir()) == []


def test_progress_is_told_of_the_download_and_of_the_extraction(site, zip_of):
    steps = []
    url = site.give("/seg.zip", zip_of(MEMBERS))
    describe_source("seg", "v1", url, progress=lambda told: steps.append((told.title, told.step)))
    assert list(dict.fromkeys(steps)) == [("seg@v1", "download"), ("seg@v1", "unpack")]


def test_a_file_as_it_is_has_no_target(folder, site, sha256):
    (folder / "model.pth").write_bytes(b"weights")
    local = describe_source("seg", "v1", folder / "model.pth")
    remote = describe_source("seg", "v1", site.give("/model.pth", b"weights"))
    assert local.sha256 == remote.sha256 == sha256(b"weights")
    assert local.target is remote.target is None
    assert local.is_complete


@pytest.mark.parametrize(
    ("members", "target", "remark"),
    [
        pytest.param({"a/only.txt": b""}, "a/only.txt", "took a/only.txt, the only file", id="1"),
        pytest.param(
            MEMBERS,
            "checkpoints/model.pth",
            "took checkpoints/model.pth, the only weight file of 2 files",
            id="weights",
        ),
        pytest.param(
            {"A.ONNX": b"", "b.txt": b""},
            "A.ONNX",
            "took A.ONNX, the only weight file of 2 files",
            id="case",
        ),
    ],
)
def test_the_only_file_that_can_be_meant_is_taken_and_said(site, zip_of, members, target, remark):
    entry = describe_source("seg", "v1", site.give("/seg.zip", zip_of(members)))
    assert entry.target == target
    assert entry.remarks == (remark,)


@pytest.mark.parametrize("members", [MANY, {"a.txt": b"", "b.txt": b""}], ids=["weights", "none"])
def test_nothing_is_taken_if_several_can_be_meant(site, zip_of, members):
    entry = describe_source("seg", "v1", site.give("/seg.zip", zip_of(members)))
    assert entry.target is None
    assert not entry.is_complete
    assert set(entry.members) == set(members)
    with pytest.raises(ValueError, match=r"nobody has chosen .* is wanted: .*; pass target="):
        append_entry("models.yaml", entry)
    assert Path("models.yaml").read_text() == "# Our models\n"


def test_members_that_look_like_weights_are_listed_first(site, zip_of):
    entry = describe_source("seg", "v1", site.give("/seg.zip", zip_of(MANY)))
    assert entry.members == (*(f"fold_{number}/model.pth" for number in range(5)), "README")


@pytest.mark.parametrize("target", [".", "fold_1", "./fold_1/model.pth"])
def test_a_target_that_is_given_is_taken_without_a_remark(folder, site, zip_of, target):
    url = site.give("/seg.zip", zip_of(MANY))
    entry = describe_source("seg", "v1", url, target=target)
    assert entry.remarks == ()
    append_entry("models.yaml", entry)
    path = fetched(folder / "models.yaml")
    assert path.name == {".": "tree"}.get(target, target.rpartition("/")[2])


def test_a_target_that_the_archive_lacks_is_refused_with_near_names(site, zip_of):
    url = site.give("/seg.zip", zip_of(MEMBERS))
    with pytest.raises(
        RuntimeError, match=r"holds no 'model\.pth'; it holds: checkpoints/model\.pth"
    ):
        describe_source("seg", "v1", url, target="model.pth")
    with pytest.raises(ValueError, match="must be a path inside the archive"):
        describe_source("seg", "v1", url, target="../model.pth")


def test_a_target_in_what_is_no_archive_is_refused(folder):
    (folder / "model.pth").write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"no archive by its name.*pass archive='zip'"):
        describe_source("seg", "v1", "model.pth", target="model.pth")


def test_an_archive_whose_name_does_not_say_so_is_unpacked_if_asked(folder, site, zip_of):
    url = site.give("/download", zip_of(MEMBERS))
    as_it_is = describe_source("seg", "v1", url)
    assert as_it_is.target is None
    assert "begins like a zip archive" in as_it_is.remarks[0]
    entry = describe_source("seg", "v1", url, archive="zip")
    append_entry("models.yaml", entry)
    assert fetched(folder / "models.yaml").name == "model.pth"
    assert describe_source("seg", "v1", url, archive="none").remarks == ()


def test_an_archive_that_would_be_refused_later_is_refused_now(site, zip_of):
    url = site.give("/seg.zip", zip_of({"../../outside": b""}))
    with pytest.raises(RuntimeError, match=r"refused '\.\./\.\./outside'"):
        describe_source("seg", "v1", url)
    empty = site.give("/empty.zip", zip_of({"folder/": b""}))
    with pytest.raises(RuntimeError, match="holds no files"):
        describe_source("seg", "v1", empty)


@pytest.mark.parametrize("name", ["model.pth", "download", "seg.zip"])
def test_a_web_page_is_no_model(site, name):
    url = site.give(f"/{name}", b"<!DOCTYPE html><title>Log in</title>")
    with pytest.raises(RuntimeError, match="it looks like a web page"):
        describe_source("seg", "v1", url)


def test_xml_may_be_meant_where_it_is_called_so(site):
    assert describe_source("heart", "v1", site.give("/heart.vtu", b"<?xml?>")).size == 7


def test_a_tar_is_looked_into(folder, solver_tar):
    (folder / "solver.tar.gz").write_bytes(solver_tar())
    entry = describe_source("openCARP", "2.0", "solver.tar.gz", target="solver-2.0/current")
    assert set(entry.members) == {"solver-2.0/bin/openCARP", "solver-2.0/lib/libpetsc.so.3.20"}


@pytest.mark.parametrize(
    ("manifest", "url"),
    [
        pytest.param("models.yaml", "file://weights/model.pth", id="below the manifest"),
        pytest.param("other/models.yaml", "file://{}/weights/model.pth", id="elsewhere"),
        pytest.param(None, "file://{}/weights/model.pth", id="without manifest"),
    ],
)
@pytest.mark.parametrize("source", ["weights/model.pth", "./other/../weights/model.pth"])
def test_the_address_of_a_file_starts_at_the_manifest_if_it_is_below(folder, manifest, url, source):
    for place in ("weights", "other"):
        (folder / place).mkdir()
    (folder / "other/models.yaml").touch()
    (folder / "weights/model.pth").write_bytes(b"weights")
    entry = describe_source("seg", "v1", source, manifest=manifest)
    assert entry.url == url.format(folder)
    if manifest:
        append_entry(manifest, entry)
        assert fetched(folder / manifest) == folder / "weights/model.pth"


def test_links_on_the_way_to_a_file_stay_unless_they_lead_back(folder):
    (folder / "data").mkdir()
    (folder / "study").mkdir()
    (folder / "data/model.pth").write_bytes(b"weights")
    (folder / "study/models.yaml").touch()
    (folder / "study/weights").symlink_to("../data")
    (folder / "link").symlink_to("study/weights")

    def url(source, manifest):
        return describe_source("seg", "v1", source, manifest=manifest).url

    assert url("study/weights/model.pth", "study/models.yaml") == "file://weights/model.pth"
    assert url("data/model.pth", "study/models.yaml") == f"file://{folder}/data/model.pth"
    # `link/..` is where the link leads to and not where it lies.
    (folder / "models.yaml").write_text("# another folder\n")
    assert url("link/../data/model.pth", "models.yaml") == "file://data/model.pth"
    assert url("data/model.pth", "link/../models.yaml") == "file://data/model.pth"
    assert url("link/model.pth", "models.yaml") == "file://link/model.pth"


@pytest.mark.parametrize("source", ["file://model.pth", "file://{}/model.pth"])
def test_the_url_of_a_file_will_do(folder, source):
    (folder / "model.pth").write_bytes(b"weights")
    entry = describe_source("seg", "v1", source.format(folder), manifest="models.yaml")
    assert entry.url == "file://model.pth"


@pytest.mark.parametrize(
    "name",
    ["my model.pth", " model.pth ", "100%.pth", "a%20b.pth", "a?b#c.pth", "[1]/x.pth", "é.pth"],
)
def test_a_file_of_any_name_is_found_again(folder, name):
    (folder / unquote(name).replace("/", "_")).write_bytes(b"another")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"weights")
    append_entry("models.yaml", describe_source("seg", "v1", name, manifest="models.yaml"))
    assert fetched(folder / "models.yaml") == folder / name


def test_a_file_is_not_taken_for_one_that_is_called_like_its_url(folder):
    names = ("my model.pth", "my%20model.pth")
    for name in names:
        (folder / name).write_text(name)
    for name in names:
        entry = describe_source("seg", "v1", name, manifest="models.yaml")
        assert entry.sha256 == hashlib.sha256(name.encode()).hexdigest()


@pytest.mark.skipif(os.name != "posix", reason="file names are text elsewhere")
def test_a_file_name_that_is_no_text_is_refused(folder):
    try:
        Path(os.fsdecode(b"\xff.pth")).write_bytes(b"weights")
    except OSError:
        pytest.skip("this file system takes text only")
    with pytest.raises(ValueError, match="cannot be written as a URL"):
        describe_source("seg", "v1", os.fsdecode(b"\xff.pth"))


def test_what_is_no_file_is_refused(folder):
    with pytest.raises(FileNotFoundError, match=r"no file at example\.com/seg\.zip; an address"):
        describe_source("seg", "v1", "example.com/seg.zip")
    with pytest.raises(FileNotFoundError, match="no file at"):
        describe_source("seg", "v1", "file://nothing.zip")
    with pytest.raises(ValueError, match="is a folder"):
        describe_source("seg", "v1", folder)
    with pytest.raises(ValueError, match=r"^seg@v1\.url: .* scheme 'ftp'"):
        describe_source("seg", "v1", "ftp://example.com/seg.zip")


def test_an_address_with_a_password_is_refused_and_not_repeated(site):
    url = site.give("/seg.pth", b"weights").replace("//", "//me:hunter2@")
    with pytest.raises(ValueError, match=r"holds a user or password.*~/\.netrc") as caught:
        describe_source("seg", "v1", url)
    assert "hunter2" not in str(caught.value)
    assert site.requests == []


@pytest.mark.parametrize(
    ("query", "word"),
    [("access_token=abc", "token"), ("sig=2&download=1", "sig"), ("download=1&design=x", None)],
)
def test_what_looks_like_a_secret_is_remarked_on(site, query, word):
    entry = describe_source("seg", "v1", f"{site.give('/seg.pth', b'weights')}?{query}")
    assert [remark.split("'")[1] for remark in entry.remarks] == ([word] if word else [])


@pytest.mark.parametrize("name", ["", "default", "a@b", " a", "a\nb", "a\u2028b", "\udcff"])
def test_a_name_that_nobody_could_ask_for_is_refused(folder, name):
    for model, version in ((name, "v1"), ("seg", name)):
        with pytest.raises(ValueError, match="cannot be a name"):
            describe_source(model, version, folder / "models.yaml")


def test_a_name_that_is_taken_is_refused_before_anything_is_fetched(folder, site, zip_of):
    url = site.give("/seg.zip", zip_of(MEMBERS))
    append_entry("models.yaml", describe_source("seg", "v1", url, manifest="models.yaml"))
    site.requests.clear()
    with pytest.raises(ValueError, match="model 'seg' has a version 'v1' already"):
        describe_source("seg", "v1", url, manifest="models.yaml")
    assert site.requests == []


def test_a_server_without_the_file_is_an_error(site):
    with pytest.raises(RuntimeError, match=r"/seg\.zip: 404"):
        describe_source("seg", "v1", site.url("/seg.zip?token=abc"))


def test_links_are_no_files_to_choose_from(folder):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("v2.pth")
        archive.addfile(member, io.BytesIO())
        link = tarfile.TarInfo("latest.pth")
        link.type, link.linkname = tarfile.SYMTYPE, "v2.pth"
        archive.addfile(link)
    (folder / "seg.tar").write_bytes(packed.getvalue())
    assert describe_source("seg", "v1", "seg.tar").target == "v2.pth"


def test_an_entry_for_an_unusual_target_loads_as_it_was_meant(folder, site, zip_of):
    name = 'it\'s "my" model: #1 é.pth'
    entry = describe_source("seg", "v1", site.give("/seg.zip", zip_of({name: b"weights"})))
    root = manifests.parse(entry.to_yaml())
    version = root.section("seg").section("versions").section("v1")
    assert version.get("unzipped_target_path").text == name
