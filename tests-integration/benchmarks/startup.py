"""What it costs to start: ``pycemrg --help`` beside a bare click program, and the imports."""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from crowded import CrowdedEnvironment
from measure import Cost, differences, interleaved, ratios, run_child
from results import Result, Row, WrongResultError

RUNS = 21
OTHERS = 100

DOCUMENTED = {"init", "init-labels", "init-models", "labels"}
PACKAGES = ("pycemrg.core", "pycemrg.data", "pycemrg.files", "pycemrg.models", "pycemrg.system")
SCAN = "importlib.metadata; importlib.metadata.entry_points()"

BARE_PROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "bare-click"
version = "1.0"
dependencies = ["click>=8.1.7"]

[project.scripts]
bare-click = "bare_click:main"

[tool.hatch.build.targets.wheel]
only-include = ["bare_click.py"]
"""


def run(runs: int) -> Result:
    """Make the environment, check what is compared, and time it.

    Raises:
        WrongResultError: If a command is missing from the help, or a module is not ours.
        RuntimeError: If the environment cannot be made, or a timed process fails.
    """
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        _tell("building our wheels and an environment")
        there = CrowdedEnvironment(Path(folder, "environment"), others=OTHERS)
        _check_origin(there)
        commands = _commands(there)
        _install_bare_click(there, Path(folder, "bare-click"), commands)
        _check_bare_click(there, commands)
        _tell(f"timing the help ({len(commands)} commands)")
        rows = _help_rows(there, runs)
        _tell("timing the imports")
        rows += _import_rows(there, runs)
        versions = there.versions("pycemrg-cli", "pycemrg-labels", "click", "PyYAML")
    return Result("startup", _method(), runs, versions, rows)


def _method() -> str:
    return (
        "CPU time (user and system) of new processes, in an environment with our wheels and "
        f"{OTHERS} other distributions"
    )


def _tell(step: str) -> None:
    print(f"startup: {step}", file=sys.stderr, flush=True)


def _check_origin(there: CrowdedEnvironment) -> None:
    """Check that the imports find the packages of the environment, which are the checkout's."""
    folder = there.ask("import sysconfig; print(sysconfig.get_path('purelib'))")
    for name in PACKAGES:
        found = there.ask(f"import sys, {name}; print(sys.modules[{name!r}].__file__)")
        if not Path(found).is_relative_to(folder):
            raise WrongResultError(f"{name} is imported from {found}, not from {folder}")


def _commands(there: CrowdedEnvironment) -> dict[str, str]:
    """Give the commands that the help lists, each with its line, after checking that they work."""
    commands = _listed(there.output(there.script("pycemrg"), "--help"))
    if not commands.keys() >= DOCUMENTED:
        missing = ", ".join(sorted(DOCUMENTED - commands.keys()))
        raise WrongResultError(f"pycemrg --help does not list: {missing}")
    for name in commands:
        there.output(there.script("pycemrg"), name, "--help")
    return commands


def _listed(shown: str) -> dict[str, str]:
    _, _, section = shown.partition("\nCommands:\n")
    pairs = (line.strip().partition("  ") for line in section.splitlines() if line[2:3].strip())
    return {name: about.strip() for name, _, about in pairs}


def _install_bare_click(there: CrowdedEnvironment, folder: Path, commands: dict[str, str]) -> None:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(BARE_PROJECT)
    (folder / "bare_click.py").write_text(_bare_click(commands))
    there.install([folder])


def _bare_click(commands: dict[str, str]) -> str:
    """Write the smallest click program with these commands."""
    lines = ["import click", "", "", "@click.group()", "def main():", "    pass", ""]
    for number, (name, about) in enumerate(commands.items()):
        lines += ["", f"@main.command({name!r})", f"def command_{number}():", f"    {about!r}", ""]
    return "\n".join(lines)


def _check_bare_click(there: CrowdedEnvironment, commands: dict[str, str]) -> None:
    listed = _listed(there.output(there.script("bare-click"), "--help"))
    if listed.keys() != commands.keys():
        raise WrongResultError(f"the bare program lists {sorted(listed)}, not {sorted(commands)}")


def _help_rows(there: CrowdedEnvironment, runs: int) -> list[Row]:
    subjects = {
        name: partial(run_child, [there.script(name), "--help"], cwd=there.script("").parent)
        for name in ("pycemrg", "bare-click")
    }
    costs = interleaved(subjects, runs)
    cpu = {name: _cpu_ms(taken) for name, taken in costs.items()}
    wall = [[each.wall for each in costs[name]] for name in subjects]
    return [
        Row.of("pycemrg --help, over bare click", ratios(*cpu.values()), "x", at_most=2.0),
        Row.of("pycemrg --help, over bare click, wall time", ratios(*wall), "x"),
        Row.of("pycemrg --help", cpu["pycemrg"], "ms"),
        Row.of("bare click --help", cpu["bare-click"], "ms"),
    ]


def _import_rows(there: CrowdedEnvironment, runs: int) -> list[Row]:
    names = ("sys", "yaml", SCAN, *PACKAGES)
    subjects = {
        name: partial(run_child, [there.python, "-I", "-c", f"import {name}"]) for name in names
    }
    cpu = {name: _cpu_ms(taken) for name, taken in interleaved(subjects, runs).items()}
    data = differences(cpu["pycemrg.data"], cpu["yaml"])
    rows = [Row.of("import pycemrg.data, over import yaml", data, "ms", at_most=35.0)]
    for name in ("yaml", *PACKAGES, SCAN):
        what = "a scan of all entry points" if name == SCAN else f"import {name}"
        rows.append(Row.of(f"{what}, over bare Python", differences(cpu[name], cpu["sys"]), "ms"))
    return rows


def _cpu_ms(costs: Sequence[Cost]) -> list[float]:
    return [1000 * cost.cpu for cost in costs]
