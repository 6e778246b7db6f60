"""How commands end, as it is told: errors from other processes, and outputs of other days."""

import json
import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pycemrg.system import CommandRunner

FAILURES = """
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from pycemrg.system import CarpRunner, CommandRunner


def fails():
    CommandRunner().run(["sh", "-c", "echo half; echo why µ >&2; exit 3"], cwd=".", log_dir="logs")


def crashes():
    CommandRunner().run(["sh", "-c", "kill -SEGV $$"])


def takes_too_long():
    CommandRunner().run(["sh", "-c", "echo half; exec sleep 600"], timeout=0.5, log_dir="logs")


def is_not_there():
    CommandRunner().run(["no-such-solver", "a b"], cwd="/")


def may_not_start():
    CommandRunner().run(["/etc/passwd"])


def leaves_nothing():
    CommandRunner().run(["true"], ["heart_vm.igb"], log_dir="logs")


def has_no_license():
    Path("config.sh").write_text("export PATH LD_LIBRARY_PATH=/lib\\n")
    CarpRunner(CommandRunner(), "config.sh").run(["true"])


WAYS = [
    fails, crashes, takes_too_long, is_not_there, may_not_start, leaves_nothing, has_no_license
]


def facts(error):
    return {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "str": str(error),
        "args": repr(error.args),
        "errno": getattr(error, "errno", None),
        "filename": getattr(error, "filename", None),
        "strerror": getattr(error, "strerror", None),
        "attributes": {name: repr(value) for name, value in sorted(vars(error).items())},
    }


def attempt(way):
    try:
        way()
    except Exception as error:
        error.add_note("seen in a worker")
        error.case = "case_01"
        Path(f"{way.__name__}.json").write_text(json.dumps(facts(error)))
        raise


def in_a_pool(start_method):
    with ProcessPoolExecutor(1, multiprocessing.get_context(start_method)) as pool:
        errors = {way.__name__: pool.submit(attempt, way).exception() for way in WAYS}
    return {way: facts(error) for way, error in errors.items()}
"""
TOLD = {
    "fails": ("CommandExecutionError", "3"),
    "crashes": ("CommandExecutionError", "-11"),
    "takes_too_long": ("CommandTimeoutError", "-15"),
    "is_not_there": ("CommandNotFoundError", "127"),
    "may_not_start": ("CommandExecutionError", "126"),
    "leaves_nothing": ("FileNotFoundError", None),
    "has_no_license": ("CarpEnvironmentError", None),
}


