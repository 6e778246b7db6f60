"""What README.md, the workflows and the release say about the tree agrees with it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSIONS = {
    file.parent.name: tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]
    for file in ROOT.glob("packages/*/pyproject.toml")
}


def test_the_workflow_runs_the_tests_with_the_command_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"python -m pip install .+ && python -m hatch run test\b", readme)
    assert commands, "README.md does not say how to run the tests"
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    assert f"run: {commands[0]}\n" in workflow


def test_the_readme_presents_every_distribution():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in VERSIONS if f"`{name}`" not in readme and name != "pycemrg"] == []


@pytest.mark.parametrize("member", sorted(VERSIONS))
def test_a_release_tag_names_a_distribution_and_the_version_of_the_tree(member):
    done = release_tag(f"{member}-v{VERSIONS[member]}")
    assert (done.returncode, done.stdout) == (0, f"{member}\n")


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        pytest.param("pycemrg-core-v99.0", "has version", id="version"),
        pytest.param("v1.0.0", "pycemrg-labels-v...", id="no-distribution"),
        pytest.param("pycemrg-corr-v1.0.0", "pycemrg-core-v...", id="unknown-distribution"),
        pytest.param("../main-v1.0.0", "names none of", id="path"),
    ],
)
def test_a_release_tag_that_does_not_fit_the_tree_is_refused(tag, message):
    done = release_tag(tag)
    assert (done.returncode, done.stdout) == (1, "")
    assert tag in done.stderr
    assert message in done.stderr


def release_tag(tag: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / ".ci/release_tag.py"), tag]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
