"""Archives that would fill the memory or the disk, made by hand: no program packs them."""

import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterator

from archive_corpus import ENTRY, LOCAL, WEIGHTS, Attack, Member, pack_tar

MIB, GIB, MILLION = 1 << 20, 1 << 30, 1_000_000
STOP = b"\x03\x00"  # the last block of deflate, with nothing in it (RFC 1951, 3.2.6)


def heavy() -> Iterator[tuple[str, Attack]]:
    """Yield archives of which each could fill memory or disk, with titles."""
    for title, kind, pack, told in (
        ("bomb (zip)", "zip", zip_bomb, r"refused 'zeros\d'"),
        ("bomb (tar)", "tar", tar_bomb, "refused 'zeros'"),
        ("bomb of entries in entries", "zip", nested_bomb, r"refused '\d+': overlaps"),
        ("bomb that lies", "zip", lying_bomb, "'zeros': holds more than the 1,000 bytes"),
        ("zeros after the tar", "tar", endless_tar, "inflates to more than"),
        ("zeros after the tar.xz", "tar", endless_xz, "inflates to more than"),
        ("name of 6 GiB", "tar", endless_name, "a header of"),
        ("million (zip)", "zip", zip_crowd, "a directory of|more than 100,000 members"),
        ("million that claims one", "zip", lying_crowd, "more than 100,000 members"),
        ("million (tar)", "tar", tar_crowd, "more than 100,000 members"),
    ):
        yield title, Attack(kind, lambda _, pack=pack: pack(), told)


def zeros(size: int) -> bytes:
    """Return a stream of deflate without its end, a thousandth of `size` long."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # After a full flush the stream begins anew, so the same can be said again.
    mebibyte = squeezer.compress(bytes(MIB)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    assert 1_000 * len(mebibyte) < MIB
    return mebibyte * (size // MIB)


def zip_bomb() -> bytes:
    """Make a zip of 6 GiB that says so."""
    return zip_around({f"zeros{number}": (zeros(GIB) + STOP, GIB) for number in range(6)})


def nested_bomb(count: int = 250) -> bytes:
    """Make a zip where every file but the last holds the headers and the content of those after it.

    The construction is from D. Fifield, A better zip bomb, WOOT 2019: a stored block of deflate
    (RFC 1951, 3.2.4) makes content of the next header, and the stream goes on behind it.
    """
    content, packed, header, members = bytes(MIB), deflate(bytes(MIB)), b"", []
    for number in reversed(range(count)):
        if header:
            packed = struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF) + header + packed
            content = header + content
        members.append((b"%d" % number, zlib.crc32(content), len(packed), len(content)))
        header = local_header(*members[-1])
    body = header + packed
    entries = [entry(*member, body.index(local_header(*member))) for member in members]
    return body + directory(entries, len(body))


def lying_bomb() -> bytes:
    """Make a zip of 6 GiB that claims 1,000 bytes."""
    return zip_around({"zeros": (zeros(6 * GIB) + STOP, 1_000)})


def tar_bomb() -> bytes:
    """Make a tar.gz with a file of 6 GiB."""
    member = tarfile.TarInfo("zeros")
    member.size = 6 * GIB
    return gz_with_zeros(member.tobuf())


def endless_tar() -> bytes:
    """Make a small tar.gz with 6 GiB after its end."""
    return gz_with_zeros(pack_tar([Member("a/model.pth", WEIGHTS)]))


def endless_xz() -> bytes:
    """Make the same as tar.xz."""
    start = lzma.compress(pack_tar([Member("a/model.pth", WEIGHTS)]))
    return start + lzma.compress(bytes(64 * MIB), preset=0) * 96


def endless_name() -> bytes:
    """Make a tar.gz with a name of 6 GiB."""
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 6 * GIB
    return gz_with_zeros(name.tobuf(tarfile.GNU_FORMAT))


def gz_with_zeros(start: bytes) -> bytes:
    """Compress `start` and 6 GiB of zeros."""
    header = b"\x1f\x8b\x08" + bytes(7)  # RFC 1952, 2.3
    return header + deflate(start, zlib.Z_FULL_FLUSH) + zeros(6 * GIB)


def lying_crowd() -> bytes:
    """Make a zip with a million empty files that claims one."""
    return zip_crowd(claimed=1)


def zip_crowd(claimed: int = MILLION) -> bytes:
    """Make a zip with a million empty files; what it claims may be wrong."""
    names = [f"{number:05x}".encode() for number in range(MILLION)]
    size = len(local_header(names[0], 0, 0, 0))
    bodies = [local_header(name, 0, 0, 0) for name in names]
    entries = [entry(name, 0, 0, 0, number * size) for number, name in enumerate(names)]
    return b"".join(bodies) + directory(entries, size * MILLION, claimed)


def tar_crowd() -> bytes:
    """Make a tar.gz with a million empty files."""
    first = tarfile.TarInfo("0000000").tobuf(tarfile.USTAR_FORMAT)
    # ustar: the name, some fields, a checksum of all bytes in six octal digits, the other fields.
    fields, checksum, others = first[7:148], int(first[148:154], 8), first[154:]
    digits = [sum(map(int, f"{number:04}")) for number in range(10_000)]
    squeezer, packed = zlib.compressobj(1, zlib.DEFLATED, 31), []
    for number in range(MILLION):
        total = checksum + digits[number // 10_000] + digits[number % 10_000]
        packed.append(squeezer.compress(b"%07d%b%06o%b" % (number, fields, total, others)))
    return b"".join(packed) + squeezer.compress(bytes(1_024)) + squeezer.flush()


def deflate(content: bytes, end: int = zlib.Z_FINISH) -> bytes:
    """Compress without any header."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return squeezer.compress(content) + squeezer.flush(end)


def zip_around(members: dict[str, tuple[bytes, int]]) -> bytes:
    """Make a zip of members that are deflated already, given with the size they claim."""
    body, entries = b"", []
    for name, (packed, size) in members.items():
        facts = (name.encode(), 0, len(packed), size)
        entries.append(entry(*facts, len(body)))
        body += local_header(*facts) + packed
    return body + directory(entries, len(body))


def local_header(name: bytes, checksum: int, packed: int, size: int) -> bytes:
    """Write what comes before the content of a deflated member (APPNOTE.TXT 4.3.7)."""
    fields = (20, 0, 8 if size else 0, 0, 33, checksum, packed, size, len(name), 0)
    return struct.pack("<4sHHHHHIIIHH", LOCAL, *fields) + name


def entry(name: bytes, checksum: int, packed: int, size: int, at: int) -> bytes:
    """Write the same into the directory (4.3.12)."""
    fields = (20, 20, 0, 8 if size else 0, 0, 33, checksum, packed, size, len(name), 0, 0, 0, 0, 0)
    return struct.pack("<4sHHHHHHIIIHHHHHII", ENTRY, *fields, at) + name


def directory(entries: list[bytes], at: int, claimed: int | None = None) -> bytes:
    """Write the directory and what ends a zip (4.3.14 to 4.3.16)."""
    content = b"".join(entries)
    count = len(entries) if claimed is None else claimed
    fields = (44, 45, 45, 0, 0, count, count, len(content), at)
    zip64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", *fields)
    zip64 += struct.pack("<4sIQI", b"PK\x06\x07", 0, at + len(content), 1)
    few = min(count, 0xFFFF)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, few, few, len(content), at, 0)
    return content + (zip64 if count > few else b"") + end
