import errno
import logging
import os
import pickle
from pathlib import Path

import pytest

from pycemrg.system import (
    CommandExecutionError,
    CommandNotFoundError,
    CommandRunner,
    CommandTimeoutError,
    process,
)


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_run_returns_stdout(tmp_path: Path) -> None:
    (tmp_path / "heart.pts").touch()
    assert "heart.pts" in CommandRunner().run(["ls", "-la", tmp_path])


def test_a_failure_is_an_error_with_all_that_is_known() -> None:
    with pytest.raises(CommandExecutionError) as caught:
        CommandRunner().run(["sh", "-c", "echo half; echo 'no such mesh' >&2; exit 2"], cwd="/")
    error = caught.value
    assert (error.returncode, error.stdout, error.stderr) == (2, "half\n", "no such mesh\n")
    assert error.cmd == ("sh", "-c", "echo half; echo 'no such mesh' >&2; exit 2")
    assert error.cwd == Path("/")
    assert error.duration > 0
    lines = str(error).splitlines()
    assert lines[0].startswith("sh -c 'echo half; echo '\"'\"'no such mesh'\"'\"' >&2; exit 2': ")
    assert "failed with exit code 2 after 0." in lines[0]
    assert lines[0].endswith("last lines of stderr:")
    assert lines[1:] == ["  no such mesh"]


def test_the_documented_failure() -> None:
    with pytest.raises(CommandExecutionError) as caught:
        CommandRunner().run(["false"])
    assert caught.value.returncode == 1
    assert caught.value.stderr == ""
    assert "it wrote nothing" in str(caught.value)


def test_only_the_last_lines_of_a_long_stderr_are_in_the_message() -> None:
    with pytest.raises(CommandExecutionError) as caught:
        CommandRunner().run(["sh", "-c", "seq 1000 >&2; exit 1"])
    assert str(caught.value).splitlines()[1:] == [f"  {number}" for number in range(981, 1001)]
    assert caught.value.stderr == "".join(f"{number}\n" for number in range(1, 1001))


def test_stdout_speaks_when_stderr_is_silent() -> None:
    with pytest.raises(CommandExecutionError, match="last lines of stdout:\n  no such mesh"):
        CommandRunner().run(["sh", "-c", "echo no such mesh; exit 1"])


@pytest.mark.parametrize(
    ("script", "returncode", "words"),
    [
        pytest.param("kill -SEGV $$", -11, "was ended by SIGSEGV", id="crash"),
        pytest.param("kill -KILL $$", -9, "SIGKILL, perhaps because the memory was", id="kill"),
        pytest.param("exit 137", 137, r"exit code 137 \(SIGKILL, perhaps", id="shells-kill"),
        pytest.param("exit 139", 139, r"exit code 139 \(SIGSEGV\)", id="shells-crash"),
        pytest.param("kill -40 $$", -40, "was ended by signal 40", id="real-time-signal"),
        pytest.param("exit 255", 255, "exit code 255 after", id="no-signal"),
    ],
)
def test_a_signal_is_named(script: str, returncode: int, words: str) -> None:
    with pytest.raises(CommandExecutionError, match=words) as caught:
        CommandRunner().run(["sh", "-c", script])
    assert caught.value.returncode == returncode


def test_the_environment_is_replaced_whole() -> None:
    assert CommandRunner().run(["/usr/bin/env"], env={"LEAD": "II"}) == "LEAD=II\n"


def test_the_environment_is_inherited_by_default(monkeypatch) -> None:
    monkeypatch.setenv("PYCEMRG_TEST_LEAD", "II")
    assert CommandRunner().run(["printenv", "PYCEMRG_TEST_LEAD"]) == "II\n"


def test_the_documented_custom_environment() -> None:
    env = os.environ.copy()
    env["CUDA_VISIBLE_DEVICES"] = "0,1"
    assert CommandRunner().run(["printenv", "CUDA_VISIBLE_DEVICES"], env=env) == "0,1\n"


def test_the_program_is_looked_up_on_the_path_of_the_command(make_program) -> None:
    make_program("only-there", "#!/bin/sh\necho found\n")
    runner = CommandRunner()
    assert runner.run(["only-there"], env={"PATH": str(make_program.folder)}) == "found\n"
    with pytest.raises(CommandNotFoundError, match="only-there"):
        runner.run(["only-there"])
    with pytest.raises(CommandNotFoundError, match=f"PATH of the command: {make_program.folder}"):
        runner.run(["ls"], env={"PATH": str(make_program.folder)})


