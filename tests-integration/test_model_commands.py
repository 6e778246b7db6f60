"""`pycemrg models` over HTTP, in processes of its own, as a user or a script calls it."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from faulty_site import File, Site, alone, chunked, left_over, status, write_manifest

MIB = 1 << 20
TARGET = "checkpoints/model.pth"
WEIGHTS = bytes(range(256)) * (4 * MIB // 256)


def packed():
    """A zip with the weights as they are, so that it is as large as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(TARGET, WEIGHTS)
        archive.writestr("README", "how to use them")
    return file.getvalue()


ARCHIVE = packed()
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path / "home")
    monkeypatch.setenv("PYCEMRG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def site():
    with Site() as running:
        yield running


def published(folder, url, **fields):
    """The manifest of the archive at `url`."""
    version = {"url": url, "sha256": SHA256, "unzipped_target_path": TARGET, **fields}
    return write_manifest(folder / "models.yaml", v1=version)


def command(*arguments):
    return [sys.executable, "-m", "pycemrg.cli", "models", *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)


def test_a_script_gets_the_path_and_the_log_gets_the_rest(folder, site):
    published(folder, site.give("/seg.zip", ARCHIVE) + "?token=hunter2")
    script = 'weights=$(pycemrg models path models.yaml seg) && cksum < "$weights"'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for requests in (1, 1):
        done = subprocess.run(
            ["sh", "-c", script],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[1] == str(len(WEIGHTS))
        assert len(site.requests) == requests
        assert "hunter2" not in done.stderr


def test_what_is_fetched_is_logged_where_there_is_no_terminal(folder, site):
    published(folder, site.give("/seg.zip", ARCHIVE))
    done = run("fetch", "models.yaml")
    assert f"model 'seg' version 'v1': fetching {site.url('/seg.zip')}" in done.stderr
    assert done.stdout.startswith("seg@v1\t")
    assert run("fetch", "models.yaml").stderr == ""


def test_a_bar_is_drawn_on_a_terminal_and_not_among_the_results(folder, site):
    termios = pytest.importorskip("termios", reason="no terminals like these")
    published(folder, site.give("/seg.zip", ARCHIVE))
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            command("path", "models.yaml", "seg"), stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        os.close(theirs)
        shown = b""
        while chunk := read_terminal(terminal):
            shown += chunk
        result, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert Path(result.removesuffix("\n")).read_bytes() == WEIGHTS
    assert b"seg@v1: download" in shown
    assert b"seg@v1: unpack" in shown
    assert b"[pycemrg" not in shown


def read_terminal(terminal):
    try:
        return terminal.read(1 << 16)
    except OSError:  # as Linux says that the other end has closed
        return b""


@pytest.mark.skipif(sys.platform == "win32", reason="no signals like these")
def test_ctrl_c_ends_with_130_and_what_was_downloaded_is_kept(folder, site):
    stalling = File(ARCHIVE, stop=3 * MIB, end="stall")
    published(folder, site.give("/seg.zip", stalling, File(ARCHIVE)))
    program = (
        "import signal\nfrom pycemrg.cli.app import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a background job
        "main(['models', 'fetch', 'models.yaml'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: downloaded(folder) >= 2 * MIB)
    process.send_signal(signal.SIGINT)
    result, messages = process.communicate(timeout=120)
    assert (process.returncode, result) == (130, "")
    assert messages.endswith("interrupted\n")
    assert "Traceback" not in messages

    done = run("fetch", "models.yaml")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.rstrip().split("\t")[1]).read_bytes() == WEIGHTS
    first, rest = site.ranges()
    assert first is None
    assert int(rest.removeprefix("bytes=").removesuffix("-")) >= 2 * MIB
    assert left_over(folder / "cache") == []


def downloaded(folder):
    bodies = (folder / "cache/store-v1/staging").glob("*/download/body")
    return sum(body.stat().st_size for body in bodies)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_fetch_goes_on_after_an_address_that_is_dead(folder, site):
    good = {"url": site.give("/seg.zip", ARCHIVE), "sha256": SHA256}
    dead = {"url": f"{site.url('/gone.zip')}?token=hunter2", "sha256": "0" * 64}
    wrong = {"url": site.give("/other.zip", b"<html>Log in"), "sha256": SHA256[::-1]}
    versions = {"dead": dead, "wrong": wrong, "good": good}
    write_manifest(
        folder / "models.yaml",
        **{name: {**each, "unzipped_target_path": TARGET} for name, each in versions.items()},
    )
    done = run("fetch", "models.yaml", "--all")
    assert done.returncode == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["seg@good"]
    assert "Error: 2 could not be fetched:\n" in done.stderr
    assert "/gone.zip: 404" in done.stderr
    assert "expected the sha256" in done.stderr
    assert "hunter2" not in done.stderr


def test_offline_asks_nobody_and_says_what_to_do(folder, site, monkeypatch):
    published(folder, site.give("/seg.zip", ARCHIVE))
    for arguments in (["--offline"], []):
        done = run("fetch", "models.yaml", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "put it at" in done.stderr
        assert SHA256 in done.stderr
        monkeypatch.setenv("PYCEMRG_OFFLINE", "1")
    assert site.requests == []


def test_a_bundle_brings_models_to_a_site_without_internet(folder):
    with Site() as site:
        published(folder, site.give("/seg.zip", ARCHIVE))
        done = run("export", "models.yaml", "bundle.tar")
        assert done.returncode == 0, done.stderr
    there = ("--cache-dir", folder / "hospital")
    assert run("import", "bundle.tar", *there).stdout == "seg@v1\n"
    done = run("path", "models.yaml", "seg", "--offline", *there)
    assert Path(done.stdout.removesuffix("\n")).read_bytes() == WEIGHTS
    assert done.stdout.startswith(f"{folder}/hospital/")


def test_a_bundle_that_was_altered_is_refused(folder, site):
    published(folder, site.give("/seg.zip", ARCHIVE))
    assert run("export", "models.yaml", "bundle.tar").returncode == 0
    content = bytearray((folder / "bundle.tar").read_bytes())
    content[MIB] ^= 1
    (folder / "bundle.tar").write_bytes(content)
    done = run("import", "bundle.tar", "--cache-dir", folder / "hospital")
    assert (done.returncode, done.stdout) == (1, "")
    assert "bundle.tar: files/" in done.stderr
    assert run("list", "--cache-dir", folder / "hospital").stdout == ""


def test_lint_online_asks_every_address_and_reads_no_file(folder, site):
    mirrors = [
        site.give("/mirror.zip", File(ARCHIVE)) + "?token=hunter2",
        site.give("/unknown.zip", chunked(ARCHIVE)),
        site.url("/gone.zip") + "?token=hunter2",
    ]
    published(folder, site.give("/seg.zip", File(ARCHIVE)), mirrors=mirrors)
    done = run("lint", "models.yaml", "--online")
    assert done.returncode == 1
    kinds = [line.split(": ", 3)[1:] for line in done.stdout.splitlines() if "seg@v1" in line]
    size = f"{len(ARCHIVE):,} bytes [size]"
    assert kinds == [
        ["notice", "seg@v1", f"{site.url('/seg.zip')}: {size}"],
        ["notice", "seg@v1", f"{site.url('/mirror.zip')}: {size}"],
        ["notice", "seg@v1", f"{site.url('/unknown.zip')}: answers without a size [size]"],
        ["error", "seg@v1", f"{site.url('/gone.zip')}: 404 Not Found [unreachable]"],
    ]
    assert "hunter2" not in done.stdout + done.stderr
    assert done.stderr == "1 errors, 2 warnings\n"  # tokens in addresses
    found = json.loads(run("lint", "models.yaml", "--online", "--format", "json").stdout)
    assert [each["code"] for each in found].count("size") == 3


def test_lint_online_notices_a_mirror_that_cannot_hold_the_same(folder, site):
    published(
        folder,
        site.give("/seg.zip", File(ARCHIVE)),
        mirrors=[site.give("/mirror.zip", File(ARCHIVE[:-1]))],
    )
    done = run("lint", "models.yaml", "--online", "--format", "github")
    assert done.returncode == 1
    assert "title=different-sizes::" in done.stdout
    assert "::notice file=models.yaml,line=1,col=" in done.stdout


def test_lint_online_goes_on_after_what_is_malformed(folder, site):
    good = {"url": site.give("/seg.zip", File(ARCHIVE)), "archive": "none", "sha256": SHA256}
    write_manifest(folder / "models.yaml", v1={"url": "ftp://a/b"}, v2=good)
    done = run("lint", "models.yaml", "--online")
    assert "[faulty-url]" in done.stdout
    assert f"notice: seg@v2: {site.url('/seg.zip')}" in done.stdout


def test_lint_without_online_asks_nobody(folder, site):
    published(folder, site.give("/seg.zip", ARCHIVE))
    assert run("lint", "models.yaml").returncode == 0
    assert site.requests == []


def test_add_turns_an_address_into_an_entry_that_works(folder, site):
    url = site.give("/files/seg.zip", File(ARCHIVE, stop=MIB), File(ARCHIVE)) + "?download=1"
    (folder / "models.yaml").write_text("# Ours\n")
    done = run("add", "seg", "v1", url, "--append", "models.yaml")
    assert done.returncode == 0, done.stderr
    assert f"took {TARGET}, the only weight file of 2 files" in done.stderr
    path = run("path", "models.yaml", "seg").stdout.removesuffix("\n")
    assert Path(path).read_bytes() == WEIGHTS
    text = (folder / "models.yaml").read_text()
    assert SHA256 in text
    assert url in text


def test_add_hands_on_no_password_and_warns_of_what_looks_like_a_token(folder, site):
    url = site.give("/model.pth", WEIGHTS)
    done = run("add", "seg", "v1", url.replace("//", "//me:hunter2@"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "~/.netrc" in done.stderr
    assert "hunter2" not in done.stderr
    assert site.requests == []
    done = run("add", "seg", "v1", f"{url}?token=hunter2")
    assert "holds 'token' in the query: if it is secret, " in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(status(404), "/seg.zip: 404", id="404"),
        pytest.param(File(b"<!doctype html>"), "looks like a web page", id="log-in page"),
        pytest.param(File(ARCHIVE[:-9]), "not a whole zip archive", id="cut off"),
    ],
)
def test_add_refuses_what_could_not_be_fetched(folder, site, answer, message):
    (folder / "models.yaml").write_text("# Ours\n")
    done = run("add", "seg", "v1", site.give("/seg.zip", answer), "--append", "models.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert (folder / "models.yaml").read_text() == "# Ours\n"


def test_a_warm_path_loads_neither_network_nor_archives(folder, site):
    published(folder, site.give("/seg.zip", ARCHIVE))
    assert run("path", "models.yaml", "seg").returncode == 0
    script = (
        "import sys\nfrom pycemrg.cli.app import main\n"
        "try: main(['models', 'path', 'models.yaml', 'seg'])\nexcept SystemExit: pass\n"
        "slow = {'requests', 'urllib3', 'filelock', 'tqdm', 'zipfile', 'tarfile'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == "[]\n"
    assert Path(done.stdout.removesuffix("\n")).read_bytes() == WEIGHTS
