"""Safe extraction of zip and tar archives."""

import bz2
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from pycemrg.models.checksums import CHUNK, Readable, digest
from pycemrg.models.inflated import Inflated
from pycemrg.models.listing import Listing, Stored
from pycemrg.models.members import MAX_LINK, MAX_MEMBERS, Members
from pycemrg.models.workers import (
    Report,
    ReportError,
    StoppableReader,
    Tally,
    work_off,
    worker_count,
)

MAX_DIRECTORY = MAX_MEMBERS * 512  # bytes of a zip's directory; zipfile reads it all at once
MAX_HEADERS = 1 << 28  # bytes of a tar beside the content of its files
WORTH_THREADS = 8 << 20  # bytes

_END = struct.Struct("<8x2xHI")  # APPNOTE.TXT 4.3.16: entries, size of the directory in bytes
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,  # a compression method that zipfile does not know
    OverflowError,
    ValueError,
)


def extract(
    source: BinaryIO, kind: str, tree: Path, name: str, report: Report | None = None
) -> Listing:
    """Unpack an archive into an empty folder and return what it held.

    Refused are members with an absolute path, a drive, ``..``, a backslash or control characters,
    names that appear twice or differ only in case, overlapping zip entries, encrypted members,
    devices, and links that leave the tree; an archive with more than 100,000 members; and one that
    unpacks to more than the disk holds, or to more than 4 GiB and 900 times its size. What is
    executable stays so; all other permissions come from the umask. Symbolic links are made last,
    so that nothing is ever written through one.

    Args:
        source: The archive, open for reading.
        kind: ``"zip"``, or ``"tar"`` with whatever compression its first bytes say.
        tree: The folder to fill. It holds anything or nothing if this raises.
        name: What to call the archive in messages.
        report: Told how many bytes of files are written and how many there will be, once before
            the first and then after each chunk. A tar does not say how many: None. The calls come
            from several threads, never two at once. What it raises ends the work.

    Raises:
        RuntimeError: If the archive is damaged or refused; with the member's name.
        OSError: If the tree cannot be written.
    """
    size = source.seek(0, os.SEEK_END)
    writer = _Tree(tree, Members(name, size, tree), Tally(report))
    try:
        if kind == "zip":
            _extract_zip(source, writer)
        else:
            _extract_tar(source, writer)
    except ReportError as error:
        raise error.original from None
    except _DAMAGE as error:
        raise RuntimeError(
            f"{name}: not a whole {kind} archive{looks(source)} ({error})"
        ) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise RuntimeError(f"{name}: damaged ({error})") from error  # as bz2 says it
    return writer.finish()


class _Tree:
    """A folder that is filled member by member."""

    def __init__(self, folder: Path, members: Members, tally: Tally) -> None:
        self.folder = folder
        self.members = members
        self.tally = tally
        self._files: dict[str, Stored] = {}

    def folders(self, path: str) -> None:
        (self.folder / path).mkdir(parents=True, exist_ok=True)

    def write(
        self, path: str, source: Readable, size: int, executable: bool, mtime: float | None = None
    ) -> None:
        """Write a file; `mtime` in seconds is kept because compiled Python files depend on it."""
        full = self.folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(full, flags, 0o777 if executable else 0o666), "wb") as file:  # noqa: PTH123
            found = digest(source, self._counted(file.write))
        if found.size != size:
            self.members.refuse(path, f"ends after {found.size:,} of {size:,} bytes")
        if mtime is not None:
            with suppress(OSError, OverflowError, ValueError):
                os.utime(full, (mtime, mtime))
        self._files[path] = _stored(full, found.sha256)

    def _counted(self, write: Callable[[bytes], object]) -> Callable[[bytes], None]:
        def write_and_count(chunk: bytes) -> None:
            write(chunk)
            self.tally.add(len(chunk))

        return write_and_count

    def hard_link(self, path: str, to: str) -> None:
        """Give a file that was written before a second name."""
        first = self._files.get(to)
        if first is None:
            self.members.refuse(path, f"a hard link to {to!r}, which is no file before it")
        full = self.folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.folder / to, full)
        except OSError:  # no hard links on this file system
            shutil.copy2(self.folder / to, full)
        self._files[path] = _stored(full, first.sha256)

    def finish(self) -> Listing:
        """Make the symbolic links and say what the tree holds."""
        self.members.follow_links()
        for path, to in self.members.links.items():
            full = self.folder / path
            full.parent.mkdir(parents=True, exist_ok=True)
            full.symlink_to(to)
        return Listing(self._files, self.members.links, self.members.empty_folders())


def _stored(path: Path, sha256: str) -> Stored:
    found = path.lstat()
    return Stored(found.st_size, found.st_mtime_ns, sha256)


def looks(source: BinaryIO) -> str:
    """Return a remark if `source` starts like a web page, as an error or log-in page does."""
    source.seek(0)
    start = source.read(64).lstrip().lower()
    web_page = start.startswith((b"<!doctype", b"<html", b"<?xml"))
    return "; it looks like a web page" if web_page else ""


def _extract_zip(source: BinaryIO, tree: _Tree) -> None:
    _check_directory(source, tree.members)
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        tree.members.expect(len(members))
        _refuse_overlaps(members, archive.start_dir, tree.members)
        files = []
        for member in members:
            path = _add_zip_member(archive, member, tree)
            if path:
                files.append((member, path))
        _write_zip_members(archive, files, tree)


