"""What in the tree of an object is not as it was stored."""

import os
from collections.abc import Iterator

from pycemrg.models.checksums import digest_of
from pycemrg.models.listing import Listing, Stored, stat_of


def faults(tree: str, listing: Listing, *, deep: bool) -> Iterator[tuple[str, str]]:
    """Yield the paths in a tree that are not as its listing says, and in which way.

    That is ``missing``, ``changed``, ``unreadable`` or ``never stored``. The tree itself is ``.``.

    Args:
        tree: The folder.
        listing: What should be there.
        deep: Whether to sum up every file, and not only those whose size or time of change differ;
            and to look for what the listing does not know.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> tree = tempfile.mkdtemp()
        >>> _ = Path(tree, "new.py").write_text("")
        >>> list(faults(tree, Listing({"model.pth": Stored(9, 0)}, {}, []), deep=True))
        [('model.pth', 'missing'), ('new.py', 'never stored')]
    """
    if os.path.islink(tree) or not os.path.isdir(tree):  # noqa: PTH112, PTH114
        yield ".", "missing"
        return
    for name in listing.paths() if deep else listing.changed(tree):
        try:
            fault = _fault(f"{tree}/{name}", name, listing)
        except OSError:
            fault = "unreadable"
        if fault:
            yield name, fault
    if deep:
        yield from _strays(tree, listing)


def _fault(path: str, name: str, listing: Listing) -> str:
    if not os.path.lexists(path):
        return "missing"
    if name in listing.links:
        same = os.path.islink(path) and os.readlink(path) == listing.links[name]  # noqa: PTH114, PTH115
    elif name in listing.files:
        same = _is_same(path, listing.files[name])
    else:
        same = os.path.isdir(path)  # noqa: PTH112
    return "" if same else "changed"


def _is_same(path: str, file: Stored) -> bool:
    now = stat_of(path)
    if now is None or now[0] != file.size:
        return False
    return digest_of(path).sha256 == file.sha256


def _strays(tree: str, listing: Listing) -> Iterator[tuple[str, str]]:
    """Yield what lies in the tree and was never stored; of a folder, not what is in it."""
    stored = {*listing.files, *listing.links}
    folders = _folders(listing)
    left = [""]
    while left:
        folder = left.pop()
        try:
            with os.scandir(f"{tree}/{folder}") as found:
                inside = sorted((f"{folder}{item.name}", item) for item in found)
        except OSError:
            yield folder.rstrip("/") or ".", "unreadable"
            continue
        for name, item in inside:
            if name in folders and item.is_dir(follow_symlinks=False):
                left.append(f"{name}/")
            elif name not in stored:
                yield name, "never stored"


def _folders(listing: Listing) -> set[str]:
    folders = set(listing.folders)
    for name in listing.paths():
        parent = name.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return folders
