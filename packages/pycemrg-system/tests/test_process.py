"""How a command is followed, and that nothing of it stays behind."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pycemrg.system import CommandExecutionError, CommandRunner, CommandTimeoutError, process

MEGABYTES = 50


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
def _nothing_is_left_open():
    # A thread of the fallback ends by itself, a moment after the last pipe has closed.
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert open_descriptors() == descriptors


@pytest.mark.usefixtures("each_way_to_listen")
def test_both_streams_are_read_at_once_and_stdout_whole() -> None:
    code = f"""
import os, threading
block = bytes(range(32, 127)) * 1000 + b"\\n"
def write(fd):
    for _ in range({MEGABYTES} * 1_000_000 // len(block)):
        view = memoryview(block)
        while view:
            view = view[os.write(fd, view):]
threads = [threading.Thread(target=write, args=(fd,)) for fd in (1, 2)]
[t.start() for t in threads]
[t.join() for t in threads]
"""
    result = CommandRunner().execute(python(code), timeout=300)
    block = bytes(range(32, 127)).decode() * 1000 + "\n"
    expected = block * (MEGABYTES * 1_000_000 // len(block))
    assert result.stdout == expected
    first, last = 7 * 1024 * 1024, 1024 * 1024
    assert result.stderr[:first] == expected[:first]
    assert result.stderr[-last:] == expected[-last:]
    marker = f"\n[... {len(expected) - first - last:,} bytes left out ...]\n"
    assert result.stderr[first:-last] == marker


def test_bytes_that_are_not_utf_8_become_readable_text() -> None:
    code = r"import os; os.write(1, b'a\xff\0\xc2\xb5'); os.write(2, b'\xe2\x82')"
    result = CommandRunner().execute(python(code))
    assert result.stdout == "a\\xff\0µ"
    assert result.stderr == "\\xe2\\x82"


def test_a_character_split_between_two_reads_is_whole() -> None:
    code = r"import os; [os.write(1, bytes([byte])) for byte in 'µm €'.encode() * 1000]"
    assert CommandRunner().run(python(code)) == "µm €" * 1000


def test_line_ends_are_kept_in_the_output() -> None:
    assert CommandRunner().run(["printf", r"a\r\nb\rc\n\n"]) == "a\r\nb\rc\n\n"


@pytest.mark.usefixtures("each_way_to_listen")
def test_a_command_that_closes_its_output_early_is_waited_for(tmp_path: Path) -> None:
    script = "exec >&- 2>&-; sleep 0.3; echo late > ended"
    CommandRunner().run(["sh", "-c", script], ["ended"], tmp_path)
    assert (tmp_path / "ended").read_text() == "late\n"


@pytest.mark.usefixtures("each_way_to_listen")
def test_output_that_comes_after_the_command_has_ended_is_read() -> None:
    assert CommandRunner().run(["sh", "-c", "(sleep 0.3; echo late) & echo early"]) == (
        "early\nlate\n"
    )


@pytest.mark.usefixtures("short_graces", "each_way_to_listen")
def test_a_grandchild_that_holds_the_pipe_is_ended(marked, caplog) -> None:
    stdout = CommandRunner().run(["sh", "-c", "sleep 600 & echo done"], env=marked.env)
    assert stdout == "done\n"
    assert "still hold its output" in caplog.text
    assert marked.living() == []


@pytest.mark.usefixtures("short_graces", "each_way_to_listen")
def test_a_grandchild_that_never_stops_writing_is_ended(marked) -> None:
    stdout = CommandRunner().run(
        ["sh", "-c", "while :; do echo y; done & echo done"], env=marked.env
    )
    assert set(stdout.split()) == {"done", "y"}
    assert marked.living() == []


def test_a_background_process_with_its_own_output_may_go_on(marked) -> None:
    script = "sleep 600 >/dev/null 2>&1 & echo done"
    assert CommandRunner().run(["sh", "-c", script], env=marked.env) == "done\n"
    assert len(marked.living()) == 1


@pytest.mark.usefixtures("short_graces", "each_way_to_listen")
def test_a_process_that_left_the_session_is_reported_and_not_waited_for(marked, caplog) -> None:
    code = "import os, time\nif os.fork() == 0:\n os.setsid()\n time.sleep(600)\nprint('done')"
    assert CommandRunner().run(python(code), env=marked.env) == "done\n"
    assert "left its session" in caplog.text
    [escaped] = marked.living()
    os.kill(escaped, signal.SIGKILL)


@pytest.mark.usefixtures("short_graces", "each_way_to_listen")
def test_a_process_that_left_the_session_and_never_stops_writing_is_not_waited_for(marked) -> None:
    code = "import os\nif os.fork() == 0:\n os.setsid()\n while True: os.write(1, b'y' * 4096)"
    stdout = CommandRunner().run(python(code), env=marked.env)
    assert set(stdout) <= {"y"}
    for escaped in marked.living():
        os.kill(escaped, signal.SIGKILL)


SHELL_TREES = {
    "polite": "echo ready; exec sleep 600",
    "child": "echo ready; sleep 600; true",
    "ignores-sigterm": "trap '' TERM; echo ready; while :; do sleep 600; done",
    "grandchild-holds-the-pipe": "sleep 600 & echo ready; exec sleep 600",
    "grandchild-ignores-sigterm": "(trap '' TERM; echo ready; sleep 600) & exec sleep 600",
    "closed-output": "echo ready; exec >&- 2>&-; sleep 600",
    "endless-output": "trap '' TERM; while :; do echo ready; done",
    "stopped": "echo ready; kill -STOP $$",
}
PYTHON_TREES = {
    "double-fork": "os.fork() or os.fork()",
    "ranks-in-their-own-groups": """
for _ in range(3):
    if os.fork() == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        break
""",
    "odd-name": """
open("/proc/self/comm", "w").write(") Z 1 (")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
""",
}
FRAME = "import os, signal, time\n{}\nprint('ready', flush=True)\ntime.sleep(600)"
TREES = [
    *(pytest.param(["sh", "-c", script], id=name) for name, script in SHELL_TREES.items()),
    *(pytest.param(python(FRAME.format(code)), id=name) for name, code in PYTHON_TREES.items()),
]


@pytest.mark.usefixtures("short_graces")
@pytest.mark.parametrize("cmd", TREES)
def test_nothing_lives_after_a_timeout(cmd, marked, clock) -> None:
    def let_time_pass(line: str) -> None:
        assert clock.ahead or marked.living()
        clock.ahead = 1000

    with pytest.raises(CommandTimeoutError, match="ended after its timeout of 100 s"):
        CommandRunner().run(cmd, env=marked.env, timeout=100, on_output=let_time_pass)
    assert marked.living() == []


@pytest.mark.usefixtures("short_graces")
@pytest.mark.parametrize("cmd", TREES)
def test_nothing_lives_after_an_exception_in_on_output(cmd, marked) -> None:
    def refuse(line: str) -> None:
        raise RuntimeError(f"no more {line}")

    with pytest.raises(RuntimeError, match="no more ready"):
        CommandRunner().run(cmd, env=marked.env, on_output=refuse)
    assert marked.living() == []


@pytest.mark.usefixtures("each_way_to_listen", "short_graces")
def test_a_timeout_is_noticed_while_nothing_happens(marked) -> None:
    with pytest.raises(CommandTimeoutError) as caught:
        CommandRunner().run(["sleep", "600"], env=marked.env, timeout=0.1)
    assert caught.value.returncode == -15
    assert marked.living() == []


def python_that_cleans_up(last_words: str) -> list[str]:
    # The signal may come before the first write has returned, so that one is not buffered.
    return python(f"""
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
try:
    os.write(1, b"begun\\n")
    while True:
        signal.pause()
except SystemExit:
    sys.stdout.write({last_words[0]!r} * {len(last_words)})
    sys.stderr.write("why\\n")
    sys.exit(3)
""")


@pytest.mark.usefixtures("each_way_to_listen")
@pytest.mark.parametrize(
    "last_words",
    [
        pytest.param("x", id="short"),
        pytest.param("x" * 1_000_000, id="longer-than-a-pipe"),
    ],
)
def test_a_command_may_clean_up_when_its_time_is_over(clock, last_words: str) -> None:
    with pytest.raises(CommandTimeoutError) as caught:
        CommandRunner().run(
            python_that_cleans_up(last_words),
            timeout=100,
            on_output=lambda line: setattr(clock, "ahead", 1000),
        )
    assert caught.value.stdout == "begun\n" + last_words
    assert caught.value.stderr == "why\n"
    assert caught.value.returncode == 3
    assert str(caught.value).endswith("; last lines of stderr:\n  why")


@pytest.mark.usefixtures("short_graces")
def test_sigkill_comes_after_the_grace(clock) -> None:
    with pytest.raises(CommandTimeoutError) as caught:
        CommandRunner().run(
            ["sh", "-c", SHELL_TREES["ignores-sigterm"]],
            timeout=100,
            on_output=lambda line: setattr(clock, "ahead", 1000),
        )
    assert caught.value.returncode == -9


@pytest.mark.usefixtures("each_way_to_listen")
def test_a_command_that_has_ended_in_time_is_not_timed_out_by_a_slow_reader(
    marked, clock, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)

    def read_slowly(line: str) -> None:
        go.write_text("\n")
        while marked.living():
            pass
        clock.ahead = 1000

    cmd = ["sh", "-c", 'echo done; read -r _ < "$0"', go]
    stdout = CommandRunner().run(cmd, env=marked.env, timeout=100, on_output=read_slowly)
    assert stdout == "done\n"


def test_nothing_lives_after_ctrl_c(marked) -> None:
    # Started in the background of a shell, a process ignores SIGINT unless it asks for it.
    driver = """
import signal
from pycemrg.system import CommandRunner, process
signal.signal(signal.SIGINT, signal.default_int_handler)
process.TERM_GRACE = 0.3
script = "trap '' INT TERM; sleep 600 & echo ready; while :; do sleep 600; done"
try:
    CommandRunner().run(["sh", "-c", script], on_output=lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen(python(driver), stdout=subprocess.PIPE, text=True, env=marked.env) as it:
        assert it.stdout.readline() == "ready\n"
        assert len(marked.living()) >= 3
        it.send_signal(signal.SIGINT)
        assert it.stdout.read() == "interrupted\n"
    assert it.returncode == 0
    assert marked.living() == []


def test_a_lost_exit_code_is_an_error_and_not_success() -> None:
    driver = """
import signal
from pycemrg.system import CommandExecutionError, CommandRunner
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
try:
    CommandRunner().run(["echo", "done"])
except CommandExecutionError as error:
    print(error.returncode, error.stdout, error)
"""
    text = subprocess.run(python(driver), capture_output=True, text=True, check=True).stdout
    assert text.startswith("255 done\n")
    assert "exit code was lost" in text


def test_peak_memory_and_cpu_time_of_the_command_are_known() -> None:
    # In a process of its own, for the peak of this one may be larger already.
    block = 200_000_000
    code = f"import hashlib; hashlib.sha256(b'x' * {block}).digest()"
    driver = f"""
import sys
from pycemrg.system import CommandRunner
result = CommandRunner().execute([sys.executable, "-c", {code!r}])
print(result.peak_memory, result.cpu_time, result.duration)
"""
    text = subprocess.run(python(driver), capture_output=True, text=True, check=True).stdout
    peak, cpu_time, duration = map(float, text.split())
    assert block < peak < block + 100_000_000
    assert cpu_time > 0
    assert duration > 0


def test_our_own_peak_memory_is_not_taken_for_that_of_the_command() -> None:
    driver = """
from pycemrg.system import CommandRunner
block = b"x" * 200_000_000
del block
print(CommandRunner().execute(["true"]).peak_memory)
"""
    result = subprocess.run(python(driver), capture_output=True, text=True, check=True)
    assert result.stdout == "None\n"


def test_a_command_has_a_session_of_its_own_and_an_empty_stdin() -> None:
    code = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()))"
    driver = f"""
import sys
from pycemrg.system import CommandRunner
print(CommandRunner().run([sys.executable, "-c", {code!r}]), sys.stdin.read())
"""
    result = subprocess.run(
        python(driver), input="for the driver", capture_output=True, text=True, check=True
    )
    assert result.stdout == "True ''\n for the driver\n"


