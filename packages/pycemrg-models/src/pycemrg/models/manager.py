"""ModelManager: from the name of a model to the path of its files."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pycemrg.models.cache import ModelCache
from pycemrg.models.checksums import HashMismatchError
from pycemrg.models.local import Verified, plain_file
from pycemrg.models.manifest import Entry, Manifest
from pycemrg.models.progress import Report
from pycemrg.models.store import Store, look_up

if TYPE_CHECKING:
    from pycemrg.core.problems import Problem
    from pycemrg.models.inventory import Damage
    from pycemrg.models.sources import Access


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
        progress: Called with a `Progress` for every piece that is read, downloaded or unpacked, in
            the thread that does it; for one model never twice at a time. Without it a bar is drawn
            where standard error is a terminal, and a line logged every ten seconds elsewhere.

    Attributes:
        cache: What is stored, whatever the manifest says: see `ModelCache`.

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
        progress: Report | None = None,
    ) -> None:
        self.manifest_path = Path(manifest_path).absolute()
        self.cache = ModelCache(cache_dir, progress=progress)
        self.cache_dir = self.cache.cache_dir
        self.offline = _switched_on("PYCEMRG_OFFLINE") if offline is None else offline
        self.progress = progress
        self._manifest = _load(manifest_path)
        self._store = self.cache.store
        self._sites = [Store(folder) for folder in _folders("PYCEMRG_SITE_CACHE")]
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

    def find_model(self, model_name: str, version: str = "default") -> Path | None:
        """Return the path of a model if it is there, whole; fetch nothing and write nothing.

        Raises:
            FileNotFoundError: If a ``file://`` URL leads nowhere.
            KeyError: If there is no such model or version; the message lists what there is.
            ValueError: If the entry is malformed; with file, line and column.
            HashMismatchError: If a plain local file does not have the sha256 of the manifest.
            RuntimeError: If the archive is there and does not hold what the manifest says.
        """
        return self._found(self._entry(model_name, version), read_only=True)

    def entries(self, names: Iterable[str] | None = None) -> list[Entry]:
        """Return every version of every model, or those that are named.

        Args:
            names: A model stands for its default version, ``model@version`` for that one.

        Raises:
            KeyError: If there is no such model or version; the message lists what there is.
            ValueError: If an entry is malformed; with file, line and column.
        """
        return self._manifest.entries(names)

    def models(self) -> list[str]:
        """Return the names of all models, in the order of the manifest."""
        return self._manifest.models()

    def names(self) -> list[str]:
        """Return ``model@version`` for each version of each model, also of malformed ones."""
        return self._manifest.names()

    def prefetch(
        self,
        names: Iterable[str] | None = None,
        *,
        tell: Callable[[str, Path], object] | None = None,
    ) -> dict[str, Path]:
        """Fetch what is not there yet, so that nothing has to be fetched later.

        Args:
            names: A model stands for its default version, ``model@version`` for that one; None
                for every version of every model.
            tell: Called with name and path of each as soon as it is there.

        Returns:
            The path of each, under ``model@version``.

        Raises:
            KeyError: If there is no such model or version; the message lists what there is, and
                nothing is fetched.
            RuntimeError: If some could not be had. The others were fetched all the same, and the
                message says what went wrong with each.
        """
        wanted = self.names() if names is None else list(names)
        paths: dict[str, Path] = {}
        failures: list[Exception] = []
        for entry in self._readable(wanted, failures):
            try:
                paths[entry.name] = self.get_model_path(entry.model, entry.version)
            except (OSError, RuntimeError, ValueError) as error:
                failures.append(error)
            else:
                if tell is not None:
                    tell(entry.name, paths[entry.name])
        _raise_all(failures)
        return paths

    def _readable(self, names: Iterable[str], failures: list[Exception]) -> list[Entry]:
        """Return the entries of some names once each; add what is malformed to the failures."""
        entries = {}
        for name in names:
            try:
                (entry,) = self.entries([name])
                entries[entry.name] = entry
            except ValueError as error:
                failures.append(error)
        return list(entries.values())

    def export_bundle(
        self,
        path: str | os.PathLike[str],
        names: Iterable[str] | None = None,
        *,
        overwrite: bool = False,
    ) -> list[str]:
        """Write what a site without internet needs to one file; see `ModelCache.import_bundle`.

        Archives are downloaded again unless they lie in the folder of the cache or in one of
        ``$PYCEMRG_SEED_DIRS``: the store keeps what they hold, and not them.

        Args:
            path: The bundle to write, a tar file.
            names: As for `entries`.
            overwrite: Whether an existing file may be replaced.

        Returns:
            What was left out and why, a sentence each: what has no sha256, and local files that
            are used where they lie.

        Raises:
            FileExistsError: If `path` exists and `overwrite` is False.
            KeyError, ValueError: As for `entries`.
            FileNotFoundError, HashMismatchError, RuntimeError: As for `get_model_path`.
            OSError: If the bundle cannot be written.
        """
        from pycemrg.models.bundle import export_bundle

        entries = self.entries(names)
        return export_bundle(self._store, entries, path, self._access(), overwrite=overwrite)

    def verify(self, names: Iterable[str] | None = None, *, deep: bool = False) -> "list[Damage]":
        """Return what is not as it was stored, here or in a cache of the site; change nothing.

        What is not there yet is no damage, nor are local files that are used where they lie.

        Args:
            names: As for `entries`.
            deep: As for `ModelCache.verify`.

        Raises:
            KeyError, ValueError: As for `entries`.
            RuntimeError: If a cache is there and cannot be read.
        """
        from pycemrg.models.inventory import keys_of, verify_objects

        keys = keys_of(self.entries(names))
        stores = [*self._sites, self._store]
        return [
            damage for store in stores for damage in verify_objects(store, deep=deep, keys=keys)
        ]

    def problems(self) -> "list[Problem]":
        """Return everything that is wrong or doubtful in the manifest, in the order of the file.

        An error is what `get_model_path` would raise for some model or version; a warning is, for
        example, a version without sha256, or a password in a URL. Nothing is fetched.
        """
        from pycemrg.models.manifest_problems import problems_of

        return problems_of(self._manifest)

    def _entry(self, model: str, version: str) -> Entry:
        entry = self._entries.get((model, version))
        if entry is None:
            entry = self._entries[model, version] = self._manifest.entry(model, version)
        return entry

    def _path(self, entry: Entry) -> Path:
        found = self._found(entry)
        if found is not None:
            return found
        from pycemrg.models.fetch import fetch  # requests, zipfile and the rest: 0.2 s

        return fetch(self._store, entry, self._access())

    def _access(self) -> "Access":
        from pycemrg.models.sources import Access

        return Access(self.offline, _folders("PYCEMRG_SEED_DIRS"), self.progress)

    def _found(self, entry: Entry, *, read_only: bool = False) -> Path | None:
        if entry.local and entry.archive is None:
            return plain_file(entry, self._verified)
        for site in self._sites:
            found = self._at_site(site, entry)
            if found is not None:
                return found
        return look_up(self._store.folder(entry), entry, read_only=read_only)

    def _at_site(self, site: Store, entry: Entry) -> Path | None:
        try:
            return look_up(site.folder(entry), entry, read_only=True)
        except RuntimeError:  # it lacks the target: what the site has may be older than the URL
            return None


def _raise_all(failures: Sequence[Exception]) -> None:
    if len(failures) == 1:
        raise RuntimeError(str(failures[0])) from failures[0]
    if failures:
        listed = "\n".join(str(error) for error in failures)
        raise RuntimeError(f"{len(failures)} could not be fetched:\n{listed}") from failures[0]


def _load(path: str | os.PathLike[str]) -> Manifest:
    try:
        return Manifest(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RuntimeError(f"cannot read the manifest {os.fspath(path)}: {error}") from error


def _switched_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "false", "no", "off")


def _folders(variable: str) -> list[Path]:
    named = os.environ.get(variable, "").split(os.pathsep)
    return [Path(folder).expanduser() for folder in named if folder]
