import json
import os
import shlex
from pathlib import Path

import pytest

from pycemrg.cli.app import main
from pycemrg.cli.carp_exports import is_settable

pytest.importorskip("pycemrg.system", reason="pycemrg-system is not installed")

from pycemrg.system import carp_doctor, carp_runner
from pycemrg.system.carp_doctor import Finding

pytestmark = pytest.mark.skipif(os.name != "posix", reason="CARPentry is sourced by bash")

CONFIG_SH = """\
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export PATH="$ROOT/bin:$PATH" LD_LIBRARY_PATH="$ROOT/lib"
export CARPENTRY_LICENSE="$ROOT/license.bin" CARPUTILS_SETTINGS="$ROOT/settings.yaml"
"""
STEERING = ("LD_LIBRARY_PATH", "CARPENTRY_LICENSE", "CARPUTILS_SETTINGS", "BASH_ENV")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, and one usual place for installations, which is empty."""
    for name in STEERING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(carp_runner, "DEFAULT_SEARCH_PATHS", (str(tmp_path / "usual"),))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bundle(folder):
    return make_bundle(folder / "carpentry bundle")


def make_bundle(root, more=""):
    (root / "bin").mkdir(parents=True)
    write_program(root / "bin" / "openCARP", 'echo "$CARPENTRY_LICENSE"; exit "$1"')
    (root / "config.sh").write_text(CONFIG_SH + more)
    return root


def write_program(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def carp(capfdbinary):
    """Calls `pycemrg carp`; gives exit code, stdout and stderr, as text or what stands for it."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["carp", *map(str, arguments)])
        out, err = map(os.fsdecode, capfdbinary.readouterr())
        return ended.value.code, out, err

    return call


@pytest.mark.parametrize("named", ["carpentry bundle", "carpentry bundle/config.sh"])
def test_a_config_is_named_as_a_file_or_by_its_folder(carp, bundle, named):
    assert carp("find", "--config", named) == (0, f"{bundle}/config.sh\n", "")


def test_a_home_folder_is_expanded(carp, bundle, monkeypatch):
    monkeypatch.setenv("HOME", str(bundle.parent))
    assert carp("find", "--config=~/carpentry bundle")[1] == f"{bundle}/config.sh\n"


def test_a_prefix_is_found_where_it_is(carp, bundle):
    assert carp("find", "--prefix", bundle.name) == (0, f"{bundle}\n", "")


def test_without_a_name_the_usual_places_are_searched(carp, folder):
    usual = make_bundle(folder / "usual")
    assert carp("find") == (0, f"{usual}/config.sh\n", "")
    assert carp("run", "printenv", "LD_LIBRARY_PATH")[1] == f"{usual}/lib\n"


@pytest.mark.parametrize("command", [["find"], ["env"], ["doctor"], ["run", "true"]])
def test_no_installation_is_an_error_that_says_where_it_looked(carp, folder, monkeypatch, command):
    monkeypatch.setenv("PATH", "/nowhere")
    status, out, err = carp(*command)
    assert (status, out) == (1, "")
    assert err.startswith(f"Error: there is no config.sh in {folder}/usual; ")
    assert "--config" in err
    assert "--prefix" in err


def test_an_opencarp_on_the_path_is_pointed_out(carp, folder, monkeypatch):
    write_program(folder / "conda" / "bin" / "openCARP", "")
    monkeypatch.setenv("PATH", str(folder / "conda" / "bin"))
    status, _, err = carp("find")
    assert status == 1
    assert err.endswith(f"; for the openCARP on your PATH: --prefix {folder}/conda\n")


def test_two_installations_at_once_are_wrong_usage(carp, bundle):
    status, _, err = carp("find", "--config", bundle, "--prefix", bundle)
    assert (status, "either --config or --prefix" in err) == (2, True)


