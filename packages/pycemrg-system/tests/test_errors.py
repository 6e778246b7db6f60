import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from pycemrg.system import (
    CarpEnvironmentError,
    CommandExecutionError,
    CommandNotFoundError,
    CommandRunner,
    CommandTimeoutError,
)

KINDS = [CommandExecutionError, CommandTimeoutError, CommandNotFoundError]


def facts(error: CommandExecutionError) -> tuple[object, ...]:
    return (
        type(error),
        str(error),
        error.args,
        error.returncode,
        error.stdout,
        error.stderr,
        error.cmd,
        error.cwd,
        error.duration,
        getattr(error, "errno", None),
        getattr(error, "filename", None),
    )


def test_an_error_is_built_positionally_as_programs_for_0_1_do() -> None:
    error = CommandExecutionError("it failed", 3, "out", "err")
    assert str(error) == "it failed"
    assert (error.returncode, error.stdout, error.stderr) == (3, "out", "err")
    assert isinstance(error, RuntimeError)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "travel",
    [
        pytest.param(lambda error: pickle.loads(pickle.dumps(error)), id="pickle"),
        pytest.param(lambda error: pickle.loads(pickle.dumps(error, 0)), id="oldest-pickle"),
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
    ],
)
def test_an_error_survives_with_everything_it_knows(kind, travel) -> None:
    error = kind("it failed", 3, "out", "err", cmd=["mesh", "a b"], cwd=Path("/case"), duration=1.5)
    error.case = "case_01"
    error.add_note("seen in the second attempt")
    back = travel(error)
    assert facts(back) == facts(error)
    assert back.case == "case_01"
    assert back.__notes__ == ["seen in the second attempt"]


@pytest.mark.parametrize(
    ("cmd", "options", "kind", "returncode"),
    [
        pytest.param(
            ["sh", "-c", "echo half; echo why >&2; exit 3"], {}, CommandExecutionError, 3, id="fail"
        ),
        pytest.param(["sleep", "600"], {"timeout": 0.1}, CommandTimeoutError, -15, id="timeout"),
        pytest.param(["no-such-program"], {}, CommandNotFoundError, 127, id="not-found"),
    ],
)
def test_an_error_comes_back_whole_from_a_process_pool(cmd, options, kind, returncode) -> None:
    context = multiprocessing.get_context("spawn")
    runner = CommandRunner()
    with pytest.raises(kind) as here:
        runner.run(cmd, **options)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        with pytest.raises(kind) as there:
            pool.submit(runner.run, cmd, **options).result()
        assert pool.submit(runner.run, ["echo", "still up"]).result() == "still up\n"
    assert type(there.value) is kind
    assert there.value.returncode == returncode
    here.value.duration = there.value.duration = None
    here.value.args = there.value.args = (str(here.value).partition(" after ")[0],)
    assert facts(there.value) == facts(here.value)


def test_a_program_that_is_not_found_is_an_os_error_with_its_name() -> None:
    error = CommandNotFoundError("no openCARP", cmd=["openCARP", "+F", "sim.par"])
    assert isinstance(error, FileNotFoundError)
    assert isinstance(error, CommandExecutionError)
    assert error.returncode == 127
    assert error.errno == 2
    assert error.filename == "openCARP"
    assert str(error) == "no openCARP"


def test_errors_are_importable_where_0_1_had_them() -> None:
    from pycemrg.system import carp_runner, runner

    assert runner.CommandExecutionError is CommandExecutionError
    assert runner.CommandRunner is CommandRunner
    assert carp_runner.CarpEnvironmentError is CarpEnvironmentError
    assert issubclass(CarpEnvironmentError, RuntimeError)
    assert str(pickle.loads(pickle.dumps(CarpEnvironmentError("broken")))) == "broken"
