"""What goes to the package index: each distribution complete, alone, and nobody else's."""

import email
import importlib.util
import json
import pkgutil
import re
import shutil
import tarfile
import zipfile
from collections import Counter
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import pycemrg

packaging = pytest.mark.packaging

ROOT = Path(__file__).parents[1]
MEMBERS = sorted(file.parent.name for file in ROOT.glob("packages/*/pyproject.toml"))
META = "pycemrg"
WITH_MODULES = [name for name in MEMBERS if name != META]

WHERE_EACH_MODULE_IS = """
import importlib.util, json, pkgutil, pycemrg

def stop(name):
    raise

modules = [info.name for info in pkgutil.walk_packages(pycemrg.__path__, "pycemrg.", stop)]
print(json.dumps({name: importlib.util.find_spec(name).origin for name in modules}))
"""

IMPORT_EACH_MODULE = """
import importlib, json, pkgutil, pycemrg

refused = {}
for info in pkgutil.walk_packages(pycemrg.__path__, "pycemrg."):
    if not info.name.endswith("__main__"):
        try:
            importlib.import_module(info.name)
        except ImportError as error:
            missing = error.__cause__ if error.__cause__ is not None else error
            refused[info.name] = missing.name
print(json.dumps(refused))
"""

INSTALLED = """
import json, re
from importlib.metadata import distributions
print(json.dumps({
    re.sub("[-_.]+", "-", d.name).lower(): [d.version, d.read_text("direct_url.json")]
    for d in distributions()
}))
"""


def test_every_module_comes_from_this_checkout():
    expected = {
        path.parent.name
        for path in ROOT.glob("packages/*/src/pycemrg/*/__init__.py")
        if path.parent.parent.parent.name == "src"
    }
    modules = [info.name for info in pkgutil.walk_packages(pycemrg.__path__, "pycemrg.")]
    assert {name.split(".")[1] for name in modules} == expected
    for name in modules:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert Path(spec.origin or "").is_relative_to(ROOT / "packages"), name


@packaging
def test_no_distribution_owns_the_namespace(distributions):
    for name, built in distributions.items():
        assert "pycemrg/__init__.py" not in contents(built.wheel), name
        assert "pycemrg/py.typed" not in contents(built.wheel), name


@packaging
def test_no_path_is_in_two_wheels(distributions):
    paths = Counter(path for built in distributions.values() for path in contents(built.wheel))
    assert [path for path, wheels in paths.items() if wheels > 1] == []


@packaging
@pytest.mark.parametrize("member", WITH_MODULES)
def test_each_import_package_is_typed_and_has_an_init(distributions, member):
    files = contents(distributions[member].wheel)
    packages = {path.split("/")[1] for path in files if re.match("pycemrg/[^/]+/", path)}
    assert packages, f"{member} holds no import package"
    for name in packages:
        assert {f"pycemrg/{name}/__init__.py", f"pycemrg/{name}/py.typed"} <= files