def test_what_cannot_be_listened_to_is_not_left_running(marked, monkeypatch) -> None:
    def refuse(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(process, "listen", refuse)
    with pytest.raises(MemoryError):
        CommandRunner().run(["sleep", "600"], env=marked.env)
    assert marked.living() == []


def test_processes_left_behind_are_ended_if_asked_for(marked, caplog) -> None:
    with Path(os.devnull).open("wb") as nowhere:
        ended = process.run(
            ["sh", "-c", "sleep 600 & exit 4"],
            stdout=nowhere.fileno(),
            stderr=nowhere.fileno(),
            env=marked.env,
            sweep=True,
            logger=logging.getLogger("test"),
        )
    assert ended.returncode == 4
    assert "run on in the background" in caplog.text
    assert marked.living() == []


def test_many_threads_can_run_commands_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    runner = CommandRunner()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: runner.run(["echo", str(n)]), range(64)))
    assert results == [f"{n}\n" for n in range(64)]


def test_an_error_of_the_callback_is_not_taken_for_one_of_the_start() -> None:
    def refuse(line: str) -> None:
        raise FileNotFoundError("the callback's own file")

    with pytest.raises(FileNotFoundError, match="the callback's own file") as caught:
        CommandRunner().run(["echo", "ready"], on_output=refuse)
    assert not isinstance(caught.value, CommandExecutionError)