def _add_zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, tree: _Tree) -> str:
    """Let a member in and return the path of the file to write, empty for anything else."""
    name = member.orig_filename  # `filename` ends at the first NUL
    kind = stat.S_IFMT(member.external_attr >> 16)
    if member.flag_bits & 0x1:
        tree.members.refuse(name, "encrypted")
    if name.endswith("/") or kind == stat.S_IFDIR:
        tree.folders(tree.members.add(name, "folder"))
        return ""
    if kind == stat.S_IFLNK:
        if member.file_size > MAX_LINK:
            tree.members.refuse(name, "a link with too long a target")
        tree.members.add_link(name, os.fsdecode(archive.read(member)))
        return ""
    if kind not in (0, stat.S_IFREG):
        tree.members.refuse(name, "neither file, folder nor link")
    return tree.members.add(name, "file", member.file_size)


def _write_zip_members(
    archive: zipfile.ZipFile, files: list[tuple[zipfile.ZipInfo, str]], tree: _Tree
) -> None:
    """Write files, of which no two have a path or bytes of the archive in common.

    The threads share one handle, and so the file that was verified: zipfile takes a lock around
    each read, and what takes time, decompression and sha256, comes after. No member gives more
    bytes than it claims, and the claims were summed up before.
    """
    turn = threading.Lock()
    total = sum(member.file_size for member, _ in files)
    tree.tally.expect(total)

    def write(job: tuple[zipfile.ZipInfo, str], stop: threading.Event) -> None:
        member, path = job
        executable = bool(member.external_attr >> 16 & 0o100)
        try:
            with _opened(archive, member, turn) as content:
                tree.write(path, StoppableReader(content, stop), member.file_size, executable)
        except _DAMAGE as error:
            raise zipfile.BadZipFile(f"{path!r}: {error}") from error

    if total < WORTH_THREADS or worker_count() == 1:
        never = threading.Event()
        for job in files:
            write(job, never)
    else:
        # The largest first: begun last, it would keep one thread busy while the others are done.
        work_off(sorted(files, key=lambda job: job[0].file_size, reverse=True), write)


@contextmanager
def _opened(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, turn: threading.Lock
) -> Iterator[IO[bytes]]:
    with turn:  # zipfile counts its open members without a lock
        content = archive.open(member)
    try:
        yield content
    finally:
        with turn:
            content.close()


def _check_directory(source: BinaryIO, members: Members) -> None:
    """Refuse a directory that would fill the memory, from the record at the end of the file."""
    size = source.seek(0, os.SEEK_END)
    source.seek(max(0, size - (1 << 16) - 22 - 76))
    tail = source.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        return  # zipfile says what is wrong
    count, length = _END.unpack_from(tail, at)
    if at >= 76 and tail[at - 76 : at - 72] == b"PK\x06\x06":  # 4.3.14, the record for zip64
        count, length = struct.unpack_from("<QQ", tail, at - 76 + 32)
    members.expect(count)
    if length > MAX_DIRECTORY:
        raise RuntimeError(f"{members.archive}: a directory of {length:,} bytes")


def _refuse_overlaps(infos: list[zipfile.ZipInfo], end_of_all: int, members: Members) -> None:
    """Refuse entries that share bytes, of which the densest bombs are made."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            members.refuse(info.orig_filename, "overlaps the entry before it")
        # 30 bytes of local header and the name; extra fields can only make it longer.
        end = info.header_offset + 30 + len(info.orig_filename) + info.compress_size
        if end > end_of_all:
            members.refuse(info.orig_filename, "overlaps the directory")


def _extract_tar(source: BinaryIO, tree: _Tree) -> None:
    tree.tally.expect(None)
    stream: Any = Inflated(_decompressed(source), MAX_HEADERS, tree.members.archive)
    with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as archive:
        for member in archive:
            _extract_tar_member(archive, member, stream, tree)
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


def _ask_data_filter(member: tarfile.TarInfo, tree: _Tree) -> None:
    """Let Python's own filter have a say where there is one: from CPython 3.11.4.

    What it refuses, `Members` refuses as well; two that look see more than one.
    """
    if not hasattr(tarfile, "data_filter"):
        return
    try:
        tarfile.data_filter(member, str(tree.folder))
    except tarfile.FilterError as error:
        tree.members.refuse(member.name, str(error))


def _extract_tar_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, stream: Inflated, tree: _Tree
) -> None:
    name, members = member.name, tree.members
    members.path(name)  # before data_filter, which would strip a leading slash
    _ask_data_filter(member, tree)
    if member.issym():
        members.add_link(name, member.linkname)
    elif member.islnk():
        path = members.add(name, "file", 0)
        tree.hard_link(path, members.path(member.linkname))
    elif member.isdir():
        tree.folders(members.add(name, "folder"))
    else:
        path = members.add(name, "file", member.size)
        stream.allow(member.size)
        content = archive.extractfile(member)
        if content is None:
            members.refuse(name, "neither file, folder nor link")
        tree.write(path, content, member.size, bool(member.mode & 0o100), member.mtime)
