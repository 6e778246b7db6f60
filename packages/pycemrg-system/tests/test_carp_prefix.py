import logging
import os
import pickle
import sys
from pathlib import Path

import pytest

from pycemrg.system import CarpEnvironmentError, CarpRunner, CommandRunner

CARPENTRY = ("CARPENTRY_LICENSE", "CARPUTILS_SETTINGS")


@pytest.fixture(autouse=True)
def _a_plain_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CARPENTRY, "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An openCARP as `cmake --install` lays it out, with a solver that tells its libraries."""
    folder = tmp_path / "opencarp"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    solver = folder / "bin" / "openCARP"
    solver.write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH"\n')
    solver.chmod(0o755)
    return folder


def env_of(prefix: Path | str) -> dict[str, str]:
    return CarpRunner.from_prefix(CommandRunner(), prefix).carp_env


def changes(prefix: Path | str) -> dict[str, str]:
    env = env_of(prefix)
    assert os.environ.keys() <= env.keys()
    return {name: value for name, value in env.items() if os.environ.get(name) != value}


def test_its_folders_come_first_and_nothing_else_changes(prefix, monkeypatch) -> None:
    assert changes(prefix) == {
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": f"{prefix}/lib",
    }
    (prefix / "lib64").mkdir()
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/intel/lib")
    monkeypatch.setenv("PYTHONPATH", "/home/somebody/carputils")
    assert changes(prefix) == {
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH": f"{prefix}/lib:{prefix}/lib64:/opt/intel/lib",
    }


def test_a_prefix_without_libraries_sets_no_library_path(prefix) -> None:
    (prefix / "lib").rmdir()
    assert changes(prefix).keys() == {"PATH"}


def test_folders_that_stand_elsewhere_in_a_path_move_to_its_beginning(prefix, monkeypatch) -> None:
    monkeypatch.setenv("PATH", f"/usr/bin:{prefix}/bin:/bin")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{prefix}/lib")
    assert changes(prefix) == {"PATH": f"{prefix}/bin:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("", "{}/bin", id="empty"),
        pytest.param(None, "{}/bin:/bin:/usr/bin", id="unset: as execvp has it"),
        pytest.param("/usr/bin:", "{}/bin:/usr/bin:", id="with the current folder"),
    ],
)
def test_no_entry_of_a_path_is_made_up(prefix, monkeypatch, path, expected) -> None:
    monkeypatch.delenv("PATH")
    if path is not None:
        monkeypatch.setenv("PATH", path)
    assert env_of(prefix)["PATH"] == expected.format(prefix)


def test_the_packages_of_the_distribution_need_no_library_path(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/intel/lib")
    assert changes("/usr") == {}
    monkeypatch.setenv("PATH", "/opt/venv/bin:/usr/bin:/bin")
    assert changes("/usr") == {"PATH": "/usr/bin:/opt/venv/bin:/bin"}
    (tmp_path / "link").symlink_to("/usr")
    assert changes(tmp_path / "link").keys() == {"PATH"}


def test_a_conda_environment_is_named(prefix, monkeypatch) -> None:
    monkeypatch.setenv("CONDA_PREFIX", "/opt/conda")
    assert "CONDA_PREFIX" not in changes(prefix)
    (prefix / "conda-meta").mkdir()
    assert changes(prefix)["CONDA_PREFIX"] == str(prefix)


def test_on_macos_the_loader_has_a_variable_of_its_own(prefix, monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert changes(prefix)["DYLD_LIBRARY_PATH"] == f"{prefix}/lib"
    assert "LD_LIBRARY_PATH" not in env_of(prefix)


def test_commands_run_in_it(prefix) -> None:
    carp = CarpRunner.from_prefix(CommandRunner(), str(prefix))
    assert carp.run(["openCARP"]) == f"{prefix}/lib\n"
    assert carp.validate_command_exists("openCARP")
    assert not carp.validate_command_exists("meshalyzer")
    assert carp.installation_root == prefix
    assert carp.get_carp_path("share") == prefix / "share"
    assert carp.config_path is None


def test_the_variables_of_carpentry_are_optional(prefix, monkeypatch) -> None:
    carp = CarpRunner.from_prefix(CommandRunner(), prefix)
    assert carp.get_license_path() is None
    assert carp.get_carputils_settings_path() is None
    monkeypatch.setenv("CARPENTRY_LICENSE", "/home/somebody/license.bin")
    monkeypatch.setenv("CARPUTILS_SETTINGS", "~/settings.yaml")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert carp.get_license_path() is None
    carp.reload_environment()
    assert carp.get_license_path() == Path("/home/somebody/license.bin")
    assert carp.get_carputils_settings_path() == Path("/home/somebody/settings.yaml")


def test_a_prefix_is_looked_at_once_and_again_when_reloaded(prefix, caplog) -> None:
    carp = CarpRunner.from_prefix(CommandRunner(), prefix)
    env = carp.carp_env
    env["PATH"] = "spoiled"
    (prefix / "lib64").mkdir()
    assert carp.carp_env["LD_LIBRARY_PATH"] == f"{prefix}/lib"
    carp.reload_environment()
    assert carp.carp_env["LD_LIBRARY_PATH"] == f"{prefix}/lib:{prefix}/lib64"
    assert carp.carp_env["PATH"] != "spoiled"
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_prefix_that_is_gone_is_an_environment_error(prefix) -> None:
    carp = CarpRunner.from_prefix(CommandRunner(), prefix)
    prefix.rename(prefix.with_name("moved"))
    with pytest.raises(CarpEnvironmentError, match="opencarp/bin was there, and is gone"):
        _ = carp.carp_env


def test_what_is_no_prefix_says_what_would_be_one(prefix, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no installation at {tmp_path}/nowhere"):
        env_of(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="a prefix is a folder"):
        env_of(prefix / "bin" / "openCARP")
    with pytest.raises(FileNotFoundError, match=f"no folder 'bin'.* the prefix is {prefix}$"):
        env_of(prefix / "bin")
    with pytest.raises(FileNotFoundError, match=r"no folder 'bin'.*the folder above the 'bin'"):
        env_of(prefix / "lib")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "config.sh").touch()
    with pytest.raises(FileNotFoundError, match=r"CarpRunner\(runner, '.*/bundle/config\.sh'\)"):
        env_of(tmp_path / "bundle")
    with pytest.raises(ValueError, match="':'"):
        env_of(prefix.rename(tmp_path / "opt:carp"))


def test_a_relative_path_and_a_home_folder_become_absolute(prefix, monkeypatch) -> None:
    monkeypatch.chdir(prefix.parent)
    carp = CarpRunner.from_prefix(CommandRunner(), "opencarp")
    monkeypatch.chdir("/")
    assert carp.carp_env["PATH"].startswith(f"{prefix}/bin:")
    monkeypatch.setenv("HOME", str(prefix.parent))
    assert CarpRunner.from_prefix(CommandRunner(), "~/opencarp").installation_root == prefix


def test_it_can_be_sent_to_another_process(prefix) -> None:
    carp = CarpRunner.from_prefix(CommandRunner(), prefix)
    for _ in range(2):  # before and after its environment is made
        other = pickle.loads(pickle.dumps(carp))
        assert other.run(["openCARP"]) == f"{prefix}/lib\n"
        assert other.installation_root == prefix
        carp.run(["openCARP"])


def test_a_class_derived_from_it_gets_one_of_its_own(prefix) -> None:
    class Solver(CarpRunner):
        def solve(self) -> str:
            return self.run(["openCARP"])

    assert Solver.from_prefix(CommandRunner(), prefix).solve() == f"{prefix}/lib\n"
