"""Runs the examples of README and docs, each page in a folder of its own; adds ``--long``."""

import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``."""
    parser.addoption("--long", action="store_true", help="run the tests marked long, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests marked long unless ``--long`` is given."""
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --long"))


def run_console(example: Example) -> None:
    """Run the lines after ``$`` and compare what they print, if the page shows anything."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for step in ("\n" + str(example.parsed)).split("\n$ ")[1:]:
        command, _, shown = step.partition("\n")
        done = subprocess.run(
            ["bash", "-c", command],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command!r} failed: {done.stderr}"
        same = doctest.OutputChecker().check_output(
            shown.strip() + "\n", done.stdout.strip() + "\n", doctest.ELLIPSIS
        )
        assert not shown.strip() or same, f"{command!r} printed:\n{done.stdout}"


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory):
    """Let each page start in an empty folder, and put back the logging that it set up."""
    import logging

    before, root = Path.cwd(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    os.chdir(tmp_path_factory.mktemp("page"))
    yield
    os.chdir(before)
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser("console", run_console)],
    patterns=["*.md"],
    fixtures=["page_folder"],
).pytest()
