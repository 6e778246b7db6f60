"""Archives that attack, damaged ones and good ones, through the public interface."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

# Tests are imported one by one, without their folder.
sys.path.insert(0, str(Path(__file__).parent))

import archive_bombs
import archive_corpus as corpus
from archive_corpus import WEIGHTS, Member
from faulty_site import Site, alone, left_over, write_manifest

from pycemrg.models import ModelManager

ATTACKS = dict(corpus.attacks())
HEAVY = dict(archive_bombs.heavy())
STATUS = Path("/proc/self/status")
MAX_MEMORY = 400 << 20  # bytes
MAX_TIME = 60  # seconds of processor
MAX_FILE = 64 << 20  # bytes


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path / "home")


@pytest.fixture
def world(tmp_path):
    """The folder around manifest, archive and cache, with a file of somebody else."""
    folder = tmp_path / "world"
    folder.mkdir()
    (folder / "secret").write_text("of somebody else")
    return folder


@pytest.fixture
def outside(tmp_path):
    """Tell all there is to know about everything outside of the cache."""

    def look():
        found = {}
        for path in sorted(tmp_path.rglob("*")):
            if "cache" not in path.relative_to(tmp_path).parts[:2]:
                state = path.lstat()
                facts = (state.st_mode, state.st_size, state.st_mtime_ns, state.st_nlink)
                found[str(path)] = facts if not path.is_dir() else state.st_mode
        return found

    return look


def entry_of(world, name, content, target="a/model.pth", url=None):
    """Write an archive and a manifest that names it with its sha256."""
    (world / name).write_bytes(content)
    fields = {"url": url or f"file://{world / name}", "unzipped_target_path": target}
    fields["sha256"] = hashlib.sha256(content).hexdigest()
    return write_manifest(world / "models.yaml", v1=fields)


def check_nothing_kept(cache):
    """Look for an object, or the beginnings of one."""
    assert left_over(cache) == []
    assert {path.suffix for path in cache.rglob("*") if not path.is_dir()} <= {".TAG", ".lock"}


@pytest.mark.parametrize("title", ATTACKS)
def test_an_attack_or_a_damaged_archive_is_refused_and_leaves_nothing(world, outside, title):
    attack = ATTACKS[title]
    manifest = entry_of(world, f"seg.{attack.kind}", attack.pack(world))
    before = outside()
    with pytest.raises(RuntimeError, match=attack.told) as caught:
        ModelManager(manifest, world / "cache").get_model_path("seg")
    assert type(caught.value) is RuntimeError
    assert outside() == before
    check_nothing_kept(world / "cache")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("what", ["up", "link up", "case", "twice"])
def test_the_same_from_the_web(world, outside, what, kind):
    attack = ATTACKS[f"{what} ({kind})"]
    content = attack.pack(world)
    with Site() as site:
        manifest = entry_of(world, "other", content, url=site.give(f"/seg.{kind}", content))
        before = outside()
        for _ in range(2):
            with pytest.raises(RuntimeError, match=attack.told):
                ModelManager(manifest, world / "cache").get_model_path("seg")
            assert outside() == before
            check_nothing_kept(world / "cache")


FETCH = """
import json, resource, sys
manifest, cache, memory, time, file = sys.argv[1:]
from pycemrg.models import ModelManager
resource.setrlimit(resource.RLIMIT_AS, (4 * int(memory),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (int(time),) * 2)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(file),) * 2)
try:
    told = f"unpacked to {ModelManager(manifest, cache).get_model_path('seg')}"
except RuntimeError as error:
    told = f"RuntimeError: {error}"
with open("/proc/self/status") as file:  # ru_maxrss is at least that of the process that forked
    (peak,) = (int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
print(json.dumps([told, peak, sum(resource.getrusage(resource.RUSAGE_SELF)[:2])]))
"""


@pytest.mark.skipif(not STATUS.exists(), reason="the peak of memory is in /proc")
@pytest.mark.parametrize("title", HEAVY)
def test_what_would_fill_memory_or_disk_is_refused_in_bounded_time_and_memory(
    world, outside, title
):
    attack = HEAVY[title]
    manifest = entry_of(world, f"seg.{attack.kind}", attack.pack(world))
    before = outside()
    bounds = [str(bound) for bound in (MAX_MEMORY, MAX_TIME, MAX_FILE)]
    done = subprocess.run(
        [sys.executable, "-c", FETCH, manifest, world / "cache", *bounds],
        capture_output=True,
        text=True,
        timeout=10 * MAX_TIME,
    )
    assert done.returncode == 0, done.stderr
    told, peak, seconds = json.loads(done.stdout)
    print(f"{peak >> 20} MiB, {seconds:.1f} s")
    assert re.match(f"RuntimeError: .*({attack.told})", told), told
    assert peak < MAX_MEMORY
    assert outside() == before
    check_nothing_kept(world / "cache")


SOLVER = [
    Member("solver/bin/openCARP", b"#!/bin/sh\necho solved\n", "program"),
    Member("solver/lib/libpetsc.so.3.20.1", WEIGHTS),
    Member("solver/lib/libpetsc.so.3.20", b"libpetsc.so.3.20.1", "link"),
    Member("solver/lib/libpetsc.so", b"libpetsc.so.3.20", "link"),
    Member("current", b"solver/bin", "link"),
    Member("solver/share/empty", b"", "folder"),
    Member("solver/share/none", b""),
]


@pytest.mark.parametrize("from_the_web", [False, True], ids=["file", "http"])
@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_good_archive_comes_out_intact(world, suffix, from_the_web):
    if suffix == "zip":
        content = corpus.pack_zip(SOLVER, zipfile.ZIP_DEFLATED)
    else:
        content = corpus.pack_tar(SOLVER, suffix[4:])
    with Site() as site:
        url = site.give(f"/solver.{suffix}", content) if from_the_web else None
        manifest = entry_of(world, f"solver.{suffix}", content, "current/openCARP", url)
        tool = ModelManager(manifest, world / "cache").get_model_path("seg")
    run = subprocess.run([tool], stdout=subprocess.PIPE, text=True)
    assert run.stdout == "solved\n"
    solver = tool.resolve().parents[1]
    found = {path.relative_to(solver).as_posix() for path in solver.rglob("*")}
    names = {member.name.removeprefix("solver/") for member in SOLVER} - {"current"}
    assert found == names | {"bin", "lib", "share"}
    library = solver / "lib/libpetsc.so"
    assert str(library.readlink()) == "libpetsc.so.3.20"
    assert library.resolve() == solver / "lib/libpetsc.so.3.20.1"
    assert library.read_bytes() == WEIGHTS
    assert not os.access(library, os.X_OK)
    assert (solver / "share/none").read_bytes() == b""


@pytest.mark.parametrize("title", ["absolute", "far up", "written through a link"])
def test_the_attacks_succeed_where_nobody_looks(world, title):
    members, _ = corpus.IN_BOTH[title]
    tree = world / "1/2/3/4/5/6"
    tree.mkdir(parents=True)
    (world / "a.tar").write_bytes(corpus.pack_tar(members(world)))
    trusting = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
    with tarfile.open(world / "a.tar") as archive:
        archive.extractall(tree, **trusting)
    assert (world / "evil").read_bytes() == b"evil"
