"""Names of output files."""

import os
from pathlib import Path


class OutputManager:
    """Gives every output of a case a path of one pattern: ``{output_dir}/{prefix}{suffix}``.

    The output folder is made at once. A suffix may hold folders (``"/meshes/heart.vtk"``), which
    are for the caller to make.

    Args:
        output_dir: The folder of the outputs.
        output_prefix: What every file name begins with, such as the case's identifier.

    Raises:
        ValueError: If the prefix would lead out of `output_dir`.
        OSError: If the folder cannot be made.

    Example:
        >>> import tempfile
        >>> outputs = OutputManager(tempfile.mkdtemp(), "patient_042")
        >>> outputs.get_path("_segmentation.nii.gz").name
        'patient_042_segmentation.nii.gz'
    """

    def __init__(self, output_dir: str | os.PathLike[str], output_prefix: str) -> None:
        self.output_dir = Path(output_dir).absolute()
        self.prefix = str(output_prefix)
        self._inside("_", f"the prefix {self.prefix!r}")
        self.output_dir.mkdir(parents=True, exist_ok=True)

    def get_path(self, suffix: str) -> Path:
        """Return the absolute path of the output with this suffix; the file need not exist.

        Args:
            suffix: What follows the prefix, with the extension, such as ``"_mesh.vtk"``.

        Raises:
            ValueError: If `suffix` is empty, not a text, or would lead out of the output folder.
        """
        if not isinstance(suffix, str) or not suffix:
            raise ValueError(f"a suffix is a text such as '_mesh.vtk', not {suffix!r}")
        return self._inside(suffix, f"the suffix {suffix!r} after the prefix {self.prefix!r}")

    def _inside(self, suffix: str, what: str) -> Path:
        name = f"{self.prefix}{suffix}"
        first = Path(os.path.normpath(name)).parts[0]
        if Path(name).is_absolute() or Path(name).drive or first == ".." or "\0" in name:
            raise ValueError(
                f"{what} leads out of {self.output_dir}; use a plain name without '..'"
            )
        return self.output_dir / name
