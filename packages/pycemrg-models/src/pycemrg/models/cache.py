"""ModelCache: what is in the store, whatever a manifest says."""

import os
from pathlib import Path

from pycemrg.models.store import Store

DEFAULT_CACHE = "~/.cache/pycemrg"


class ModelCache:
    """The folder in which models are kept.

    Args:
        cache_dir: Where it is; else ``$PYCEMRG_CACHE_DIR``, else ``~/.cache/pycemrg``. It need not
            exist.
    """

    def __init__(self, cache_dir: str | os.PathLike[str] | None = None) -> None:
        chosen = cache_dir or os.environ.get("PYCEMRG_CACHE_DIR") or DEFAULT_CACHE
        self.cache_dir = Path(chosen).expanduser().absolute()
        self.store = Store(self.cache_dir)
