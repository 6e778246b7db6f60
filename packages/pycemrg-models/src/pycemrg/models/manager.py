"""ModelManager: from the name of a model to the path of its files."""

import os
from pathlib import Path

from pycemrg.models.checksums import HashMismatchError
from pycemrg.models.local import Verified, plain_file
from pycemrg.models.manifest import Entry, Manifest
from pycemrg.models.store import Store, look_up

DEFAULT_CACHE = "~/.cache/pycemrg"


class ModelManager:
    r"""Hands out local paths to the models of a manifest, and fetches what is not there yet.

    A model is downloaded, verified and unpacked once and found again at once afterwards, without
    network. Threads and processes may share a cache and ask at the same time; whatever dies on the
    way, nothing half-done is ever handed out, and a file that was damaged in the cache is fetched
    again.

    Args:
        manifest_path: The YAML file that says what there is. Relative ``file://`` URLs in it
            start at its folder.
        cache_dir: Where to keep what was fetched; else ``$PYCEMRG_CACHE_DIR``, else
            ``~/.cache/pycemrg``.
        offline: Whether to leave the network alone; else ``$PYCEMRG_OFFLINE`` says so with ``1``.

    Raises:
        FileNotFoundError: If the manifest does not exist.
        ValueError: If it is not YAML, not a mapping or has a key twice; with file and line.
        RuntimeError: If it cannot be read.

    Example:
        >>> import tempfile, zipfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(folder / "seg_v2.zip", "w") as archive:
        ...     archive.writestr("checkpoints/model.pth", "weights")
        >>> _ = (folder / "models.yaml").write_text(
        ...     "segmentation:\n"
        ...     "  default: v2\n"
        ...     "  versions:\n"
        ...     "    v2: {url: 'file://seg_v2.zip', unzipped_target_path: checkpoints/model.pth}\n"
        ... )
        >>> models = ModelManager(folder / "models.yaml", cache_dir=folder / "cache")
        >>> models.get_model_path("segmentation").read_text()
        'weights'
    """

    def __init__(
        self,
        manifest_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        offline: bool | None = None,
    ) -> None:
        self.manifest_path = Path(manifest_path).absolute()
        self.cache_dir = _cache_dir(cache_dir)
        self.offline = _switched_on("PYCEMRG_OFFLINE") if offline is None else offline
        self._manifest = _load(manifest_path)
        self._store = Store(self.cache_dir)
        self._entries: dict[tuple[str, str], Entry] = {}
        self._verified: Verified = {}

    def get_model_path(self, model_name: str, version: str = "default") -> Path:
        """Return the path of a model's file or folder, after fetching it if need be.

        Args:
            model_name: A top-level key of the manifest.
            version: One of its versions; ``"default"`` is the one that its key ``default`` names.

        Returns:
            A resolved, absolute path. For a plain file with a ``file://`` URL it is that file.

        Raises:
            FileNotFoundError: If a ``file://`` URL leads nowhere.
            KeyError: If there is no such model or version; the message lists what there is.
            ValueError: If the entry is malformed; with file, line and column.
            HashMismatchError: If the bytes do not have the sha256 of the manifest. It is an
                OSError (IOError) and a RuntimeError.
            RuntimeError: If the bytes cannot be had, unpacked or stored, or the archive does not
                hold what the manifest says.
        """
        entry = self._entry(model_name, version)
        try:
            return self._path(entry)
        except HashMismatchError:
            raise
        except RuntimeError as error:
            raise RuntimeError(f"{entry.title}: {error}") from error.__cause__ or error

    def get_asset_path(self, asset_name: str, version: str = "default") -> Path:
        """Do what `get_model_path` does, under the name for things that are no models."""
        return self.get_model_path(asset_name, version)

    def _entry(self, model: str, version: str) -> Entry:
        entry = self._entries.get((model, version))
        if entry is None:
            entry = self._entries[model, version] = self._manifest.entry(model, version)
        return entry

    def _path(self, entry: Entry) -> Path:
        if entry.local and entry.archive is None:
            return plain_file(entry, self._verified)
        found = look_up(self._store.folder(entry), entry)
        if found is not None:
            return found
        from pycemrg.models.fetch import fetch  # requests, zipfile and the rest: 0.2 s

        return fetch(self._store, entry, offline=self.offline, seeds=_seeds())


def _load(path: str | os.PathLike[str]) -> Manifest:
    try:
        return Manifest(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RuntimeError(f"cannot read the manifest {os.fspath(path)}: {error}") from error


def _cache_dir(given: str | os.PathLike[str] | None) -> Path:
    chosen = given or os.environ.get("PYCEMRG_CACHE_DIR") or DEFAULT_CACHE
    return Path(chosen).expanduser().absolute()


def _switched_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "false", "no", "off")


def _seeds() -> list[Path]:
    named = os.environ.get("PYCEMRG_SEED_DIRS", "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in named if folder]
