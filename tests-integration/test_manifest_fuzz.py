"""No label manifest, however broken or hostile, does more harm than a ValueError or KeyError."""

import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzz_manifests.py")


@pytest.mark.skipif(sys.platform == "win32", reason="limits its memory with setrlimit")
@pytest.mark.parametrize(
    "count", [5_000, pytest.param(100_000, marks=pytest.mark.long)], ids=lambda n: f"{n:,}"
)
def test_random_and_mutated_manifests_load_or_are_refused(count):
    # In a child process: a parser that overflows the C stack takes its process with it.
    seed = secrets.randbelow(2**32)
    command = [sys.executable, str(SCRIPT), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    print(done.stdout[-3000:], done.stderr[-3000:])
    assert done.returncode == 0, f"seed {seed}"
    loaded = int(re.search(r"(\d+) loaded", done.stdout)[1])
    # A generator whose manifests all fail at the first byte would test nothing.
    assert count // 20 < loaded < count
