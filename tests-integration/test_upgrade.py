"""From 0.1.x, one regular package, to version 1, five distributions that share its namespace.

pip installs the five first and then removes every file that 0.1.x owned, which now are theirs.
"""

import hashlib
import os
import re
import shlex
import sys
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

OLD_VERSION = "0.1.3"
OLD_FILES = (
    "__init__.py",
    "assets/__init__.py",
    "assets/manager.py",
    "cli.py",
    "core/__init__.py",
    "core/logs.py",
    "data/__init__.py",
    "data/labels.py",
    "files/__init__.py",
    "files/output.py",
    "files/project.py",
    "files/scaffold.py",
    "models/__init__.py",
    "models/manager.py",
    "system/__init__.py",
    "system/carp_runner.py",
    "system/runner.py",
)
PACKAGES = ("assets", "core", "data", "files", "models", "system")

IMPORT_EVERYTHING = """
import pycemrg.cli
from pycemrg.assets import AssetManager
from pycemrg.core import setup_logging
from pycemrg.data import LabelManager, LabelMapper
from pycemrg.files import ConfigScaffolder, OutputManager
from pycemrg.models import ModelManager
from pycemrg.system import CarpRunner, CommandRunner
"""


@pytest.fixture(scope="module")
def wheel_of_0_1(tmp_path_factory):
    """A made-up wheel that owns what 0.1.x owns."""
    info = f"pycemrg-{OLD_VERSION}.dist-info"
    files = {f"pycemrg/{name}": f"old = {name!r}\n" for name in OLD_FILES}
    files["pycemrg/cli.py"] = "def main():\n    print('the old command')\n"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: pycemrg\nVersion: {OLD_VERSION}\n"
    files[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{info}/entry_points.txt"] = "[console_scripts]\npycemrg = pycemrg.cli:main\n"
    rows = [f"{name},sha256={digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"

    path = tmp_path_factory.mktemp("old") / f"pycemrg-{OLD_VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return path


@pytest.fixture
def environment(new_environment, distributions, wheel_of_0_1):
    """An environment that holds 0.1.x and everything that is not ours."""
    environment = new_environment()
    dependencies = [
        requirement
        for built in distributions.values()
        for requirement in built.pyproject["project"]["dependencies"]
        if re.split("[^a-z-]", requirement)[0] not in distributions
    ]
    environment.install(*dependencies)
    pip(environment, "install", wheel_of_0_1)
    assert environment.output(environment.scripts / "pycemrg") == "the old command\n"
    return environment


@pytest.mark.parametrize("package", PACKAGES)
def test_each_import_package_that_0_1_owned_has_a_stand_in(distributions, package):
    found = {}
    for name, built in distributions.items():
        with zipfile.ZipFile(built.wheel) as wheel:
            if f"pycemrg/{package}.py" in wheel.namelist():
                found[name] = wheel.read(f"pycemrg/{package}.py")
                assert f"pycemrg/{package}/__init__.py" in wheel.namelist()
    assert len(found) == 1


def test_pip_upgrade_says_how_to_repair_it_and_that_works(environment, distributions):
    wheels = distributions["pycemrg"].wheel.parent
    pip(environment, "install", "--find-links", wheels, "--upgrade", "pycemrg")

    commands = set()
    for package in PACKAGES:
        done = environment.run(environment.python, "-I", "-c", f"import pycemrg.{package}")
        assert done.returncode == 1, f"pip left pycemrg.{package} whole; nothing is tested"
        last_line = done.stdout.splitlines()[-1]
        assert last_line.startswith("ImportError: upgrading pycemrg from 0.1.x")
        commands.add(last_line.split("repair the installation with: ")[1])
    done = environment.run(environment.python, "-c", "from pycemrg.data import LabelManager")
    assert "ImportError: upgrading pycemrg from 0.1.x" in done.stdout

    (command,) = commands
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "pip", "install"]
    pip(environment, "install", "--find-links", wheels, *words[4:])
    assert_everything_works(environment, distributions)


def test_uninstalling_first_needs_no_repair(environment, distributions):
    wheels = distributions["pycemrg"].wheel.parent
    pip(environment, "uninstall", "--yes", "pycemrg")
    pip(environment, "install", "--find-links", wheels, "pycemrg")
    assert_everything_works(environment, distributions)


def test_upgrading_with_uv_needs_no_repair(environment, distributions):
    environment.install("--upgrade", "pycemrg")
    assert_everything_works(environment, distributions)


def assert_everything_works(environment, distributions) -> None:
    environment.output(environment.python, "-I", "-c", IMPORT_EVERYTHING)
    version = distributions["pycemrg"].pyproject["project"]["version"]
    assert version in environment.output(environment.scripts / "pycemrg", "--version")
    where = environment.output(
        environment.python, "-c", "import pycemrg.core as c; print(c.__file__)"
    )
    namespace = Path(where.strip()).parents[1]
    left = {path for path in namespace.rglob("*.py") if path.read_text().startswith("old = ")}
    assert left == set()
    assert not (namespace / "__init__.py").exists()


def pip(environment, *arguments: str | Path) -> None:
    """Run pip on an environment, with no index, so that only our wheels have our names."""
    environment.output(
        sys.executable,
        *("-m", "pip", "--python", environment.python),
        *arguments,
        PIP_CONFIG_FILE=os.devnull,
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_INDEX="1",
    )


def digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
