import importlib
import subprocess
import sys

import click
import pytest

from pycemrg.cli import app


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "pycemrg.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_the_overview_lists_every_command_with_its_help():
    done = run("--help")
    assert done.returncode == 0
    for name, command in app.COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert command.help in done.stdout


@pytest.mark.parametrize("name", sorted(app.COMMANDS))
def test_the_overview_says_what_the_command_says_of_itself(name):
    command = app.cli.get_command(click.Context(app.cli), name)
    assert command is not None
    assert command.name == name
    first_line = (command.help or "").split("\n")[0]
    assert first_line.split()[0] == app.COMMANDS[name].help.split()[0]


def test_the_overview_imports_no_command_and_no_component():
    script = (
        "import sys, pycemrg.cli.app as app\n"
        "try: app.main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.startswith('pycemrg.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "['pycemrg.cli', 'pycemrg.cli.app']"


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert run("--version").stdout == f"pycemrg-cli {version('pycemrg-cli')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["no-such-command"], id="command"),
        pytest.param(["init-labels", "--no-such-option"], id="option"),
        pytest.param(["init-labels", "--num-labels", "many"], id="type"),
        pytest.param(["init"], id="missing argument"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_so_on_stderr(arguments):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage:" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_one_line_on_stderr_and_exit_code_1(tmp_path):
    (tmp_path / "labels.yaml").write_text("mine")
    done = run("init-labels", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: labels.yaml already exists; use --force to replace it\n"


def test_debug_shows_the_traceback(tmp_path):
    (tmp_path / "labels.yaml").write_text("mine")
    done = run("--debug", "init-labels", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "FileExistsError" in done.stderr


def test_a_missing_component_is_named_with_the_command_that_installs_it():
    error = ModuleNotFoundError("No module named 'pycemrg.data'", name="pycemrg.data")
    assert app.message_of(error) == (
        "this command needs pycemrg-labels, which is not installed; "
        "install it with: python -m pip install pycemrg-labels"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(KeyError("no label 'LA'"), "no label 'LA'", id="KeyError without quotes"),
        pytest.param(
            PermissionError(13, "Permission denied", "a"), "a: Permission denied", id="OS"
        ),
        pytest.param(ValueError(), "ValueError", id="no text"),
        pytest.param(TypeError("x"), "unexpected TypeError: x; run with --debug", id="unexpected"),
    ],
)
def test_exceptions_read_as_messages(error, text):
    assert app.message_of(error).startswith(text)


@pytest.mark.parametrize("error", [KeyboardInterrupt, click.Abort])
def test_an_interrupt_exits_with_130(monkeypatch, capsys, error):
    def interrupted(*_, **__):
        raise error

    monkeypatch.setattr(app.cli, "main", interrupted)
    with pytest.raises(SystemExit) as caught:
        app.main(["--help"])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_every_entry_of_the_table_can_be_imported():
    for command in app.COMMANDS.values():
        module, _, attribute = command.target.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)