@packaging
@pytest.mark.parametrize("member", MEMBERS)
def test_wheel_holds_the_modules_of_the_tree_and_nothing_else(distributions, member):
    built = distributions[member]
    tree = {
        path.relative_to(source).as_posix()
        for source in (built.folder / "src", built.folder / "upgrade")
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    metadata = {path for path in contents(built.wheel) if ".dist-info/" in path}
    assert contents(built.wheel) - metadata == tree


@packaging
@pytest.mark.parametrize("member", MEMBERS)
def test_wheel_from_the_sdist_equals_the_wheel_from_the_tree(distributions, member):
    built = distributions[member]
    assert built.wheel.read_bytes() == built.wheel_from_sdist.read_bytes()


@packaging
@pytest.mark.parametrize("member", MEMBERS)
def test_sdist_holds_what_a_packager_needs(distributions, member):
    built = distributions[member]
    with tarfile.open(built.sdist) as sdist:
        files = {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in sdist.getnames()}
    needed = ["pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"]
    tests = [path.relative_to(built.folder) for path in built.folder.glob("tests/**/*.py")]
    assert {*map(PurePosixPath, needed), *map(PurePosixPath, tests)} <= files


@packaging
@pytest.mark.parametrize("member", MEMBERS)
def test_license_and_version_are_those_of_the_tree(distributions, member):
    built = distributions[member]
    metadata = metadata_of(built.wheel)
    assert metadata["Version"] == built.pyproject["project"]["version"]
    assert metadata["License-Expression"] == "MIT"
    license_file = f"{dist_info(built.wheel)}/licenses/LICENSE"
    with zipfile.ZipFile(built.wheel) as wheel:
        assert wheel.read(license_file) == (ROOT / "LICENSE").read_bytes()


@packaging
def test_meta_package_requires_every_member_and_holds_no_module(distributions):
    meta = distributions[META]
    required = {name for name, extra in requirements(meta.wheel) if extra is None}
    assert required == set(WITH_MODULES)
    assert {path for path in contents(meta.wheel) if ".dist-info/" not in path} == set()


@packaging
@pytest.mark.parametrize(
    ("member", "dependencies"),
    [
        pytest.param("pycemrg-core", {"pyyaml"}, id="core"),
        pytest.param("pycemrg-labels", {"pycemrg-core"}, id="labels"),
        pytest.param(
            "pycemrg-models",
            {"pycemrg-core", "requests", "urllib3", "filelock", "tqdm"},
            id="models",
        ),
        pytest.param("pycemrg-system", {"pycemrg-core", "filelock", "tqdm"}, id="system"),
        pytest.param("pycemrg-cli", {"pycemrg-core", "click"}, id="cli"),
    ],
)
def test_each_distribution_is_light_to_install(distributions, member, dependencies):
    required = {name for name, extra in requirements(distributions[member].wheel) if extra is None}
    assert required == dependencies


@packaging
def test_labels_alone_bring_pyyaml_and_core_and_nothing_else(distributions, new_environment):
    environment = new_environment()
    environment.install(distributions["pycemrg-labels"].wheel)
    assert set(installed(environment)) == {"pycemrg-labels", "pycemrg-core", "pyyaml"}


@packaging
@pytest.mark.parametrize("member", WITH_MODULES)
def test_each_module_needs_what_is_declared_and_no_extra_at_the_door(
    distributions, new_environment, member
):
    built = distributions[member]
    environment = new_environment()
    environment.install(built.wheel)
    refused = json.loads(environment.output(environment.python, "-I", "-c", IMPORT_EACH_MODULE))
    extras = {name for name, extra in requirements(built.wheel) if extra is not None}
    for module, missing in refused.items():
        assert missing in extras, f"{module} imports {missing}, which {member} does not declare"
        assert module.count(".") > 1, f"{module} cannot be imported without {missing}"


@packaging
@pytest.mark.parametrize("member", WITH_MODULES)
def test_each_wheel_alone_passes_its_own_tests(distributions, new_environment, tmp_path, member):
    built = distributions[member]
    environment = new_environment()
    environment.install(built.wheel, *built.pyproject["dependency-groups"]["test"])
    assert_everything_is_ours(environment, distributions)

    shutil.copytree(built.folder / "tests", tmp_path / "alone" / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "alone")
    options = ("-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "temporary")
    environment.output(
        environment.python, "-I", "-m", "pytest", *options, "tests", cwd=tmp_path / "alone"
    )


@packaging
def test_meta_package_brings_everything_and_the_command(distributions, new_environment):
    environment = new_environment()
    environment.install(distributions[META].wheel)
    assert set(MEMBERS) <= set(assert_everything_is_ours(environment, distributions))
    shown = environment.output(environment.scripts / "pycemrg", "--version")
    assert distributions[META].pyproject["project"]["version"] in shown
    assert "init-labels" in environment.output(environment.scripts / "pycemrg", "--help")


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def dist_info(wheel: Path) -> str:
    name, version = wheel.name.split("-")[:2]
    return f"{name}-{version}.dist-info"


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(f"{dist_info(wheel)}/METADATA"))


def requirements(wheel: Path) -> list[tuple[str, str | None]]:
    """Name and extra of each requirement."""
    found = []
    for line in metadata_of(wheel).get_all("Requires-Dist") or []:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        assert name is not None
        found.append((name[0].lower(), extra[1] if extra else None))
    return found


def installed(environment: Any) -> dict[str, tuple[str, str | None]]:
    """Version and direct_url.json of each distribution in an environment, by normalized name."""
    return json.loads(environment.output(environment.python, "-I", "-c", INSTALLED))


def assert_everything_is_ours(environment: Any, distributions: dict[str, Any]) -> dict[str, Any]:
    """Check that each of our distributions is the wheel just built, and list what is installed."""
    found = installed(environment)
    for name, (_, direct_url) in found.items():
        if name in distributions:
            assert direct_url is not None, f"{name} comes from an index"
            assert json.loads(direct_url)["url"] == distributions[name].wheel.as_uri()
    origins = json.loads(environment.output(environment.python, "-I", "-c", WHERE_EACH_MODULE_IS))
    assert origins
    for module, origin in origins.items():
        assert Path(origin).is_relative_to(environment.scripts.parent), module
    return found
