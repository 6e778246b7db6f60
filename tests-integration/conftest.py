"""Fixtures: the distributions in environments of their own, and a study to work in.

The first are built once and installed as users get them. The others are an empty folder, child
processes, stand-in tools, archives, a web server and a made-up CARPentry.
"""

import hashlib
import http.server
import os
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uv

ROOT = Path(__file__).parents[1]
# The modules here that are no tests, such as `archive_corpus`, are imported by name.
sys.path.insert(0, str(Path(__file__).parent))


@dataclass(frozen=True)
class Distribution:
    """A member of packages/, its sdist, and its wheel built from the tree and from that sdist."""

    folder: Path
    pyproject: dict[str, Any]
    sdist: Path
    wheel: Path
    wheel_from_sdist: Path


class Environment:
    """A virtual environment; what runs in it sees nothing of the environment of development."""

    def __init__(self, folder: Path, wheels: dict[str, Path]) -> None:
        self.scripts = Path(sysconfig.get_path("scripts", "venv", vars={"base": str(folder)}))
        self.python = self.scripts / Path(sys.executable).name
        self._uv("venv", "--quiet", "--python", sys.executable, folder)
        # As constraints, our wheels answer to these names wherever a requirement comes from. An
        # index may hold a distribution of the same name.
        self._ours = folder / "ours.txt"
        self._ours.write_text("".join(f"{n} @ {w.as_uri()}\n" for n, w in wheels.items()))

    def install(self, *requirements: str | Path) -> None:
        """Install with uv; the names of our distributions always mean our wheels."""
        pip = ("pip", "install", "--quiet", "--python", self.python)
        self._uv(*pip, "--constraints", self._ours, *requirements)

    def run(
        self, *command: str | Path, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and return how it ended, stderr merged into stdout."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST_"))}
        kept.pop("VIRTUAL_ENV", None)
        ours = Path(sys.executable).parent
        path = [p for p in os.get_exec_path() if Path(p) != ours]
        kept["PATH"] = os.pathsep.join([str(self.scripts), *path])
        return subprocess.run(
            command,
            cwd=cwd or self.scripts,
            env={**kept, **variables},
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def output(self, *command: str | Path, cwd: Path | None = None, **variables: str) -> str:
        """Run a command that must succeed and return what it wrote."""
        done = self.run(*command, cwd=cwd, **variables)
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _uv(self, *arguments: str | Path) -> None:
        command = [uv.find_uv_bin(), *arguments]
        done = subprocess.run(command, text=True, encoding="utf-8", capture_output=True)
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stderr}"


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Distribution]:
    """Every member of packages/ by name."""
    built = tmp_path_factory.mktemp("dist")
    again = tmp_path_factory.mktemp("dist-from-sdist")
    found = {}
    for file in sorted(ROOT.glob("packages/*/pyproject.toml")):
        pyproject = tomllib.loads(file.read_text(encoding="utf-8"))
        name, version = pyproject["project"]["name"], pyproject["project"]["version"]
        stem = f"{name.replace('-', '_')}-{version}"
        _build(file.parent, built, "sdist", "wheel")
        with tarfile.open(built / f"{stem}.tar.gz") as sdist:
            # CPython 3.11.0 to 3.11.3, such as Debian 12's, has no extraction filters.
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            sdist.extractall(again, **safely)
        _build(again / stem, again, "wheel")
        found[name] = Distribution(
            folder=file.parent,
            pyproject=pyproject,
            sdist=built / f"{stem}.tar.gz",
            wheel=built / f"{stem}-py3-none-any.whl",
            wheel_from_sdist=again / f"{stem}-py3-none-any.whl",
        )
    return found


@pytest.fixture
def new_environment(
    tmp_path: Path, distributions: dict[str, Distribution]
) -> Callable[[], Environment]:
    """Make an empty environment in which the names of our distributions mean our wheels."""
    wheels = {name: found.wheel for name, found in distributions.items()}
    return lambda: Environment(tmp_path / "environment", wheels)


def _build(folder: Path, into: Path, *targets: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(into)]
    for target in targets:
        command += ["--target", target]
    done = subprocess.run(command, cwd=folder, text=True, encoding="utf-8", capture_output=True)
    assert done.returncode == 0, f"{folder.name} cannot be built:\n{done.stdout}{done.stderr}"


STEERING = (
    "CARPENTRY_LICENSE",
    "CARPUTILS_SETTINGS",
    "LD_LIBRARY_PATH",
    "PYCEMRG_CACHE_DIR",
    "PYCEMRG_OFFLINE",
    "PYCEMRG_SEED_DIRS",
)

