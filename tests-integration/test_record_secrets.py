"""No secret of the environment reaches the record of a command, a log or a message."""

import hashlib
import json
import logging
import os
import pickle
import shlex
import subprocess
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path

import pytest

from pycemrg.core.logs import setup_logging
from pycemrg.system import CarpEnvironmentError, CarpRunner, CommandRunner

# Every secret holds this word, so that a part of one is found, too.
WORD = "hunter2"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": f"wJalr/{WORD}/bPxRfi",
    "GITHUB_TOKEN": f"ghp_{WORD}",
    "DB_PASSWORD": WORD,
    "MYSQL_PWD": WORD,
    "PGPASSFILE": f"/home/me/{WORD}",
    "MY_API_KEY": f"sk-{WORD}",
    "OPENAI_KEY": f"sk-{WORD}",
    "NPM_CONFIG__AUTH": WORD,
    "SIGNING_KEY": f"-----BEGIN PRIVATE KEY-----\n{WORD}\n-----END PRIVATE KEY-----",
    "HTTPS_PROXY": f"http://user:{WORD}@proxy.example:3128",
    "https_proxy": f"http://user:{WORD}@proxy.example:3128",
    "PIP_INDEX_URL": f"https://user:{WORD}@index.example/simple",
    "DATABASE_URL": f"postgres://user:{WORD}@db.example/cohort",
    # Those that begin as variables do that matter to a command.
    "SLURM_JWT": f"eyJhbGciOi.{WORD}",
    "SLURM_REST_TOKEN": WORD,
    "PBS_JOBCOOKIE": WORD,
    "CARP_PASSPHRASE": WORD,
    "CARPENTRY_SECRET": WORD,
    "CARPENTRY_LICENSE_KEY": WORD,
    "CARPENTRY_LICENSEKEY": WORD,
    "CONDA_TOKEN": WORD,
    "OMPI_AUTH": WORD,
    "PYCEMRG_PASSWORD": WORD,
    "PETSC_ACCESSKEY": WORD,
    "CONDA_CHANNEL_ALIAS": f"https://user:{WORD}@conda.example",
    "CONDA_DEFAULT_CHANNELS": f"https://a.example,https://{WORD}@b.example,https://:{WORD}@c.example",
    "PYCEMRG_MIRRORS": f"https://user:p@ss-{WORD}@mirror.example/models",
    "CARP_STORE": f"s3://user:p/{WORD}@store.example/models",
}
KNOWN = {
    "CARPENTRY_LICENSE": "/opt/carp/license.bin",
    "CARPUTILS_SETTINGS": "/opt/carp/settings.yaml",
    "CARP_MESHES": "https://meshes.example:8080/heart@v1,https://mirror.example/heart@v1",
    "OMP_NUM_THREADS": "4",
    "LD_LIBRARY_PATH": "/opt/carp/lib",
}
DIGEST = hashlib.sha256(SECRETS["GITHUB_TOKEN"].encode()).hexdigest()
# What the command needs comes to it: it prints the digest of one secret.
PRINT_DIGEST = 'printf %s "$GITHUB_TOKEN" | sha256sum'


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where all that is logged goes; the environment is full of secrets."""
    for name, value in {**SECRETS, **KNOWN}.items():
        monkeypatch.setenv(name, value)
    setup_logging(logging.DEBUG, tmp_path / "kept/all.log")
    return tmp_path / "kept/all.log"


def leaks(folder: Path) -> list[str]:
    """Return the files below a folder that hold a secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if WORD.encode() in path.read_bytes()]


def told_by(error: BaseException) -> str:
    """Return all that an error says and knows, as a pickle has it and as a traceback."""
    text = "".join(traceback.format_exception(error))
    return text + repr(vars(error)) + repr(pickle.dumps(error))


ENDINGS = [
    pytest.param("true", {}, None, id="success"),
    pytest.param("exit 3", {}, RuntimeError, id="failure"),
    pytest.param("echo known >&2; exit 3", {"ignore_errors": ["known"]}, None, id="excused"),
    pytest.param("kill -SEGV $$", {}, RuntimeError, id="crash"),
    pytest.param("exec sleep 600", {"timeout": 0.5}, RuntimeError, id="timeout"),
    pytest.param("true", {"expected_outputs": ["no.igb"]}, FileNotFoundError, id="missing"),
    pytest.param("true", {"expected_outputs": ["old.igb"]}, None, id="stale"),
]


