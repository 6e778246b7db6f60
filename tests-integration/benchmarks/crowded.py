"""An environment with our packages as wheels and many other distributions beside them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from measure import child_environment
from results import WrongResultError
from uv import find_uv_bin

CHECKOUT = Path(__file__).resolve().parents[2]
MEMBERS = sorted(pyproject.parent for pyproject in CHECKOUT.glob("packages/*/pyproject.toml"))
OTHER_GROUP = "made_up.plugins"


class CrowdedEnvironment:
    """A virtual environment of this interpreter, made in a folder that should not exist yet.

    Our packages are built and installed as a user would have them: not editable, with bytecode.
    """

    def __init__(self, folder: Path, *, others: int) -> None:
        self._folder = folder
        self.python = folder / "bin" / "python"
        _run(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, folder)
        self.install(MEMBERS)
        site = Path(self.ask("import sysconfig; print(sysconfig.get_path('purelib'))"))
        for number in range(others):
            _write_distribution(site, f"made_up_{number:03}")
        self._check_crowd(others)
        self._check_origin(site)

    def install(self, projects: Iterable[Path]) -> None:
        """Build projects and install their wheels, with what these require."""
        # Built here: uv goes by the date of pyproject.toml and would reuse the wheel of older code.
        wheels = [_build(project, self._folder / "wheels" / project.name) for project in projects]
        python = ("--python", self.python)
        _run(find_uv_bin(), "pip", "install", "--quiet", "--compile-bytecode", *python, *wheels)

    def script(self, name: str) -> Path:
        """Give the path of a console script."""
        return self._folder / "bin" / name

    def ask(self, code: str) -> str:
        """Run Python code there and give what it printed, without the last newline."""
        return self.output(self.python, "-I", "-c", code)

    def output(self, *argv: str | os.PathLike[str]) -> str:
        """Run a command and give its stdout, without the last newline.

        Raises:
            WrongResultError: If it fails.
        """
        done = subprocess.run(
            argv, env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0:
            command = " ".join(map(str, argv))
            raise WrongResultError(f"{command} ended with {done.returncode}: {done.stderr}")
        return done.stdout.removesuffix("\n")

    def versions(self, *names: str) -> dict[str, str]:
        """Give the installed versions of some distributions."""
        asked = f"[(name, version(name)) for name in {names!r}]"
        code = f"import json; from importlib.metadata import version; print(json.dumps({asked}))"
        return dict(json.loads(self.ask(code)))

    def _check_crowd(self, others: int) -> None:
        code = "from importlib.metadata import entry_points as e; print(len(e(group={!r})))"
        found = self.ask(code.format(OTHER_GROUP))
        if found != str(others):
            raise WrongResultError(f"{found} other distributions are installed, not {others}")

    def _check_origin(self, site: Path) -> None:
        """Compare the installed modules with those of the checkout, byte for byte."""
        roots = [*CHECKOUT.glob("packages/*/src"), *CHECKOUT.glob("packages/*/upgrade")]
        ours = {name: content for root in roots for name, content in _modules(root).items()}
        installed = {f"pycemrg/{name}": text for name, text in _modules(site / "pycemrg").items()}
        odd = sorted(name for name in ours | installed if ours.get(name) != installed.get(name))
        if odd:
            raise WrongResultError(f"not as in this checkout, where installed: {', '.join(odd)}")


def _build(project: Path, into: Path) -> Path:
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", into)
    _run(*build, cwd=project)
    (wheel,) = into.glob("*.whl")
    return wheel


def _run(*argv: str | os.PathLike[str], cwd: Path | None = None) -> None:
    done = subprocess.run(
        argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}")


def _modules(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.py")}


def _write_distribution(site: Path, name: str) -> None:
    """Write what an installer would leave behind: a module, a script and a plugin of it."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (site / f"{name}.py").write_text("def main():\n    pass\n")
    contents = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "INSTALLER": "hand\n",
        "entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n\n"
        f"[{OTHER_GROUP}]\n{name} = {name}:main\n",
    }
    for file, content in contents.items():
        (info / file).write_text(content)
    listed = [f"{name}.py", *(f"{info.name}/{file}" for file in (*contents, "RECORD"))]
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in listed))
