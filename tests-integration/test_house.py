"""The checks that keep the house standing, each shown a fault that it must find.

Mypy and import-linter live in the `types` environment: `hatch run types:prove`.
"""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

if not (importlib.util.find_spec("mypy") and importlib.util.find_spec("importlinter")):
    pytest.skip("needs `hatch run types:prove`", allow_module_level=True)

ROOT = Path(__file__).parents[1]
MEMBERS = sorted(path.name for path in ROOT.glob("packages/*") if (path / "src").exists())

# Who may import whom: cli -> labels, models, system -> core, and within a distribution
# assets -> models and files -> core.
LOWER = {
    "cli": {"assets", "data", "models", "system", "files", "core"},
    "assets": {"models", "files", "core"},
    "data": {"files", "core"},
    "models": {"files", "core"},
    "system": {"files", "core"},
    "files": {"core"},
    "core": set(),
}


@pytest.fixture
def house(tmp_path):
    """A copy of the tree with the settings of its tools."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for member in MEMBERS:
        source = Path("packages", member, "src")
        shutil.copytree(
            ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def test_mypy_finds_a_planted_error_in_every_module(house):
    expected = set()
    for module in house.glob("packages/*/src/**/*.py"):
        text = module.read_text(encoding="utf-8")
        lines = text.splitlines()
        # Not at the end, which mypy does not reach if a script ends in a call that never returns.
        after = last_line_of_the_imports(text)
        lines[after:after] = ["planted: int = 'not an integer'", "def untyped(value): return value"]
        module.write_text("\n".join([*lines, ""]), encoding="utf-8")
        name = module.relative_to(house).as_posix()
        expected |= {(name, after + 1, "assignment"), (name, after + 2, "no-untyped-def")}
    assert {Path(name).parts[1] for name, _, _ in expected} == set(MEMBERS)

    status, output = run(house, "-m", "mypy", "--no-pretty")
    assert status == 1, output
    faults = re.findall(r"^(.+?):(\d+):(?:\d+:)? error: .*\[([a-z-]+)\]$", output, re.MULTILINE)
    found = {(Path(name).as_posix(), int(line), code) for name, line, code in faults}
    assert expected - found == set(), output


def test_import_directions_hold(house):
    status, output = lint_imports(house)
    assert status == 0, output


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        pytest.param("data", "models", id="labels-models"),
        pytest.param("core", "data", id="core-labels"),
        pytest.param("core", "cli", id="core-cli"),
    ],
)
def test_a_planted_wrong_import_is_found(house, importer, imported):
    plant_import(house, importer, imported)
    status, output = lint_imports(house)
    assert status == 1, output
    assert f"pycemrg.{importer}.planted_{imported} -> pycemrg.{imported} (l.1)" in output


def test_an_import_that_is_loaded_only_when_called_is_found_too(house):
    module = house / "packages/pycemrg-labels/src/pycemrg/data/planted.py"
    module.write_text("def late():\n    from pycemrg.system import runner\n")
    status, output = lint_imports(house)
    assert status == 1, output
    assert "pycemrg.data.planted -> pycemrg.system" in output


def test_every_import_against_the_direction_is_refused_and_no_other(house):
    wrong = {(a, b) for a in LOWER for b in LOWER if a != b and b not in LOWER[a]}
    for importer, lower in LOWER.items():
        for imported in lower:
            plant_import(house, importer, imported)
    status, output = lint_imports(house)
    assert status == 0, output

    for importer, imported in wrong:
        plant_import(house, importer, imported)
    status, output = lint_imports(house)
    assert status == 1, output
    pair = r"pycemrg\.(\w+) is not allowed to import pycemrg\.(\w+)"
    assert set(re.findall(pair, output)) == wrong, output


def test_an_import_package_that_no_rule_knows_is_found(house):
    package = house / "packages/pycemrg-core/src/pycemrg/attic"
    package.mkdir()
    (package / "__init__.py").touch()
    status, output = lint_imports(house)
    assert status != 0, output
    assert "pycemrg.attic" in output


def last_line_of_the_imports(module: str) -> int:
    top = [
        node.end_lineno or 0
        for node in ast.parse(module).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    return max(top, default=0)


def plant_import(house: Path, importer: str, imported: str) -> None:
    (package,) = house.glob(f"packages/*/src/pycemrg/{importer}")
    (package / f"planted_{imported}.py").write_text(f"import pycemrg.{imported}\n")


def lint_imports(house: Path) -> tuple[int, str]:
    # Without `site` there are no editable installs: only the copy is importable.
    sources = [str(path) for path in house.glob("packages/*/src")]
    path = [*sources, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    program = "from importlinter.cli import lint_imports_command as lint; lint()"
    arguments = ("-S", "-c", program, "--no-cache")
    return run(house, *arguments, PYTHONPATH=os.pathsep.join(path))


def run(house: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=house,
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "200", "NO_COLOR": "1", **variables},
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout
