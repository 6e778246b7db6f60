"""Safe extraction of tar archives, compressed or not."""

import bz2
import gzip
import lzma
import tarfile
from functools import partial
from typing import Any, BinaryIO

from pycemrg.models.archive_damage import naming
from pycemrg.models.checksums import CHUNK
from pycemrg.models.inflated import Inflated
from pycemrg.models.members import Members
from pycemrg.models.paths import inside
from pycemrg.models.tree import PIECE, Tree

MAX_HEADERS = 1 << 28  # bytes of a tar beside the content of its files

# The filter asks the disk about each part of a path. While we unpack, a tree holds no links, and so
# a folder that is not there gives the same answers, at half the price for a deep one.
NOWHERE = "/.pycemrg-tree"


def unpack_tar(source: BinaryIO, tree: Tree) -> None:
    """Unpack a tar archive with whatever compression its first bytes say.

    Raises:
        RuntimeError: If a member is refused.
        OSError: If the tree cannot be written.
        Exception: If `is_damage` says so, the archive is damaged.
    """
    tree.tally.expect(None)
    stream: Any = Inflated(_decompressed(source), MAX_HEADERS, tree.members.archive)
    with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as archive:
        for member in archive:
            _unpack_member(archive, member, stream, tree)
        # tarfile takes a damaged header for the end; the end is a block of zeros.
        if stream.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it breaks off without the block that ends it")
    while stream.read(CHUNK):
        pass  # gzip compares its checksum at the very end


def _decompressed(source: BinaryIO) -> Any:
    source.seek(0)
    start = source.read(6)
    source.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=source)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(source)
    if start == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(source)
    return source


def _unpack_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, stream: Inflated, tree: Tree
) -> None:
    name, members = member.name, tree.members
    members.path(name)  # before data_filter, which would strip a leading slash
    _ask_data_filter(member, members)
    if member.issym():
        members.add_link(name, member.linkname)
    elif member.islnk():
        path, to = members.add(name, "file"), inside(member.linkname)
        if to is None:
            members.refuse(name, f"a hard link to {member.linkname!r}")
        tree.hard_link(path, to)
    elif member.isdir():
        members.add(name, "folder")
    elif member.isreg():
        path = members.add(name, "file", member.size)
        stream.allow(member.size)
        with naming(name):
            _write(archive, member, path, tree)
    else:
        members.refuse(name, "neither file, folder nor link")


def _ask_data_filter(member: tarfile.TarInfo, members: Members) -> None:
    """Let Python's own filter have a say where there is one: from CPython 3.11.4.

    What it refuses, `Members` refuses as well; two that look see more than one.
    """
    if not hasattr(tarfile, "data_filter"):
        return
    try:
        tarfile.data_filter(member, NOWHERE)
    except tarfile.FilterError as error:
        members.refuse(member.name, str(error))


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, tree: Tree) -> None:
    executable = bool(member.mode & 0o100)
    content = archive.extractfile(member)
    if member.size == 0 or content is None:
        tree.write_empty(path, executable=executable, mtime=member.mtime)
        return
    pieces = iter(partial(content.read, PIECE), b"")
    tree.write(path, pieces, member.size, executable=executable, mtime=member.mtime)
