"""Every kind of config.sh that is found in the wild, or that could be made: what comes of it.

Each is tried in two folders: one with a plain name, and one whose name would be code in a shell.
"""

import logging
import os
import venv
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pycemrg.system import CarpEnvironmentError, CarpRunner, CommandRunner

ROOT = 'ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"\n'
EXPORTS = """\
export PATH="$ROOT/bin:$PATH"
export LD_LIBRARY_PATH="$ROOT/lib"
export CARPENTRY_LICENSE="$ROOT/license.bin"
export CARPUTILS_SETTINGS="$ROOT/settings.yaml"
"""
COMPLETE = ROOT + EXPORTS

HOSTILE = """an 'odd' "place"; touch executed; $(touch executed2) `touch executed3` & #"""
FOLDERS = [pytest.param("carpentry_bundle", id="plain"), pytest.param(HOSTILE, id="hostile")]


@dataclass(frozen=True)
class Kind:
    """A config.sh and what must come of it.

    In the values ROOT stands for its folder, and PATH for the PATH that it started with.
    """

    text: str
    inherits: dict[str, str] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    warns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fault:
    """A config.sh that must be refused, and what the error must tell."""

    text: str
    tells: tuple[str, ...]
    timeout: float = 30.0


KINDS = {
    "BASH_SOURCE-relative root": Kind(COMPLETE),
    "banner on stdout": Kind(
        'echo "Welcome to CARPentry"\n' + COMPLETE + "printf 'no newline at the end'\n"
    ),
    "banner on stderr": Kind("echo 'Welcome to CARPentry' >&2\n" + COMPLETE),
    "NAME=value banner": Kind(
        COMPLETE
        + "echo PATH=/evil\n"
        + "echo CARPENTRY_LICENSE=/evil >&2\n"
        + r"printf '0\0LD_LIBRARY_PATH=/evil\0EVIL=1\0'"
        + "\n"
    ),
    "multi-line value": Kind(
        COMPLETE + "export OMP_NOTES='first\nPATH=/evil\n\n  last\n'\n",
        sets={"OMP_NOTES": "first\nPATH=/evil\n\n  last\n"},
    ),
    "exported function": Kind(
        COMPLETE + "solve() {\n    echo solved $1\n}\nexport -f solve\n",
        sets={"BASH_FUNC_solve%%": "() {  echo solved $1\n}"},
    ),
    "inherited module function": Kind(
        "module load petsc/3.18\n" + COMPLETE,
        inherits={"BASH_FUNC_module%%": "() {  export LOADEDMODULES=$2\n}"},
        sets={
            "LOADEDMODULES": "petsc/3.18",
            "BASH_FUNC_module%%": "() {  export LOADEDMODULES=$2\n}",
        },
    ),
    "empty value": Kind(
        COMPLETE + "export OMP_PLACES=\nexport CARPENTRY_LICENSE=''\n",
        sets={"OMP_PLACES": "", "CARPENTRY_LICENSE": ""},
    ),
    "value with equal signs and blanks": Kind(
        COMPLETE + "export PETSC_OPTIONS=' -ksp=cg  -pc=a=b '\n",
        sets={"PETSC_OPTIONS": " -ksp=cg  -pc=a=b "},
    ),
    "non-UTF-8 value": Kind(
        COMPLETE + "export PATIENT=$'Ren\\xe9'\n", sets={"PATIENT": "Ren\udce9"}
    ),
    "false last test": Kind(
        COMPLETE + "echo 'no extras here' >&2\n[ -d extras ] && . extras/env.sh\n",
        warns=("config.sh: sourcing it ended with status 1", "no extras here"),
    ),
    "set -e": Kind("set -e\n" + COMPLETE),
    "set -u": Kind("set -u\n" + COMPLETE),
    "exec >/dev/null": Kind("exec >/dev/null 2>&1\n" + COMPLETE),
    "env as a function": Kind("env() { echo PATH=/evil; }\n" + COMPLETE),
    "PATH wiped": Kind(COMPLETE + 'export PATH="$ROOT/bin"\n', sets={"PATH": "ROOT/bin"}),
    "PATH wiped to nothing": Kind(COMPLETE + "export PATH=\n", sets={"PATH": ""}),
    "read from stdin": Kind(
        'read -r -p "Accept the licence? " answer\n' + COMPLETE + 'export ANSWER="$answer"\n',
        sets={"ANSWER": ""},
    ),
    "background child": Kind(
        COMPLETE + 'sleep 600 &\necho $! > "$ROOT/pids"\n',
        warns=("processes that it started run on in the background",),
    ),
    "EXIT trap that prints": Kind("trap 'echo PATH=/evil; exit 9' EXIT\n" + COMPLETE),
    "changes of folder": Kind(COMPLETE + "cd /\n"),
    "prefix exports": Kind(
        ROOT + EXPORTS.replace("$ROOT/lib", "$ROOT/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"),
        inherits={"LD_LIBRARY_PATH": "/opt/intel/lib"},
        sets={"LD_LIBRARY_PATH": "ROOT/lib:/opt/intel/lib"},
    ),
}

