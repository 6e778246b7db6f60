"""Safe extraction of zip archives."""

import os
import stat
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple

from pycemrg.models.archive_damage import naming
from pycemrg.models.members import MAX_LINK, MAX_MEMBERS, Members
from pycemrg.models.tree import PIECE, Tree
from pycemrg.models.workers import until, work_off, worker_count
from pycemrg.models.zip_contents import METHODS, pieces, reader_of

MAX_DIRECTORY = MAX_MEMBERS * 512  # bytes; zipfile reads it all at once
WORTH_THREADS = 8 << 20  # bytes

_ENCRYPTED, _PATCH = 0x41, 0x20  # APPNOTE.TXT 4.4.4, bits 0 and 6, and 5
_ENTRY = b"PK\x01\x02"  # 4.3.12, what each entry of the directory starts with


class _File(NamedTuple):
    member: zipfile.ZipInfo
    path: str
    end: int  # of its bytes in the archive, at most


def unpack_zip(source: BinaryIO, tree: Tree) -> None:
    """Unpack a zip archive, several members at once where that is worth while.

    Raises:
        RuntimeError: If a member is refused.
        OSError: If the tree cannot be written.
        Exception: If `is_damage` says so, the archive is damaged.
    """
    directory: Any = _Directory(source, tree.members)
    with zipfile.ZipFile(directory) as archive:
        members = archive.infolist()
        ends = _ends(members, archive.start_dir, tree.members)
        files = []
        for member in members:
            path = _add(archive, member, tree)
            if path:
                files.append(_File(member, path, ends[member.header_offset]))
        tree.tally.expect(sum(file.member.file_size for file in files))
        _write_rare(archive, files, tree)
    _write_common(source, [file for file in files if file.member.compress_type in METHODS], tree)


class _Directory:
    """What zipfile reads the directory from, without filling the memory.

    A record at the end of the archive says how many entries there are. It may lie, or there may be
    two, of which zipfile believes one: so what is read counts.
    """

    def __init__(self, source: BinaryIO, members: Members) -> None:
        self._source = source
        self._members = members
        self.seek, self.tell, self.seekable = source.seek, source.tell, source.seekable

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise RuntimeError(f"{self._members.archive}: a directory of {size:,} bytes")
        data = self._source.read(size if size >= 0 else MAX_DIRECTORY)
        self._members.expect(data.count(_ENTRY))
        return data


def _ends(infos: list[zipfile.ZipInfo], end_of_all: int, members: Members) -> dict[int, int]:
    """Refuse entries that share bytes, of which the densest bombs are made.

    Returns:
        Where the next entry begins, by where an entry begins.
    """
    ends = {}
    last, end = None, 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            members.refuse(info.orig_filename, "overlaps the entry before it")
        if last is not None:
            ends[last] = info.header_offset
        # 30 bytes of local header and the name; extra fields can only make it longer.
        end = info.header_offset + 30 + len(info.orig_filename) + info.compress_size
        if end > end_of_all:
            members.refuse(info.orig_filename, "overlaps the directory")
        last = info.header_offset
    return ends if last is None else {**ends, last: end_of_all}


def _add(archive: zipfile.ZipFile, member: zipfile.ZipInfo, tree: Tree) -> str:
    """Let a member in and return the path of the file to write, empty for anything else."""
    name = member.orig_filename  # `filename` ends at the first NUL
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.flag_bits & _ENCRYPTED:
        tree.members.refuse(name, "encrypted")
    if member.flag_bits & _PATCH:
        tree.members.refuse(name, "a patch for a file, not a file")
    if name.endswith("/") or kind == stat.S_IFDIR:
        tree.members.add(name, "folder")
        return ""
    if kind == stat.S_IFLNK:
        if member.file_size > MAX_LINK:
            tree.members.refuse(name, "a link with too long a target")
        with naming(name):
            tree.members.add_link(name, os.fsdecode(archive.read(member)))
        return ""
    if kind not in (0, stat.S_IFREG):
        tree.members.refuse(name, "neither file, folder nor link")
    return tree.members.add(name, "file", member.file_size)


def _write_rare(archive: zipfile.ZipFile, files: list[_File], tree: Tree) -> None:
    """Write what is compressed in a way that hardly anybody uses, through zipfile."""
    for file in files:
        if file.member.compress_type not in METHODS:
            with naming(file.path), archive.open(file.member) as content:
                _write(file, iter(partial(content.read, PIECE), b""), tree)


def _write_common(source: BinaryIO, files: list[_File], tree: Tree) -> None:
    """Write files, of which no two have a path or bytes of the archive in common.

    No member gives more bytes than it claims, and the claims were summed up before.
    """
    read_at = reader_of(source)

    def write(file: _File, stop: threading.Event) -> None:
        with naming(file.path):
            _write(file, until(stop, pieces(read_at, file.member, file.end)), tree)

    if sum(file.member.file_size for file in files) < WORTH_THREADS or worker_count() == 1:
        never = threading.Event()
        for file in files:
            write(file, never)
    else:
        # The largest first: begun last, it would keep one thread busy while the others are done.
        work_off(sorted(files, key=lambda file: file.member.file_size, reverse=True), write)


def _write(file: _File, content: Iterator[bytes | memoryview], tree: Tree) -> None:
    executable = bool(file.member.external_attr >> 16 & 0o100)
    tree.write(file.path, content, file.member.file_size, executable=executable)