@pytest.mark.parametrize("start_method", ["spawn", "fork", "forkserver"])
def test_an_error_is_the_same_on_both_sides_of_a_process_pool(
    study: Path, run_program, start_method: str
) -> None:
    main = f"""
if __name__ == "__main__":
    told = in_a_pool({start_method!r})
    told["attributes of Exception"] = sorted(vars(Exception()))
    print(json.dumps(told))
"""
    received = json.loads(run_program(FAILURES + main).stdout)
    for way, (kind, returncode) in TOLD.items():
        error = received[way]
        raised = json.loads((study / f"{way}.json").read_text())
        assert error == raised
        assert error["type"].rpartition(".")[2] == kind
        assert error["attributes"].get("returncode") == returncode
        assert error["attributes"]["case"] == "'case_01'"
        assert error["attributes"]["__notes__"] == "['seen in a worker']"
    assert "'half\\n'" in received["takes_too_long"]["attributes"]["stdout"]


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A folder with an output of an earlier day, `out`, and what it was made from, `result`."""
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "result").write_bytes(b"activation times")
    shutil.copy(folder / "result", folder / "out")
    for name in "result", "out":
        os.utime(folder / name, (1e9, 1e9))
    return folder


def in_shell(script: str, folder: Path) -> None:
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True)


def is_noticed(script: str, folder: Path, caplog: pytest.LogCaptureFixture) -> bool:
    """Run a command that has to write `out`; return whether it is told that it has not."""
    caplog.clear()
    CommandRunner().run(["sh", "-ec", script], ["out"], cwd=folder)
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    noticed = any(str(folder / "out") in text and "not touched" in text for text in warnings)
    assert noticed or warnings == []
    return noticed


# Each leaves at `out` a file that the command then has nothing to do with.
OLD_OUTPUTS = [
    pytest.param("true", id="as-it-was"),
    pytest.param("cp -p result out", id="cp-p"),
    pytest.param("rm out; cp result out", id="cp"),
    pytest.param("mv result out", id="mv"),
    pytest.param("touch -d 2001-01-01 out", id="touch-d"),
    pytest.param("touch -d 2101-01-01 out", id="touch-d-the-future"),
    pytest.param("cat result > out", id="the-same-bytes"),
    pytest.param(": > out", id="empty"),
    pytest.param("ln -f result out", id="hard-link"),
    pytest.param("ln -sf result out", id="symbolic-link"),
]
# None of them writes `out`.
OTHER_COMMANDS = [
    pytest.param("true", id="nothing"),
    pytest.param("cat out; cp -p out copy; ls", id="reads-it"),
    pytest.param("echo 1 > other; mkdir -p sub; touch .", id="writes-others"),
    pytest.param("mv ../case ../away; mv ../away ../case", id="moves-its-folder"),
]


@pytest.mark.parametrize("command", OTHER_COMMANDS)
@pytest.mark.parametrize("before", OLD_OUTPUTS)
def test_an_output_of_before_is_noticed_however_it_came_there(
    case: Path, caplog, before: str, command: str
) -> None:
    in_shell(before, case)
    assert is_noticed(command, case, caplog)
    with pytest.raises(FileNotFoundError, match=r"not touched what was there before:\n  .*out$"):
        CommandRunner().run(["sh", "-ec", command], ["out"], cwd=case, fresh_outputs=True)


# Each makes `out` anew. What of inode, size, time of its content (mtime) and of its inode (ctime)
# tells that, is different for each; most leave a time that is older than the run.
WRITING_COMMANDS = [
    pytest.param("cp -p result out", id="cp-p"),
    pytest.param("rm out; cp -p result out", id="cp-p-where-the-inode-is-used-again"),
    pytest.param("mv result out", id="mv"),
    pytest.param("touch -d 2001-01-01 out", id="touch-d"),
    pytest.param("touch -d @1000000000 out", id="touch-d-to-the-time-it-had"),
    pytest.param("cat result > out", id="the-same-bytes"),
    pytest.param("dd if=result of=out conv=notrunc status=none", id="the-same-bytes-in-place"),
    pytest.param("cat result > out; touch -r result out", id="the-same-bytes-at-the-same-time"),
    pytest.param("ln -f result out", id="hard-link"),
    pytest.param("ln -sf result out", id="symbolic-link"),
    pytest.param("printf x >> out", id="appended"),
    pytest.param("cat result > new; touch -r result new; mv new out", id="written-whole-by-rename"),
]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("true", id="as-it-was"),
        pytest.param("touch -d 2101-01-01 out", id="from-the-future"),
        pytest.param("cp -p out new; mv new out", id="just-copied"),
    ],
)
@pytest.mark.parametrize("command", WRITING_COMMANDS)
def test_an_output_that_the_command_has_made_is_fresh(
    case: Path, caplog, before: str, command: str
) -> None:
    in_shell(before, case)
    assert not is_noticed(command, case, caplog)


def test_an_empty_output_that_is_written_empty_again_is_fresh(case: Path, caplog) -> None:
    in_shell(": > out", case)
    assert not is_noticed(": > out", case, caplog)


def test_the_target_counts_where_the_output_is_a_symbolic_link(case: Path, caplog) -> None:
    in_shell("mkdir run_1; mv out run_1; ln -s run_1/out out", case)
    assert is_noticed("touch -h out", case, caplog)
    assert not is_noticed("touch run_1/out", case, caplog)
    assert not is_noticed("mkdir run_2; cp -p result run_2/out; ln -sf run_2/out out", case, caplog)


def test_what_only_changes_the_inode_is_taken_for_writing(case: Path, caplog) -> None:
    # It cannot be told from writing the same bytes and putting the time back.
    assert not is_noticed("chmod g+w out", case, caplog)
