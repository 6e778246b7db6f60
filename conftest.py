"""Runs the examples of README and docs, each page in a folder of its own; adds ``--long``."""

import doctest
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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


@contextmanager
def logging_put_back() -> Iterator[None]:
    """Undo what is set up for logging meanwhile, also in the handlers that pytest reuses."""
    root = logging.getLogger()
    level, filters = root.level, {handler: handler.filters[:] for handler in root.handlers}
    yield
    for handler in set(root.handlers) - set(filters):
        handler.close()
    for handler, its_filters in filters.items():
        handler.filters[:] = its_filters
    root.handlers[:] = filters
    root.setLevel(level)


@pytest.fixture(autouse=True)
def logging_around_a_doctest(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put back what a docstring set up; tests ask for caplog and the like themselves."""
    with logging_put_back() if isinstance(request.node, pytest.DoctestItem) else nullcontext():
        yield


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Put back the logging that a test or example sets up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for handler in handlers:
        handler.filters.clear()


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let each page start in an empty folder."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("page"))
    yield
    os.chdir(before)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser("console", run_console)],
    patterns=["*.md"],
    fixtures=["page_folder"],
).pytest()
