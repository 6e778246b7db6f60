"""What an installation changes in the environment, as lines that a shell can evaluate."""

import re
import shlex
from collections.abc import Mapping

READ_ONLY = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})
"""Variables that belong to bash: it ends a script that sets one in its POSIX mode."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # POSIX.1-2017, Base Definitions, 3.235


def changes_of(environment: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that are not what they were before, sorted; None for one that is gone.

    Example:
        >>> before = {"PATH": "/bin", "HOME": "/root", "PYTHONHOME": ""}
        >>> changes_of({"PATH": "/opt/carp/bin:/bin", "HOME": "/root"}, before)
        {'PATH': '/opt/carp/bin:/bin', 'PYTHONHOME': None}
    """
    return {
        name: environment.get(name)
        for name in sorted({*environment, *before})
        if environment.get(name) != before.get(name)
    }


def is_settable(name: str) -> bool:
    """Return whether any POSIX shell, bash included, can set a variable of this name.

    Example:
        >>> [is_settable(name) for name in ("OMP_NUM_THREADS", "BASH_FUNC_module%%", "UID")]
        [True, False, False]
    """
    return _NAME.fullmatch(name) is not None and name not in READ_ONLY


def shell_line(name: str, value: str | None) -> str:
    r"""Return the command that sets and exports a variable, or unsets it if there is no value.

    Example:
        >>> print(shell_line("NOTES", "it's\n$HOME"))
        export NOTES='it'"'"'s
        $HOME'
        >>> print(shell_line("PYTHONPATH", None))
        unset -v PYTHONPATH
    """
    return f"unset -v {name}" if value is None else f"export {name}={shlex.quote(value)}"
