"""A study of one's own: a folder with label standards, models, scripts and a case that runs."""

import errno
import keyword
import os
import re
import secrets
import shutil
import sys
from pathlib import Path
from string import Template

from pycemrg.core.whole_files import whole_file, write_whole

# What a study holds, and where its text stands in templates/study. A name there has no leading dot
# and no name that a tool looks for (git obeys every .gitignore, packagers every pyproject.toml);
# "$word" is filled in where the stored name ends in ".in".
STUDY_FILES = {
    ".gitignore": "gitignore",
    "README.md": "README.md.in",
    "config/atlas_labels.yaml": "config/atlas_labels.yaml",
    "config/clinical_labels.yaml": "config/clinical_labels.yaml",
    "config/models.yaml": "config/models.yaml",
    "config/simulation_labels.yaml": "config/simulation_labels.yaml",
    "outputs/.gitignore": "outputs/gitignore",
    "pyproject.toml": "pyproject.toml.in",
    "scripts/make_heart.py": "scripts/make_heart.py",
    "scripts/mesh_voxels.py": "scripts/mesh_voxels.py",
    "scripts/report_case.py": "scripts/report_case.py",
    "scripts/run_case.py": "scripts/run_case.py",
}
PACKAGE_FILE = "src/package.py.in"
ARCHIVE = "config/archives/adult_reference_volumes.zip"
ARCHIVE_FILES = {
    "adult_reference_volumes/SOURCES.md": "archive/SOURCES.md",
    "adult_reference_volumes/volumes_ml.csv": "archive/volumes_ml.csv",
}

_TEMPLATES = Path(__file__).parent / "templates" / "study"
_TAKEN = sys.stdlib_module_names | {"matplotlib", "nibabel", "numpy", "pycemrg"}


class ProjectScaffolder:
    """Makes studies: folders whose pipeline runs as it stands and is theirs to change.

    A study holds ``config/`` (a clinical, an atlas and a simulation label standard, models.yaml and
    the archive it names), ``scripts/`` (an idealised heart, a voxel mesher, the pipeline of a
    case), ``outputs/``, ``pyproject.toml``, ``README.md`` and ``.gitignore``.

    Example:
        >>> import tempfile
        >>> study = ProjectScaffolder().create_project("my-study", tempfile.mkdtemp())
        >>> sorted(path.name for path in study.iterdir())
        ['.gitignore', 'README.md', 'config', 'outputs', 'pyproject.toml', 'scripts']
    """

    def create_project(
        self,
        name: str,
        parent_dir: str | os.PathLike[str] = ".",
        *,
        with_src: bool = False,
        overwrite: bool = False,
    ) -> Path:
        """Make the study `name` in `parent_dir`, all of it or nothing.

        Args:
            name: The name of the folder.
            parent_dir: Where to make it; missing folders are made.
            with_src: Whether to add ``src/<package>/`` for code that several scripts share, and
                what pyproject.toml needs to install it.
            overwrite: Whether to write the files of a study again in a folder that holds something.
                Each is replaced whole; every other file stays.

        Returns:
            The absolute path of the study.

        Raises:
            ValueError: If `name` is not the name of one folder: empty, ``.`` or ``..``, with a
                path separator, a leading ``-`` or characters that cannot be printed.
            FileExistsError: If the folder exists and is not empty, and `overwrite` is False; or if
                something else than a folder has the name.
            OSError: If the study cannot be written.
        """
        _check_name(name)
        study = Path(parent_dir).resolve() / name
        occupied = _is_occupied(study)
        if occupied and not overwrite:
            raise FileExistsError(
                f"{study} already exists and is not empty; pass overwrite=True to write the files "
                "of the study again, every other file stays"
            )
        if occupied:
            _write_files(study, name, with_src)
        else:
            _make_whole(study, with_src)
        return study


def _check_name(name: str) -> None:
    separators = {"/", "\\", os.sep, os.altsep or os.sep}
    if not name.strip() or name in (".", "..") or separators & set(name):
        raise ValueError(f"{name!r} is not the name of a folder; expected one such as 'my-study'")
    if name.startswith("-") or name != name.strip() or not name.isprintable():
        raise ValueError(
            f"{name!r} would make trouble on a command line; expected a name such as 'my-study'"
        )


def _is_occupied(study: Path) -> bool:
    if study.is_dir():
        return study.is_symlink() or any(study.iterdir())
    if os.path.lexists(study):
        raise FileExistsError(f"{study} already exists and is not a folder; choose another name")
    return False


def _make_whole(study: Path, with_src: bool) -> None:
    draft = study.with_name(f".{secrets.token_hex(4)}.{study.name}")
    draft.mkdir(parents=True)
    try:
        _write_files(draft, study.name, with_src)
        if study.is_dir():
            study.rmdir()  # an empty folder; only POSIX renames onto it
        draft.rename(study)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise FileExistsError(f"{study} was made by somebody else meanwhile") from error
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_files(folder: Path, name: str, with_src: bool) -> None:
    package = _package_name(name)
    files = dict(STUDY_FILES)
    if with_src:
        files[f"src/{package}/__init__.py"] = PACKAGE_FILE
    words = {
        "name": name,
        "distribution": package.replace("_", "-"),
        # Without a package the wheel is empty: installing the study installs what it requires.
        "wheel": f'packages = ["src/{package}"]' if with_src else "bypass-selection = true",
    }
    for target, stored in files.items():
        text = _stored(stored)
        write_whole(
            folder / target, Template(text).substitute(words) if stored.endswith(".in") else text
        )
    _write_archive(folder / ARCHIVE)


def _stored(name: str) -> str:
    """Return a template's text; line ends are newlines, whatever a checkout made of them."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _package_name(name: str) -> str:
    """Return a module name that shadows nothing, such as ``my_study`` for ``My study``."""
    package = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not package or package[0].isdigit() or keyword.iskeyword(package) or package in _TAKEN:
        package = f"study_{package}".strip("_")
    return package


def _write_archive(path: Path) -> None:
    """Write the archive that models.yaml names, with the same bytes every time and everywhere."""
    import zipfile  # 10 ms that a program which only wants output paths need not pay

    with whole_file(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
        for member, stored in ARCHIVE_FILES.items():
            entry = zipfile.ZipInfo(member, date_time=(2026, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on Windows too
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, _stored(stored))
