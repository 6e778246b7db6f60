"""What a stored tree holds, where a path in it leads, and what has changed since."""

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MAX_LINKS = 40  # as Linux follows in one path


class Stored(NamedTuple):
    """One file: size in bytes, time of change in nanoseconds, sha256 in hexadecimal or empty."""

    size: int
    mtime_ns: int
    sha256: str = ""


class Listing(NamedTuple):
    """Files, symbolic links with what they point to, and folders that hold nothing.

    All paths are relative to the tree, with ``/`` between their parts.
    """

    files: dict[str, Stored]
    links: dict[str, str]
    folders: list[str]

    def paths(self) -> Iterator[str]:
        """Yield every file, link and empty folder."""
        yield from self.files
        yield from self.links
        yield from self.folders

    def locate(self, target: str) -> str | None:
        """Return where `target` is after all links, or None if the tree does not hold it.

        Example:
            >>> lib = Listing({"lib/libp.so.3": Stored(9, 0)}, {"lib/libp.so": "libp.so.3"}, [])
            >>> lib.locate("lib/libp.so"), lib.locate("lib"), lib.locate("bin")
            ('lib/libp.so.3', 'lib', None)
        """
        place = follow(target, self.links)
        return place if place is not None and self.holds(place) else None

    def holds(self, path: str) -> bool:
        """Whether there is a file or folder at `path`; an empty path stands for the tree."""
        if path == "" or path in self.files or path in self.folders:
            return True
        return any(other.startswith(f"{path}/") for other in self.paths())

    def under(self, path: str) -> "Listing":
        """Return the part at and below `path`; an empty path stands for the whole tree."""
        if path == "":
            return self
        if path in self.files:
            return Listing({path: self.files[path]}, {}, [])
        inside = f"{path}/"
        return Listing(
            {name: file for name, file in self.files.items() if name.startswith(inside)},
            {name: to for name, to in self.links.items() if name.startswith(inside)},
            [name for name in self.folders if f"{name}/".startswith(inside)],
        )

    def changed(self, tree: str) -> list[str]:
        """Return the paths in the folder `tree` that are not what the listing says, by stat."""
        files = list(_altered(tree, self.files))
        links = [name for name, to in self.links.items() if _link(f"{tree}/{name}") != to]
        folders = [name for name in self.folders if not os.path.isdir(f"{tree}/{name}")]  # noqa: PTH112
        return files + links + folders


def _altered(tree: str, files: Mapping[str, Stored]) -> Iterator[str]:
    # Each look-up comes by here with up to 64 files: `stat_of` would cost it a third more.
    lstat, is_file = os.lstat, stat.S_ISREG
    for name, file in files.items():
        try:
            found = lstat(f"{tree}/{name}")
        except (OSError, ValueError):
            yield name
            continue
        if (
            found.st_size != file.size
            or found.st_mtime_ns != file.mtime_ns
            or not is_file(found.st_mode)
        ):
            yield name


def stat_of(path: str) -> tuple[int, int] | None:
    """Return size and time of change of a regular file, None if there is none at `path`."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def follow(path: str, links: Mapping[str, str]) -> str | None:
    """Return where `path` leads when the links on its way are followed inside the tree.

    Args:
        path: Relative to the tree.
        links: The relative path that each link of the tree holds.

    Returns:
        The path without links, ``.`` and ``..``; empty for the tree itself; None if the way leads
        out of the tree or goes round in circles.

    Example:
        >>> follow("current/bin/tool", {"current": "v2", "v2/bin": "../programs"})
        'programs/tool'
        >>> follow("a/up/x", {"a/up": "../.."}) is None
        True
    """
    done: list[str] = []
    left = path.split("/")[::-1]
    hops = 0
    while left:
        part = left.pop()
        if part == "..":
            if not done:
                return None
            done.pop()
        elif part not in ("", "."):
            link = links.get("/".join([*done, part]))
            if link is None:
                done.append(part)
                continue
            hops += 1
            if hops > MAX_LINKS:
                return None
            left.extend(link.split("/")[::-1])
    return "/".join(done)


def to_json(listing: Listing) -> dict[str, Any]:
    """Return a listing in the form that is written to disk; see `from_json`."""
    files = {
        name: [file.size, file.mtime_ns, *([file.sha256] if file.sha256 else [])]
        for name, file in listing.files.items()
    }
    return {"files": files, "links": listing.links, "folders": listing.folders}


def from_json(data: Mapping[str, Any]) -> Listing:
    """Return the listing that `to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: If `data` is something else.
    """
    files = {name: Stored(*file) for name, file in data["files"].items()}
    links = {name: str(to) for name, to in data["links"].items()}
    return Listing(files, links, [str(name) for name in data["folders"]])


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 - as many times as there are links
    except (OSError, ValueError):
        return None
