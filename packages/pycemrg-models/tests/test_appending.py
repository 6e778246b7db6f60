import stat
import sys

import pytest

from pycemrg.models import appending
from pycemrg.models.appending import append_entry
from pycemrg.models.manifest import Manifest
from pycemrg.models.new_entry import NewEntry

ENTRY = NewEntry("seg", "v1", "https://example.com/seg.pth", "ab" * 32, 3)
OLD = b"""\
# Our models, with care
mesh: &mesh {default: v1, versions: {v1: {url: 'https://example.com/mesh.pth'}}}
same: *mesh
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "models.yaml"


@pytest.mark.parametrize(
    "old",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"# Nothing yet\n", id="comment"),
        pytest.param(OLD, id="models"),
        pytest.param(b"---\n" + OLD, id="document start"),
        pytest.param(OLD.replace(b"\n", b"\r\n"), id="Windows"),
        pytest.param(b"\xef\xbb\xbf" + OLD, id="byte order mark"),
        pytest.param(OLD + b"notes: |\n  Ask\n  Anna\n\n\n", id="text at the end"),
        pytest.param(OLD + b"later:\n", id="key without a value"),
        pytest.param(OLD + b"# the end\n\n\n", id="comment at the end"),
        pytest.param(OLD + b"list:\n- a\n- b\n", id="list at the end"),
    ],
)
def test_what_is_there_stays_byte_for_byte_and_means_the_same(path, old):
    path.write_bytes(old)
    before = {
        entry.name: entry
        for entry in Manifest(path).entries(["mesh", "same"] if OLD in old else [])
    }
    append_entry(path, ENTRY)
    assert path.read_bytes().startswith(old)
    after = Manifest(path)
    assert {name: after.entry(entry.model) for name, entry in before.items()} == before
    assert after.entry("seg")[3:6] == (ENTRY.url, (), ENTRY.sha256)


def test_lines_end_as_those_before(path):
    path.write_bytes(b"# Our models\r\n")
    append_entry(path, ENTRY)
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n") == 8


def test_entries_can_follow_one_another(path):
    path.touch()
    names = [f"seg{number}" for number in range(3)]
    for name in names:
        append_entry(path, ENTRY._replace(model=name))
    assert Manifest(path).models() == names


@pytest.mark.parametrize(
    ("old", "message"),
    [
        pytest.param(b"{a: {versions: {}}}\n", "cannot be put at its end, then", id="flow"),
        pytest.param(b"{}\n", "cannot be put at its end", id="empty flow"),
        pytest.param(b"  a:\n    versions: {}\n", "cannot be put at its end", id="indented"),
        pytest.param(b"a: {}\n...\n", "cannot be put at its end", id="end of the document"),
        pytest.param(b"a: |+\n  text\n", "would mean something else", id="text with its newlines"),
        pytest.param("a: {}\n".encode("utf-16"), "newline", id="UTF-16"),
        pytest.param(b"a: {}", "does not end in a newline; add one", id="no newline"),
        pytest.param(b"a: {}\na: {}\n", "'a' is already defined at line 1", id="faulty before"),
        pytest.param(b"- a\n", "expected a mapping", id="a list"),
        pytest.param(
            b"seg: {versions: {v1: {url: x}}}\n",
            r"models\.yaml:1:18: model 'seg' has a version 'v1' already",
            id="known version",
        ),
        pytest.param(
            b"\nseg: {versions: {v2: {url: x}}}\n",
            r"models\.yaml:2:1: there is a model 'seg' already; only a new .* 'v1' by hand",
            id="known model",
        ),
        pytest.param(b"seg:\n", "there is a model 'seg' already", id="known name"),
    ],
)
def test_what_cannot_be_extended_is_refused_and_stays_as_it_is(path, old, message):
    path.write_bytes(old)
    with pytest.raises(ValueError, match=message) as caught:
        append_entry(path, ENTRY)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_a_manifest_that_is_not_there_is_not_made(path):
    with pytest.raises(FileNotFoundError, match=r"no manifest at .*models\.yaml"):
        append_entry(path, ENTRY)
    assert not path.exists()


def test_an_entry_without_a_target_is_refused(path):
    path.touch()
    entry = ENTRY._replace(url="https://example.com/seg.zip", members=("a.pth", "b.pth"))
    with pytest.raises(ValueError, match=r"2 files .* is wanted: a\.pth, b\.pth; pass target="):
        append_entry(path, entry)
    assert path.read_bytes() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="no permissions like these")
def test_permissions_and_links_are_kept(path, tmp_path):
    path.touch(mode=0o640)
    path.chmod(0o640)
    (tmp_path / "link.yaml").symlink_to(path)
    append_entry(tmp_path / "link.yaml", ENTRY)
    assert (tmp_path / "link.yaml").is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert Manifest(path).models() == ["seg"]


def test_aliases_of_aliases_are_compared_once(path):
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]  # 2 ** 60 leaves
    path.write_text("\n".join([*lines, ""]))
    append_entry(path, ENTRY)
    assert path.read_text().endswith(ENTRY.to_yaml())


def test_a_manifest_that_would_mean_something_else_is_found(path, monkeypatch):
    path.write_bytes(OLD)
    evil = ENTRY.to_yaml() + "mesh2: {}\n"
    monkeypatch.setattr(NewEntry, "to_yaml", lambda _: evil)
    with pytest.raises(ValueError, match="would mean something else"):
        appending.append_entry(path, ENTRY)
