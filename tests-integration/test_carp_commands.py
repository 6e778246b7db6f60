"""`pycemrg carp` as shells and users call it: evaluated, interrupted, and with real tools."""

import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="CARPentry is sourced by bash")

CARP = [sys.executable, "-m", "pycemrg.cli", "carp"]

EVERY_BYTE = bytes(range(1, 256))
HOSTILE = {
    "EVERY_BYTE": EVERY_BYTE,
    "EVERY_BYTE_BACKWARDS": EVERY_BYTE[::-1],
    "PAIRS_AROUND_QUOTES": b"".join(b"'%c'" % byte for byte in EVERY_BYTE),
    "EMPTY": b"",
    "BLANK": b" ",
    "LINES": b"\n\nPATH=/evil\nexport PATH=/evil\n\n",
    "SUBSTITUTION": b"$(touch executed) `touch executed` ${PATH} $HOME ~ ~root *",
    "WAY_OUT": b"'; touch executed; '",
    "DOUBLE_WAY_OUT": b'"; touch executed; "',
    "HERE": b"<<EOF\nEOF\n",
    "COMMENT": b"# nothing",
    "OPTION": b"-n",
    "BACKSLASH": b"\\",
    "BACKSLASH_AND_LINE": b"a\\\nb\\",
    "ONLY_QUOTES": b"'" * 9 + b'"' * 9,
    "EQUATION": b"=a=b=",
    "HISTORY": b"!! !$ !1",
    "BRACES": b"{a,b} [a-z] (x) ; & | < >",
    "UTF_8": "Ren\u00e9 \u5fc3\u81df \U0001fac0".encode(),
    "NOT_UTF_8": b"Ren\xe9 \xc3( \xed\xa0\x80 \xff",
    "CR": b"a\r\nb\r",
    "LARGE": b"'x\n\"" * 20_000,
    "IFS": b"/:=",
    "PS4": b"$(touch executed)",
    "_": b"of the shell itself",
}

# What a shell keeps for itself.
BOOKKEEPING = (b"_", b"OLDPWD", b"PWD", b"SHLVL")

SHELLS = {
    "sh": ["sh"],
    "bash": ["bash"],
    "bash in POSIX mode": ["bash", "--posix"],
    "dash": ["dash"],
}


@pytest.fixture(params=SHELLS)
def shell(request):
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    return command


@pytest.fixture(params=["C", "C.UTF-8"])
def before(request, study):
    """The environment of the shell, in each of two locales."""
    ours = {os.fsencode(name): os.fsencode(value) for name, value in os.environ.items()}
    more = {b"TAKEN_AWAY": b"1", b"REPLACED": b"'old'", b"KEPT": b"'kept' $x\n\xe9"}
    return {**ours, **more, b"LC_ALL": request.param.encode()}


def in_octal(value):
    """A word of bash that stands for these bytes, whatever they are."""
    return "$'" + "".join(f"\\{byte:03o}" for byte in value) + "'"


def assignments(values):
    return "".join(f"export {name}={in_octal(value)}\n" for name, value in values.items())


