import hashlib
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pycemrg.system import (
    CommandExecutionError,
    CommandNotFoundError,
    CommandRunner,
    CommandTimeoutError,
)
from pycemrg.system.records import Log

SPEAKS = ["sh", "-c", "echo out; echo err >&2"]


def recorded(log_dir):
    """Return the only record in a folder: its folder and its result."""
    (folder,) = log_dir.iterdir()
    return folder, json.loads((folder / "result.json").read_text())


def test_a_run_leaves_its_output_and_how_it_went(tmp_path):
    before = datetime.now(UTC)
    result = CommandRunner().execute(SPEAKS, cwd=tmp_path, log_dir=tmp_path / "logs", timeout=60)
    folder, facts = recorded(tmp_path / "logs")
    assert result.record == folder
    assert (folder / "stdout.log").read_bytes() == b"out\n"
    assert (folder / "stderr.log").read_bytes() == b"err\n"
    assert facts["schema"] == 1
    assert facts["id"] == folder.name
    assert facts["status"] == "succeeded"
    assert facts["error"] is None
    assert facts["cmd"] == SPEAKS
    assert facts["cwd"] == str(tmp_path)
    assert facts["executable"] == subprocess.check_output(["which", "sh"], text=True).strip()
    assert facts["host"] == os.uname().nodename
    assert before <= datetime.fromisoformat(facts["started"])
    assert datetime.fromisoformat(facts["ended"]) <= datetime.now(UTC)
    assert (facts["returncode"], facts["signal"], facts["timeout"]) == (0, None, 60)
    assert facts["duration"] == result.duration
    assert facts["stdout"] == {"path": "stdout.log", "size": 4, "complete": True}


def test_files_that_a_command_reads_and_writes_are_summed_up(tmp_path):
    (tmp_path / "mesh.pts").write_text("3\n")
    (tmp_path / "par file").write_text("tend = 10\n")
    result = CommandRunner().execute(
        ["sh", "-c", "cat mesh.pts > out.igb", "mesh.pts", f"-par={tmp_path}/par file", "none.pts"],
        expected_outputs=["out.igb"],
        cwd=tmp_path,
        log_dir=tmp_path / "logs",
    )
    facts = json.loads((result.record / "result.json").read_text())
    assert facts["inputs"] == [
        {"path": str(path), "size": path.stat().st_size, "sha256": digest(path)}
        for path in (tmp_path / "mesh.pts", tmp_path / "par file")
    ]
    out = tmp_path / "out.igb"
    assert facts["outputs"] == [{"path": str(out), "size": 2, "sha256": digest(out)}]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_input_that_changed_meanwhile_has_no_sha256(tmp_path):
    (tmp_path / "state").write_text("1")
    CommandRunner().run(
        ["sh", "-c", "echo 22 > state", "state"], cwd=tmp_path, log_dir=tmp_path / "logs"
    )
    assert recorded(tmp_path / "logs")[1]["inputs"] == [
        {"path": str(tmp_path / "state"), "size": 1, "sha256": None}
    ]


def test_the_script_repeats_the_command(tmp_path):
    code = "import os; print(os.getcwd(), os.environ['OMP_PLACES'], '$x')"
    command = [sys.executable, "-c", code]
    env = {**os.environ, "OMP_PLACES": "it's {0}"}
    first = CommandRunner().run(command, cwd=tmp_path, env=env, log_dir=tmp_path / "logs")
    folder, _ = recorded(tmp_path / "logs")
    script = folder / "command.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    again = subprocess.run([script], env={"PATH": os.environ["PATH"]}, capture_output=True)
    assert again.stdout.decode() == first


FAILURES = [
    pytest.param(["sh", "-c", "exit 3"], {}, CommandExecutionError, "failed", 3, id="exit-code"),
    pytest.param(
        ["sh", "-c", "kill -SEGV $$"], {}, CommandExecutionError, "failed", -11, id="signal"
    ),
    pytest.param(
        ["sleep", "60"], {"timeout": 0.2}, CommandTimeoutError, "timed out", -15, id="timeout"
    ),
    pytest.param(["no-such"], {}, CommandNotFoundError, "not started", 127, id="no-program"),
    pytest.param(
        ["true"],
        {"expected_outputs": ["x"]},
        FileNotFoundError,
        "missing output",
        0,
        id="no-output",
    ),
]


