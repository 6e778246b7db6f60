"""`kill -9` at any instant of a fetch, and damage to what is stored: the next answer is right."""

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import forked_fetches
from faulty_site import File, Site, alone, files_in, left_over, write_manifest
from forked_fetches import FETCHES, PER_TURN, TURNS

from pycemrg.models import ModelManager

MIB = 1 << 20


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path / "home")


@pytest.fixture
def site():
    with Site() as running:
        yield running


def packed(members):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def weights(size, seed):
    """Bytes of which most are repeated, so that little goes over the line and much is unpacked."""
    lines = random.Random(seed).randbytes(size // 8).hex().encode()
    return b"".join(4 * lines[start : start + 64] for start in range(0, len(lines), 64))


def run(order):
    done = subprocess.run(
        [sys.executable, forked_fetches.__file__],
        input=json.dumps(order),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr[-3000:])
    return json.loads(done.stdout)


@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_fetch_killed_at_any_instant_leaves_nothing_wrong(site, tmp_path):
    files = {f"{number}.pth": weights(3 * MIB, number) for number in range(3)}
    body = packed({f"checkpoints/{name}": content for name, content in files.items()})
    slow = File(body, pause=0.002)  # the first time, so that a fetch has time to be killed
    urls = [site.give(f"/{number}/seg.zip", slow, body) for number in range(FETCHES)]
    fields = {"unzipped_target_path": "checkpoints", "sha256": hashlib.sha256(body).hexdigest()}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    found = run({"do": "kill", "job": [str(tmp_path), urls, fields, sums]})
    resumed = len([asked for asked in site.ranges() if asked])
    print("unpacks after {:.3f} s, until {:.3f} s; done after {:.3f} s".format(*found["times"]))
    print(f"killed: {found['killed']}")
    print(f"{resumed} of the downloads that were killed went on where they were")
    assert found["faults"] == []
    assert sum(found["killed"].values()) == TURNS * PER_TURN == 200
    assert found["killed"]["unpack"] >= 20
    assert found["killed"]["download"] >= 20
    assert resumed > 0


ASK = """
import logging, sys
logging.basicConfig(level=logging.INFO)
from pycemrg.models import ModelManager
print(ModelManager(sys.argv[1], sys.argv[2]).get_model_path("seg"))
"""


class Stored(NamedTuple):
    """A model of some files on the site, and where it is kept."""

    files: dict[str, bytes]
    body: bytes
    manifest: Path
    cache: Path

    def ask(self):
        return ModelManager(self.manifest, self.cache).get_model_path("seg")

    def is_at(self, path):
        found = {file.relative_to(path).as_posix(): file.read_bytes() for file in files_in(path)}
        return found == self.files


@pytest.fixture(params=[5, 100], ids=["small-tree", "large-tree"])
def stored(request, site, tmp_path):
    """A model that is in the cache; the store keeps other records of a large tree."""
    files = {f"fold_{number}/model.pth": weights(1_024, number) for number in range(request.param)}
    body = packed({f"checkpoints/{name}": content for name, content in files.items()})
    sha256 = hashlib.sha256(body).hexdigest()
    fields = {"url": site.give("/seg.zip", body), "sha256": sha256}
    fields["unzipped_target_path"] = "checkpoints"
    manifest = write_manifest(tmp_path / "models.yaml", v1=fields)
    model = Stored(files, body, manifest, tmp_path / "cache")
    assert model.is_at(model.ask())
    return model


def object_of(path):
    """Return the folder of the object that holds `path`."""
    return next(folder for folder in path.parents if (folder / "entry.json").exists())


def replace(path, content):
    path.unlink()
    path.write_bytes(content)


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


def swap_a_byte(path):
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"?")


def link_elsewhere(path):
    copy = path.with_name("other.pth")
    path.rename(copy)
    path.symlink_to(copy)


