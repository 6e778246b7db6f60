import os
import subprocess
import sys

from pycemrg.system import sessions


def start(code: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def test_a_process_is_found_by_its_session_whatever_its_name() -> None:
    rename = "open('/proc/self/comm', 'w').write(') S 1 (x) 1 2'); print('up', flush=True); input()"
    with start(rename) as process:
        assert process.stdout.readline() == "up\n"
        assert sessions.living(process.pid) == [process.pid]
        assert process.pid not in sessions.living(os.getsid(0))
        process.communicate("\n")
    assert sessions.living(process.pid) == []


def test_a_zombie_does_not_live() -> None:
    with start("") as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert sessions.living(process.pid) == []


def test_a_process_lives_as_long_as_any_of_its_threads() -> None:
    code = (
        "import ctypes, os, threading\n"
        "main = threading.get_native_id()\n"
        "def outlive():\n"
        "    while 'Z' not in open(f'/proc/self/task/{main}/stat').read().rpartition(')')[2]:\n"
        "        pass\n"
        "    os.write(1, b'ended\\n')\n"
        "    os.read(0, 1)\n"
        "threading.Thread(target=outlive).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    with start(code) as process:
        assert process.stdout.readline() == "ended\n"
        assert sessions.living(process.pid) == [process.pid]
        assert sessions.kill(process.pid) == [process.pid]
        assert process.wait() == -9
    assert sessions.living(process.pid) == []


def test_processes_of_other_groups_are_killed_with_the_session() -> None:
    code = (
        "import os\n"
        "if os.fork() == 0:\n"
        "    os.setpgid(0, 0)\n"
        "    print(os.getpid(), flush=True)\n"
        "input()"
    )
    with start(code) as process:
        rank = int(process.stdout.readline())
        assert os.getpgid(rank) != process.pid
        assert sorted(sessions.kill(process.pid)) == sorted([process.pid, rank])
        assert process.wait() == -9
        assert process.stdout.read() == ""  # the rank holds the pipe as long as it lives


def test_ending_a_session_that_is_gone_is_no_error() -> None:
    with start("") as process:
        process.wait()
    sessions.terminate(process.pid)
    assert sessions.kill(process.pid) == []
