import logging
import os
import pickle
import shlex
import shutil
from pathlib import Path

import pytest

from pycemrg.system import (
    CarpEnvironmentError,
    CarpRunner,
    CommandExecutionError,
    CommandNotFoundError,
    CommandRunner,
    CommandTimeoutError,
    carp_runner,
)

REQUIRED = ("PATH", "LD_LIBRARY_PATH", "CARPENTRY_LICENSE", "CARPUTILS_SETTINGS")

# What a config.sh of an installation at ROOT does at the least.
EXPORTS = """
export PATH="$ROOT/bin:$PATH"
export LD_LIBRARY_PATH="$ROOT/petsc/lib${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}"
export CARPENTRY_LICENSE="$ROOT/license.bin"
export CARPUTILS_SETTINGS="$ROOT/settings.yaml"
"""
BASH_SOURCE_ROOT = 'ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"\n'


@pytest.fixture(autouse=True)
def _a_shell_that_knows_no_carpentry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_LIBRARY_PATH", "CARPENTRY_LICENSE", "CARPUTILS_SETTINGS", "BASH_ENV"):
        monkeypatch.delenv(name, raising=False)


class Installation:
    """A stand-in for a CARPentry installation, with a solver that says where it is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.sh"
        (root / "bin").mkdir(parents=True)
        self.tool("openCARP", 'echo "openCARP $*"')

    def tool(self, name: str, script: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def write(self, after: str = "", before: str = "", exports: str = EXPORTS) -> Path:
        text = f"{before}\nROOT={shlex.quote(str(self.root))}\n{exports}\n{after}\n"
        self.config.write_text(text)
        return self.config

    def env(self, **options: float) -> dict[str, str]:
        return CarpRunner(CommandRunner(), self.config, **options).carp_env


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "carpentry_bundle")


def check_required(env: dict[str, str], root: Path) -> None:
    assert env["PATH"].split(":")[0] == f"{root}/bin"
    assert env["LD_LIBRARY_PATH"] == f"{root}/petsc/lib"
    assert env["CARPENTRY_LICENSE"] == f"{root}/license.bin"
    assert env["CARPUTILS_SETTINGS"] == f"{root}/settings.yaml"


HARMLESS = {
    "nothing-else": {},
    "banner-on-stdout": {"after": "echo Welcome to CARPentry"},
    "banner-on-stderr": {"after": "echo Welcome to CARPentry >&2"},
    "banner-like-an-assignment": {"after": "echo PATH=/evil; echo CARPENTRY_LICENSE=/evil >&2"},
    "banner-like-a-report": {"after": r"printf '0\0PATH=/evil\0whole\0'"},
    "much-output": {"before": "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2"},
    "stdout-closed": {"before": "exec >/dev/null"},
    "both-closed": {"before": "exec >&- 2>&-"},
    "env-is-a-function": {"before": "env() { echo nothing; }"},
    "env-and-printf-are-functions": {"before": "env() { :; }; printf() { :; }; source() { :; }"},
    "env-is-an-alias": {"before": "shopt -s expand_aliases; alias env=false printf=false"},
    "reads-stdin": {"before": 'read -r -p "Continue? " answer; read -rs password; true'},
    "background-child": {"before": "sleep 600 &"},
    "background-child-that-prints": {"before": "(while sleep 0.01; do echo x; done) &"},
    "exit-trap-that-prints": {"before": "trap 'echo PATH=/evil; exit 5' EXIT"},
    "debug-trap-that-prints": {"before": "trap 'echo PATH=/evil' DEBUG"},
    "set-u": {"before": "set -u"},
    "set-e": {"before": "set -e"},
    "pipefail": {"before": "set -euo pipefail"},
    "set-x": {"before": "set -x"},
    "set-a": {"before": "set -a"},
    "noglob-and-odd-separators": {"before": "set -f; IFS=/"},
    "posix-mode": {"before": "set -o posix"},
    "return-0": {"after": "return 0\nexit 7"},
    "arguments": {"before": '[ $# -eq 0 ] || exit 9; set -- a b c "$@"'},
    "extended-patterns": {"before": "shopt -s extglob\n: !(a|b)"},
    "changes-folder": {"before": "cd /"},
    "uses-low-descriptors": {"before": "exec 3>&1 4>&2 9</dev/null; exec 3>&- 4>&-"},
    "odd-variables": {"before": "status=9; path=9; __pycemrg_file=; file=9; unset BASH"},
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HARMLESS.items()])
def test_what_else_a_config_does_changes_nothing(installation, marked, monkeypatch, text) -> None:
    monkeypatch.setenv("PYCEMRG_TEST_MARK", marked.env["PYCEMRG_TEST_MARK"])
    installation.write(**text)
    env = installation.env()
    check_required(env, installation.root)
    assert "/evil" not in env.values()
    changed = {name for name in env | os.environ if env.get(name) != os.environ.get(name)}
    assert changed - set(REQUIRED) <= ({"ROOT", "IFS"} if "set -a" in str(text) else set())
    assert marked.living() == []


@pytest.mark.parametrize(
    "folder",
    [
        "with blank",
        "with 'quote",
        'with "quotes"',
        "semi;colon",
        "; touch executed ;",
        "$(touch executed)",
        "`touch executed`",
        "${IFS}&& touch executed #",
        "-x",
        "new\nline",
        "μέσα",
        "back\\slash",
        "*",
    ],
)
def test_nothing_in_the_path_is_executed(tmp_path: Path, monkeypatch, folder: str) -> None:
    monkeypatch.chdir(tmp_path)
    installation = Installation(tmp_path / folder)
    installation.config.write_text(BASH_SOURCE_ROOT + EXPORTS)
    carp = CarpRunner(CommandRunner(), installation.config)
    check_required(carp.carp_env, installation.root)
    assert carp.installation_root == installation.root
    assert carp.run(["openCARP", "+F", "sim.par"]) == "openCARP +F sim.par\n"
    assert list(tmp_path.rglob("executed")) == []


def test_a_path_that_is_not_utf_8_works(tmp_path: Path) -> None:
    installation = Installation(tmp_path / os.fsdecode(b"caf\xe9"))
    installation.config.write_text(BASH_SOURCE_ROOT + EXPORTS)
    check_required(installation.env(), installation.root)


def test_values_survive_as_they_are(installation) -> None:
    installation.write(
        "export MULTI=$'one\\nPATH=/evil\\n\\nthree\\n'\n"
        "export EMPTY= EQUALS='a=b=c' BLANKS='  a  ' RAW=$'caf\\xe9' SIGNS='$HOME `id` \"'\n"
        'greet() { echo "hello\n$1"; }\nexport -f greet\n'
        "NOT_EXPORTED=1"
    )
    env = installation.env()
    assert env["MULTI"] == "one\nPATH=/evil\n\nthree\n"
    assert (env["EMPTY"], env["EQUALS"], env["BLANKS"]) == ("", "a=b=c", "  a  ")
    assert env["SIGNS"] == '$HOME `id` "'
    assert os.fsencode(env["RAW"]) == b"caf\xe9"
    assert "NOT_EXPORTED" not in env
    carp = CarpRunner(CommandRunner(), installation.config)
    assert carp.run(["bash", "-c", 'greet you; printf %s "$MULTI"']) == (
        "hello\nyou\none\nPATH=/evil\n\nthree\n"
    )
    assert carp.run(["sh", "-c", 'printf %s "$RAW" | od -An -tx1']) == " 63 61 66 e9\n"


def test_the_environment_of_this_process_is_the_start(installation, monkeypatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/lib")
    monkeypatch.setenv("BASH_FUNC_module%%", "() {  export MODULE_$1=loaded\n}")
    monkeypatch.setenv("SHLVL", "3")
    monkeypatch.setenv("PWD", "/somewhere")
    monkeypatch.setenv("odd.name-x", "kept")
    monkeypatch.delenv("OLDPWD", raising=False)
    monkeypatch.delenv("_", raising=False)
    installation.write("module petsc\nunset PYCEMRG_TEST_GONE", before="cd /")
    monkeypatch.setenv("PYCEMRG_TEST_GONE", "1")
    env = installation.env()
    assert env["LD_LIBRARY_PATH"] == f"{installation.root}/petsc/lib:/usr/local/lib"
    assert env["MODULE_petsc"] == "loaded"
    assert env["odd.name-x"] == "kept"
    assert "PYCEMRG_TEST_GONE" not in env
    assert (env["SHLVL"], env["PWD"]) == ("3", "/somewhere")
    assert "OLDPWD" not in env
    assert "_" not in env


def test_a_virtual_environment_is_activated(installation, tmp_path: Path) -> None:
    activate = tmp_path / "venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    # What a venv's script does, as far as the environment shows it.
    activate.write_text(
        "deactivate() { unset VIRTUAL_ENV; unset -f deactivate; }\n"
        f'VIRTUAL_ENV="{tmp_path}/venv"\nexport VIRTUAL_ENV\n'
        'PATH="$VIRTUAL_ENV/bin:$PATH"\nexport PATH\nunset PYTHONHOME\n'
        "hash -r 2> /dev/null\n"
    )
    installation.write(exports=f'. "{activate}"\n{EXPORTS}')
    env = installation.env()
    assert env["VIRTUAL_ENV"] == str(tmp_path / "venv")
    assert env["PATH"].startswith(f"{installation.root}/bin:{tmp_path}/venv/bin:")


@pytest.mark.parametrize(
    "wipe", [pytest.param("PATH=", id="empty"), pytest.param('PATH="$ROOT/bin"', id="only-ours")]
)
def test_a_wiped_path_is_taken_as_it_is(installation, wipe: str) -> None:
    installation.write(f"export {wipe}")
    assert installation.env()["PATH"] in ("", f"{installation.root}/bin")


@pytest.mark.parametrize(
    "last",
    [
        pytest.param("[ -f /no/such/file ] && source /no/such/file", id="false-test"),
        pytest.param("return 1", id="return-1-at-the-end"),
    ],
)
def test_a_false_last_test_is_warned_of(installation, caplog, last: str) -> None:
    installation.write(f"echo optional part missing >&2\n{last}")
    check_required(installation.env(), installation.root)
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "status 1" in warning
    assert "optional part missing" in warning
    assert str(installation.config) in warning


FAILURES = {
    "return-3": ({"after": "echo no licence >&2; return 3"}, ["status 3", "no licence"]),
    "command-fails-with-2": ({"after": "ls /no/such/file"}, ["status 2", "/no/such/file"]),
    "return-1-midway": (
        {"before": "echo petsc missing >&2; return 1"},
        ["does not set LD_LIBRARY_PATH, CARPENTRY_LICENSE, CARPUTILS_SETTINGS", "petsc missing"],
    ),
    "exit-0": ({"after": "echo bye; exit 0"}, ["exit code 0", "calls exit", "bye"]),
    "exit-1": ({"after": "echo bye >&2; exit 1"}, ["exit code 1", "calls exit", "bye"]),
    "set-e": (
        {"after": "set -e; ls /no/such/file; export LATE=1"},
        ["exit code 2", "'set -e'", "/no/such/file"],
    ),
    "set-u": ({"after": 'set -u; echo "$NO_SUCH_VARIABLE"'}, ["NO_SUCH_VARIABLE"]),
    "exec": ({"after": "exec true"}, ["ended the shell"]),
    "killed": ({"after": "kill -KILL $$"}, ["ended the shell (exit code -9)"]),
    "syntax-error": ({"after": "if true; then"}, ["cannot read or parse", "syntax error"]),
    "syntax-error-first": ({"before": "done"}, ["cannot read or parse", "syntax error"]),
    "empty-file": ({"exports": ""}, ["CARPENTRY_LICENSE"]),
    "says-it-on-stdout": ({"after": "echo ERROR: no petsc; return 4"}, ["ERROR: no petsc"]),
    "unset-path": ({"after": "unset PATH"}, ["does not set PATH"]),
}


@pytest.mark.parametrize(
    ("text", "words"), [pytest.param(*case, id=name) for name, case in FAILURES.items()]
)
def test_a_config_that_fails_says_why(installation, text, words) -> None:
    installation.write(**text)
    carp = CarpRunner(CommandRunner(), installation.config)
    with pytest.raises(CarpEnvironmentError) as caught:
        _ = carp.carp_env
    for word in [str(installation.config), *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", REQUIRED[1:])
def test_a_missing_variable_is_named(installation, name: str) -> None:
    installation.write(f"echo partial >&2; export -n {name}")
    with pytest.raises(CarpEnvironmentError, match=rf"does not set {name} \(") as caught:
        installation.env()
    assert "partial" in str(caught.value)


def test_an_empty_variable_counts_as_set(installation) -> None:
    installation.write("export CARPENTRY_LICENSE= CARPUTILS_SETTINGS=")
    carp = CarpRunner(CommandRunner(), installation.config)
    assert carp.carp_env["CARPENTRY_LICENSE"] == ""
    assert carp.get_license_path() is None
    assert carp.get_carputils_settings_path() is None


@pytest.mark.parametrize("inherited", ["CARPENTRY_LICENSE", "CARPUTILS_SETTINGS"])
def test_status_1_is_an_error_if_a_variable_is_only_inherited(
    installation, monkeypatch, inherited: str
) -> None:
    monkeypatch.setenv(inherited, "/of/another/installation")
    kept = "\n".join(line for line in EXPORTS.splitlines() if inherited not in line)
    installation.write("return 1", exports=kept)
    with pytest.raises(CarpEnvironmentError, match=f"not set {inherited} to anything new"):
        installation.env()
    installation.write("return 0", exports=kept)
    assert installation.env()[inherited] == "/of/another/installation"


def test_status_1_is_a_warning_too_where_the_file_has_been_sourced_before(
    installation, monkeypatch, caplog
) -> None:
    # As from a shell whose .bashrc sources the file: of its own it changes PATH, at the most.
    guard = 'case ":$PATH:" in *":$ROOT/bin:"*) ;; *) export PATH="$ROOT/bin:$PATH" ;; esac\n'
    others = "\n".join(line for line in EXPORTS.splitlines() if "PATH=" not in line)
    guarded = f'{guard}export LD_LIBRARY_PATH="$ROOT/petsc/lib"\n{others}'
    installation.write("false", exports=guarded)
    for name, value in installation.env().items():
        monkeypatch.setenv(name, value)
    caplog.clear()
    check_required(installation.env(), installation.root)
    assert installation.env()["PATH"] == os.environ["PATH"]
    assert "status 1" in caplog.text
    installation.write("return 1", exports="")
    with pytest.raises(CarpEnvironmentError, match=f"not set {', '.join(REQUIRED)} to anything"):
        installation.env()


def test_a_config_that_hangs_is_ended(installation, marked, monkeypatch) -> None:
    monkeypatch.setenv("PYCEMRG_TEST_MARK", marked.env["PYCEMRG_TEST_MARK"])
    installation.write("echo waiting for the licence server; sleep 600")
    with pytest.raises(CarpEnvironmentError, match=r"not sourced within 0\.3 s") as caught:
        installation.env(source_timeout=0.3)
    assert "source_timeout" in str(caught.value)
    assert marked.living() == []


def test_an_environment_is_loaded_once_and_only_when_needed(installation, tmp_path) -> None:
    count = tmp_path / "count"
    installation.write(f"echo x >> {count}")
    carp = CarpRunner(CommandRunner(), installation.config)
    assert carp.installation_root == installation.root
    assert carp.get_carp_path("bin") == installation.root / "bin"
    assert not count.exists()
    env = carp.carp_env
    env["PATH"] = "spoiled"
    assert carp.carp_env["PATH"] != "spoiled"
    assert carp.validate_command_exists("openCARP")
    carp.run(["openCARP"])
    assert count.read_text() == "x\n"
    carp.reload_environment()
    assert count.read_text() == "x\nx\n"


def test_a_config_that_was_edited_is_seen_after_a_reload(installation, caplog) -> None:
    installation.write("export SOLVER=old")
    carp = CarpRunner(CommandRunner(logging.getLogger("app")), installation.config)
    assert carp.carp_env["SOLVER"] == "old"
    installation.write("export SOLVER=newer")
    assert [carp.carp_env["SOLVER"] for _ in range(3)] == ["old"] * 3
    [record] = caplog.records
    assert (record.name, record.levelno) == ("app", logging.WARNING)
    assert "reload_environment()" in record.getMessage()
    carp.reload_environment()
    assert carp.carp_env["SOLVER"] == "newer"
    assert len(caplog.records) == 1
    installation.write("export SOLVER=newest")
    assert carp.carp_env["SOLVER"] == "newer"
    assert len(caplog.records) == 2


def test_a_failed_reload_keeps_nothing(installation) -> None:
    installation.write()
    carp = CarpRunner(CommandRunner(), installation.config)
    assert carp.carp_env
    installation.write("return 3")
    with pytest.raises(CarpEnvironmentError):
        carp.reload_environment()
    with pytest.raises(CarpEnvironmentError):
        carp.run(["openCARP"])
    installation.write()
    assert carp.run(["openCARP"]) == "openCARP \n"


def test_a_config_that_is_gone_is_an_environment_error(installation) -> None:
    installation.write()
    carp = CarpRunner(CommandRunner(), installation.config)
    installation.config.unlink()
    with pytest.raises(CarpEnvironmentError, match="No such file"):
        carp.reload_environment()


def test_the_constructor_asks_for_the_file_and_does_not_source_it(installation, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no CARPentry config"):
        CarpRunner(CommandRunner(), tmp_path / "config.sh")
    installation.config.write_text("exit 1")
    CarpRunner(runner=CommandRunner(), carp_config_path=str(installation.config))
    with pytest.raises(FileNotFoundError, match="it is in that folder"):
        CarpRunner(CommandRunner(), installation.root)
    with pytest.raises(ValueError, match="more than 0"):
        CarpRunner(CommandRunner(), installation.config, source_timeout=0)


def test_a_relative_path_and_a_home_folder_become_absolute(installation, monkeypatch) -> None:
    installation.write()
    monkeypatch.chdir(installation.root)
    carp = CarpRunner(CommandRunner(), "config.sh")
    assert carp.installation_root == installation.root
    monkeypatch.chdir("/")
    check_required(carp.carp_env, installation.root)
    monkeypatch.setenv("HOME", str(installation.root.parent))
    carp = CarpRunner(CommandRunner(), "~/carpentry_bundle/config.sh")
    assert carp.installation_root == installation.root


def test_run_passes_everything_on(installation, tmp_path: Path) -> None:
    installation.tool("solve", 'cat > "$1_vm.igb"; echo "$CARPENTRY_LICENSE"; exit "$2"')
    installation.write()
    carp = CarpRunner(CommandRunner(), installation.config)
    case = tmp_path / "case_01"
    case.mkdir()
    stdout = carp.run(
        cmd=["solve", "experiment", "0"],
        expected_outputs=[Path("experiment_vm.igb")],
        cwd=case,
        input="vm\n",
    )
    assert stdout == f"{installation.root}/license.bin\n"
    assert (case / "experiment_vm.igb").read_text() == "vm\n"
    with pytest.raises(FileNotFoundError, match=r"other\.igb"):
        carp.run(["solve", "b", "0"], ["other.igb"], case)
    with pytest.raises(CommandExecutionError):
        carp.run(["solve", "b", "1"], None, case, ["no such text"])
    with pytest.raises(CommandTimeoutError):
        carp.run(["sleep", "600"], timeout=0.1)
    with pytest.raises(CommandNotFoundError, match=f"{installation.root}/bin"):
        carp.run(["meshalyzer"])
    assert carp.run(["meshalyzer"], dry_run=True) == ""


def test_execute_returns_all_that_is_known(installation, tmp_path: Path) -> None:
    installation.tool("solve", 'touch "$1"; echo "$CARPENTRY_LICENSE"; echo failed >&2; exit 3')
    installation.write()
    carp = CarpRunner(CommandRunner(), installation.config)
    result = carp.execute(["solve", "vm.igb"], ["vm.igb"], tmp_path, ["failed"], log_dir=tmp_path)
    assert (result.returncode, result.stdout) == (3, f"{installation.root}/license.bin\n")
    assert result.outputs == (tmp_path / "vm.igb",)
    assert (result.record / "stderr.log").read_text() == "failed\n"


def test_a_runner_of_ones_own_needs_to_know_the_documented_arguments_only(installation) -> None:
    class Recorder:
        def run(self, cmd, expected_outputs=None, cwd=None, ignore_errors=None, env=None):
            return f"{cmd} {expected_outputs} {cwd} {ignore_errors} {env['CARPENTRY_LICENSE']}"

    installation.write()
    carp = CarpRunner(Recorder(), installation.config)
    assert carp.run(["a"], ["b"], "c", ["d"]) == (
        f"['a'] ['b'] c ['d'] {installation.root}/license.bin"
    )


def test_programs_are_looked_for_on_the_path_of_the_installation(installation) -> None:
    installation.write()
    (installation.root / "bin" / "notes.txt").write_text("no program")
    (installation.root / "bin" / "folder").mkdir()
    carp = CarpRunner(CommandRunner(), installation.config)
    assert shutil.which("openCARP", path="/usr/bin:/bin") is None
    answers = {
        name: carp.validate_command_exists(name)
        for name in ("openCARP", "sh", "notes.txt", "folder", "meshalyzer", "", "openCARP; true")
    }
    assert answers == {
        "openCARP": True,
        "sh": True,
        "notes.txt": False,
        "folder": False,
        "meshalyzer": False,
        "": False,
        "openCARP; true": False,
    }


def test_the_paths_of_the_installation(installation, monkeypatch) -> None:
    installation.write("export CARPUTILS_SETTINGS='~/settings.yaml'")
    monkeypatch.setenv("HOME", "/home/somebody")
    carp = CarpRunner(CommandRunner(), installation.config)
    assert carp.get_carp_path() == installation.root
    assert carp.get_carp_path("petsc/lib") == installation.root / "petsc" / "lib"
    assert carp.get_license_path() == installation.root / "license.bin"
    assert carp.get_carputils_settings_path() == Path("/home/somebody/settings.yaml")


def test_the_first_installation_is_found(tmp_path: Path, monkeypatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    assert CarpRunner.find_installation([tmp_path / "a", tmp_path / "b"]) is None
    assert CarpRunner.find_installation([]) is None
    (tmp_path / "b" / "config.sh").touch()
    (tmp_path / "c" / "config.sh").touch()
    (tmp_path / "a" / "config.sh").mkdir()
    found = CarpRunner.find_installation([tmp_path / "a", str(tmp_path / "b"), tmp_path / "c"])
    assert found == tmp_path / "b" / "config.sh"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CarpRunner.find_installation([Path("~/c")]) == tmp_path / "c" / "config.sh"
    monkeypatch.chdir(tmp_path)
    assert CarpRunner.find_installation(["b"]) == tmp_path / "b" / "config.sh"
    with pytest.raises(TypeError, match="list of folders"):
        CarpRunner.find_installation(str(tmp_path))


def test_the_usual_places_are_searched_in_order(tmp_path: Path, monkeypatch) -> None:
    assert carp_runner.DEFAULT_SEARCH_PATHS == (
        "~/carpentry_bundle",
        "~/CARPentry",
        "~/opencarp",
        "/opt/carpentry_bundle",
        "/opt/CARPentry",
        "/usr/local/carpentry_bundle",
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "opencarp").mkdir()
    (tmp_path / "opencarp" / "config.sh").touch()
    assert CarpRunner.find_installation() == tmp_path / "opencarp" / "config.sh"


def test_a_carp_runner_can_be_sent_to_another_process(installation) -> None:
    installation.write()
    carp = CarpRunner(CommandRunner(), installation.config)
    for _ in range(2):  # before and after its environment is loaded
        other = pickle.loads(pickle.dumps(carp))
        assert other.run(["openCARP"]) == "openCARP \n"
        carp.run(["openCARP"])


def test_no_bash_is_an_environment_error(installation, monkeypatch) -> None:
    from pycemrg.system import shell_env

    installation.write()
    monkeypatch.setattr(shell_env, "BASH", "/no/such/bash")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CarpEnvironmentError, match="no bash"):
        installation.env()


def test_a_file_that_bash_reads_first_is_read(installation, tmp_path, monkeypatch) -> None:
    # Clusters define `module` for scripts in the file that BASH_ENV names.
    init = tmp_path / "init.sh"
    init.write_text("module() { export LOADED=$2; }\necho loud\n")
    monkeypatch.setenv("BASH_ENV", str(init))
    installation.write("module load petsc")
    assert installation.env()["LOADED"] == "petsc"