def test_a_relative_program_is_looked_up_in_the_folder_of_the_command(make_program) -> None:
    make_program("tool", "#!/bin/sh\necho found\n")
    assert CommandRunner().run(["./tool"], cwd=make_program.folder) == "found\n"
    with pytest.raises(CommandNotFoundError, match=f"at {make_program.folder}/no-tool"):
        CommandRunner().run(["./no-tool"], cwd=make_program.folder)


@pytest.mark.parametrize("kind", [OSError, FileNotFoundError, CommandExecutionError])
def test_a_missing_program_is_caught_in_each_of_the_ways_in_use(kind) -> None:
    with pytest.raises(kind, match="no program 'no-such-solver' on the PATH"):
        CommandRunner().run(["no-such-solver"], ignore_errors=["no program"])


def test_a_whole_line_as_a_program_gets_a_hint() -> None:
    with pytest.raises(CommandNotFoundError, match=r"\['ls', '-la'\]"):
        CommandRunner().run(["ls -la"])


def test_a_script_whose_interpreter_is_gone_says_so(make_program) -> None:
    script = make_program("cusummary", "#!/gone/venv/bin/python -E\n")
    with pytest.raises(CommandNotFoundError) as caught:
        CommandRunner().run([script])
    assert f"{script} is there, but its interpreter '/gone/venv/bin/python -E' is not" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("name", "text", "mode", "words"),
    [
        pytest.param("plain", "#!/bin/sh\n", 0o644, "not executable.*chmod [+]x", id="mode"),
        pytest.param("no-line", "echo\n", 0o755, "begins with #!", id="no-interpreter"),
    ],
)
def test_a_file_that_cannot_be_started_says_why(make_program, name, text, mode, words) -> None:
    program = make_program(name, text, mode)
    with pytest.raises(CommandExecutionError, match=words) as caught:
        CommandRunner().run([program])
    assert caught.value.returncode == 126
    assert isinstance(caught.value.__cause__, OSError)


def test_a_folder_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(CommandExecutionError, match="it is a folder"):
        CommandRunner().run([tmp_path])


def test_too_many_arguments_say_so() -> None:
    with pytest.raises(CommandExecutionError, match="too long") as caught:
        CommandRunner().run(["echo", *["x" * 100_000] * 100])
    assert len(str(caught.value)) < 5000


def test_an_expected_error_is_a_warning(caplog) -> None:
    script = "echo result; echo WARNING: deprecated flag -x >&2; exit 1"
    stdout = CommandRunner().run(["sh", "-c", script], ignore_errors=["nope", "deprecated flag"])
    assert stdout == "result\n"
    [warning] = messages(caplog, logging.WARNING)
    assert "failed with exit code 1, ignored for 'deprecated flag'" in warning


def test_an_ignored_crash_names_its_signal(caplog) -> None:
    script = "echo known crash at exit >&2; kill -SEGV $$"
    CommandRunner().run(["sh", "-c", script], ignore_errors=["known crash"])
    [warning] = messages(caplog, logging.WARNING)
    assert "SIGSEGV" in warning


def test_an_expected_error_is_found_in_what_stderr_does_not_keep() -> None:
    script = "head -c 9000000 /dev/zero >&2; echo known bug >&2; head -c 9000000 /dev/zero >&2"
    result = CommandRunner().execute(["sh", "-c", f"{script}; exit 1"], ignore_errors=["known bug"])
    assert result.returncode == 1
    assert "known bug" not in result.stderr


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("echo known >&2; kill -KILL $$", id="sigkill"),
        pytest.param("echo known >&2; exit 137", id="sigkill-in-a-shell"),
        pytest.param("echo known; exit 1", id="on-stdout-only"),
        pytest.param("echo unknown bug >&2; exit 1", id="another-error"),
    ],
)
def test_what_ignore_errors_does_not_excuse(script: str) -> None:
    with pytest.raises(CommandExecutionError):
        CommandRunner().run(["sh", "-c", script], ignore_errors=["known\n"])


def test_a_timeout_is_never_ignored() -> None:
    with pytest.raises(CommandTimeoutError):
        CommandRunner().run(
            ["sh", "-c", "echo known >&2; exec sleep 600"], ignore_errors=["known"], timeout=0.3
        )


def test_a_succeeding_command_may_say_anything_on_stderr(caplog) -> None:
    CommandRunner().run(["sh", "-c", "echo ERROR >&2"], ignore_errors=["ERROR"])
    assert messages(caplog, logging.WARNING) == []


