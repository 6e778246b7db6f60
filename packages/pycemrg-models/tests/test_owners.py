import os
import subprocess
import sys

import pytest

from pycemrg.models.owners import has_ended, owned_name

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells of processes")
NAME = "from pycemrg.models.owners import owned_name; print(owned_name(), flush=True); input()"


@linux_only
def test_a_folder_is_known_to_be_abandoned_as_soon_as_its_process_has_ended():
    child = subprocess.Popen(
        [sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    name = child.stdout.readline().strip()
    assert has_ended(name) is False
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert has_ended(name)
    child.communicate()
    assert has_ended(name)


@linux_only
def test_a_fork_does_not_pass_for_its_parent():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, owned_name().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert has_ended(pipe.read())
    assert has_ended(owned_name()) is False


@linux_only
def test_another_process_with_the_same_number_is_another_process():
    folder, _, owner = owned_name().rpartition(".")
    boot, namespace, pid, started = owner.split("-")
    assert has_ended(f"{folder}.{boot}-{namespace}-{pid}-{int(started) - 1}")


@linux_only
@pytest.mark.parametrize("part", [0, 1], ids=["another-boot-or-machine", "another-container"])
def test_nothing_is_known_of_processes_elsewhere(part):
    folder, _, owner = owned_name().rpartition(".")
    parts = owner.split("-")
    parts[part], parts[3] = parts[part][::-1] + "0", "1"
    assert has_ended(f"{folder}.{'-'.join(parts)}") is None


@pytest.mark.parametrize("name", ["", "0123", "a.b", "a.1-2-3-4", "a.1-2-x-4", ".--~-"])
def test_any_other_name_says_nothing(name):
    assert not has_ended(name)


def test_no_two_names_are_the_same():
    assert len({owned_name() for _ in range(100)}) == 100


def test_where_there_is_no_proc_names_say_nothing(tmp_path, monkeypatch):
    name = owned_name()
    monkeypatch.setattr("pycemrg.models.owners.PROC", tmp_path)
    assert len(owned_name()) == 32
    assert not has_ended(name)


@linux_only
def test_nothing_is_known_of_a_process_that_proc_hides(tmp_path, monkeypatch):
    """As mounted with `hidepid` on machines that many share."""
    name = owned_name()
    (tmp_path / "sys").symlink_to("/proc/sys")
    (tmp_path / "self").symlink_to("/proc/self")
    monkeypatch.setattr("pycemrg.models.owners.PROC", tmp_path)
    assert not has_ended(name)
    folder, _, owner = name.rpartition(".")
    here = owner.rpartition("-")[0].rpartition("-")[0]
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert has_ended(f"{folder}.{here}-{child.pid}-1")
    assert not has_ended(f"{folder}.{here}-{10**30}-1")
