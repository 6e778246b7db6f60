import ctypes
import os
import stat
import threading
from pathlib import Path

import pytest

from pycemrg.models import tree as trees
from pycemrg.models.members import Members
from pycemrg.models.tree import Tree
from pycemrg.models.workers import Tally, work_off


@pytest.fixture
def calls():
    return []


@pytest.fixture
def tree(tmp_path, calls):
    folder = tmp_path / "tree"
    folder.mkdir()
    report = Tally(lambda *call: calls.append(call))
    return Tree(folder, Members("a.tar", 1_000, folder), report)


def test_a_file_is_written_piece_by_piece_and_summed_up(tree, calls, sha256):
    tree.write("d/a", [b"abc", memoryview(b"de"), b""], 5, executable=False)
    listing = tree.finish()
    assert (tree.folder / "d/a").read_bytes() == b"abcde"
    assert listing.files["d/a"].sha256 == sha256(b"abcde")
    assert listing.changed(str(tree.folder)) == []
    assert calls[-1] == (5, None)


def test_a_buffer_may_be_filled_again_for_each_piece(tree):
    buffer = bytearray(3)

    def pieces():
        for number in range(4):
            buffer[:] = bytes([number]) * 3
            yield memoryview(buffer)

    tree.write("a", pieces(), 12, executable=False)
    assert (tree.folder / "a").read_bytes() == bytes([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])


def test_a_system_that_writes_only_a_part_is_asked_again(tree, monkeypatch, sha256):
    really_write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: really_write(file, data[:3]))
    tree.write("a", [b"abcdefgh"], 8, executable=False)
    assert (tree.folder / "a").read_bytes() == b"abcdefgh"


def test_the_disk_begins_to_write_while_a_large_file_is_unpacked(tree, monkeypatch):
    monkeypatch.setattr(trees, "AHEAD", 8)
    begun, really_begin = [], trees._begin_flush

    def begin(descriptor, start, size):
        begun.append((start, size, os.fstat(descriptor).st_size))
        really_begin(descriptor, start, size)

    monkeypatch.setattr(trees, "_begin_flush", begin)
    tree.write("a", [b"x" * 3] * 8, 24, executable=False)
    assert begun == [(0, 9, 9), (9, 9, 18)]


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_system_that_cannot_begin_to_write_early_does_it_at_the_end(tree, monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr(trees, "AHEAD", 1)
    monkeypatch.setattr(ctypes, "CDLL", fail)
    tree.write("a", [b"abc"], 3, executable=False)
    assert (tree.folder / "a").read_bytes() == b"abc"


def test_less_than_was_claimed_is_refused(tree):
    with pytest.raises(RuntimeError, match=r"a\.tar: refused 'a': ends after 3 of 1,000 bytes"):
        tree.write("a", [b"abc"], 1_000, executable=False)


def test_the_bits_of_a_file_come_from_the_umask(tree):
    before = os.umask(0o027)
    try:
        tree.write("plain", [b"x"], 1, executable=False)
        tree.write("tool", [b"x"], 1, executable=True)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tree.folder / name).stat().st_mode) for name in ("plain", "tool")]
    assert modes == [0o640, 0o750]


def test_a_file_that_is_there_is_not_written_over(tree):
    (tree.folder / "a").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        tree.write("a", [b"x"], 1, executable=False)
    assert (tree.folder / "a").read_bytes() == b"mine"


def open_files():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_file_is_closed_when_its_content_breaks_off(tree):
    def pieces():
        yield b"x"
        raise EOFError

    before = open_files()
    with pytest.raises(EOFError):
        tree.write("a", pieces(), 2, executable=False)
    assert open_files() == before


def test_files_can_be_written_side_by_side(tree):
    def write(number, _):
        tree.write(f"{number % 7}/x/{number}", [bytes([number])], 1, executable=False)

    before = threading.active_count()
    work_off(range(200), write)
    assert len(tree.finish().files) == 200
    assert threading.active_count() == before


def test_empty_files_come_when_all_members_are_known(tree, sha256):
    tree.members.add("empty", "file")
    tree.write_empty("empty", executable=True, mtime=1_500_000_000)
    tree.members.add("second", "file")
    tree.hard_link("second", "empty")
    assert list(tree.folder.iterdir()) == []
    listing = tree.finish()
    for name in ("empty", "second"):
        found = (tree.folder / name).stat()
        assert (found.st_size, found.st_mtime) == (0, 1_500_000_000)
        assert os.access(tree.folder / name, os.X_OK)
        assert listing.files[name].sha256 == sha256(b"")


def test_a_hard_link_to_nothing_is_refused(tree):
    with pytest.raises(RuntimeError, match="refused 'b': a hard link to 'a', which is no file"):
        tree.hard_link("b", "a")


def test_links_and_empty_folders_come_last(tree):
    tree.members.add_link("bin/tool", "../d")
    tree.members.add("d/e", "folder")
    assert list(tree.folder.iterdir()) == []
    listing = tree.finish()
    assert (tree.folder / "d/e").is_dir()
    assert (tree.folder / "bin/tool").resolve() == (tree.folder / "d").resolve()
    assert (listing.links, listing.folders) == ({"bin/tool": "../d"}, ["d/e"])


def test_nothing_is_made_if_a_link_leaves_the_tree(tree):
    tree.members.add_link("l", "../..")
    with pytest.raises(RuntimeError, match="leads out"):
        tree.finish()
    assert list(tree.folder.iterdir()) == []
