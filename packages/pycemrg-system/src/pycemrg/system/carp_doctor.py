"""What an installation of CARPentry or openCARP has, what it lacks, and what to do about it."""

import os
import shlex
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pycemrg.system import carp_tools
from pycemrg.system.carp_prefix import library_path
from pycemrg.system.carp_runner import CarpRunner
from pycemrg.system.carp_tools import Found, Tool
from pycemrg.system.errors import CarpEnvironmentError

SETTINGS = ".config/carputils/settings.yaml"
"""What carputils reads in the home folder where CARPUTILS_SETTINGS is not set."""

SETTINGS_KEYS = ("DIRECT_SOLVER", "FLAVOR")
"""Keys that carputils' own `cusettings` writes into a settings file; there are more."""


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        what: What was looked at: ``"installation"``, ``"environment"``, ``"carputils"``, or the
            name of a variable or program.
        state: ``"ok"``; ``"missing"`` if something that is needed is not there or does not work;
            ``"warning"`` if something that may be needed is not there, or is odd.
        detail: What was found.
        advice: What to do about it; empty if nothing need be done.
    """

    what: str
    state: Literal["ok", "missing", "warning"]
    detail: str
    advice: str = ""


def examine(carp: CarpRunner, *, timeout: float = 10.0) -> list[Finding]:
    """Look at an installation: its environment, licence, settings and tools.

    The tools are started for no more than their version, one after the other, in an empty folder
    that is deleted afterwards. What they write reaches no log.

    Args:
        carp: The installation.
        timeout: Seconds that each tool may take to answer.

    Returns:
        The findings, always in the same order. If the environment cannot be loaded, that is the
        last.

    Example:
        >>> from pycemrg.system import CommandRunner
        >>> findings = examine(CarpRunner.from_prefix(CommandRunner(), "/usr"))
        >>> [(finding.what, finding.state) for finding in findings[:3]]
        [('installation', 'ok'), ('environment', 'ok'), ('PATH', 'ok')]
    """
    installation = _installation(carp)
    try:
        environment = carp.carp_env
    except CarpEnvironmentError as error:
        loads = Finding("environment", "missing", str(error), _how_to_load(carp))
        return [installation, loads]
    return [
        installation,
        Finding("environment", "ok", f"it loads, with {len(environment)} variables"),
        _folders(carp, "PATH", environment),
        _folders(carp, _library_path(carp), environment),
        _licence(carp),
        _settings(carp, environment),
        *_tools(environment, timeout),
    ]


def _installation(carp: CarpRunner) -> Finding:
    source = f"set up by {carp.config_path}" if carp.config_path else "without config.sh"
    return Finding("installation", "ok", f"{carp.installation_root}, {source}")


def _how_to_load(carp: CarpRunner) -> str:
    if carp.config_path is None:
        return "give the folder where the installation is now"
    return f"see what it does with: bash -xc '. \"$0\"' {shlex.quote(str(carp.config_path))}"


def _library_path(carp: CarpRunner) -> str:
    return "LD_LIBRARY_PATH" if carp.config_path else library_path()


def _folders(carp: CarpRunner, variable: str, environment: Mapping[str, str]) -> Finding:
    folders = [Path(text) for text in environment.get(variable, "").split(os.pathsep) if text]
    if not folders and variable == "PATH":
        return Finding(variable, "missing", "it is empty", "let config.sh keep what was in it")
    if not folders:
        return Finding(variable, "ok", "it is empty or not set: the libraries of the system only")
    before = os.environ.get(variable, "").split(os.pathsep)
    own = [f for f in folders if f.is_relative_to(carp.installation_root) or str(f) not in before]
    gone = [str(folder) for folder in own if not os.access(folder, os.X_OK)]
    if gone and carp.config_path is not None:
        detail = f"config.sh names folders that are not there: {', '.join(gone)}"
        return Finding(variable, "warning", detail, "is all of the installation in its place?")
    return Finding(variable, "ok", f"{len(folders)} folders, {len(own)} of the installation")


def _licence(carp: CarpRunner) -> Finding:
    variable, path = "CARPENTRY_LICENSE", carp.get_license_path()
    if path is None:
        detail = "it is empty or not set; openCARP needs none"
        if carp.config_path is None:
            return Finding(variable, "ok", detail)
        return Finding(variable, "warning", detail, "if you have a licence, name it in config.sh")
    if fault := _fault_of_file(path):
        return Finding(variable, "missing", fault, "put your licence there, or name another file")
    return Finding(variable, "ok", str(path))


def _settings(carp: CarpRunner, environment: Mapping[str, str]) -> Finding:
    variable, path = "CARPUTILS_SETTINGS", carp.get_carputils_settings_path()
    if path is None:
        path = Path(environment.get("HOME", "/"), SETTINGS)
        if not os.access(path, os.F_OK):
            detail = f"it is empty or not set, and there is no {path}"
            return Finding(variable, "warning", detail, f"carputils needs it; {_cusettings(path)}")
    if fault := _fault_of_file(path):
        return Finding(variable, "missing", fault, _cusettings(path))
    if fault := _fault_of_settings(path):
        return Finding(variable, "warning", f"{path}: {fault}", f"mend it, or {_cusettings(path)}")
    return Finding(variable, "ok", str(path))


def _cusettings(path: Path) -> str:
    return f"write it with: cusettings {shlex.quote(str(path))}"


def _fault_of_file(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{path}: it is no file"
    if not os.access(path, os.R_OK):
        return f"{path}: it may not be read"
    return "" if status.st_size else f"{path}: it is empty"


def _fault_of_settings(path: Path) -> str:
    import yaml  # nothing else here needs it

    try:
        settings = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        return f"it cannot be read as YAML: {' '.join(str(error).split())}"
    if not isinstance(settings, dict):
        return f"it must hold keys and values, not a {type(settings).__name__}"
    missing = [key for key in SETTINGS_KEYS if key not in settings]
    return f"it does not set {', '.join(missing)}" if missing else ""


def _tools(environment: Mapping[str, str], timeout: float) -> list[Finding]:
    with tempfile.TemporaryDirectory(prefix="carp-", ignore_cleanup_errors=True) as name:
        probe = carp_tools.Probe(environment, Path(name), timeout)
        found = {tool: probe.find(tool) for tool in carp_tools.TOOLS}
        findings = [_tool(tool, found[tool]) for tool in found]
        python = found[carp_tools.PYTHON].path
        if python is not None:
            findings.append(_carputils(python, probe.find_carputils(python)))
    return findings


def _tool(tool: Tool, found: Found) -> Finding:
    name = tool.names[0]
    faulty: Literal["missing", "warning"] = "missing" if tool.needed else "warning"
    if found.path is None:
        advice = f"it {tool.purpose}; install it, or add its folder to PATH"
        return Finding(name, faulty, "it is not on the PATH of the installation", advice)
    if found.fault:
        advice = "start it by hand; if it lacks a library, add the folder to LD_LIBRARY_PATH"
        return Finding(name, faulty, f"{found.path}: {found.fault}", advice)
    return Finding(name, "ok", _version_and_place(found.version, found.path))


def _carputils(python: Path, found: Found) -> Finding:
    if found.path is not None:
        return Finding("carputils", "ok", _version_and_place(found.version, found.path))
    detail = found.fault or f"{python} cannot import it"
    advice = "to run its experiments, install carputils for that Python, or name it in PYTHONPATH"
    return Finding("carputils", "warning", detail, advice)


def _version_and_place(version: str, path: Path) -> str:
    return f"{version}, {path}" if version else str(path)
