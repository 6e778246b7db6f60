import os

import pytest

from pycemrg.models.listing import Listing, Stored, follow, from_json, to_json


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "lib/libp.so.3").write_bytes(b"code")
    os.utime(tmp_path / "lib/libp.so.3", ns=(5, 1_600_000_000_123_456_789))
    (tmp_path / "lib/libp.so").symlink_to("libp.so.3")
    return tmp_path


LISTING = Listing(
    {"lib/libp.so.3": Stored(4, 1_600_000_000_123_456_789, "ab" * 32)},
    {"lib/libp.so": "libp.so.3"},
    ["empty"],
)


@pytest.mark.parametrize(
    ("path", "links", "leads_to"),
    [
        pytest.param("a/b", {}, "a/b", id="no-links"),
        pytest.param("", {}, "", id="the-tree-itself"),
        pytest.param("a", {"a": "b", "b": "c/d"}, "c/d", id="chain"),
        pytest.param("x/y/z", {"x": "v2", "v2/y": "../w"}, "w/z", id="folders-on-the-way"),
        pytest.param("a/l", {"a/l": "./.././b"}, "b", id="dots"),
        pytest.param("a", {"a": "a"}, None, id="itself"),
        pytest.param("a", {"a": "b", "b": "a"}, None, id="circle"),
        pytest.param("l", {"l": "../x"}, None, id="out"),
        pytest.param("d/l", {"d/l": "../../d/x"}, None, id="out-and-in-again"),
        # Read as text, `deep/up/..` is `deep`; on a disk it is above the tree.
        pytest.param("l", {"deep/up": "..", "l": "deep/up/.."}, None, id="out-through-another"),
        pytest.param("l", {"deep/up": "../in", "l": "deep/up/../x"}, "x", id="in-through-another"),
    ],
)
def test_links_are_followed_as_a_file_system_does(path, links, leads_to):
    assert follow(path, links) == leads_to


def test_a_target_is_located_through_links():
    assert LISTING.locate("lib/libp.so") == "lib/libp.so.3"
    assert LISTING.locate("lib") == "lib"
    assert LISTING.locate("empty") == "empty"
    assert LISTING.locate("") == ""
    assert LISTING.locate("li") is None
    assert LISTING.locate("lib/libp.so.3/x") is None


def test_a_folder_stands_on_everything_below_it():
    more = LISTING._replace(files={**LISTING.files, "lib2/x": Stored(1, 1)})
    assert more.under("lib") == LISTING._replace(folders=[])
    assert more.under("empty") == Listing({}, {}, ["empty"])
    assert more.under("lib2/x") == Listing({"lib2/x": Stored(1, 1)}, {}, [])
    assert more.under("") == more


def test_an_untouched_tree_has_not_changed(tree):
    assert LISTING.changed(str(tree)) == []


@pytest.mark.parametrize(
    ("harm", "names"),
    [
        pytest.param(lambda t: (t / "lib/libp.so.3").unlink(), ["lib/libp.so.3"], id="deleted"),
        pytest.param(
            lambda t: os.truncate(t / "lib/libp.so.3", 3), ["lib/libp.so.3"], id="truncated"
        ),
        pytest.param(
            lambda t: (t / "lib/libp.so.3").write_bytes(b"CODE"), ["lib/libp.so.3"], id="altered"
        ),
        pytest.param(
            lambda t: (t / "lib/libp.so").unlink() or (t / "lib/libp.so").symlink_to("/etc"),
            ["lib/libp.so"],
            id="link-bent",
        ),
        pytest.param(lambda t: (t / "empty").rmdir(), ["empty"], id="folder-gone"),
        pytest.param(
            lambda t: (
                (t / "lib/libp.so.3").rename(t / "x") and (t / "lib/libp.so.3").symlink_to("../x")
            ),
            ["lib/libp.so.3"],
            id="file-became-a-link",
        ),
    ],
)
def test_every_change_is_seen_by_stat(tree, harm, names):
    harm(tree)
    assert LISTING.changed(str(tree)) == names


def test_a_listing_survives_json():
    assert from_json(to_json(LISTING)) == LISTING