@pytest.mark.parametrize(("command", "options", "kind", "status", "code"), FAILURES)
def test_a_failure_is_recorded(tmp_path, command, options, kind, status, code):
    with pytest.raises(kind) as caught:
        CommandRunner().run(command, cwd=tmp_path, log_dir=tmp_path / "logs", **options)
    folder, facts = recorded(tmp_path / "logs")
    assert (facts["status"], facts["returncode"]) == (status, code)
    assert facts["signal"] == (signal.Signals(-code).name if code < 0 else None)
    assert facts["error"] == str(caught.value)
    if isinstance(caught.value, CommandExecutionError):
        assert caught.value.record == folder
        assert pickle.loads(pickle.dumps(caught.value)).record == folder


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("in on_output")])
def test_an_interruption_is_recorded(tmp_path, error):
    def raises(line):
        raise error

    with pytest.raises(type(error)):
        CommandRunner().run(SPEAKS, log_dir=tmp_path / "logs", on_output=raises)
    _, facts = recorded(tmp_path / "logs")
    assert facts["status"] == "interrupted"
    assert facts["error"] == (str(error) or "KeyboardInterrupt")


def test_an_excused_failure_has_succeeded_with_its_code(tmp_path):
    command = ["sh", "-c", "echo known >&2; exit 4"]
    CommandRunner().run(command, ignore_errors=["known"], log_dir=tmp_path / "logs")
    _, facts = recorded(tmp_path / "logs")
    assert (facts["status"], facts["returncode"]) == ("succeeded", 4)


def test_as_long_as_there_is_no_result_the_run_goes_on(tmp_path):
    seen = []
    CommandRunner().run(
        ["echo", "now"],
        log_dir=tmp_path / "logs",
        on_output=lambda _: seen.extend(path.name for path in tmp_path.glob("logs/*/*")),
    )
    assert sorted(seen) == ["command.sh", "stderr.log", "stdout.log"]


def test_each_run_has_a_folder_of_its_own(tmp_path):
    for _ in range(20):
        CommandRunner().run(["true"], log_dir=tmp_path / "logs")
    assert len(list((tmp_path / "logs").iterdir())) == 20


def test_a_hostile_name_stays_in_the_folder(tmp_path):
    with pytest.raises(CommandExecutionError):
        CommandRunner().run([f"{tmp_path}/../ü b;$(x)" + "n" * 300], log_dir=tmp_path / "logs")
    (folder,) = (tmp_path / "logs").iterdir()
    assert len(folder.name) < 80
    assert folder.name.isascii()


def test_what_is_limited_in_memory_is_whole_in_the_log(tmp_path):
    result = CommandRunner().execute(["seq", "1000"], log_dir=tmp_path / "logs", max_capture=80)
    whole = "".join(f"{number}\n" for number in range(1, 1001))
    assert (result.record / "stdout.log").read_text() == whole
    assert result.stdout.startswith(whole[:70])
    assert result.stdout.endswith(whole[-10:])
    assert f"{len(whole) - 80:,} bytes left out" in result.stdout


def test_without_a_log_stdout_is_limited_only_if_asked_for():
    whole = "".join(f"{number}\n" for number in range(1, 1001))
    assert CommandRunner().run(["seq", "1000"]) == whole
    assert len(CommandRunner().run(["seq", "1000"], max_capture=80)) < 150


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_refused(limit):
    with pytest.raises(ValueError, match="max_capture must be 1 byte or more"):
        CommandRunner().run(["true"], max_capture=limit)


def test_a_folder_for_logs_that_cannot_be_made_is_an_error_before_anything_starts(tmp_path):
    (tmp_path / "logs").touch()
    with pytest.raises(OSError, match="logs"):
        CommandRunner().run(["touch", "started"], cwd=tmp_path, log_dir=tmp_path / "logs")
    assert not (tmp_path / "started").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_ends_the_log_and_not_the_command(tmp_path, caplog):
    log = Log(Path("/dev/full"))
    log.write(b"hours of output")
    log.write(b"more")
    log.close()
    assert (log.size, log.complete) == (0, False)
    assert caplog.text.count("ends here, the command goes on: No space left on device") == 1


def test_a_dry_run_leaves_no_record(tmp_path):
    CommandRunner().run(["true"], log_dir=tmp_path / "logs", dry_run=True)
    assert not (tmp_path / "logs").exists()


def test_arguments_that_are_not_utf_8_are_recorded(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    CommandRunner().run(["echo", name], log_dir=tmp_path / "logs")
    assert recorded(tmp_path / "logs")[1]["cmd"] == ["echo", name]
