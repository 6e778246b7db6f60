import bz2
import gzip
import io
import itertools
import lzma
import os
import stat
import struct
import subprocess
import tarfile
import threading
import zipfile

import pytest

from pycemrg.models import members, tar_archive, zip_archive
from pycemrg.models import tree as trees
from pycemrg.models.archive import extract


@pytest.fixture(autouse=True, params=["python-with-data-filter", "python-without"])
def data_filter(request, monkeypatch):
    """Do everything with Python's filter for tar members, and as before CPython 3.11.4 without."""
    if request.param == "python-without":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


@pytest.fixture
def unpack(tmp_path):
    """Unpack bytes into a folder inside another one, which shows what got out."""
    tree = tmp_path / "outside" / "tree"
    tree.mkdir(parents=True)

    def run(content, kind, *report):
        return extract(io.BytesIO(content), kind, tree, "a." + kind, *report)

    run.tree = tree
    yield run
    assert [path.name for path in tree.parent.iterdir()] == ["tree"]


def zip_with(*members):
    """Pack members given as (name, content) or (ZipInfo, content)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def zip_member(name, mode, **fields):
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def tar_with(*members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def tar_member(name, type=tarfile.REGTYPE, linkname="", mode=0o644):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = type, linkname, mode
    return member


def contents(tree):
    return {
        str(path.relative_to(tree)): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_a_solver_keeps_its_executables_and_library_links(unpack, solver_tar, compression, sha256):
    listing = unpack(solver_tar(compression), "tar")
    solver = unpack.tree / "solver-2.0"
    assert (
        subprocess.run([solver / "current/openCARP"], stdout=subprocess.PIPE).stdout == b"solved\n"
    )
    assert (solver / "lib/libpetsc.so").resolve() == solver / "lib/libpetsc.so.3.20"
    assert str((solver / "lib/libpetsc.so.3").readlink()) == "libpetsc.so.3.20"
    assert not os.access(solver / "lib/libpetsc.so.3.20", os.X_OK)
    assert listing.files["solver-2.0/lib/libpetsc.so.3.20"].sha256 == sha256(b"machine code")
    assert listing.changed(str(unpack.tree)) == []


def test_a_zip_keeps_executables_and_links_too(unpack):
    content = zip_with(
        (zip_member("bin/tool", stat.S_IFREG | 0o755), b"#!/bin/sh\necho run\n"),
        (zip_member("lib/libt.so", stat.S_IFLNK | 0o777), b"libt.so.1"),
        (zip_member("lib/libt.so.1", stat.S_IFREG | 0o644), b"code"),
        (zip_member("empty/", stat.S_IFDIR | 0o755), b""),
    )
    listing = unpack(content, "zip")
    run = subprocess.run([unpack.tree / "bin/tool"], stdout=subprocess.PIPE)
    assert run.stdout == b"run\n"
    assert (unpack.tree / "lib/libt.so").read_bytes() == b"code"
    assert not os.access(unpack.tree / "lib/libt.so.1", os.X_OK)
    assert (listing.links, listing.folders) == ({"lib/libt.so": "libt.so.1"}, ["empty"])
    assert (unpack.tree / "empty").is_dir()


def test_all_other_permissions_come_from_the_umask(unpack):
    content = tar_with(
        (tar_member("d", tarfile.DIRTYPE, mode=0o500), b""),
        (tar_member("d/secret", mode=0o400), b"x"),
        (tar_member("d/setuid", mode=0o4755), b"x"),
    )
    before = os.umask(0o027)
    try:
        unpack(content, "tar")
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((unpack.tree / name).stat().st_mode) for name in ("d", "d/secret")}
    assert modes == {"d": 0o750, "d/secret": 0o640}
    assert stat.S_IMODE((unpack.tree / "d/setuid").stat().st_mode) == 0o750


def test_a_tar_keeps_times_and_hard_links(unpack):
    first = tar_member("a.py")
    first.mtime = 1_500_000_000
    unpack(tar_with((first, b"code"), (tar_member("b.py", tarfile.LNKTYPE, "a.py"), b"")), "tar")
    assert contents(unpack.tree) == {"a.py": b"code", "b.py": b"code"}
    assert (unpack.tree / "a.py").stat().st_mtime == 1_500_000_000


def test_a_hard_link_is_copied_where_the_disk_knows_none(unpack, monkeypatch):
    def refuse(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    tar = tar_with(
        (tar_member("a", mode=0o755), b"x"), (tar_member("b", tarfile.LNKTYPE, "./a"), b"")
    )
    listing = unpack(tar, "tar")
    assert contents(unpack.tree) == {"a": b"x", "b": b"x"}
    assert listing.changed(str(unpack.tree)) == []


def test_an_archive_of_the_current_folder_loses_the_dots(unpack):
    tar = tar_with((tar_member("./", tarfile.DIRTYPE), b""), (tar_member("./a/b"), b"x"))
    assert list(unpack(tar, "tar").files) == ["a/b"]


@pytest.mark.parametrize(
    "name", ["/abs", "../up", "a/../../up", "C:/drive", "back\\slash", "new\nline"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_would_leave_the_tree_is_refused(unpack, kind, name):
    if kind == "zip":
        content = zip_with(("good", b"x"), (name, b"evil"))
    else:
        content = tar_with((tar_member("good"), b"x"), (tar_member(name), b"evil"))
    with pytest.raises(RuntimeError, match="refused") as caught:
        unpack(content, kind)
    assert repr(name) in str(caught.value)
    assert str(unpack.tree) not in str(caught.value)


@pytest.mark.parametrize(
    "to", ["/etc/passwd", "../out", "a/../../out"], ids=["absolute", "up", "up-later"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_symlink_out_of_the_tree_is_refused(unpack, kind, to):
    if kind == "zip":
        content = zip_with((zip_member("link", stat.S_IFLNK | 0o777), to.encode()))
    else:
        content = tar_with((tar_member("link", tarfile.SYMTYPE, to), b""))
    with pytest.raises(RuntimeError, match="refused 'link'"):
        unpack(content, kind)
    assert not (unpack.tree / "link").is_symlink()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_symlink_that_leaves_through_another_is_refused(unpack, kind):
    links = {"d/up": "..", "link": "d/up/../outside"}
    if kind == "zip":
        made = [(zip_member(name, stat.S_IFLNK), to.encode()) for name, to in links.items()]
        content = zip_with(*made)
    else:
        made = [(tar_member(name, tarfile.SYMTYPE, to), b"") for name, to in links.items()]
        content = tar_with(*made)
    with pytest.raises(RuntimeError, match="refused 'link'"):
        unpack(content, kind)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_is_written_through_a_symlink(unpack, kind):
    if kind == "zip":
        content = zip_with((zip_member("d", stat.S_IFLNK), b"."), ("d/x", b"evil"))
    else:
        content = tar_with(
            (tar_member("d", tarfile.SYMTYPE, "."), b""), (tar_member("d/x"), b"evil")
        )
    with pytest.raises(RuntimeError, match="both a link and a folder"):
        unpack(content, kind)


@pytest.mark.parametrize("to", ["/etc/passwd", "../../secret", "later"])
def test_a_hard_link_to_anything_but_a_member_before_it_is_refused(unpack, to):
    tar = tar_with((tar_member("link", tarfile.LNKTYPE, to), b""), (tar_member("later"), b"x"))
    with pytest.raises(RuntimeError, match="refused 'link'"):
        unpack(tar, "tar")


def test_what_pythons_own_filter_refuses_is_refused(unpack, monkeypatch):
    if not hasattr(tarfile, "FilterError"):
        pytest.skip("no filters before CPython 3.11.4")

    def refuse(member, _):
        raise tarfile.SpecialFileError(member)

    monkeypatch.setattr(tarfile, "data_filter", refuse, raising=False)
    with pytest.raises(RuntimeError, match=r"a\.tar: refused 'a': 'a' is a special file"):
        unpack(tar_with((tar_member("a"), b"x")), "tar")


@pytest.mark.parametrize("type", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_in_a_tar_is_refused(unpack, type):
    with pytest.raises(RuntimeError, match="refused 'dev'"):
        unpack(tar_with((tar_member("dev", type), b"")), "tar")


@pytest.mark.parametrize("type", [stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_device_in_a_zip_is_refused(unpack, type):
    with pytest.raises(RuntimeError, match="refused 'dev'"):
        unpack(zip_with((zip_member("dev", type | 0o644), b"")), "zip")


@pytest.mark.parametrize("names", [("a", "a"), ("Model", "model"), ("a", "a/b")])
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_cannot_lie_side_by_side_are_refused(unpack, kind, names):
    if kind == "zip":
        content = zip_with(*((name, b"x") for name in names))
    else:
        content = tar_with(*((tar_member(name), b"x") for name in names))
    with pytest.raises(RuntimeError, match=f"refused '{names[0]}'|refused '{names[1]}'"):
        unpack(content, kind)


@pytest.mark.parametrize(
    ("bits", "reason"), [(1, "encrypted"), (0x41, "encrypted"), (0x20, "a patch for a file")]
)
def test_a_member_that_is_encrypted_or_a_patch_is_refused(unpack, bits, reason):
    content = bytearray(zip_with(("a", b"x")))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= bits
    with pytest.raises(RuntimeError, match=f"refused 'a': {reason}"):
        unpack(bytes(content), "zip")


def test_overlapping_entries_are_refused(unpack):
    content = bytearray(zip_with(("a", b"x" * 100), ("b", b"x" * 100)))
    second = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, second + 42, 0)  # where its bytes begin: with those of `a`
    with pytest.raises(RuntimeError, match=r"a\.zip: refused '[ab]': overlaps"):
        unpack(bytes(content), "zip")


def test_an_entry_that_reaches_into_the_directory_is_refused(unpack):
    content = bytearray(zip_with(("a", b"x" * 100), ("b", b"x" * 100)))
    second = content.rindex(b"PK\x01\x02")
    struct.pack_into("<II", content, second + 20, 101, 101)
    with pytest.raises(RuntimeError, match="refused 'b': overlaps the directory"):
        unpack(bytes(content), "zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_rare_compression_is_as_good(unpack, method, sha256):
    packed = io.BytesIO()
    weights = os.urandom(600_000)
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr(zip_member("bin/tool", stat.S_IFREG | 0o755), b"run", method)
        archive.writestr("model.pth", weights)
        archive.writestr("plain", b"x", zipfile.ZIP_STORED)
    listing = unpack(packed.getvalue(), "zip")
    assert contents(unpack.tree) == {"bin/tool": b"run", "model.pth": weights, "plain": b"x"}
    assert listing.files["model.pth"].sha256 == sha256(weights)
    assert os.access(unpack.tree / "bin/tool", os.X_OK)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("damage", ["checksum", "stream"])
def test_damage_in_a_rare_compression_is_found(unpack, method, damage):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("model.pth", os.urandom(3_000))
    content = bytearray(packed.getvalue())
    if damage == "checksum":
        content[content.rindex(b"PK\x01\x02") + 16] ^= 1
    else:
        content[1_000:1_020] = bytes(20)
    with pytest.raises(RuntimeError, match=r"a\.zip: not a whole zip archive \('model\.pth': "):
        unpack(bytes(content), "zip")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_label_volume_is_mostly_zeros_and_no_bomb(unpack, kind):
    zeros = bytes(40 << 20)
    if kind == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("atlas.nii", zeros)
        content = packed.getvalue()
    else:
        content = lzma.compress(tar_with((tar_member("atlas.nii"), zeros)), preset=0)
    assert len(zeros) / len(content) > 900
    assert list(unpack(content, kind).files) == ["atlas.nii"]
    assert (unpack.tree / "atlas.nii").stat().st_size == 40 << 20


def zip_bomb():
    """Two members that claim 3 GiB each, a thousand times what they take."""
    content = bytearray(zip_with(*((f"zeros{number}", bytes(3 << 20)) for number in (1, 2))))
    at = -1
    for _ in range(2):
        at = content.index(b"PK\x01\x02", at + 1)
        struct.pack_into("<I", content, at + 24, 3 << 30)
    return bytes(content)


def tar_bomb():
    """Zeros, of which a whole thousand times as many would come."""
    member = tarfile.TarInfo("zeros2")
    member.size = 6 << 30
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_refused_before_it_fills_the_disk(unpack, kind, monkeypatch):
    usage = members.shutil.disk_usage(unpack.tree)._replace(free=1 << 44)
    monkeypatch.setattr(members.shutil, "disk_usage", lambda _: usage)
    content = {"zip": zip_bomb, "tar": tar_bomb}[kind]()
    with pytest.raises(
        RuntimeError, match="refused 'zeros2': with it, the archive unpacks to more"
    ):
        unpack(content, kind)
    assert contents(unpack.tree) == {}


def test_headers_without_end_are_refused(unpack, monkeypatch):
    monkeypatch.setattr(tar_archive, "MAX_HEADERS", 1 << 20)
    many = tar_with(*((tar_member(str(number)), b"") for number in range(3_000)))
    with pytest.raises(RuntimeError, match=r"a\.tar: inflates to more than 1,048,576 bytes"):
        unpack(gzip.compress(many), "tar")


def test_zeros_behind_the_end_are_not_read_without_end(unpack, monkeypatch):
    monkeypatch.setattr(tar_archive, "MAX_HEADERS", 1 << 20)
    content = tar_with((tar_member("a"), b"x" * (1 << 20)))
    assert list(unpack(content, "tar").files) == ["a"]
    with pytest.raises(RuntimeError, match=r"a\.tar: inflates to more than 2,097,152 bytes"):
        (unpack.tree / "a").unlink()
        unpack(gzip.compress(content + bytes(3 << 20)), "tar")


def test_a_header_that_inflates_without_end_is_refused(unpack):
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    content = gzip.compress(name.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    with pytest.raises(RuntimeError, match="a header of"):
        unpack(content, "tar")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_too_many_members_are_refused(unpack, kind, monkeypatch):
    monkeypatch.setattr(members, "MAX_MEMBERS", 10)
    names = [str(number) for number in range(11)]
    if kind == "zip":
        content = zip_with(*((name, b"") for name in names))
    else:
        content = tar_with(*((tar_member(name), b"") for name in names))
    with pytest.raises(RuntimeError, match="more than 10 members"):
        unpack(content, kind)
    assert list(unpack.tree.iterdir()) == []


def test_a_huge_zip_directory_is_refused_before_it_is_read(unpack):
    content = bytearray(zip_with(("a", b"x")))
    end = content.rindex(b"PK\x05\x06")
    struct.pack_into("<I", content, end + 12, 0xF0000000)
    # As many bytes before the first one, or zipfile says at once that the record cannot be true.
    padded = Padded(0xF0000000, bytes(content))
    with pytest.raises(RuntimeError, match="a directory of 4,026,531,840 bytes"):
        extract(padded, "zip", unpack.tree, "a.zip")
    assert padded.most < 1 << 20


class Padded(io.RawIOBase):
    """A file with zeros before its content, which remembers the most that was read at once."""

    def __init__(self, zeros, content):
        self.zeros, self.content, self.at, self.most = zeros, content, 0, 0

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.zeros + len(self.content)}
        self.at = base[whence] + offset
        return self.at

    def tell(self):
        return self.at

    def read(self, size=-1):
        whole = self.zeros + len(self.content)
        end = whole if size < 0 else min(self.at + size, whole)
        self.most = max(self.most, end - self.at)
        assert self.most < 1 << 20, "read at once"
        content = self.content[max(0, self.at - self.zeros) : end - self.zeros]
        data = bytes(end - self.at - len(content)) + content
        self.at = end
        return data


@pytest.mark.parametrize("record", ["zip", "zip64"])
def test_members_are_counted_whatever_the_archive_claims(unpack, monkeypatch, record):
    monkeypatch.setattr(members, "MAX_MEMBERS", 19)
    monkeypatch.setattr(zip_archive.Members, "add", None)
    if record == "zip64":
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 5)  # 65,535 in earnest
    content = bytearray(zip_with(*((str(number), b"") for number in range(20))))
    end = content.rindex(b"PK\x05\x06")
    struct.pack_into("<HH", content, end + 8, 1, 1)
    if record == "zip64":
        assert content[end - 76 : end - 72] == b"PK\x06\x06"
        struct.pack_into("<QQ", content, end - 76 + 24, 1, 1)
    with pytest.raises(RuntimeError, match=r"a\.zip: more than 19 members"):
        unpack(bytes(content), "zip")


def solver_members():
    return [(tar_member(f"lib/{number}"), bytes([number]) * 700) for number in range(20)]


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 700, 1024, 10_240, 15_000])
def test_a_tar_that_breaks_off_is_refused(unpack, cut):
    whole = tar_with(*solver_members())
    assert cut < len(whole.rstrip(b"\0"))
    with pytest.raises(RuntimeError, match=r"a\.tar: not a whole tar archive|ends after"):
        unpack(whole[:cut], "tar")


def test_a_tar_with_a_damaged_header_is_refused(unpack):
    content = bytearray(tar_with(*solver_members()))
    content[content.index(b"lib/7") + 1] ^= 1
    with pytest.raises(RuntimeError, match="not a whole tar archive"):
        unpack(bytes(content), "tar")


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"]
)
@pytest.mark.parametrize("part", [0.2, 0.9, 0.999])
def test_a_compressed_tar_that_breaks_off_is_refused(unpack, compress, part):
    whole = compress(tar_with(*[(tar_member(str(n)), os.urandom(3_000)) for n in range(30)]))
    # Before the very end, it breaks off in a member, which is named.
    named = r"\('\d+': " if part < 0.9 and compress is not bz2.compress else ""
    with pytest.raises(RuntimeError, match=rf"a\.tar: not a whole tar archive {named}"):
        unpack(whole[: int(len(whole) * part)], "tar")


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"]
)
def test_a_compressed_tar_with_a_wrong_checksum_is_refused(unpack, compress):
    content = bytearray(compress(tar_with(*solver_members())))
    place = {gzip.compress: -8, bz2.compress: 10, lzma.compress: -30}[compress]
    content[place] ^= 0xFF
    with pytest.raises(RuntimeError, match=r"a\.tar: "):
        unpack(bytes(content), "tar")


@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
def test_a_zip_that_breaks_off_is_refused(unpack, part):
    whole = zip_with(*((str(number), os.urandom(2_000)) for number in range(20)))
    with pytest.raises(RuntimeError, match=r"a\.zip: not a whole zip archive"):
        unpack(whole[: int(len(whole) * part)], "zip")


def test_a_zip_with_a_wrong_checksum_is_refused(unpack):
    content = bytearray(zip_with(("model.pth", b"weights of a network")))
    content[content.index(b"weights")] ^= 1
    with pytest.raises(RuntimeError, match=r"not a whole zip archive.*'model\.pth'"):
        unpack(bytes(content), "zip")


def test_a_zip_that_claims_less_than_it_holds_is_refused(unpack):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    content = bytearray(packed.getvalue())
    for header, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(header) + size, 10)
    with pytest.raises(RuntimeError, match=r"a\.zip"):
        unpack(bytes(content), "zip")


def test_a_zip_that_claims_more_than_it_holds_is_refused(unpack):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.pth", b"weights")
    content = bytearray(packed.getvalue())
    for header, size in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(header) + size, 1_000)
    with pytest.raises(RuntimeError, match=r"refused 'model\.pth': ends after 7 of 1,000 bytes"):
        unpack(bytes(content), "zip")


def test_a_name_in_a_zip_does_not_end_at_a_nul(unpack):
    content = zip_with(("evil_.txt", b"x")).replace(b"evil_", b"evil\0")
    with pytest.raises(RuntimeError, match=r"refused 'evil\\x00\.txt'"):
        unpack(content, "zip")


def large_zip(count=24):
    """Pack members that are large enough together for several threads; all differ."""
    content = {f"d{n % 3}/{n}": bytes([n]) * (1 << 19) + bytes([n, n + 1]) for n in range(count)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in content.items():
            archive.writestr(name, each)
    return content, packed.getvalue()


@pytest.mark.parametrize("cpus", [1, 2, 64])
def test_a_large_zip_is_the_same_however_many_processors_unpack_it(
    unpack, monkeypatch, sha256, cpus
):
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    content, packed = large_zip()
    listing = unpack(packed, "zip")
    assert contents(unpack.tree) == content
    assert {name: file.sha256 for name, file in listing.files.items()} == {
        name: sha256(each) for name, each in content.items()
    }
    assert listing.changed(str(unpack.tree)) == []


@pytest.mark.parametrize(("cpus", "expected"), [(1, 1), (3, 3), (64, 4)])
def test_members_of_a_large_zip_are_unpacked_side_by_side(unpack, monkeypatch, cpus, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    meeting = threading.Barrier(expected)
    really_write, threads = trees.Tree.write, set()

    def write(*arguments, **settings):
        threads.add(threading.get_ident())
        meeting.wait(30)  # breaks unless that many are here at once
        really_write(*arguments, **settings)

    monkeypatch.setattr(trees.Tree, "write", write)
    unpack(large_zip()[1], "zip")
    assert len(threads) == expected


def test_the_largest_members_come_first(unpack, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    jobs = []
    monkeypatch.setattr(zip_archive, "work_off", lambda files, _: jobs.extend(files))
    unpack(zip_with(*((str(size), bytes(size << 20)) for size in (3, 1, 4, 2))), "zip")
    assert [job.path for job in jobs] == ["4", "3", "2", "1"]


def test_a_small_zip_is_unpacked_without_threads(unpack, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(zip_archive, "work_off", None)
    assert list(unpack(zip_with(("a", b"x"), ("b", b"y")), "zip").files) == ["a", "b"]


@pytest.mark.parametrize("damage", ["checksum", "stream"])
def test_a_damaged_member_of_a_large_zip_is_named_and_ends_the_others(unpack, monkeypatch, damage):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    _, packed = large_zip()
    packed = bytearray(packed)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        bad = archive.getinfo("d1/7")
        if damage == "checksum":
            at = packed.index(b"PK\x01\x02", archive.start_dir)
            while packed[at + 46 : at + 50] != b"d1/7":
                at = packed.index(b"PK\x01\x02", at + 1)
            packed[at + 16] ^= 1
        else:
            start = bad.header_offset + 30 + len("d1/7")
            packed[start : start + 8] = b"\xff" * 8
    with pytest.raises(RuntimeError, match=r"a\.zip: not a whole zip archive \('d1/7': "):
        unpack(bytes(packed), "zip")


def test_a_full_disk_ends_all_threads(unpack, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both, begun, ended = threading.Barrier(2), [], []

    def write(tree, path, pieces, *_, **__):
        begun.append(path)
        both.wait(30)
        if path == begun[0]:
            raise OSError(28, "No space left on device")
        try:
            while True:  # until it is told to end
                next(pieces, None)
        finally:
            ended.append(path)

    endless = itertools.repeat(b"x")
    monkeypatch.setattr(zip_archive, "pieces", lambda *_: endless)
    monkeypatch.setattr(trees.Tree, "write", write)
    with pytest.raises(OSError, match="No space left"):
        unpack(large_zip()[1], "zip")
    assert len(begun) == 2
    assert ended == begun[1:]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_web_page_instead_of_an_archive_is_called_one(unpack, kind):
    with pytest.raises(RuntimeError, match="looks like a web page"):
        unpack(b"\n<!DOCTYPE html><html><body>Log in</body></html>" * 50, kind)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_full_disk_is_told_apart_from_a_damaged_archive(unpack, kind, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    content = zip_with(("a", b"x")) if kind == "zip" else tar_with((tar_member("a"), b"x"))
    with pytest.raises(OSError, match="No space left") as caught:
        unpack(content, kind)
    assert caught.value.errno == 28


@pytest.mark.parametrize("cpus", [1, 2])
def test_unpacking_reports_what_is_done_of_a_zip_and_how_much_there_is(unpack, monkeypatch, cpus):
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    content, packed = large_zip()
    size = sum(len(each) for each in content.values())
    calls, busy = [], threading.Lock()

    def report(done, total):
        assert busy.acquire(blocking=False), "two calls at once"
        calls.append((done, total))
        busy.release()

    unpack(packed, "zip", report)
    assert calls[0] == (0, size)
    assert calls[-1] == (size, size)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert {total for _, total in calls} == {size}


def test_unpacking_a_tar_reports_bytes_of_an_unknown_number(unpack):
    calls = []
    members = [(tar_member("a"), b"x" * 3_000_000), (tar_member("b"), b"y" * 5)]
    unpack(gzip.compress(tar_with(*members)), "tar", lambda *call: calls.append(call))
    assert calls[0] == (0, None)
    assert calls[-1] == (3_000_005, None)
    assert max(later[0] - done[0] for done, later in itertools.pairwise(calls)) <= 1 << 20


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("error", [ValueError, EOFError, KeyboardInterrupt])
def test_an_error_of_the_report_is_raised_as_it_is(unpack, kind, error):
    def report(done, total):
        if done:
            raise error("of the caller")

    content = zip_with(("a", b"x")) if kind == "zip" else tar_with((tar_member("a"), b"x"))
    with pytest.raises(error, match="of the caller"):
        unpack(content, kind, report)
