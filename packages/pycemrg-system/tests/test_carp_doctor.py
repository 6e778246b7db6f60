import os
import sys
from pathlib import Path

import pytest

from pycemrg.system import CarpRunner, CommandRunner
from pycemrg.system.carp_doctor import Finding, examine

TOOLS = {
    "openCARP": "echo '*** GIT tag:   v18.1'",
    "bench": "echo bench 1.8",
    "mesher": "exit 1",
    "meshtool": "exit 0",
    "meshalyzer": "exit 0",
    "cusummary": "exit 0",
    "carphelp": "exit 0",
    "mpirun": "echo 'mpirun (Open MPI) 4.1.4'",
}
CONFIG = """\
export PATH="{root}/bin:/usr/bin:/bin"
export LD_LIBRARY_PATH="{root}/lib"
export PYTHONPATH="{root}/python"
export CARPENTRY_LICENSE="{root}/license.bin"
export CARPUTILS_SETTINGS="{root}/settings.yaml"
"""
ORDER = [
    "installation",
    "environment",
    "PATH",
    "LD_LIBRARY_PATH",
    "CARPENTRY_LICENSE",
    "CARPUTILS_SETTINGS",
    *TOOLS,
    "python",
    "carputils",
]


class Installation:
    """A made-up installation that lacks nothing, to take something away from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("bin", "lib", "python/carputils"):
            (root / folder).mkdir(parents=True)
        for name, body in TOOLS.items():
            self.tool(name, body)
        (root / "bin" / "python").symlink_to(sys.executable)
        (root / "python/carputils/__init__.py").touch()
        (root / "license.bin").write_bytes(b"license")
        (root / "settings.yaml").write_text("FLAVOR: petsc\nDIRECT_SOLVER: MUMPS\n")
        self.config(CONFIG)

    def tool(self, name: str, body: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def config(self, text: str) -> None:
        (self.root / "config.sh").write_text(text.replace("{root}", str(self.root)))

    def examine(self) -> list[Finding]:
        return examine(CarpRunner(CommandRunner(), self.root / "config.sh"))

    def finding(self, what: str) -> Finding:
        return next(finding for finding in self.examine() if finding.what == what)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    for name in ("LD_LIBRARY_PATH", "CARPENTRY_LICENSE", "CARPUTILS_SETTINGS", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return Installation(tmp_path / "carpentry bundle")


def test_an_installation_that_lacks_nothing_is_ok(installation) -> None:
    findings, root = installation.examine(), installation.root
    assert [finding.what for finding in findings] == ORDER
    assert {(finding.state, finding.advice) for finding in findings} == {("ok", "")}
    details = {finding.what: finding.detail for finding in findings}
    assert details["installation"] == f"{root}, set up by {root}/config.sh"
    assert details["PATH"] == "3 folders, 1 of the installation"
    assert details["LD_LIBRARY_PATH"] == "1 folders, 1 of the installation"
    assert details["CARPENTRY_LICENSE"] == f"{root}/license.bin"
    assert details["CARPUTILS_SETTINGS"] == f"{root}/settings.yaml"
    assert details["openCARP"] == f"v18.1, {root}/bin/openCARP"
    assert details["bench"] == f"1.8, {root}/bin/bench"
    assert details["meshtool"] == f"{root}/bin/meshtool"
    assert details["mpirun"] == f"4.1.4, {root}/bin/mpirun"
    assert details["python"].endswith(f", {root}/bin/python")
    assert details["carputils"] == f"{root}/python/carputils"


def test_nothing_is_written_where_the_caller_is(installation, tmp_path, monkeypatch) -> None:
    installation.tool("bench", "touch left_behind; echo bench 1.8")
    monkeypatch.chdir(tmp_path)
    assert installation.finding("bench").state == "ok"
    assert list(tmp_path.rglob("left_behind")) == []


def test_an_environment_that_does_not_load_is_the_last_finding(installation) -> None:
    installation.config(CONFIG + "echo no petsc >&2; return 3\n")
    first, last = installation.examine()
    assert first.what == "installation"
    assert (last.what, last.state) == ("environment", "missing")
    assert "status 3" in last.detail
    assert "no petsc" in last.detail
    assert last.advice.endswith(f"bash -xc '. \"$0\"' '{installation.root}/config.sh'")


def test_folders_that_config_sh_names_and_that_are_not_there_are_a_warning(installation) -> None:
    (installation.root / "lib").rmdir()
    installation.config(CONFIG + 'export PATH="/opt/nowhere/bin:$PATH"\n')
    found = installation.finding("PATH")
    assert found.state == "warning"
    assert found.detail.endswith("not there: /opt/nowhere/bin")
    found = installation.finding("LD_LIBRARY_PATH")
    assert found.state == "warning"
    assert found.detail.endswith(f"not there: {installation.root}/lib")


def test_folders_that_were_on_the_path_before_are_nobodys_fault(installation, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin:/home/nobody/bin")
    installation.config(CONFIG + 'export PATH="$PATH:/home/nobody/bin"\n')
    assert installation.finding("PATH").state == "ok"


def test_an_empty_path_is_an_error_and_an_empty_library_path_is_none(installation) -> None:
    installation.config(CONFIG + "export PATH= LD_LIBRARY_PATH=\n")
    states = {finding.what: finding.state for finding in installation.examine()}
    assert states["PATH"] == "missing"
    assert states["LD_LIBRARY_PATH"] == "ok"
    assert states["openCARP"] == "missing"
    assert states["python"] == "warning"
    assert "carputils" not in states


@pytest.mark.parametrize(
    ("variable", "name"),
    [("CARPENTRY_LICENSE", "license.bin"), ("CARPUTILS_SETTINGS", "settings.yaml")],
)
def test_a_file_that_a_variable_names_must_be_there(
    installation, monkeypatch, variable, name
) -> None:
    path = installation.root / name
    path.write_bytes(b"")
    assert installation.finding(variable)[1:3] == ("missing", f"{path}: it is empty")
    path.write_text("FLAVOR: petsc\nDIRECT_SOLVER: MUMPS\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda file, mode: file != path)
        assert installation.finding(variable)[1:3] == ("missing", f"{path}: it may not be read")
    path.unlink()
    found = installation.finding(variable)
    assert found[1:3] == ("missing", f"{path}: No such file or directory")
    assert found.advice
    path.mkdir()
    assert installation.finding(variable)[1:3] == ("missing", f"{path}: it is no file")


def test_a_licence_is_only_needed_by_carpentry(installation) -> None:
    installation.config(CONFIG + "export CARPENTRY_LICENSE=\n")
    found = installation.finding("CARPENTRY_LICENSE")
    assert found.state == "warning"
    assert "openCARP needs none" in found.detail
    assert "config.sh" in found.advice


def test_without_settings_carputils_reads_those_in_the_home_folder(installation, tmp_path) -> None:
    installation.config(CONFIG + "export CARPUTILS_SETTINGS=\n")
    home = tmp_path / "home" / ".config" / "carputils" / "settings.yaml"
    found = installation.finding("CARPUTILS_SETTINGS")
    assert (found.state, found.detail.split()[-1]) == ("warning", str(home))
    assert found.advice == f"carputils needs it; write it with: cusettings {home}"
    home.parent.mkdir(parents=True)
    home.write_text("FLAVOR: ginkgo\nDIRECT_SOLVER: MUMPS\n")
    assert installation.finding("CARPUTILS_SETTINGS")[1:] == ("ok", str(home), "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"FLAVOR: [petsc\n", "cannot be read as YAML", id="no-yaml"),
        pytest.param(b"FLAVOR: \xff\n", "cannot be read as YAML", id="no-text"),
        pytest.param(b"DATE: 2020-99-99\n", "cannot be read as YAML", id="no-date"),
        pytest.param(b"[" * 100_000, "cannot be read as YAML", id="too-deep"),
        pytest.param(b"A: !!python/object/apply:os.getcwd []\n", "YAML", id="code"),
        pytest.param(b"- FLAVOR\n", "not a list", id="list"),
        pytest.param(b"# nothing\n", "not a NoneType", id="nothing"),
        pytest.param(b"DIRECT_SOLVER: MUMPS\n", "does not set FLAVOR", id="one-key"),
        pytest.param(b"MESH_DIR: /\n", "does not set DIRECT_SOLVER, FLAVOR", id="no-key"),
    ],
)
def test_settings_that_carputils_cannot_use_are_a_warning(installation, text, words) -> None:
    path = installation.root / "settings.yaml"
    path.write_bytes(text)
    found = installation.finding("CARPUTILS_SETTINGS")
    assert found.state == "warning"
    assert found.detail.startswith(f"{path}: it ")
    assert words in found.detail
    assert "\n" not in found.detail
    assert found.advice == f"mend it, or write it with: cusettings '{path}'"


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_that_is_not_there_is_named_and_only_opencarp_is_needed(installation, name) -> None:
    (installation.root / "bin" / name).unlink()
    # The machine that runs this test may have one of its own.
    installation.config(CONFIG.replace(":/usr/bin:/bin", ""))
    found = installation.finding(name)
    assert found.state == ("missing" if name == "openCARP" else "warning")
    assert found.detail == "it is not on the PATH of the installation"
    assert found.advice.endswith("install it, or add its folder to PATH")


@pytest.mark.parametrize("name", ["openCARP", "meshtool"])
def test_a_tool_that_does_not_start_is_as_good_as_missing(installation, name) -> None:
    words = "error while loading shared libraries: libpetsc.so.3.18: cannot open"
    installation.tool(name, f"echo '{name}: {words}' >&2; exit 127")
    found = installation.finding(name)
    assert found.state == ("missing" if name == "openCARP" else "warning")
    assert found.detail == f"{installation.root}/bin/{name}: {name}: {words}"
    assert "LD_LIBRARY_PATH" in found.advice


def test_a_python_without_carputils_is_a_warning(installation) -> None:
    (installation.root / "python/carputils/__init__.py").unlink()
    (installation.root / "python/carputils").rmdir()
    found = installation.finding("carputils")
    assert found.state == "warning"
    assert found.detail == f"{installation.root}/bin/python cannot import it"
    assert "PYTHONPATH" in found.advice


def test_a_prefix_needs_neither_licence_nor_library_path(installation, monkeypatch) -> None:
    root = installation.root
    (root / "lib").rmdir()
    monkeypatch.setenv("PATH", f"{root}/games:/usr/bin:/bin")  # as Debian has it for /usr
    findings = examine(CarpRunner.from_prefix(CommandRunner(), root))
    assert [finding.what for finding in findings] == ORDER
    by_name = {finding.what: finding for finding in findings}
    assert by_name["installation"].detail == f"{root}, without config.sh"
    for name in ("environment", "PATH", "LD_LIBRARY_PATH", "CARPENTRY_LICENSE", "openCARP"):
        assert by_name[name].state == "ok"
    assert by_name["CARPUTILS_SETTINGS"].state == "warning"
    assert by_name["carputils"].state == "warning"


def test_a_prefix_that_is_gone_does_not_load(installation) -> None:
    carp = CarpRunner.from_prefix(CommandRunner(), installation.root)
    installation.root.rename(installation.root.with_name("moved"))
    assert examine(carp)[-1][:2] == ("environment", "missing")