FAULTS = {
    "return 3": Fault(
        COMPLETE + "echo 'no server' >&2\nreturn 3\n", ("ended with status 3", "no server")
    ),
    "return 1 midway": Fault(
        ROOT + "echo 'petsc is missing' >&2\nreturn 1\n" + EXPORTS,
        ("LD_LIBRARY_PATH, CARPENTRY_LICENSE, CARPUTILS_SETTINGS", "petsc is missing"),
    ),
    "exit 0 midway": Fault(
        COMPLETE + "echo 'nothing to do'\nexit 0\nexport LATE=1\n",
        ("exit code 0", "calls exit", "nothing to do"),
    ),
    "exit 1 midway": Fault(
        COMPLETE + "echo 'no GPU' >&2\nexit 1\nexport LATE=1\n",
        ("exit code 1", "calls exit", "no GPU"),
    ),
    "set -e with a failing command": Fault(
        "set -e\n" + COMPLETE + "mkdir /proc/nowhere\nexport LATE=1\n",
        ("'set -e'", "/proc/nowhere"),
    ),
    "set -u with an unset variable": Fault(
        "set -u\n" + COMPLETE + 'export LATE="$PETSC_HOME"\n', ("PETSC_HOME: unbound variable",)
    ),
    "syntax error": Fault(
        COMPLETE + "if true; then\n", ("bash cannot read or parse it", "syntax error")
    ),
    "sleep 600": Fault(
        COMPLETE + 'echo $$ > "$ROOT/pids"\necho waiting for the server\nsleep 600\n',
        ("not sourced within 2 s", "source_timeout", "waiting for the server"),
        timeout=2.0,
    ),
    "PATH unset": Fault(COMPLETE + "unset PATH\n", ("does not set PATH ",)),
    "a missing LD_LIBRARY_PATH": Fault(
        COMPLETE + "unset LD_LIBRARY_PATH\n", ("does not set LD_LIBRARY_PATH ",)
    ),
    "a missing CARPENTRY_LICENSE": Fault(
        COMPLETE + "unset CARPENTRY_LICENSE\n", ("does not set CARPENTRY_LICENSE ",)
    ),
    "a CARPUTILS_SETTINGS that is not exported": Fault(
        COMPLETE + "export -n CARPUTILS_SETTINGS\n", ("does not set CARPUTILS_SETTINGS ",)
    ),
}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
def test_a_config_leaves_its_environment_and_nothing_else(
    kind, folder, make_carpentry, study, monkeypatch, caplog
):
    for name, value in kind.inherits.items():
        monkeypatch.setenv(name, value)
    config = make_carpentry(study / folder, kind.text)
    root = config.parent
    carp = CarpRunner(CommandRunner(), config)

    env = carp.carp_env

    required = {
        "PATH": "ROOT/bin:PATH",
        "LD_LIBRARY_PATH": "ROOT/lib",
        "CARPENTRY_LICENSE": "ROOT/license.bin",
        "CARPUTILS_SETTINGS": "ROOT/settings.yaml",
    }
    before = dict(os.environ)
    expected = {**required, **kind.sets}
    expected = {name: value.replace("ROOT", str(root)) for name, value in expected.items()}
    expected["PATH"] = expected["PATH"].replace(":PATH", f":{before['PATH']}")
    assert {name: env.get(name) for name in expected} == expected
    assert {n for n in env | before if env.get(n) != before.get(n)} <= set(expected)
    solver = str(root / "bin" / "openCARP")
    license_line = f"license: {expected['CARPENTRY_LICENSE']}\n"
    assert carp.run([solver, "+F", "sim.par"], ["sim_vm.igb"], cwd=study) == license_line
    warnings = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert len(warnings) == bool(kind.warns)
    assert all(word in warnings[0] for word in kind.warns)
    check_that_nothing_is_left(study, root)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS.items()])
def test_a_config_that_fails_is_refused_and_says_why(fault, folder, make_carpentry, study):
    config = make_carpentry(study / folder, fault.text)
    carp = CarpRunner(CommandRunner(), config, source_timeout=fault.timeout)
    with pytest.raises(CarpEnvironmentError) as caught:
        carp.run(["openCARP", "+F", "sim.par"], cwd=study)
    for word in (str(config), *fault.tells):
        assert word in str(caught.value)
    assert not (study / "sim_vm.igb").exists()
    check_that_nothing_is_left(study, config.parent)


