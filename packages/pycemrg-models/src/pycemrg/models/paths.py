"""What counts as a path inside a tree, in a manifest and in an archive alike."""

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_DRIVE = re.compile(r"[A-Za-z]:")


def inside(path: str) -> str | None:
    """Return `path` without ``.`` and empty parts if it stays in its tree, else None.

    A path with ``..`` is not let in, wherever it would lead.

    Example:
        >>> inside("./checkpoints//model.pth"), inside("."), inside("a/../b")
        ('checkpoints/model.pth', '', None)
    """
    parts = path.split("/")
    if ".." in parts or not is_plain(path):
        return None
    return "/".join(part for part in parts if part not in ("", "."))


def is_plain(path: str) -> bool:
    r"""Whether `path` is relative and means the same on every system.

    Example:
        >>> is_plain("../lib"), is_plain("/lib"), is_plain("C:lib"), is_plain("a\\b")
        (True, False, False, False)
    """
    return not (path.startswith("/") or "\\" in path or _DRIVE.match(path) or CONTROL.search(path))
