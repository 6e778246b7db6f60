"""The folder that an archive is unpacked into."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pycemrg.models.checksums import write_all
from pycemrg.models.listing import Listing, Stored
from pycemrg.models.members import Members
from pycemrg.models.workers import Tally

# Bytes to handle at once. What was just read or inflated is still in the processor's own cache when
# it is summed up and written: 1 MiB at once costs a tenth more.
PIECE = 1 << 18
AHEAD = 8 << 20  # bytes of a file, after which the disk may begin to write

_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


class Tree:
    """A folder that is filled member by member, from several threads if need be.

    Args:
        folder: An empty one.
        members: Decides what is let in; whoever fills the tree asks it first.
        tally: Told of every piece that is written.
    """

    def __init__(self, folder: Path, members: Members, tally: Tally) -> None:
        self.folder = folder
        self.members = members
        self.tally = tally
        self._files: dict[str, Stored] = {}
        self._empty: dict[str, tuple[bool, float]] = {}

    def write(
        self,
        path: str,
        pieces: Iterable[bytes | memoryview],
        size: int,
        *,
        executable: bool,
        mtime: float | None = None,
    ) -> None:
        """Write a file.

        Args:
            path: Where, from `Members`.
            pieces: Its content, piece by piece; each is used up before the next is asked for.
            size: Of the whole content, in bytes, as the archive claims.
            executable: Whether who may read it may execute it.
            mtime: Its time of change in seconds; compiled Python files depend on that of others.

        Raises:
            RuntimeError: If there is less content than claimed.
            OSError: If the file cannot be written.
        """
        full = self._place(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        total, done, begun = hashlib.sha256(), 0, 0
        descriptor = os.open(full, flags, 0o777 if executable else 0o666)
        try:
            for piece in pieces:
                total.update(piece)
                write_all(descriptor, piece)
                done += len(piece)
                self.tally.add(len(piece))
                if done - begun >= AHEAD:
                    _begin_flush(descriptor, begun, done - begun)
                    begun = done
        finally:
            os.close(descriptor)
        if done != size:
            self.members.refuse(path, f"ends after {done:,} of {size:,} bytes")
        if mtime is not None:
            with suppress(OSError, OverflowError, ValueError):
                os.utime(full, (mtime, mtime))
        self._files[path] = _stored(full, total.hexdigest())

    def write_empty(self, path: str, *, executable: bool, mtime: float) -> None:
        """Remember a file without content, for `finish` to write.

        A tar of a few kilobytes may hold a million of them, and says so only one by one: that many
        are refused before the first is on the disk.
        """
        self._empty[path] = executable, mtime

    def hard_link(self, path: str, to: str) -> None:
        """Give a file that came before a second name.

        Raises:
            RuntimeError: If `to` is no such file.
            OSError: If it cannot be done.
        """
        if to in self._empty:
            self._empty[path] = self._empty[to]
            return
        first = self._files.get(to)
        if first is None:
            self.members.refuse(path, f"a hard link to {to!r}, which is no file before it")
        full = self._place(path)
        try:
            os.link(self.folder / to, full)
        except OSError:  # no hard links on this file system
            shutil.copy2(self.folder / to, full)
        self._files[path] = _stored(full, first.sha256)

    def finish(self) -> Listing:
        """Make empty files and folders and, last of all, symbolic links; say what the tree holds.

        Raises:
            RuntimeError: If a link leads out of the tree.
            OSError: If something cannot be made.
        """
        self.members.follow_links()
        for path, (executable, mtime) in self._empty.items():
            self.write(path, (), 0, executable=executable, mtime=mtime)
        folders = self.members.empty_folders()
        for path in folders:
            (self.folder / path).mkdir(parents=True, exist_ok=True)
        for path, to in self.members.links.items():
            self._place(path).symlink_to(to)
        return Listing(self._files, self.members.links, folders)

    def _place(self, path: str) -> Path:
        full = self.folder / path
        full.parent.mkdir(parents=True, exist_ok=True)
        return full


def _begin_flush(descriptor: int, start: int, size: int) -> None:
    """Have the disk write while the processor unpacks, so that the flush of all finds little to do.

    Linux alone can do that; it changes nothing but the time that the flush takes.
    """
    try:
        import ctypes

        begin = ctypes.CDLL(None).sync_file_range
    except (ImportError, AttributeError, OSError):
        return
    begin(descriptor, ctypes.c_int64(start), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


def _stored(path: Path, sha256: str) -> Stored:
    found = path.lstat()
    return Stored(found.st_size, found.st_mtime_ns, sha256)
