"""Files that appear whole, by one rename, or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # the file system cannot do it


@contextmanager
def whole_file(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    r"""Hand out a temporary path beside `path`, which becomes `path` when the block ends.

    The temporary name ends in the name of `path`, so that writers which choose a format by the
    suffix see the right one. If the block raises, or the process dies, `path` is as it was. A
    symbolic link is followed, the permissions of a file that is replaced are kept, and missing
    parent folders are made.

    Args:
        path: The file to write.
        overwrite: Whether an existing file may be replaced.

    Yields:
        The path to write to. The block must leave a file there.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False, even if another process made
            it while the block ran.
        IsADirectoryError: If `path` is a folder.
        NotADirectoryError: If there is a file where a folder is needed.
        OSError: If the folder cannot be made or written, or `path` is a device.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with whole_file(Path(folder, "case_01.elem")) as draft:
        ...     _ = draft.write_text("0\n")
        >>> os.listdir(folder)
        ['case_01.elem']
    """
    final = Path(os.path.realpath(path))
    _refuse_what_is_no_file(final, path)
    if not overwrite and final.exists():
        raise _exists(path)
    make_folder(final.parent)
    draft = final.with_name(f".{os.urandom(4).hex()}.{final.name}")
    try:
        yield draft
        sync_file(draft)
        if overwrite:
            _keep_mode(final, draft)
            draft.replace(final)
        else:
            _rename_unless_exists(draft, final, path)
    except OSError as error:
        if error.filename in (None, draft, os.fspath(draft)):
            error.filename = os.fspath(path)
            if error.filename2 is not None:
                del error.filename2
        raise
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(final.parent)


def write_whole(path: str | os.PathLike[str], content: str, *, overwrite: bool = True) -> None:
    r"""Write a UTF-8 text file by `whole_file`; newlines are written as they are.

    Raises:
        FileExistsError: If the file exists and `overwrite` is False.
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "labels.yaml")
        >>> write_whole(path, "labels: {LV: 1}\n")
        >>> path.read_text()
        'labels: {LV: 1}\n'
    """
    with whole_file(path, overwrite=overwrite) as draft:
        draft.write_text(content, encoding="utf-8", newline="")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        NotADirectoryError: If a file has the name of one of them.
        OSError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # which would read as if the file to write existed
        raise NotADirectoryError(f"{folder} is a file; a folder was expected") from error


def sync_file(path: str | os.PathLike[str]) -> None:
    """Wait until the content of a file is on the disk, where the file system can tell.

    Raises:
        OSError: If it cannot be written there, because a disk or quota is full.
    """
    with Path(path).open("r+b") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems refuse to sync a folder; a rename is still atomic there.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_what_is_no_file(final: Path, path: str | os.PathLike[str]) -> None:
    if final.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)} is a folder; a file was expected")
    if final.exists() and not final.is_file():
        raise OSError(f"{os.fspath(path)} is a device or pipe; only a file can be replaced")


def _exists(path: str | os.PathLike[str]) -> FileExistsError:
    return FileExistsError(f"{os.fspath(path)} already exists; pass overwrite=True to replace it")


def _keep_mode(final: Path, draft: Path) -> None:
    with suppress(FileNotFoundError):
        draft.chmod(final.stat().st_mode & 0o7777)


def _rename_unless_exists(draft: Path, final: Path, path: str | os.PathLike[str]) -> None:
    # link(2) fails where rename(2) would replace; the check before the block only answers early.
    try:
        os.link(draft, final)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # no hard links here (FAT, some FUSE mounts)
        if final.exists():
            raise _exists(path) from None
        draft.rename(final)
