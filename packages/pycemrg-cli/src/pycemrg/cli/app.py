"""The `pycemrg` command: finds the module of a subcommand, and turns exceptions into messages."""

import os
import sys
from importlib import import_module
from typing import NamedTuple, NoReturn

import click


class Lazy(NamedTuple):
    """Where a subcommand is, and what the overview says of it, so that ``--help`` imports none."""

    target: str
    help: str


COMMANDS = {
    "carp": Lazy("pycemrg.cli.carp:carp", "CARPentry and openCARP: find, examine, run."),
    "init": Lazy("pycemrg.cli.scaffold:init", "Make a study that runs as it stands."),
    "init-labels": Lazy("pycemrg.cli.scaffold:init_labels", "Write a starter labels.yaml."),
    "init-models": Lazy("pycemrg.cli.scaffold:init_models", "Write a starter models.yaml."),
    "labels": Lazy("pycemrg.cli.labels:labels", "Label standards, and files that use them."),
    "models": Lazy("pycemrg.cli.models:models", "Models by name: fetch, find, verify, carry."),
    "run": Lazy("pycemrg.cli.run:run", "Run a command to its end, and see what it wrote."),
}

EXPECTED = (OSError, ValueError, KeyError, OverflowError, RuntimeError, ImportError)
"""What the libraries raise when something could not be done; anything else is a fault of ours."""

IN_THE_SHELL = {
    "pass overwrite=True to": "use --force to",
    "with pairs=": "with --pair",
    "in pairs={source name: target name}": "with --pair",
    "pass format= one of": "pass --from or --to one of",
    "pass task= one of": "pass --task one of",
    "write pycemrg.data.tables.nnunet.consecutive(labels) instead, and map images to it with "
    "LabelMapper(labels, consecutive(labels))": "convert with --consecutive, to a .yaml too, which "
    "relabel can map images to",
    "pass target=": "use --target",
    "pass a larger source_timeout": "use a longer --source-timeout",
    "pass archive='zip' or archive='tar'": "use --archive zip or --archive tar",
    "pass unmapped='zero' or collisions='allow'": "use --unmapped zero or --allow-collisions",
}
"""What messages tell a program to do, and what does the same on the command line."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of this name, or return None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their help from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"pycemrg-cli {version('pycemrg-cli')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def cli(debug: bool) -> None:
    """Labels, models, commands and file names for cardiac modelling pipelines."""


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 done, 1 it could not be done, 2 wrong usage, 130 interrupted.

    Results go to stdout; messages, one clear one for an error, to stderr.
    """
    arguments = sys.argv[1:] if args is None else args
    try:
        status = cli.main(arguments, prog_name="pycemrg", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        status = 130
    except BrokenPipeError:
        _discard_stdout()
        status = 1
    except Exception as error:
        if "--debug" in arguments:
            raise
        click.echo(f"Error: {message_of(error)}", err=True)
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


def message_of(error: Exception) -> str:
    """Return the text of an exception for a reader of the terminal.

    Example:
        >>> message_of(KeyError("no label named 'LA'"))
        "no label named 'LA'"
        >>> message_of(FileExistsError("a.yaml already exists; pass overwrite=True to replace it"))
        'a.yaml already exists; use --force to replace it'
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("pycemrg."):
        return _missing_component(error.name or "")
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    kind = type(error).__name__
    if not isinstance(error, EXPECTED):
        return f"unexpected {kind}: {error}; run with --debug and report what it shows"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return for_the_shell(text) or kind


def for_the_shell(text: str) -> str:
    """Return a text of a library with what it advises as the command line has it."""
    for in_python, in_the_shell in IN_THE_SHELL.items():
        text = text.replace(in_python, in_the_shell)
    return text


def _missing_component(module: str) -> str:
    part = {"data": "labels", "assets": "models", "files": "core"}.get(
        module.split(".")[1], module.split(".")[1]
    )
    return (
        f"this command needs pycemrg-{part}, which is not installed; "
        f"install it with: python -m pip install pycemrg-{part}"
    )


def _discard_stdout() -> None:
    # The reader of a pipe has gone; without this Python complains again when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