def test_the_command_and_its_lines_are_logged_where_the_caller_wants(caplog) -> None:
    logger = logging.getLogger("my_application")
    with caplog.at_level(logging.DEBUG):
        CommandRunner(logger=logger).run(["sh", "-c", "echo 50 %; echo slow >&2"], cwd="/")
    assert {record.name for record in caplog.records} == {"my_application"}
    assert messages(caplog, logging.INFO) == ["running in /: sh -c 'echo 50 %; echo slow >&2'"]
    debug = messages(caplog, logging.DEBUG)
    assert "stdout: 50 %" in debug
    assert "stderr: slow" in debug


def test_the_default_logger_is_that_of_the_module(caplog) -> None:
    with caplog.at_level(logging.INFO):
        CommandRunner().run(["true"])
    assert {record.name for record in caplog.records} == {"pycemrg.system.runner"}


def test_nothing_of_the_environment_is_logged_or_told(caplog) -> None:
    env = {**os.environ, "API_TOKEN": "hunter2"}
    with caplog.at_level(logging.DEBUG), pytest.raises(CommandExecutionError) as caught:
        CommandRunner().run(["false"], env=env)
    assert "hunter2" not in caplog.text + str(caught.value) + repr(vars(caught.value))


def test_each_line_is_handed_over_as_it_is_written(tmp_path: Path) -> None:
    # The command ends only if its line arrives while it runs.
    answer = tmp_path / "answer"
    os.mkfifo(answer)
    seen = []

    def reply(line: str) -> None:
        seen.append((line, line.stream))
        if line == "ready":
            answer.write_text("go\n")

    script = 'echo ready >&2; read -r word < "$0"; echo "$word"; printf end'
    stdout = CommandRunner().run(["sh", "-c", script, answer], timeout=60, on_output=reply)
    assert stdout == "go\nend"
    assert seen == [("ready", "stderr"), ("go", "stdout"), ("end", "stdout")]


@pytest.mark.parametrize("data", [pytest.param("µm\n", id="text"), pytest.param(b"\xff", id="b")])
def test_input_reaches_the_command(data) -> None:
    expected = data if isinstance(data, str) else "\\xff"
    assert CommandRunner().run(["cat"], input=data) == expected


def test_input_that_nobody_reads_is_no_error() -> None:
    assert CommandRunner().run(["true"], input="x" * 10_000_000) == ""


def test_stdin_may_be_an_open_file(tmp_path: Path) -> None:
    mesh = tmp_path / "heart.pts"
    mesh.write_text("8\n")
    with mesh.open() as file:
        assert CommandRunner().run(["cat"], stdin=file) == "8\n"


def test_a_dry_run_starts_nothing_and_says_what_it_would(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.INFO):
        stdout = CommandRunner().run(["touch", "a b"], ["a b"], tmp_path, dry_run=True)
    assert stdout == ""
    assert list(tmp_path.iterdir()) == []
    assert messages(caplog, logging.INFO) == [f"would run in {tmp_path}: touch 'a b'"]


def test_a_result_knows_when_and_what() -> None:
    result = CommandRunner().execute(["echo", "done"], cwd="/")
    assert (result.cmd, result.cwd, result.returncode) == (("echo", "done"), Path("/"), 0)
    assert (result.stdout, result.stderr, result.outputs) == ("done\n", "", ())
    assert result.started.utcoffset().total_seconds() == 0
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(AttributeError):
        result.returncode = 1


def test_a_runner_can_be_sent_to_another_process() -> None:
    runner = pickle.loads(pickle.dumps(CommandRunner(logging.getLogger("my_application"))))
    assert runner.logger is logging.getLogger("my_application")
    assert runner.run(["echo", "there"]) == "there\n"


def test_the_folder_of_a_result_and_an_error_is_absolute(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CommandRunner().execute(["true"], cwd=".").cwd == tmp_path
    with pytest.raises(CommandExecutionError) as caught:
        CommandRunner().run(["false"], cwd=Path())
    assert caught.value.cwd == tmp_path


def test_a_folder_that_may_not_be_entered_is_blamed_and_not_the_program(
    tmp_path: Path, monkeypatch
) -> None:
    # Root may enter every folder, so the refusal of the system is played.
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "true")

    monkeypatch.setattr(process.subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(CommandExecutionError, match="the folder to run in may not be entered"):
        CommandRunner().run(["true"], cwd=tmp_path)
