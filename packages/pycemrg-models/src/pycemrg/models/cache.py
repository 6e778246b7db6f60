"""ModelCache: what is in the store, whatever a manifest says."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pycemrg.models.progress import Report
from pycemrg.models.store import Store

if TYPE_CHECKING:
    from pycemrg.models.inventory import Damage, StoredObject
    from pycemrg.models.pruning import Pruned

DEFAULT_CACHE = "~/.cache/pycemrg"


class ModelCache:
    """The folder in which models are kept.

    Args:
        cache_dir: Where it is; else ``$PYCEMRG_CACHE_DIR``, else ``~/.cache/pycemrg``. It need not
            exist.
        progress: As for `ModelManager`.
    """

    def __init__(
        self, cache_dir: str | os.PathLike[str] | None = None, *, progress: Report | None = None
    ) -> None:
        chosen = cache_dir or os.environ.get("PYCEMRG_CACHE_DIR") or DEFAULT_CACHE
        self.cache_dir = Path(chosen).expanduser().absolute()
        self.store = Store(self.cache_dir)
        self.progress = progress

    def list_objects(self) -> "list[StoredObject]":
        """Return what is stored, in the order of the addresses it came from.

        Raises:
            RuntimeError: If the cache is there and cannot be read.
        """
        from pycemrg.models.inventory import list_objects

        return list_objects(self.store)

    def verify(self, *, deep: bool = False) -> "list[Damage]":
        """Return what is not as it was stored; change nothing.

        Each damage names a folder. Once that is deleted, the next call that asks for it fetches
        it again; damage that shows in size or time of change heals without.

        Args:
            deep: Whether to read every file and compare its sha256, and to report also files that
                were never stored. Else size and time of change decide, and the sha256 only where
                they differ.

        Raises:
            RuntimeError: If the cache is there and cannot be read.
        """
        from pycemrg.models.inventory import verify_objects

        if not deep:
            return verify_objects(self.store)
        from pycemrg.models.meters import meter

        with meter("cache", "read", self.progress) as tell:
            return verify_objects(self.store, deep=True, tell=tell)

    def prune(self, *, older_than: float = 30.0, dry_run: bool = False) -> "Pruned":
        """Delete what nobody has used for long, and what processes that were killed left.

        What another process uses stays: each use leaves a trace, once a day at most. In a cache
        that its users may only read they leave none; nothing there should be pruned by age.

        Args:
            older_than: Days without use, 2 or more.
            dry_run: Whether to delete nothing and only tell.

        Raises:
            ValueError: If `older_than` is less than 2.
        """
        from pycemrg.models.pruning import prune

        return prune(self.store, older_than=older_than, dry_run=dry_run)

    def import_bundle(self, path: str | os.PathLike[str]) -> list[str]:
        """Bring the files of a bundle into the cache, as if they had been downloaded.

        A manifest finds them by their sha256. Bytes that were altered have another one, and are
        never found.

        Args:
            path: What `ModelManager.export_bundle` wrote.

        Returns:
            The model and version of each, as in ``seg@v2``.

        Raises:
            FileNotFoundError: If there is no such bundle.
            ValueError: If it is no bundle, or not a whole one.
            HashMismatchError: If a file in it is damaged.
            RuntimeError: If an archive in it is damaged or refused.
            OSError: If the cache cannot be written.
        """
        from pycemrg.models.bundle import import_bundle

        return import_bundle(self.store, path, self.progress)
