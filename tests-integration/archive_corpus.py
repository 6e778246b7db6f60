"""Archives that harm who unpacks them without care, made by zipfile, tarfile and struct alone."""

import bz2
import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

LOCAL, ENTRY = b"PK\x03\x04", b"PK\x01\x02"  # APPNOTE.TXT 4.3.7, 4.3.12
WEIGHTS = b"weights " * 4_000

MODES = {
    "file": stat.S_IFREG | 0o644,
    "program": stat.S_IFREG | 0o755,
    "folder": stat.S_IFDIR | 0o755,
    "link": stat.S_IFLNK | 0o777,
    "device": stat.S_IFCHR | 0o666,
    "disk": stat.S_IFBLK | 0o666,
    "pipe": stat.S_IFIFO | 0o666,
}
TYPES = {
    "file": tarfile.REGTYPE,
    "program": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "disk": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
}


class Member(NamedTuple):
    """What to pack. `content` is what a link points to, `what` a key of `MODES` or `TYPES`."""

    name: str
    content: bytes = b"evil"
    what: str = "file"


class Attack(NamedTuple):
    """One archive.

    Args:
        kind: ``zip`` or ``tar``.
        pack: Makes its bytes. It gets the folder that holds manifest, cache and a file `secret`;
            the archive would put something called `evil` there, or change `secret`.
        told: What the error says, name of the member included; a regular expression.
    """

    kind: str
    pack: Callable[[Path], bytes]
    told: str