CONFIG_SH = """\
CARPENTRY_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
echo "CARPentry at ${CARPENTRY_ROOT}"
export OPAL_PREFIX="${CARPENTRY_ROOT}/openmpi"
export OPAL_BINDIR="${OPAL_PREFIX}/bin"
export OPAL_LIBDIR="${OPAL_PREFIX}/lib"
export VIRTUAL_ENV="${CARPENTRY_ROOT}/venv"
export PATH="${CARPENTRY_ROOT}/bin:${OPAL_BINDIR}${PATH:+:${PATH}}"
export LD_LIBRARY_PATH="${CARPENTRY_ROOT}/petsc/lib${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}"
export PYTHONPATH="${CARPENTRY_ROOT}/carputils${PYTHONPATH:+:${PYTHONPATH}}"
export CARPENTRY_LICENSE="${CARPENTRY_ROOT}/license.bin"
export CARPUTILS_SETTINGS="${CARPENTRY_ROOT}/settings.yaml"
"""

CARPENTRY_TOOLS = {
    # A solver in two lines: `openCARP +F experiment.par` leaves experiment_vm.igb where it runs.
    "openCARP": 'echo "license: $CARPENTRY_LICENSE"\n[ "$1" = +F ] && : > "${2%.par}_vm.igb"',
    "meshtool": 'echo "meshtool $*"',
    "cusummary": 'echo "settings: $CARPUTILS_SETTINGS"',
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and home, without variables that steer the library."""
    for name in STEERING:
        monkeypatch.delenv(name, raising=False)
    home, folder = tmp_path / "home", tmp_path / "study"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def make_tool(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Path]:
    """Puts a shell script on PATH, under the name that it is given."""
    tools = tmp_path / "tools"
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    return lambda name, body: _write_script(tools / name, body)


@pytest.fixture
def run_program(study: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python program in a child process, in the study's folder."""

    def run(source: str, *, ok: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        program = tmp_path / "program" / "program.py"
        program.parent.mkdir(exist_ok=True)
        program.write_text(textwrap.dedent(source), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, program],
            cwd=study,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def run_cli(study: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the `pycemrg` command in the study's folder."""
    script = Path(sys.executable).with_name("pycemrg")
    command = [script] if script.exists() else [sys.executable, "-m", "pycemrg.cli"]

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            cwd=study,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    return run


@pytest.fixture
def zip_up() -> Callable[[Path, dict[str, bytes]], str]:
    """Writes a zip archive and returns its sha256."""

    def write(path: Path, members: dict[str, bytes]) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return write


@pytest.fixture
def website(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A loopback web server: `folder` is served at `url`, `seen` lists the GETs."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder, seen = tmp_path / "website", []
    folder.mkdir()
    handler = partial(_CountingHandler, directory=str(folder), seen=seen)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        yield SimpleNamespace(folder=folder, seen=seen, url=url)
        server.shutdown()
        thread.join()


@pytest.fixture
def make_carpentry(study: Path) -> Callable[[Path], Path]:
    """Makes a CARPentry installation in a folder and returns its config.sh."""

    def make(folder: Path, config: str = CONFIG_SH) -> Path:
        for name, body in CARPENTRY_TOOLS.items():
            _write_script(folder / "bin" / name, body)
        (folder / "license.bin").write_bytes(b"license")
        (folder / "settings.yaml").write_text("PYTHON_EXECUTABLE: python3\n", encoding="utf-8")
        (folder / "config.sh").write_text(config, encoding="utf-8")
        return folder / "config.sh"

    return make


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes | None]]:
    """Reads a folder: the bytes of every file, None for a folder."""

    def read(folder: Path) -> dict[str, bytes | None]:
        return {
            path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
            for path in sorted(folder.rglob("*"))
        }

    return read


class _CountingHandler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, seen: list[str], **kwargs: Any) -> None:
        self.seen = seen
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        self.seen.append(self.path)
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


def _write_script(path: Path, body: str) -> Path:
    if sys.platform == "win32":
        pytest.skip("the stand-in tools are shell scripts")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(body)}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def real():
    """The folder with real standards, volumes and meshes, which are no part of the project."""
    named = os.environ.get("PYCEMRG_REAL_DATA")
    beside = [folder / "shared" / "real" for folder in Path(__file__).resolve().parents]
    for folder in [Path(named)] if named else beside:
        if all((folder / part).is_dir() for part in ("manifests", "meshes", "volumes")):
            return folder
    pytest.skip("no real data: PYCEMRG_REAL_DATA names no folder with manifests, meshes, volumes")
