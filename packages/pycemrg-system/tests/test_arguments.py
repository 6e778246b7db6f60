import subprocess
from pathlib import Path

import pytest

from pycemrg.system import CommandRunner


def test_each_part_of_a_command_is_turned_into_text() -> None:
    cmd = ["printf", "%s|", Path("/opt/openCARP"), 10, 0.5, b"bytes", "a b", "$HOME", "*", ";", ""]
    assert CommandRunner().run(cmd) == "/opt/openCARP|10|0.5|bytes|a b|$HOME|*|;||"


@pytest.mark.parametrize(
    ("cmd", "kind", "message"),
    [
        pytest.param("ls -la", TypeError, r"'ls -la'; write \['ls', '-la'\]", id="text"),
        pytest.param("sh -c 'a b", TypeError, "write", id="text-with-open-quote"),
        pytest.param(Path("/bin/ls"), TypeError, r"write \['/bin/ls'\]", id="path"),
        pytest.param([], ValueError, "name of a program", id="empty"),
        pytest.param(["", "x"], ValueError, "name of a program", id="no-program"),
        pytest.param(["echo", "a\0b"], ValueError, r"'a\\x00b'", id="nul"),
    ],
)
def test_what_is_no_command_is_refused(cmd, kind, message) -> None:
    with pytest.raises(kind, match=message):
        CommandRunner().run(cmd)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        pytest.param({"ignore_errors": "WARNING"}, TypeError, r"\['WARNING'\]", id="text"),
        pytest.param({"ignore_errors": ["a", ""]}, ValueError, "empty text", id="empty-text"),
        pytest.param({"ignore_errors": [3]}, TypeError, "not 3", id="number"),
        pytest.param({"expected_outputs": "a.vtk"}, TypeError, "list of paths", id="one-path"),
        pytest.param({"expected_outputs": Path("a")}, TypeError, "list of paths", id="one-Path"),
        pytest.param({"env": {"OMP_NUM_THREADS": 4}}, TypeError, "int of 'OMP_N", id="env-int"),
        pytest.param({"env": {3: "x"}}, TypeError, "int of 3", id="env-name"),
        pytest.param({"timeout": 0}, ValueError, "more than 0 seconds, not 0", id="no-time"),
        pytest.param({"timeout": -1.5}, ValueError, "-1.5", id="negative-time"),
        pytest.param({"timeout": float("nan")}, ValueError, "nan", id="nan"),
        pytest.param({"input": "a", "stdin": 0}, ValueError, "not both", id="two-inputs"),
        pytest.param({"stdin": subprocess.PIPE}, ValueError, "input=", id="pipe"),
        pytest.param({"input": 3}, TypeError, "not int", id="input-int"),
        pytest.param({"cwd": "/no/such/folder"}, FileNotFoundError, "/no/such/folder", id="cwd"),
        pytest.param({"cwd": "/dev/null"}, NotADirectoryError, "/dev/null", id="cwd-file"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_starts(
    options, kind, message, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    with pytest.raises(kind, match=message):
        CommandRunner().run(["touch", started], **options)
    assert not started.exists()


def test_no_value_of_the_environment_is_in_a_message() -> None:
    with pytest.raises(TypeError) as caught:
        CommandRunner().run(["true"], env={"TOKEN": ("hunter2",)})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "doubtful"),
    [
        ("-simID out", True),
        ("+F sim.par", True),
        ("--memory-limit 32G", True),
        ("-simID", False),
        ("-tend=1 2", False),
        ("-1 0 0", False),
        ("a text with blanks", False),
        ("- x", False),
    ],
)
def test_an_option_and_its_value_in_one_item_is_warned_of(argument, doubtful, caplog) -> None:
    CommandRunner().run(["echo", argument])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert bool(warnings) is doubtful
    assert all(repr(argument.split(maxsplit=1)) in warning for warning in warnings)