# Each is done to one file of the tree; its folder is the target that is asked for.
DAMAGE = {
    "truncated": lambda file: os.truncate(file, 10),
    "emptied": lambda file: os.truncate(file, 0),
    "altered": swap_a_byte,
    "appended": append,
    "replaced": lambda file: replace(file, b"other weights"),
    "deleted": lambda file: file.unlink(),
    "folder-deleted": lambda file: shutil.rmtree(file.parent),
    "a-folder": lambda file: (file.unlink(), file.mkdir()),
    "a-link": link_elsewhere,
    "a-dead-link": lambda file: (file.unlink(), file.symlink_to("nowhere")),
    "tree-deleted": lambda file: shutil.rmtree(object_of(file) / "tree"),
    "marker-deleted": lambda file: (object_of(file) / "entry.json").unlink(),
    "marker-empty": lambda file: os.truncate(object_of(file) / "entry.json", 0),
    "marker-cut": lambda file: os.truncate(object_of(file) / "entry.json", 50),
    "marker-no-text": lambda file: (object_of(file) / "entry.json").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_in_the_store_heals(site, stored, damage):
    before = stored.ask()
    DAMAGE[damage](before / "fold_3/model.pth")
    assert stored.is_at(stored.ask())
    assert len(site.requests) == 2
    assert stored.is_at(stored.ask())
    assert len(site.requests) == 2
    assert left_over(stored.cache) == []


def test_a_listing_that_is_damaged_is_made_anew_when_it_is_needed(stored, site):
    path = stored.ask()
    (object_of(path) / "files.json").write_text("{")
    os.utime(path / "fold_3/model.pth", (1, 1))  # its size and time no longer tell that it is whole
    assert stored.is_at(stored.ask())
    assert stored.is_at(stored.ask())


def test_new_times_alone_are_no_damage(stored, site):
    for path in files_in(stored.cache):
        os.utime(path, (1, 1))
    assert stored.is_at(stored.ask())
    assert len(site.requests) == 1


class HalfWay(NamedTuple):
    """A model whose download stops half way, the first time, until the process is ended."""

    content: bytes
    body: bytes
    manifest: Path
    cache: Path

    def start(self, **pipes):
        """Start a process that asks; it runs when this returns."""
        command = [sys.executable, "-c", ASK, self.manifest, self.cache]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **pipes)

    def wait(self):
        """Wait for half of the bytes, of which nothing but the files of the process tells."""
        end = time.monotonic() + 60
        while True:
            with suppress(FileNotFoundError):  # what is looked at is renamed
                if any(file.stat().st_size >= 3 * MIB for file in files_in(self.cache)):
                    return
            assert time.monotonic() < end, "the process has not come so far"
            time.sleep(0.01)

    def is_there(self):
        path = ModelManager(self.manifest, self.cache).get_model_path("seg")
        return path.read_bytes() == self.content


@pytest.fixture
def half_way(site, tmp_path):
    def make(summed=True):
        content = random.Random(0).randbytes(8 * MIB)
        body = packed({"model.pth": content})
        fields = {"url": site.give("/seg.zip", File(body, stop=4 * MIB, end="stall"), body)}
        fields["unzipped_target_path"] = "model.pth"
        if summed:
            fields["sha256"] = hashlib.sha256(body).hexdigest()
        manifest = write_manifest(tmp_path / "models.yaml", v1=fields)
        return HalfWay(content, body, manifest, tmp_path / "cache")

    return make


def end(process, how=None):
    """End a process by a signal, and be sure that it ended by it."""
    how = how or getattr(signal, "SIGKILL", signal.SIGTERM)
    process.send_signal(how)
    try:
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -how or sys.platform == "win32"


def test_a_download_that_was_killed_half_way_goes_on_where_it_was(site, half_way):
    model = half_way()
    process = model.start()
    try:
        model.wait()
    finally:
        end(process)
    assert model.is_there()
    first, second = site.requests
    assert second.headers["if-range"] == '"first"'
    assert first.sent + second.sent - len(model.body) <= MIB
    assert left_over(model.cache) == []


def test_without_sha256_a_download_that_was_killed_begins_anew(site, half_way):
    model = half_way(summed=False)
    process = model.start()
    try:
        model.wait()
    finally:
        end(process)
    assert model.is_there()
    assert site.ranges() == [None, None]
    if sys.platform == "linux":  # where it can be told that a process has ended
        assert left_over(model.cache) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_download_that_is_interrupted_goes_on_where_it_was(site, half_way, how):
    model = half_way()
    process = model.start(stderr=subprocess.PIPE)
    try:
        model.wait()
    finally:
        end(process, how)
    assert model.is_there()
    first, second = site.requests
    assert first.sent + second.sent - len(model.body) <= MIB
    assert left_over(model.cache) == []


def test_who_waits_for_a_process_that_is_killed_takes_over(site, half_way):
    model = half_way()
    first = model.start()
    try:
        model.wait()
        second = model.start(stderr=subprocess.PIPE)
        try:
            while "waiting for another process" not in (line := second.stderr.readline()):
                assert line, "the second process does not wait"
            assert len(site.requests) == 1
            end(first)
            path, _ = second.communicate(timeout=60)
        finally:
            second.kill()
            second.communicate()
    finally:
        first.kill()
        first.communicate()
    assert Path(path.strip()).read_bytes() == model.content
    assert len(site.requests) == 2
    assert site.sent() - len(model.body) <= MIB
    assert model.is_there()
    assert left_over(model.cache) == []