@pytest.mark.parametrize(
    "name", ["a blank", "a 'quote", 'a "quote', ";touch executed;", "$(touch executed)"]
)
def test_the_path_of_an_installation_is_no_code(name, make_carpentry, study):
    root = make_carpentry(study / name, COMPLETE).parent
    carp = CarpRunner(CommandRunner(), root / "config.sh")
    assert carp.carp_env["CARPENTRY_LICENSE"] == f"{root}/license.bin"
    assert carp.get_license_path() == root / "license.bin"
    assert carp.installation_root == root
    assert carp.run(["cusummary"]) == f"settings: {root}/settings.yaml\n"
    check_that_nothing_is_left(study, root)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_virtual_environment_is_activated(folder, make_carpentry, study, tmp_path, monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    # Beside the installation: the script of some releases of Python runs code in its own path.
    home = tmp_path / "carputils_venv"
    venv.create(home, with_pip=False, symlinks=True)
    config = make_carpentry(study / folder, f'. "{home}/bin/activate"\n' + COMPLETE)
    carp = CarpRunner(CommandRunner(), config)
    assert carp.carp_env["VIRTUAL_ENV"] == str(home)
    assert carp.carp_env["PATH"] == f"{config.parent}/bin:{home}/bin:{os.environ['PATH']}"
    assert carp.run(["python", "-c", "import sys; print(sys.prefix)"]) == f"{home}\n"
    check_that_nothing_is_left(study, config.parent)


@pytest.mark.parametrize("folder", FOLDERS)
def test_functions_and_bytes_reach_the_commands(folder, make_carpentry, study, monkeypatch):
    monkeypatch.setenv("BASH_FUNC_module%%", "() {  echo modules of $1\n}")
    text = COMPLETE + "solve() { echo \"solved\n$1\"; }\nexport -f solve\nexport RAW=$'\\xe9\\n'\n"
    carp = CarpRunner(CommandRunner(), make_carpentry(study / folder, text))
    assert carp.run(["bash", "-c", "solve sim; module petsc"]) == "solved\nsim\nmodules of petsc\n"
    assert carp.run(["sh", "-c", 'printf %s "$RAW" | od -An -tx1']) == " e9 0a\n"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_config_that_reads_takes_nothing_from_the_program(
    folder, make_carpentry, study, run_program
):
    config = make_carpentry(study / folder, "read -r answer\n" + COMPLETE)
    program = f"""
        from pycemrg.system import CarpRunner, CommandRunner

        carp = CarpRunner(CommandRunner(), {str(config)!r})
        print(carp.carp_env["CARPENTRY_LICENSE"])
        print(input())
    """
    done = run_program(program, stdin="meant for the program\n")
    assert done.stdout == f"{config.parent}/license.bin\nmeant for the program\n"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_config_that_is_edited_after_loading_is_seen_when_reloaded(
    folder, make_carpentry, study, caplog
):
    config = make_carpentry(study / folder, COMPLETE + "export EDITION=first\n")
    carp = CarpRunner(CommandRunner(), config)
    assert carp.carp_env["EDITION"] == "first"
    config.write_text(COMPLETE + "export EDITION=second\n", encoding="utf-8")
    assert [carp.carp_env["EDITION"] for _ in range(3)] == ["first", "first", "first"]
    # Of warnings: another test may have left a library talking at DEBUG.
    told = [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"]
    assert len(told) == 1
    assert told[0].startswith(f"{config} has changed")
    assert "reload_environment()" in caplog.text
    carp.reload_environment()
    assert carp.carp_env["EDITION"] == "second"
    config.write_text(COMPLETE + "exit 1\n", encoding="utf-8")
    with pytest.raises(CarpEnvironmentError):
        carp.reload_environment()
    with pytest.raises(CarpEnvironmentError):
        _ = carp.carp_env
    check_that_nothing_is_left(study, config.parent)


def check_that_nothing_is_left(study: Path, root: Path) -> None:
    """Check that no name of a folder has been run as code, and that no process runs on."""
    assert [path for path in study.parent.rglob("*") if path.name.startswith("executed")] == []
    pids = root / "pids"
    for pid in pids.read_text().split() if pids.exists() else []:
        members = [int(pid)] if is_running(int(pid)) else []
        assert members + session_of(int(pid)) == []


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def session_of(pid: int) -> list[int]:
    """Return the processes whose session was begun by one that is gone."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # proc(5): state, ppid, pgrp and session follow the name in parentheses.
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found
