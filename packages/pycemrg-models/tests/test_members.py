import pytest

from pycemrg.models import members as members_module
from pycemrg.models.members import Members


@pytest.fixture
def members(tmp_path):
    return Members("a.zip", 1_000, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "//server/share",
        "../x",
        "a/../../x",
        "a/..",
        "C:/x",
        "c:x",
        "a\\b",
        "..\\x",
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "",
    ],
)
def test_a_name_that_is_no_plain_relative_path_is_refused(members, name):
    with pytest.raises(RuntimeError, match=r"a\.zip: refused .*plain relative path") as caught:
        members.add(name, "file")
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a/b", "a/b"), ("a//b", "a/b"), ("..a", "..a"), ("a..b/...", "a..b/..."), ("é ü", "é ü")],
)
def test_a_harmless_name_is_taken_as_it_is(members, name, path):
    assert members.add(name, "file") == path


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        pytest.param(("a", "file"), ("a", "file"), "appears twice", id="twice"),
        pytest.param(("a", "file"), ("./a", "file"), "appears twice", id="twice-spelt-otherwise"),
        pytest.param(("Model", "file"), ("model", "file"), "only in case", id="case"),
        pytest.param(("STRASSE", "file"), ("straße", "file"), "only in case", id="case-folding"),
        pytest.param(("é", "file"), ("e\u0301", "file"), "only in case", id="unicode-form"),
        pytest.param(("Lib/a", "file"), ("lib/b", "file"), "only in case", id="case-of-a-folder"),
        pytest.param(
            ("a", "file"), ("a/b", "file"), "both a file and a folder", id="file-as-parent"
        ),
        pytest.param(
            ("a/b", "file"), ("a", "file"), "both a folder and a file", id="parent-as-file"
        ),
        pytest.param(
            ("a", "folder"), ("a", "file"), "both a folder and a file", id="folder-as-file"
        ),
    ],
)
def test_names_that_cannot_lie_side_by_side_are_refused(members, first, second, reason):
    members.add(*first)
    with pytest.raises(RuntimeError, match=reason):
        members.add(*second)


def test_nothing_is_ever_let_in_below_a_link(members):
    members.add_link("a", "b")
    with pytest.raises(RuntimeError, match="both a link and a folder"):
        members.add("a/x", "file")


def test_a_folder_may_be_named_again(members):
    assert [members.add(name, "folder") for name in ("a/", "a", "./", "a/b/")] == [
        "a",
        "a",
        "",
        "a/b",
    ]
    assert members.empty_folders() == ["a/b"]


@pytest.mark.parametrize("to", ["/etc/passwd", "", "a\\b", "C:x", "x" * 5_000, "a\x00b"])
def test_a_link_to_no_relative_path_is_refused(members, to):
    with pytest.raises(RuntimeError, match="refused 'l': a link to"):
        members.add_link("l", to)


@pytest.mark.parametrize(
    "links",
    [
        pytest.param({"l": "../x"}, id="out"),
        pytest.param({"a/l": "../../x"}, id="out-of-a-folder"),
        pytest.param({"deep/up": "..", "l": "deep/up/.."}, id="out-through-another"),
        pytest.param({"l": "m", "m": "l"}, id="circle"),
    ],
)
def test_links_that_leave_the_tree_are_refused_once_all_are_known(members, links):
    for path, to in links.items():
        members.add_link(path, to)
    with pytest.raises(RuntimeError, match="leads out of the archive or in a circle"):
        members.follow_links()


def test_links_inside_the_tree_are_let_in(members):
    members.add_link("lib/libp.so", "libp.so.3")
    members.add_link("bin", "v2/../v2/bin")
    members.follow_links()
    assert members.links == {"lib/libp.so": "libp.so.3", "bin": "v2/../v2/bin"}


def test_the_number_of_members_is_limited(members, monkeypatch):
    monkeypatch.setattr(members_module, "MAX_MEMBERS", 3)
    for name in "abc":
        members.add(name, "file")
    with pytest.raises(RuntimeError, match=r"a\.zip: more than 3 members"):
        members.add("d", "file")


@pytest.fixture(autouse=True)
def room_enough(monkeypatch, tmp_path):
    usage = members_module.shutil.disk_usage(tmp_path)._replace(free=1 << 44)
    monkeypatch.setattr(members_module.shutil, "disk_usage", lambda _: usage)


@pytest.mark.parametrize(("ratio", "refused"), [(228, False), (1_000, True)])
def test_proportion_counts_beyond_four_gigabytes(tmp_path, ratio, refused):
    total = 8 << 30
    members = Members("masks.zip", total // ratio, tmp_path)
    if refused:
        with pytest.raises(RuntimeError, match="refused 'masks': with it, the archive unpacks"):
            members.add("masks", "file", total)
    else:
        members.add("masks", "file", total)


def test_what_unpacks_out_of_proportion_is_refused(members):
    members.add("a", "file", 3 << 30)
    with pytest.raises(
        RuntimeError, match="refused 'b': with it, the archive unpacks to more than"
    ):
        members.add("b", "file", 3 << 30)


def test_what_the_disk_cannot_hold_is_refused(tmp_path, monkeypatch):
    usage = members_module.shutil.disk_usage(tmp_path)._replace(free=5_000)
    monkeypatch.setattr(members_module.shutil, "disk_usage", lambda _: usage)
    members = Members("a.zip", 1_000_000, tmp_path)
    members.add("a", "file", 4_000)
    with pytest.raises(RuntimeError, match="refused 'b': no room: the disk has 5,000 bytes left"):
        members.add("b", "file", 2_000)
