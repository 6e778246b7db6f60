"""Safe extraction of archives."""

import os
from pathlib import Path
from typing import BinaryIO

from pycemrg.models.archive_damage import is_damage, looks
from pycemrg.models.listing import Listing
from pycemrg.models.members import Members
from pycemrg.models.tar_archive import unpack_tar
from pycemrg.models.tree import Tree
from pycemrg.models.workers import Report, ReportError, Tally
from pycemrg.models.zip_archive import unpack_zip

__all__ = ["extract", "looks"]


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
    draft = Tree(tree, Members(name, size, tree), Tally(report))
    try:
        (unpack_zip if kind == "zip" else unpack_tar)(source, draft)
    except ReportError as error:
        raise error.original from None
    except Exception as error:
        if not is_damage(error):
            raise
        raise RuntimeError(
            f"{name}: not a whole {kind} archive{looks(source)} ({error})"
        ) from error
    return draft.finish()