@pytest.mark.parametrize("inherited", [True, False])
@pytest.mark.parametrize(("script", "options", "kind"), ENDINGS)
def test_no_ending_of_a_command_tells_a_secret(
    log: Path, tmp_path: Path, script: str, options: dict, kind: type | None, inherited: bool
) -> None:
    (tmp_path / "old.igb").touch()
    options = {**options, "cwd": tmp_path, "log_dir": log.parent / "records"}
    if not inherited:
        options["env"] = dict(os.environ)
    expected = pytest.raises(kind) if kind else nullcontext()
    with expected as caught:
        CommandRunner().run(["sh", "-c", f"{PRINT_DIGEST}; {script}"], **options)
    assert caught is None or WORD not in told_by(caught.value)
    [record] = (log.parent / "records").iterdir()
    assert DIGEST in (record / "stdout.log").read_text()
    assert DIGEST in log.read_text()
    assert leaks(log.parent) == []
    environment = json.loads((record / "result.json").read_text())["environment"]
    assert {name: environment[name] for name in KNOWN} == KNOWN


@pytest.mark.parametrize(
    "cmd",
    [
        pytest.param(["no-such-solver", "+F", "sim.par"], id="not-there"),
        pytest.param(["/etc/passwd"], id="not-executable"),
    ],
)
def test_a_command_that_cannot_start_tells_no_secret(log: Path, cmd: list[str]) -> None:
    with pytest.raises(RuntimeError) as caught:
        CommandRunner().run(cmd, log_dir=log.parent / "records")
    assert WORD not in told_by(caught.value)
    assert [path.name for path in log.parent.glob("records/*/result.json")] == ["result.json"]
    assert leaks(log.parent) == []


def test_an_interrupted_command_tells_no_secret(log: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        CommandRunner().run(
            ["sh", "-c", PRINT_DIGEST], on_output=interrupt, log_dir=log.parent / "records"
        )
    assert WORD not in told_by(caught.value)
    assert leaks(log.parent) == []


def test_a_dry_run_tells_no_secret(log: Path) -> None:
    CommandRunner().run(["openCARP"], dry_run=True, log_dir=log.parent / "records")
    assert "openCARP" in log.read_text()
    assert leaks(log.parent) == []


def exports() -> str:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in SECRETS.items()]
    return "\n".join([*lines, *(f"export {name}={value}" for name, value in KNOWN.items())])


def test_what_a_config_sh_sets_is_told_to_nobody(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name)
    config = tmp_path / "config.sh"
    config.write_text(exports() + '\nexport PATH="$PATH:/opt/carp/bin"\n')
    carp = CarpRunner(CommandRunner(), config)
    stdout = carp.run(["sh", "-c", PRINT_DIGEST], log_dir=log.parent / "records")
    assert stdout.split()[0] == DIGEST
    carp.validate_command_exists("openCARP")
    carp.reload_environment()
    assert leaks(log.parent) == []


@pytest.mark.parametrize("ending", ["return 3", "exit 3", "unset CARPENTRY_LICENSE", "if"])
def test_a_config_sh_that_fails_tells_no_secret(log: Path, tmp_path: Path, ending: str) -> None:
    config = tmp_path / "config.sh"
    config.write_text(f"{exports()}\n{ending}\n")
    with pytest.raises(CarpEnvironmentError) as caught:
        CarpRunner(CommandRunner(), config).run(["true"])
    assert WORD not in told_by(caught.value)
    assert leaks(log.parent) == []


def test_pycemrg_run_tells_no_secret(log: Path) -> None:
    records = log.parent / "records"
    cmd = [sys.executable, "-m", "pycemrg.cli", "--debug", "run", "--log-dir", records]
    done = subprocess.run(
        [*cmd, "--", "sh", "-c", f"{PRINT_DIGEST}; exit 3"], capture_output=True, text=True
    )
    assert done.returncode == 3
    assert DIGEST in done.stdout
    assert WORD not in done.stdout + done.stderr
    assert leaks(records) == []
