"""Many processes that ask for one model at once, where locks work and where they do not."""

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import forked_fetches
from faulty_site import File, Site, alone

CROWD = 64
FILES = {f"fold_{number}/model.pth": random.Random(number).randbytes(100_000) for number in (1, 2)}


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path / "home")


@pytest.fixture
def site():
    with Site() as running:
        yield running


def packed():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in FILES.items():
            file.writestr(zipfile.ZipInfo(f"checkpoints/{name}"), content)
    return archive.getvalue()


@pytest.mark.once
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("summed", [True, False], ids=["sha256", "no-sha256"])
@pytest.mark.parametrize("before", ["empty", "damaged"])
@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no-locks"])
def test_a_crowd_gets_the_right_bytes_and_with_locks_by_one_download(
    site, tmp_path, locks, before, summed
):
    body = packed()
    url = site.give("/seg.zip", File(body, pause=0.002))
    rehearsal = site.give("/rehearsal/seg.zip", body)
    fields = {"unzipped_target_path": "checkpoints"}
    if summed:
        fields["sha256"] = hashlib.sha256(body).hexdigest()
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    order = {"do": "crowd", "job": [str(tmp_path), [url, rehearsal], fields, sums]}
    order |= {"count": CROWD, "locks": locks, "damaged": before == "damaged"}
    done = subprocess.run(
        [sys.executable, forked_fetches.__file__],
        input=json.dumps(order),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["codes"] == [0] * CROWD, done.stderr[-3000:]
    (only,) = set(found["told"])
    assert only.endswith(" True"), only
    assert found["left"] == []
    asked = site.paths().count("/seg.zip") - (before == "damaged")
    print(f"{asked} GETs for {CROWD} processes")
    assert (asked == 1) is locks