@pytest.mark.parametrize(
    ("make", "option", "words"),
    [
        pytest.param("bin/", "--config", "--prefix there", id="prefix-as-config"),
        pytest.param("config.sh", "--prefix", "--config there", id="config-as-prefix"),
        pytest.param("lib/", "--config", "there/config.sh", id="no-config"),
        pytest.param("lib/", "--prefix", "has no folder 'bin'", id="no-bin"),
        pytest.param("", "--config", "there is no CARPentry config.sh at", id="no-folder"),
        pytest.param("", "--prefix", "there is no installation at", id="no-prefix"),
    ],
)
def test_what_is_no_installation_is_an_error_with_advice(carp, folder, make, option, words):
    if make.endswith("/"):
        (folder / "there" / make).mkdir(parents=True)
    elif make:
        (folder / "there").mkdir()
        (folder / "there" / make).touch()
    status, out, err = carp("find", option, "there")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert words in err


def test_env_lists_what_the_installation_changes_and_nothing_else(carp, folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("MKL_NUM_THREADS", "4")
    monkeypatch.setenv("PYTHONHOME_OF_OLD", "/old")
    root = make_bundle(folder / "x", "export OMP_NUM_THREADS=8; unset PYTHONHOME_OF_OLD")
    status, out, err = carp("env", "--config", root)
    assert (status, err) == (0, "not set any more: PYTHONHOME_OF_OLD\n")
    assert out.splitlines() == [
        f"CARPENTRY_LICENSE={root}/license.bin",
        f"CARPUTILS_SETTINGS={root}/settings.yaml",
        f"LD_LIBRARY_PATH={root}/lib",
        "OMP_NUM_THREADS=8",
        f"PATH={root}/bin:{os.environ['PATH']}",
    ]


def test_env_as_json_has_null_for_what_is_unset(carp, folder, monkeypatch):
    monkeypatch.setenv("OLD", "1")
    text = "export NOTES=$'a\\nb\\xe9'; unset OLD; f() { :; }; export -f f"
    root = make_bundle(folder / "x", text)
    status, out, err = carp("env", "--json", "--config", root)
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert {name: found[name] for name in ("NOTES", "OLD", "LD_LIBRARY_PATH")} == {
        "NOTES": "a\nb\udce9",
        "OLD": None,
        "LD_LIBRARY_PATH": f"{root}/lib",
    }
    assert "BASH_FUNC_f%%" in found


def test_env_of_a_prefix_puts_its_folders_first(carp, bundle):
    assert carp("env", "--prefix", bundle)[1] == f"PATH={bundle}/bin:{os.environ['PATH']}\n"


def test_env_exports_what_a_shell_can_set_and_names_the_rest(carp, folder, monkeypatch):
    monkeypatch.setenv("OLD", "1")
    text = "unset OLD; export NOTES='a b'; export UID; f() { :; }; export -f f"
    root = make_bundle(folder / "x", text)
    status, out, err = carp("env", "--export", "--config", root)
    assert status == 0
    assert out.splitlines() == [
        f"export CARPENTRY_LICENSE={root}/license.bin",
        f"export CARPUTILS_SETTINGS={root}/settings.yaml",
        f"export LD_LIBRARY_PATH={root}/lib",
        "export NOTES='a b'",
        "unset -v OLD",
        f"export PATH={shlex.quote(str(root) + '/bin:' + os.environ['PATH'])}",
    ]
    assert err.startswith("left out BASH_FUNC_f%%, UID: a shell cannot set them")


def test_a_failed_export_fails_in_the_shell_that_evaluates_it(carp, folder):
    (folder / "config.sh").write_text("exit 3")
    status, out, err = carp("env", "--export", "--config", "config.sh")
    assert (status, out) == (1, "false\n")
    assert err.startswith(f"Error: {folder}/config.sh: it ended the shell")
    assert carp("env", "--config", "config.sh")[1] == ""


def test_json_or_export(carp, bundle):
    assert carp("env", "--json", "--export", "--config", bundle)[0] == 2


@pytest.mark.parametrize(
    ("name", "settable"),
    [
        ("PATH", True),
        ("_x9", True),
        ("BASH_FUNC_module%%", False),
        ("a.b", False),
        ("9a", False),
        ("", False),
        ("é", False),
        ("A\n", False),
        ("SHELLOPTS", False),
    ],
)
def test_names_that_a_shell_can_set(name, settable):
    assert is_settable(name) is settable


def test_a_config_that_takes_too_long_is_ended_and_the_option_named(carp, folder):
    (folder / "config.sh").write_text("sleep 600")
    options = ["--config", folder, "--source-timeout", "0.2s"]
    status, _, err = carp("env", *options)
    assert status == 1
    assert "not sourced within 0.2 s" in err
    assert "use a longer --source-timeout" in err
    assert "use a longer --source-timeout" in carp("doctor", *options)[1]


FINDINGS = [
    Finding("installation", "ok", "/opt/carp, set up by /opt/carp/config.sh"),
    Finding("openCARP", "warning", "it is old\nand slow", "get a new one"),
]
GONE = Finding("CARPENTRY_LICENSE", "missing", "caf\udce9.bin: it is empty", "ask for one")


@pytest.fixture
def examined(monkeypatch):
    """Let the doctor find these things, whatever there is."""

    def give(*findings):
        monkeypatch.setattr(carp_doctor, "examine", lambda carp: list(findings))

    return give


def test_the_doctor_prints_what_it_finds_and_the_advice_below(carp, bundle, examined):
    examined(*FINDINGS)
    status, out, err = carp("doctor", "--config", bundle)
    assert (status, err) == (0, "0 missing, 1 warnings\n")
    assert out == (
        "ok       installation  /opt/carp, set up by /opt/carp/config.sh\n"
        "warning  openCARP      it is old\n"
        "                       and slow\n"
        "                       get a new one\n"
    )


def test_the_doctor_fails_if_something_needed_is_missing(carp, bundle, examined):
    examined(*FINDINGS, GONE)
    status, out, err = carp("doctor", "--config", bundle)
    assert (status, err) == (1, "1 missing, 1 warnings\n")
    assert "\nmissing  CARPENTRY_LICENSE  caf\udce9.bin: it is empty\n" in out


def test_the_doctor_speaks_json(carp, bundle, examined):
    examined(*FINDINGS, GONE)
    status, out, _ = carp("doctor", "--json", "--config", bundle)
    assert status == 1
    assert [Finding(**each) for each in json.loads(out)] == [*FINDINGS, GONE]


def test_a_command_runs_in_the_environment_and_its_exit_code_is_returned(carp, bundle):
    status, out, err = carp("run", "--config", bundle, "--", "openCARP", "3")
    assert (status, out) == (3, f"{bundle}/license.bin\n")
    assert err.startswith("openCARP 3: after ")
    assert "failed with exit code 3" in err


def test_a_command_runs_in_a_prefix(carp, bundle, monkeypatch):
    monkeypatch.setenv("CARPENTRY_LICENSE", "mine")
    assert carp("run", "--prefix", bundle, "openCARP", "0")[:2] == (0, "mine\n")


def test_a_command_gets_what_pycemrg_run_would_give_it(carp, bundle, folder):
    (folder / "case").mkdir()
    options = ["--config", bundle.name, "--cwd", "case", "--log-dir", "logs", "--expect", "vm.igb"]
    assert carp("run", *options, "--", "sh", "-c", "echo on; >vm.igb")[:2] == (0, "on\n")
    (record,) = (folder / "logs").iterdir()
    facts = json.loads((record / "result.json").read_text())
    assert facts["environment"]["CARPUTILS_SETTINGS"] == f"{bundle}/settings.yaml"
    assert carp("run", *options, "--", "rm", "vm.igb")[0] == 1
    assert carp("run", "--timeout", "0.2s", *options[:2], "sleep", "600")[0] == 124


def test_options_behind_the_command_are_its_own(carp, bundle):
    _, out, _ = carp("run", "--config", bundle, "echo", "--config", "-n", "--help")
    assert out == "--config -n --help\n"


def test_a_dry_run_neither_starts_the_command_nor_sources_the_config(carp, folder):
    (folder / "config.sh").write_text("touch sourced; exit 3")
    options = ["--config", folder, "--dry-run"]
    assert carp("run", *options, "touch", "a b") == (0, "touch 'a b'\n", "")
    assert [path.name for path in Path(folder).iterdir()] == ["config.sh"]


def test_an_environment_that_cannot_be_loaded_is_an_error(carp, folder):
    (folder / "config.sh").write_text("echo no server >&2; return 3")
    status, out, err = carp("run", "--config", folder, "--", "touch", "started")
    assert (status, out) == (1, "")
    assert "config.sh: sourcing it ended with status 3" in err
    assert "no server" in err
    assert not (folder / "started").exists()
