"""More output than memory should hold, and output of the kinds that readers trip over."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import floods
from floods import MB, block

from pycemrg.system import CommandRunner

pytestmark = pytest.mark.once

FLOOD = 500 * MB
MOST_MEMORY = 60 * MB
WRITER = [sys.executable, floods.__file__]
linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is in /proc")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is not kept, for pytest would keep three of them."""
    yield tmp_path
    rmtree(tmp_path)


def by_itself(code: str, folder: Path, *arguments: object) -> SimpleNamespace:
    """Run `code` in a process of its own and return what it tells, and how its memory grew."""
    frame = f"""
import json, os, sys
from pathlib import Path
from pycemrg.system import CommandRunner

sys.path.insert(0, {str(Path(__file__).parent)!r})
from floods import MB, block

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    [size] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(size) * 1024

def tell(**facts):
    print(json.dumps({{**facts, "grown": peak() - before}}))

before = peak()
"""
    cmd = [sys.executable, "-c", frame + code, *map(str, arguments)]
    done = subprocess.run(cmd, cwd=folder, stdout=subprocess.PIPE, check=True, timeout=300)
    return SimpleNamespace(**json.loads(done.stdout))


def wrong_blocks(log: Path, stream: str, size: int) -> list[int]:
    """Return which megabytes of a log are not as they were written, -1 for more than `size`."""
    with log.open("rb") as file:
        wrong = [n for n in range(size // MB) if file.read(MB) != block(stream, n)]
        return wrong + [-1] * bool(file.read(1))


def assert_is_head_and_tail(text: str, whole: bytes) -> None:
    """Compare what memory holds with the two ends of the whole, and the gap with the rest."""
    [gap] = re.finditer(r"\n\[\.\.\. ([0-9,]+) bytes left out \.\.\.\]\n", text)
    head, tail = text[: gap.start()].encode(), text[gap.end() :].encode()
    left_out = int(gap[1].replace(",", ""))
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + left_out + len(tail) == len(whole)


@linux
@pytest.mark.parametrize("listening", ["polled", "threaded"])
def test_a_flood_of_both_streams_is_in_the_logs_and_not_in_memory(
    folder: Path, listening: str
) -> None:
    program = """
if sys.argv[1] == "threaded":
    del os.pidfd_open
result = CommandRunner().execute(sys.argv[2:], log_dir="logs")
tell(record=str(result.record), stdout=result.stdout[:40], stderr=result.stderr[-40:])
"""
    told = by_itself(program, folder, listening, *WRITER, FLOOD)
    record = Path(told.record)
    assert wrong_blocks(record / "stdout.log", "stdout", FLOOD) == []
    assert wrong_blocks(record / "stderr.log", "stderr", FLOOD) == []
    assert told.stdout == block("stdout", 0)[:40].decode()
    assert told.stderr == block("stderr", 0)[-40:].decode()
    assert told.grown < MOST_MEMORY


@linux
def test_without_a_log_all_of_stdout_is_returned(tmp_path: Path) -> None:
    program = """
text = CommandRunner().run(sys.argv[1:])
blocks = [text[at : at + MB] for at in range(0, len(text), MB)]
wrong = [number for number, it in enumerate(blocks) if it != block("stdout", number).decode()]
tell(size=len(text), wrong=wrong)
"""
    told = by_itself(program, tmp_path, *WRITER, FLOOD)
    assert (told.size, told.wrong) == (FLOOD, [])


@linux
def test_lines_are_handed_over_while_both_streams_flood(folder: Path) -> None:
    size = 20 * MB
    program = """
lines = {"stdout": Path("stdout").open("w"), "stderr": Path("stderr").open("w")}
def keep(line):
    lines[line.stream].write(line + "\\n")
result = CommandRunner().execute(sys.argv[1:], log_dir="logs", on_output=keep)
[file.close() for file in lines.values()]
tell()
"""
    told = by_itself(program, folder, *WRITER, size)
    assert wrong_blocks(folder / "stdout", "stdout", size) == []
    assert wrong_blocks(folder / "stderr", "stderr", size) == []
    assert told.grown < MOST_MEMORY


@linux
def test_a_line_of_100_megabytes_needs_no_more_memory_than_others(folder: Path) -> None:
    program = """
pieces = []
script = "head -c 100000000 /dev/zero | tr '\\\\0' x; echo; echo end"
result = CommandRunner().execute(
    ["sh", "-c", script], log_dir="logs", on_output=lambda line: pieces.append(len(line))
)
Path("text").write_text(result.stdout)
tell(record=str(result.record), pieces=pieces)
"""
    told = by_itself(program, folder)
    whole = b"x" * 100 * MB + b"\nend\n"
    assert (Path(told.record) / "stdout.log").read_bytes() == whole
    assert_is_head_and_tail((folder / "text").read_text(), whole)
    assert sum(told.pieces) == 100 * MB + len("end")
    assert told.pieces[-1] == len("end")
    assert told.grown < MOST_MEMORY


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


BAR = "\r".join(f"{step:3} % |{'█' * (step // 5):20}|" for step in range(0, 101, 5)) + "\n"
ODD_OUTPUT = [
    pytest.param(b"a\xffb\n\xc3", "a\\xffb\n\\xc3", ["a\\xffb", "\\xc3"], id="not-utf-8"),
    pytest.param(b"\xed\xa0\x80\n", "\\xed\\xa0\\x80\n", ["\\xed\\xa0\\x80"], id="surrogate"),
    pytest.param(b"\0a\0\n\0", "\0a\0\n\0", ["\0a\0", "\0"], id="nul"),
    pytest.param(b"\xef\xbb\xbfa\n", "\ufeffa\n", ["\ufeffa"], id="byte-order-mark"),
    pytest.param(BAR.encode(), BAR, BAR.replace("\n", "").split("\r"), id="progress-bar"),
    pytest.param(b"a\r\nb\r\r\n\n\n", "a\r\nb\r\r\n\n\n", ["a", "b", "", "", ""], id="line-ends"),
    pytest.param(
        b"a\x0bb\x85\x0cc\n", "a\x0bb\\x85\x0cc\n", ["a\x0bb\\x85\x0cc"], id="no-line-ends"
    ),
    pytest.param(
        "a\u2028b\u0085c\n".encode(), "a\u2028b\u0085c\n", ["a\u2028b\u0085c"], id="not-ours"
    ),
    pytest.param(b"", "", [], id="nothing"),
]


@pytest.mark.parametrize("at_once", [1, 3, 100_000])
@pytest.mark.parametrize("logged", [False, True])
@pytest.mark.parametrize(("data", "text", "lines"), ODD_OUTPUT)
def test_odd_output_is_the_right_text(
    tmp_path: Path, data: bytes, text: str, lines: list[str], logged: bool, at_once: int
) -> None:
    code = f"""
import os
data = {data!r}
for at in range(0, len(data), {at_once}):
    for fd in 1, 2:
        os.write(fd, data[at : at + {at_once}])
"""
    seen: dict[str, list[str]] = {"stdout": [], "stderr": []}
    result = CommandRunner().execute(
        python(code),
        on_output=lambda line: seen[line.stream].append(line),
        log_dir=tmp_path if logged else None,
    )
    assert (result.stdout, result.stderr) == (text, text)
    assert seen == {"stdout": lines, "stderr": lines}
    if logged:
        assert (result.record / "stdout.log").read_bytes() == data
        assert (result.record / "stderr.log").read_bytes() == data


@pytest.mark.parametrize("logged", [False, True])
def test_what_is_written_after_the_command_has_ended_is_whole(folder: Path, logged: bool) -> None:
    size = 20 * MB
    code = """
import os, runpy, sys
sys.argv = sys.argv[1:]
ended, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    os.read(ended, 1)  # until its parent has ended
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
    cmd = [*python(code), floods.__file__, str(size)]
    result = CommandRunner().execute(cmd, log_dir=folder if logged else None, max_capture=2 * size)
    written = {
        stream: b"".join(block(stream, number) for number in range(size // MB))
        for stream in ("stdout", "stderr")
    }
    assert result.stdout.encode() == written["stdout"]
    assert result.stderr.encode() == written["stderr"]
    if logged:
        assert wrong_blocks(result.record / "stdout.log", "stdout", size) == []
        assert wrong_blocks(result.record / "stderr.log", "stderr", size) == []
