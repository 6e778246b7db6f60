"""Starter manifests for a new project."""

import os
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase

from pycemrg.core.whole_files import write_whole

MODELS_MANIFEST = """\
# Models and other archives of this project, read by pycemrg.models.ModelManager.
#
# A model has versions; `default` names the one to use when none is asked for.
# A version has
#   url                    https://..., or file://... for a local file; a relative
#                          file:// path starts at the folder of this file.
#   sha256                 64 hexadecimal digits, as `sha256sum FILE` prints them.
#                          A download with any other content is refused.
#   unzipped_target_path   for archives (.zip, .tar.gz, ...): the file or folder
#                          inside the archive that the program wants.
#
# Replace the entry below by your own.

segmentation_model:
  default: v1.0
  versions:
    v1.0:
      url: "https://example.com/models/segmentation_v1.0.zip"
      sha256: "0000000000000000000000000000000000000000000000000000000000000000"
      unzipped_target_path: "checkpoints/model.pth"
    local:
      url: "file://weights/model.pth"
"""

LABELS_HEADER = """\
# Label standard of this project, read by pycemrg.data.LabelManager.
#
# labels: a name for every integer in the segmentation or mesh.
# groups: names for sets of labels; a group may hold other groups.
#
# Replace the placeholders by your own structures.

"""


class ConfigScaffolder:
    """Writes starter manifests, which load as they are and are meant to be edited.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> scaffolder = ConfigScaffolder()
        >>> scaffolder.create_labels_manifest(folder / "labels.yaml", num_labels=2)
        >>> scaffolder.create_models_manifest(folder / "models.yaml")
        >>> sorted(path.name for path in folder.iterdir())
        ['labels.yaml', 'models.yaml']
    """

    def create_models_manifest(
        self, output_path: str | os.PathLike[str] = "models.yaml", overwrite: bool = False
    ) -> None:
        """Write a starter models manifest with usage examples.

        Args:
            output_path: The file to write; its folder is made.
            overwrite: Whether an existing file is replaced.

        Raises:
            FileExistsError: If the file exists and `overwrite` is False.
            OSError: If it cannot be written.
        """
        self._write_file(Path(output_path), MODELS_MANIFEST, overwrite)

    def create_labels_manifest(
        self,
        output_path: str | os.PathLike[str] = "labels.yaml",
        overwrite: bool = False,
        num_labels: int = 3,
        num_groups: int = 1,
    ) -> None:
        """Write a starter label manifest with placeholder labels, spread evenly over groups.

        Args:
            output_path: The file to write; its folder is made.
            overwrite: Whether an existing file is replaced.
            num_labels: How many labels beside the background: ``structure_1``, ``structure_2`` ...
            num_groups: How many groups: ``group_a``, ``group_b`` ...; larger groups come first.

        Raises:
            FileExistsError: If the file exists and `overwrite` is False.
            ValueError: If `num_labels` is less than 1, or `num_groups` is not between 1 and it.
            OSError: If it cannot be written.
        """
        self._write_file(Path(output_path), _labels_manifest(num_labels, num_groups), overwrite)

    def _write_file(self, path: Path, content: str, overwrite: bool) -> None:
        """Write a manifest whole; programs that subclass the scaffolder call this too."""
        write_whole(path, content, overwrite=overwrite)


def _labels_manifest(num_labels: int, num_groups: int) -> str:
    if num_labels < 1:
        raise ValueError(f"num_labels must be at least 1, not {num_labels}")
    if not 1 <= num_groups <= num_labels:
        raise ValueError(
            f"num_groups must be between 1 and num_labels ({num_labels}), not {num_groups}"
        )
    names = [f"structure_{number}" for number in range(1, num_labels + 1)]
    lines = ["labels:", "  background: 0"]
    lines += [f"  {name}: {value}" for value, name in enumerate(names, start=1)]
    lines += ["", "groups:"]
    rest = iter(names)
    for index, suffix in enumerate(islice(_suffixes(), num_groups)):
        size = num_labels // num_groups + (index < num_labels % num_groups)
        lines.append(f"  group_{suffix}:")
        lines += [f"    - {name}" for name in islice(rest, size)]
    return LABELS_HEADER + "\n".join(lines) + "\n"


def _suffixes() -> Iterator[str]:
    """Yield a ... z, aa, ab ..."""
    length = 1
    while True:
        yield from map("".join, product(ascii_lowercase, repeat=length))
        length += 1
