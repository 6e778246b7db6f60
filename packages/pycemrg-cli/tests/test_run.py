import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pycemrg.system", reason="pycemrg-system is not installed")

PYCEMRG = [sys.executable, "-m", "pycemrg.cli"]
posix_only = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


@pytest.fixture
def run(tmp_path):
    def call(*arguments, **options):
        return subprocess.run(
            [*PYCEMRG, "run", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    return call


def test_output_passes_through_as_it_is(run):
    done = run("--", "sh", "-c", r"printf 'a\r50%%\377\0'; printf 'b\n' >&2")
    assert done.stdout == b"a\r50%\xff\0"
    assert done.stderr.startswith(b"b\n")
    assert done.stderr.count(b"\n") == 2
    assert b": succeeded after " in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        pytest.param(["sh", "-c", "exit 3"], 3, "failed with exit code 3", id="exit-code"),
        pytest.param(["sh", "-c", "kill -KILL $$"], 137, "was ended by SIGKILL", id="signal"),
        pytest.param(["no-such-program"], 127, "there is no program", id="no-program"),
        pytest.param(["/dev/null"], 126, "could not be started", id="no-executable"),
    ],
)
def test_the_exit_code_is_that_of_the_command(run, command, code, words):
    done = run("--", *command)
    assert (done.returncode, done.stdout) == (code, b"")
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_options_of_the_command_are_its_own(run):
    assert run("echo", "--help", "-n", "--", "--timeout").stdout == b"--help -n -- --timeout\n"


def test_a_missing_file_is_a_failure(run, tmp_path):
    assert run("--expect", "vm.igb", "--", "touch", "vm.igb").returncode == 0
    done = run("--expect", "vm.igb", "--expect", "phie.igb", "--", "true")
    assert done.returncode == 1
    assert "true has ended, but did not write:" in done.stderr.decode()
    assert str(tmp_path / "phie.igb") in done.stderr.decode()


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--fresh"], 1)])
def test_a_file_that_was_not_touched_is_a_failure_if_asked_for(run, tmp_path, flags, code):
    (tmp_path / "vm.igb").touch()
    done = run(*flags, "--expect", "vm.igb", "--", "true")
    assert done.returncode == code
    assert "has not touched what was there before" in done.stderr.decode()


def test_a_command_is_ended_when_its_time_is_over(run):
    done = run("--timeout", "0.2s", "--", "sh", "-c", "echo begun; sleep 60")
    assert (done.returncode, done.stdout) == (124, b"begun\n")
    assert "was ended after its timeout of 0.2 s" in done.stderr.decode()


@pytest.mark.parametrize("text", ["1x", "", "h", "-1", "0", "1h 2x", "1e3", "two hours"])
def test_what_is_no_duration_is_wrong_usage(run, text):
    done = run("--timeout", text, "--", "true")
    assert done.returncode == 2
    assert "--timeout" in done.stderr.decode()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1d 1s", 86_401)],
)
def test_durations_are_read(text, seconds):
    from pycemrg.cli.run import Duration

    assert Duration().convert(text, None, None) == seconds


def test_a_record_is_kept(run, tmp_path):
    done = run("--log-dir", "logs", "--cwd", tmp_path, "--", "echo", "a b")
    (folder,) = (tmp_path / "logs").iterdir()
    assert str(folder) in done.stderr.decode()
    assert (folder / "stdout.log").read_text() == "a b\n"
    assert json.loads((folder / "result.json").read_text())["cmd"] == ["echo", "a b"]


def test_a_dry_run_shows_what_would_run(run, tmp_path):
    done = run("--dry-run", "--", "touch", "a b")
    assert done.stdout == b"touch 'a b'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_reaches_the_command_and_a_terminal_does_not(run):
    assert run("cat", stdin=None, input=b"piped").stdout == b"piped"
    master, slave = os.openpty()
    try:
        assert run("cat", stdin=slave).stdout == b""
    finally:
        os.close(master)
        os.close(slave)


def test_a_mistyped_option_is_wrong_usage(run):
    done = run("--tiemout", "5", "--", "true")
    assert done.returncode == 2
    assert "--tiemout" in done.stderr.decode()


def test_nothing_to_run_is_wrong_usage(run):
    assert run().returncode == 2


TREE = "sleep 600 & echo $! $$; wait; sleep 600"


@posix_only
@pytest.mark.parametrize(
    ("number", "code", "tree"),
    [
        pytest.param(signal.SIGTERM, 143, f"trap '' TERM; {TREE}", id="stubborn"),
        pytest.param(signal.SIGINT, 130, TREE, id="ctrl-c"),
        pytest.param(signal.SIGHUP, 129, TREE, id="hang-up"),
    ],
)
def test_a_signal_ends_everything_that_was_started(tmp_path, number, code, tree):
    child = subprocess.Popen(
        [*PYCEMRG, "run", "--", "sh", "-c", tree],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = [int(pid) for pid in child.stdout.readline().split()]
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == code
    assert f"ended by {signal.Signals(number).name}" in said
    assert [pid for pid in started if lives(pid)] == []


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@posix_only
def test_who_is_told_to_ignore_a_hang_up_ignores_it(tmp_path):
    """As nohup(1) does."""
    program = "import signal, runpy, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    program += "sys.argv = ['pycemrg', *sys.argv[1:]]; runpy.run_module('pycemrg.cli')"
    child = subprocess.Popen(
        [sys.executable, "-c", program, "run", "--", "sh", "-c", "echo on; read line; echo $line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "on\n"
    child.send_signal(signal.SIGHUP)
    out, _ = child.communicate("still here\n", timeout=60)
    assert (child.returncode, out) == (0, "still here\n")


@posix_only
def test_a_reader_that_goes_away_ends_the_command(tmp_path):
    command = " ".join([sys.executable, "-m", "pycemrg.cli run -- yes | head -n 1"])
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "y\n"
    assert "Traceback" not in done.stderr