def pack_zip(members: list[Member], method: int = zipfile.ZIP_STORED) -> bytes:
    """Make a zip; a name may come twice."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for member in members:
            entry = zipfile.ZipInfo(member.name)
            entry.create_system, entry.external_attr = 3, MODES[member.what] << 16
            archive.writestr(entry, member.content, method)
    return packed.getvalue()


def pack_tar(members: list[Member], compression: str = "") -> bytes:
    """Make a tar."""
    packed = io.BytesIO()
    with tarfile.open(
        fileobj=packed, mode=f"w:{compression}", format=tarfile.PAX_FORMAT
    ) as archive:
        for member in members:
            entry = tarfile.TarInfo(member.name)
            entry.type = TYPES[member.what]
            entry.mode = stat.S_IMODE(MODES.get(member.what, 0o644))
            if member.what.endswith("link"):
                entry.linkname = member.content.decode()
            elif member.what in ("file", "program"):
                entry.size = len(member.content)
            archive.addfile(entry, io.BytesIO(member.content))
    return packed.getvalue()


# Where an archive unpacks to is six folders below the one with manifest and cache.
CLIMB = "../" * 6

# By what is wrong: the members, which any kind of archive can hold, and the one that is to blame.
IN_BOTH: dict[str, tuple[Callable[[Path], list[Member]], str]] = {
    "absolute": (lambda world: [Member(f"{world}/evil")], "/.*/evil"),
    "up": (lambda _: [Member("../evil")], "../evil"),
    "far up": (lambda _: [Member(f"{CLIMB}evil")], f"{CLIMB}evil"),
    "up later": (lambda _: [Member(f"a/../{CLIMB}evil")], f"a/../{CLIMB}evil"),
    "drive": (lambda _: [Member("C:/evil")], "C:/evil"),
    "drive without slash": (lambda _: [Member("C:evil")], "C:evil"),
    "backslash": (lambda _: [Member("..\\..\\evil")], r"..\\\\..\\\\evil"),
    "share": (lambda _: [Member("\\\\host\\share\\evil")], r"\\\\\\\\host\\\\share\\\\evil"),
    "link to absolute": (
        lambda world: [Member("out", f"{world}".encode(), "link"), Member("out/evil")],
        "out",
    ),
    "link up": (lambda _: [Member("out", f"{CLIMB}secret".encode(), "link")], "out"),
    "link through links": (
        lambda _: [
            Member("a/b", b"..", "link"),
            Member("out", f"a/b/{CLIMB}".encode(), "link"),
        ],
        "out",
    ),
    "written through a link": (
        lambda _: [Member("out", CLIMB.encode(), "link"), Member("out/evil")],
        "out(/evil)?",
    ),
    "link written through": (
        lambda _: [Member("out", f"{CLIMB}evil".encode(), "link"), Member("out")],
        "out",
    ),
    "links in a circle": (
        lambda _: [Member("a", b"b", "link"), Member("b", b"a", "link")],
        "[ab]",
    ),
    "device": (lambda _: [Member("evil", b"", "device")], "evil"),
    "disk": (lambda _: [Member("evil", b"", "disk")], "evil"),
    "pipe": (lambda _: [Member("evil", b"", "pipe")], "evil"),
    "twice": (lambda _: [Member("a/model.pth"), Member("a/model.pth")], "a/model.pth"),
    "twice, spelt otherwise": (lambda _: [Member("a/b"), Member("./a//b")], "a/b"),
    "case": (lambda _: [Member("Model.pth"), Member("model.pth")], "model.pth"),
    "case of a folder": (lambda _: [Member("Fold/a"), Member("fold/b")], "fold"),
    "case folding": (lambda _: [Member("STRASSE"), Member("straße")], "straße"),
    "form of Unicode": (lambda _: [Member("\u00e9"), Member("e\u0301")], "e\u0301"),
    "file as folder": (lambda _: [Member("a"), Member("a/evil")], "a"),
}
IN_TAR: dict[str, tuple[Callable[[Path], list[Member]], str]] = {
    "hard link to absolute": (
        lambda world: [Member("out", f"{world}/secret".encode(), "hard link")],
        "out",
    ),
    "hard link up": (
        lambda _: [Member("out", f"{CLIMB}secret".encode(), "hard link"), Member("out")],
        "out",
    ),
    "hard link to a link": (
        lambda _: [
            Member("out", f"{CLIMB}secret".encode(), "link"),
            Member("evil", b"out", "hard link"),
        ],
        "(out|evil)",
    ),
}


def attacks() -> Iterator[tuple[str, Attack]]:
    """Yield all archives that fit into little memory, with titles."""
    for title, (members, blamed) in IN_BOTH.items():
        told = f"refused '{blamed}'"
        yield f"{title} (zip)", Attack("zip", _packed(pack_zip, members), told)
        yield f"{title} (tar)", Attack("tar", _packed(pack_tar, members), told)
    for title, (members, blamed) in IN_TAR.items():
        yield title, Attack("tar", _packed(pack_tar, members), f"refused '{blamed}'")
    yield "encrypted", _attack("zip", encrypted(), "refused 'model.pth': encrypted")
    yield "content twice", _attack("zip", content_twice(), "refused 'b': overlaps")
    yield from damaged_zips()
    yield from damaged_tars()


def _packed(
    pack: Callable[[list[Member]], bytes], members: Callable[[Path], list[Member]]
) -> Callable[[Path], bytes]:
    return lambda world: pack(members(world))


def encrypted() -> bytes:
    """Make a zip whose member says that it is encrypted (4.4.4, bit 0)."""
    content = bytearray(pack_zip([Member("model.pth")]))
    for header, flags in ((LOCAL, 6), (ENTRY, 8)):
        content[content.index(header) + flags] |= 1
    return bytes(content)


def content_twice() -> bytes:
    """Make a zip with two entries for the same bytes."""
    content = bytearray(pack_zip([Member("a", WEIGHTS), Member("b", WEIGHTS)]))
    struct.pack_into("<I", content, content.rindex(ENTRY) + 42, 0)
    return bytes(content)


def damaged_zips() -> Iterator[tuple[str, Attack]]:
    """Yield zips that are not whole."""
    for title, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        whole = pack_zip([Member("a/plans.json", b"{}"), Member("a/model.pth", WEIGHTS)], method)
        checksum, longer = bytearray(whole), bytearray(whole)
        checksum[whole.rindex(ENTRY) + 16] ^= 1
        yield f"wrong CRC, {title}", _attack("zip", checksum, r"'a/model\.pth': its CRC-32 is")
        struct.pack_into("<I", longer, whole.rindex(ENTRY) + 24, len(WEIGHTS) + 1)
        yield f"less than claimed, {title}", _attack("zip", longer, r"'a/model\.pth': ends after")
        for percent in (10, 50, 90, 99):
            cut = whole[: len(whole) * percent // 100]
            yield f"cut at {percent} %, {title}", _attack("zip", cut, "not a whole zip")
    altered = bytearray(pack_zip([Member("a/model.pth", WEIGHTS)]))
    altered[altered.index(b"weights") + 100] ^= 1
    yield "altered", _attack("zip", altered, r"'a/model\.pth': its CRC-32 is")


def damaged_tars() -> Iterator[tuple[str, Attack]]:
    """Yield tars that are not whole."""
    squeezers = {"tar": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    for suffix, squeeze in squeezers.items():
        # Random, so that it stays large and is cut inside of a member, whatever the compression.
        noise = random.Random(suffix).randbytes(40_000)
        whole = squeeze(pack_tar([Member("a/plans.json", b"{}"), Member("a/model.pth", noise)]))
        told = "not a whole tar" if suffix == "bz2" else r"'a/model\.pth'"  # bz2 has large blocks
        yield f"cut, {suffix}", _attack("tar", whole[:30_000], told)
    plain = pack_tar([Member("a/plans.json", b"{}"), Member("a/model.pth", WEIGHTS)])
    checksum, header = bytearray(gzip.compress(plain)), bytearray(plain)
    checksum[-8] ^= 1  # RFC 1952, 2.3: CRC-32 and size come last
    yield "wrong CRC, gz", _attack("tar", checksum, "not a whole tar.*CRC")
    header[plain.index(b"a/model") + 1] ^= 1
    yield "damaged header", _attack("tar", header, "not a whole tar")


def _attack(kind: str, content: bytes | bytearray, told: str) -> Attack:
    return Attack(kind, lambda _: bytes(content), told)