def evaluated(shell, script, *arguments, environment=None):
    """How `script` ends in a shell where $* is `pycemrg carp` with these arguments."""
    return subprocess.run(
        [*shell, "-c", script, "shell", *CARP, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=120,
    )


def test_an_evaluated_export_makes_the_environment(shell, before, study, make_carpentry, tmp_path):
    config = make_carpentry(tmp_path / "an 'odd' $(touch executed) place")
    with config.open("a") as file:
        file.write(assignments(HOSTILE))
        file.write("unset TAKEN_AWAY\nexport REPLACED=new\nmodule() { :; }\nexport -f module\n")
        file.write("export UID\n")

    script = 'eval "$("$@")" && echo evaluated >&2 && exec /usr/bin/env -0'
    done = evaluated(shell, script, "env", "--export", "--config", config, environment=before)
    assert done.stderr.splitlines()[1:] == [b"evaluated"], done.stderr
    assert done.stderr.startswith(b"left out BASH_FUNC_module%%, UID: ")

    after = dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0")[:-1])
    root = os.fsencode(config.parent)
    expected = {
        **before,
        **{name.encode(): value for name, value in HOSTILE.items()},
        b"REPLACED": b"new",
        b"OPAL_PREFIX": root + b"/openmpi",
        b"OPAL_BINDIR": root + b"/openmpi/bin",
        b"OPAL_LIBDIR": root + b"/openmpi/lib",
        b"VIRTUAL_ENV": root + b"/venv",
        b"PATH": root + b"/bin:" + root + b"/openmpi/bin:" + before[b"PATH"],
        b"LD_LIBRARY_PATH": root + b"/petsc/lib",
        b"PYTHONPATH": root + b"/carputils",
        b"CARPENTRY_LICENSE": root + b"/license.bin",
        b"CARPUTILS_SETTINGS": root + b"/settings.yaml",
    }
    if b"PYTHONPATH" in before:
        expected[b"PYTHONPATH"] += b":" + before[b"PYTHONPATH"]
    del expected[b"TAKEN_AWAY"]
    for name in BOOKKEEPING:
        expected.pop(name, None)
        after.pop(name, None)
    assert after == expected
    assert list(tmp_path.rglob("executed")) == []


def test_the_environment_of_a_command_is_the_one_that_is_listed(study, make_carpentry, tmp_path):
    config = make_carpentry(tmp_path / "carp")
    with config.open("a") as file:
        file.write(assignments({name: HOSTILE[name] for name in HOSTILE if name != "_"}))
    command = [*CARP, "run", "--config", str(config), "--", "env", "-0"]
    ran = subprocess.run(command, capture_output=True, timeout=120).stdout
    entries = dict(entry.split(b"=", 1) for entry in ran.split(b"\0")[:-1])
    command = [*CARP, "env", "--config", str(config)]
    plain = subprocess.run(command, capture_output=True, timeout=120).stdout
    listed = json.loads(subprocess.run([*command, "--json"], capture_output=True).stdout)
    assert set(HOSTILE) - {"_"} < set(listed)
    for name, value in listed.items():
        assert entries[os.fsencode(name)] == os.fsencode(value)
        assert os.fsencode(f"{name}={value}\n") in plain


@pytest.mark.parametrize(
    "config", [None, "exit 0\n", "syntax error (\n", "return 3\n", "export PATH\n"]
)
def test_a_script_does_not_go_on_where_there_is_no_environment(shell, study, config):
    if config:
        Path("config.sh").write_text(config)
    script = 'set -e; eval "$("$@")"; echo went on'
    done = evaluated(shell, script, "env", "--export", "--config", "config.sh")
    assert done.returncode != 0
    assert done.stdout == b""
    assert b"Error: " in done.stderr


def test_the_commands_and_a_shell_agree(run_cli, study, make_carpentry):
    """From an empty home to a case that has run, as a user would."""
    refused = run_cli("carp", "find")
    assert (refused.returncode, refused.stdout) == (1, "")
    config = make_carpentry(Path.home() / "carpentry_bundle")
    assert run_cli("carp", "find").stdout == f"{config}\n"
    assert f"LD_LIBRARY_PATH={config.parent}/petsc/lib\n" in run_cli("carp", "env").stdout

    done = run_cli(
        *("carp", "run", "--expect", "sim_vm.igb", "--log-dir", "logs"),
        *("--", "openCARP", "+F", "sim.par"),
    )
    assert (done.returncode, done.stdout) == (0, f"license: {config.parent}/license.bin\n")
    assert (study / "sim_vm.igb").exists()
    (record,) = (study / "logs").iterdir()
    facts = json.loads((record / "result.json").read_text())
    assert facts["executable"] == f"{config.parent}/bin/openCARP"
    # The script of the record needs no pycemrg.
    (study / "sim_vm.igb").unlink()
    again = subprocess.run([record / "command.sh"], capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert (study / "sim_vm.igb").exists()


def test_the_doctor_tells_a_whole_installation_from_one_without_a_licence(run_cli, make_carpentry):
    config = make_carpentry(Path.home() / "carpentry_bundle")
    (config.parent / "bin" / "openCARP").write_text("#!/bin/sh\necho 'GIT tag: v18.1'\n")
    assert states(run_cli("carp", "doctor", "--json"))["CARPENTRY_LICENSE"] == "ok"
    (config.parent / "license.bin").unlink()
    done = run_cli("carp", "doctor", "--json")
    assert done.returncode == 1
    assert states(done)["CARPENTRY_LICENSE"] == "missing"
    assert states(done)["openCARP"] == "ok"
    listed = run_cli("carp", "doctor").stdout
    assert f"missing  CARPENTRY_LICENSE   {config.parent}/license.bin: " in listed
    assert "v18.1" in listed


def states(done):
    return {finding["what"]: finding["state"] for finding in json.loads(done.stdout)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    ("command", "out"),
    [(["env", "--export"], "false\n"), (["doctor"], ""), (["run", "true"], "")],
    ids=["env", "doctor", "run"],
)
def test_a_signal_ends_a_config_that_is_being_sourced(study, number, command, out):
    """Also what it has started: `sleep` here."""
    os.mkfifo("ready")
    Path("config.sh").write_text("sleep 600 &\necho $$ $! > ready\nwait\n")
    config = ["--config", "config.sh"]
    child = subprocess.Popen(
        [*CARP, *command[:1], *config, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = [int(pid) for pid in read_line(Path("ready")).split()]
    assert [lives(pid) for pid in started] == [True, True]
    child.send_signal(number)
    printed, said = child.communicate(timeout=60)
    left = [pid for pid in started if lives(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
    assert (child.returncode, printed) == (128 + number, out)
    assert f"ended by {number.name}\n" in said


def read_line(fifo):
    """The first line that is written, within a minute."""
    descriptor = os.open(fifo, os.O_RDWR)  # does not wait for a writer
    try:
        text = b""
        while not text.endswith(b"\n"):
            readable, _, _ = select.select([descriptor], [], [], 60)
            assert readable, "nothing was written"
            text += os.read(descriptor, 100)
        return text.decode()
    finally:
        os.close(descriptor)


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_the_help_says_of_eval_works(study, make_carpentry, tmp_path):
    config = make_carpentry(tmp_path / "carp")
    shown = subprocess.run([*CARP, "env", "--help"], capture_output=True, text=True).stdout
    (line,) = (line.strip() for line in shown.splitlines() if "pycemrg carp env --export" in line)
    script = line.replace("pycemrg carp env", shlex.join([*CARP, "env", "--config", str(config)]))
    done = evaluated(["sh"], f'{script} && echo "$CARPENTRY_LICENSE"')
    assert done.stdout.decode() == f"{config.parent}/license.bin\n"
