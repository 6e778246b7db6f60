"""Who fetches: pycemrg, pooch and huggingface_hub, all called in the same way.

The peers are in the bench environment only, so they are imported where they are used.
"""

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_server import COMMIT, REPOSITORY
from weights import FOLDER, Archive, check

from pycemrg.models import ModelManager

TUNED = 1 << 20  # bytes, for the chunks of pooch; 1,024 by default
MODEL = "weights"


@dataclass(frozen=True)
class Offer:
    """An archive on a server.

    Args:
        archive: What it should be.
        origin: Scheme, host and port of the server.
        manifest: A models.yaml that has the archive as its only model, `MODEL`.
    """

    archive: Archive
    origin: str
    manifest: Path

    @property
    def url(self) -> str:
        """Where the archive is."""
        return f"{self.origin}/files/{self.archive.path.name}"

    @property
    def known_hash(self) -> str:
        """The sha256 of the archive as pooch wants it."""
        return f"sha256:{self.archive.sha256}"


def offer(archive: Archive, origin: str) -> Offer:
    """Write the manifest beside the archive and say where that can be fetched."""
    made = Offer(archive, origin, archive.path.with_suffix(".yaml"))
    made.manifest.write_text(
        f"{MODEL}:\n"
        f"  default: v1\n"
        f"  versions:\n"
        f"    v1: {{url: '{made.url}', sha256: {archive.sha256}, unzipped_target_path: {FOLDER}}}\n"
    )
    return made


@dataclass(frozen=True)
class Client:
    """One way to fetch.

    Args:
        name: Of the package, and how it is used.
        fetch: Gets an offer into a cache and returns what it is called for: the path of a file or
            of a folder, or the paths of files. Called again, it looks up.
        unpacks: Whether that is what the archive holds, not the archive.
    """

    name: str
    fetch: Callable[[Offer, Path], Any]
    unpacks: bool = True

    def check(self, returned: Any, offer: Offer) -> None:
        """Compare what was returned with what the archive holds.

        Raises:
            WrongResultError: If a file is missing, wrong or not wanted.
            OSError: If a file cannot be read.
        """
        archive = offer.archive
        wanted = archive.members if self.unpacks else {archive.path.name: archive.sha256}
        check(self.name, _files(returned), wanted)


def _files(returned: Any) -> Iterator[Path]:
    paths = returned if isinstance(returned, list) else [returned]
    for path in map(Path, paths):
        yield from sorted(path.iterdir()) if path.is_dir() else [path]


def fetch_ours(offer: Offer, cache: Path) -> Path:
    """Fetch as a program that has just started does."""
    return ModelManager(offer.manifest, cache_dir=cache).get_model_path(MODEL)


def fetch_pooch(offer: Offer, cache: Path) -> Any:
    """Fetch and unpack with the defaults."""
    return _retrieve(offer, cache, offer.known_hash)


def fetch_pooch_tuned(offer: Offer, cache: Path) -> Any:
    """Fetch and unpack with chunks of the best size."""
    import pooch

    downloader = pooch.HTTPDownloader(chunk_size=TUNED)
    return _retrieve(offer, cache, offer.known_hash, downloader=downloader)


def fetch_pooch_unverified(offer: Offer, cache: Path) -> Any:
    """Fetch and unpack whatever comes, and believe whatever is there."""
    return _retrieve(offer, cache, None)


def _retrieve(offer: Offer, cache: Path, known_hash: str | None, **options: Any) -> Any:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    name = offer.archive.path.name
    unzip = pooch.Unzip()
    return pooch.retrieve(offer.url, known_hash, fname=name, path=cache, processor=unzip, **options)


def fetch_hub(offer: Offer, cache: Path) -> str:
    """Fetch the archive, of a commit: so what is there is found without a request."""
    from huggingface_hub import hf_hub_download

    name = offer.archive.path.name
    return hf_hub_download(
        REPOSITORY, name, revision=COMMIT, cache_dir=cache, endpoint=offer.origin
    )


def fetch_hub_and_unzip(offer: Offer, cache: Path) -> Path:
    """Fetch the archive and unpack it, which is left to the user."""
    with zipfile.ZipFile(fetch_hub(offer, cache)) as archive:
        archive.extractall(cache / "unpacked")
    return cache / "unpacked" / FOLDER


OURS = Client("pycemrg", fetch_ours)
POOCH = Client("pooch", fetch_pooch)
POOCH_TUNED = Client(f"pooch, chunks of {TUNED >> 10:,} KiB", fetch_pooch_tuned)
POOCH_UNVERIFIED = Client("pooch, without a hash", fetch_pooch_unverified)
HUB = Client("huggingface_hub, archive only", fetch_hub, unpacks=False)
HUB_AND_UNZIP = Client("huggingface_hub, then zipfile", fetch_hub_and_unzip)


def settings(folder: Path, origin: str) -> Mapping[str, str]:
    """Give the environment in which no client leaves this machine or reads what the user set up."""
    return {
        "HOME": str(folder),  # netrc, caches, tokens
        "HF_HOME": str(folder / "huggingface"),
        "HF_ENDPOINT": origin,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


@contextmanager
def quiet_and_alone(folder: Path, origin: str) -> Iterator[None]:
    """Run a block with `settings`, without settings of the user, and with nothing on stderr."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("PYCEMRG_", "HF_", "HUGGING", "POOCH_")):
            del os.environ[name]
    os.environ.update(settings(folder, origin))
    try:
        # Not a terminal, so nobody draws a progress bar.
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
