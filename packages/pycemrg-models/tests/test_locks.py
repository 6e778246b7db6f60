import os
import threading

import filelock
import pytest

from pycemrg.models import locks
from pycemrg.models.store import Store


def test_a_lock_keeps_others_out_until_the_block_ends(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    store = Store(tmp_path)
    order = []
    inside, leave = threading.Event(), threading.Event()

    def first():
        with locks.lock(store, "k"):
            inside.set()
            leave.wait(30)
            order.append("first")

    holder = threading.Thread(target=first)
    holder.start()
    assert inside.wait(30)
    # The second one says that it waits; then the first may go on.
    monkeypatch.setattr(locks.logger, "info", lambda *_: leave.set())
    with locks.lock(store, "k"):
        order.append("second")
    holder.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(PermissionError(13, "Permission denied"), id="denied"),
        pytest.param(OSError(38, "Function not implemented"), id="no-flock"),
        pytest.param(NotImplementedError(), id="unsupported"),
        pytest.param(filelock.Timeout("k.lock"), id="held-for-ten-minutes"),
    ],
)
def test_the_block_runs_without_a_lock_too(tmp_path, monkeypatch, caplog, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    ran = []
    with locks.lock(Store(tmp_path), "k"):
        ran.append(True)
    assert ran == [True]
    assert "going on without a lock" in caplog.text


def test_a_lock_leaves_no_marker_that_outlives_its_process(tmp_path, monkeypatch):
    """Where flock is missing, filelock would fall back to a file that means `locked`."""
    import fcntl

    def missing(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)
    for _ in range(2):
        with locks.lock(Store(tmp_path), "k"):
            pass


def test_the_lock_file_can_be_shared_with_a_group(tmp_path):
    before = os.umask(0o077)
    try:
        with locks.lock(Store(tmp_path), "k"):
            mode = (tmp_path / "store-v1/locks/k.lock").stat().st_mode
    finally:
        os.umask(before)
    assert mode & 0o777 == 0o664
