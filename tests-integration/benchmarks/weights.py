"""Archives of made-up weights: normally distributed float32, as networks have them."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from results import WrongResultError

FOLDER = "weights"


@dataclass(frozen=True)
class Archive:
    """A zip of weights, and what it holds.

    Args:
        path: Where it lies. Beside it lies its sha256, for the server.
        sha256: Of the archive.
        members: The sha256 of each file, by its name in the folder `FOLDER`.
    """

    path: Path
    sha256: str
    members: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes of the archive."""
        return self.path.stat().st_size


def make_archive(
    path: Path, sizes: Sequence[int], *, compression: int = zipfile.ZIP_STORED
) -> Archive:
    """Write a zip with one file of weights per size, in bytes before compression."""
    import numpy as np  # processes that only look at an archive do without

    random = np.random.default_rng(len(sizes))
    members = {}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for number, size in enumerate(sizes):
            content = random.standard_normal(size // 4, dtype=np.float32).tobytes()
            members[f"layer_{number}.bin"] = hashlib.sha256(content).hexdigest()
            archive.writestr(f"{FOLDER}/layer_{number}.bin", content)
    sha256 = _sha256(path)
    Path(f"{path}.sha256").write_text(sha256)
    return Archive(path, sha256, members)


def check(who: str, files: Iterable[Path], wanted: Mapping[str, str]) -> None:
    """Compare files with the sha256 that each name should have.

    Raises:
        WrongResultError: If a file is missing, wrong or not wanted.
        OSError: If a file cannot be read.
    """
    found = {path.name: _sha256(path) for path in files}
    if found != wanted:
        odd = sorted(name for name in found | dict(wanted) if found.get(name) != wanted.get(name))
        raise WrongResultError(f"{who} does not give the right {', '.join(odd)}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
