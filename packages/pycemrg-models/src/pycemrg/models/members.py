"""Which members of an archive are let in."""

import shutil
import unicodedata
from pathlib import Path
from typing import NoReturn

from pycemrg.models.inflated import limit
from pycemrg.models.listing import follow
from pycemrg.models.paths import inside, is_plain

MAX_MEMBERS = 100_000
MAX_TOTAL = 1 << 40  # bytes
MAX_LINK = 4_095  # bytes, as PATH_MAX of Linux


class Members:
    """The members of one archive so far: names that may lie in one tree, sizes that fit.

    A member that would leave the tree, or that only some file systems can hold beside the others,
    is refused and never renamed.

    Args:
        archive: What to call the archive in messages.
        size: Of the archive, in bytes.
        tree: The folder that the members are for.

    Example:
        >>> members = Members("seg.zip", 1000, Path("."))
        >>> members.add("./checkpoints/model.pth", "file", 500)
        'checkpoints/model.pth'
        >>> members.add("Checkpoints/plans.json", "file")
        Traceback (most recent call last):
        RuntimeError: seg.zip: refused 'Checkpoints': differs only in case from 'checkpoints'
    """

    def __init__(self, archive: str, size: int, tree: Path) -> None:
        self.archive = archive
        self.links: dict[str, str] = {}
        self._limit = min(MAX_TOTAL, limit(size))
        self._free = shutil.disk_usage(tree).free
        self._total = 0
        self._count = 0
        self._seen: dict[str, tuple[str, str]] = {}
        self._parents: set[str] = {""}

    def add(self, name: str, kind: str, size: int = 0) -> str:
        """Let a member in and return its path in the tree, empty for the tree itself.

        Args:
            name: As the archive has it.
            kind: ``"file"``, ``"folder"`` or ``"link"``.
            size: In bytes, as the archive claims.

        Raises:
            RuntimeError: If the member is refused.
        """
        self.expect(self._count + 1)
        self._count += 1
        path = self.path(name)
        if path == "" and kind != "folder":
            self.refuse(name, "no name")
        self._take(name, size)
        parent = path.rpartition("/")[0]
        if parent not in self._parents:
            self._add_parents(parent)
        if path:
            self._claim(path, kind)
        return path

    def add_link(self, name: str, to: str) -> None:
        """Let a symbolic link in; `follow_links` checks where it leads once all members are known.

        Raises:
            RuntimeError: If the member is refused.
        """
        path = self.add(name, "link")
        if not to or len(to) > MAX_LINK or not is_plain(to):
            self.refuse(name, f"a link to {to[:80]!r}")
        self.links[path] = to

    def follow_links(self) -> None:
        """Check that every link stays in the tree, also when it leads through other links.

        Raises:
            RuntimeError: If one does not.
        """
        for path, to in self.links.items():
            if follow(path, self.links) is None:
                self.refuse(path, f"a link to {to!r} leads out of the archive or in a circle")

    def empty_folders(self) -> list[str]:
        """Return the folders that hold nothing."""
        folders = (path for path, kind in self._seen.values() if kind == "folder")
        return [path for path in folders if path not in self._parents]

    def path(self, name: str) -> str:
        """Return the path in the tree that `name` means.

        Raises:
            RuntimeError: If it is not one that stays there.
        """
        path = inside(name) if name else None
        if path is None:
            self.refuse(name, "not a plain relative path")
        return path

    def expect(self, count: int) -> None:
        """Check the number of members.

        Raises:
            RuntimeError: If there are too many.
        """
        if count > MAX_MEMBERS:
            raise RuntimeError(f"{self.archive}: more than {MAX_MEMBERS:,} members")

    def refuse(self, name: str, reason: str) -> NoReturn:
        """Raise the RuntimeError for a member that is not let in."""
        raise RuntimeError(f"{self.archive}: refused {name!r}: {reason}")

    def _take(self, name: str, size: int) -> None:
        self._total += size
        if self._total > self._limit:
            self.refuse(name, f"with it, the archive unpacks to more than {self._limit:,} bytes")
        if self._total > self._free:
            self.refuse(name, f"no room: the disk has {self._free:,} bytes left")

    def _add_parents(self, path: str) -> None:
        while path not in self._parents:
            self._parents.add(path)
            self._claim(path, "folder")
            path = path.rpartition("/")[0]

    def _claim(self, path: str, kind: str) -> None:
        folded = unicodedata.normalize("NFC", path).casefold()
        known = self._seen.get(folded)
        if known is None:
            self._seen[folded] = (path, kind)
        elif known[0] != path:
            self.refuse(path, f"differs only in case from {known[0]!r}")
        elif known[1] != kind:
            self.refuse(path, f"is both a {known[1]} and a {kind}")
        elif kind != "folder":
            self.refuse(path, "appears twice")
