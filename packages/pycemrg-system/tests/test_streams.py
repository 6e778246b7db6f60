import pickle

import pytest

from pycemrg.system.streams import (
    LONGEST_LINE,
    Capture,
    Finder,
    Lines,
    OutputLine,
    last_lines,
)


def lines_of(*pieces: bytes) -> list[str]:
    seen: list[str] = []
    lines = Lines("stdout", seen.append)
    for piece in pieces:
        lines.write(piece)
    lines.close()
    return seen


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([b"LV\nRV\n"], ["LV", "RV"], id="newlines"),
        pytest.param([b"LV\n\nRV\n"], ["LV", "", "RV"], id="blank-line"),
        pytest.param([b"L", b"V\nR", b"V"], ["LV", "RV"], id="in-pieces"),
        pytest.param([b"10 %\r20 %\r"], ["10 %", "20 %"], id="progress-bar"),
        pytest.param([b"LV\r\nRV\r\n"], ["LV", "RV"], id="windows"),
        pytest.param([b"LV\r", b"\nRV"], ["LV", "RV"], id="windows-split"),
        pytest.param([b"LV\r", b"RV"], ["LV", "RV"], id="return-at-the-edge"),
        pytest.param([b"LV\r", b"\n", b"\n"], ["LV", ""], id="one-newline-is-the-returns"),
        pytest.param([b"\xc2", b"\xb5m\n"], ["µm"], id="character-split"),
        pytest.param([b"\xff\xfem\n"], ["\\xff\\xfem"], id="not-utf-8"),
        pytest.param([b"end\xc2"], ["end\\xc2"], id="unfinished-character"),
        pytest.param(["a\x0b\x0c\x1c\u2028b\n".encode()], ["a\x0b\x0c\x1c\u2028b"], id="no-ends"),
        pytest.param([b""], [], id="nothing"),
    ],
)
def test_lines_are_cut_where_a_terminal_would_begin_a_new_one(pieces, expected) -> None:
    assert lines_of(*pieces) == expected


def test_an_endless_line_is_handed_out_in_pieces() -> None:
    pieces = [b"x" * 65_536] * 40
    seen = lines_of(*pieces)
    assert "".join(seen) == "x" * 65_536 * 40
    assert max(map(len, seen)) < LONGEST_LINE + 65_536


def test_a_line_knows_its_stream_also_after_a_pickle() -> None:
    line = pickle.loads(pickle.dumps(OutputLine("iteration 3", "stderr")))
    assert line == "iteration 3"
    assert line.stream == "stderr"


def test_a_capture_without_limit_keeps_everything() -> None:
    capture = Capture()
    capture.write(b"\xc2")
    capture.write(b"\xb5\xff\0")
    assert capture.text() == "µ\\xff\0"


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_limited_capture_keeps_head_and_tail(size: int) -> None:
    data = b"".join(b"%05d\n" % number for number in range(1000))
    capture = Capture(60, 60)
    for start in range(0, len(data), size):
        capture.write(data[start : start + size])
    text = capture.text()
    assert text.startswith("00000\n00001\n")
    assert text.endswith("\n00998\n00999\n")
    assert "\n[... 5,880 bytes left out ...]\n" in text
    assert len(text) == 120 + len("\n[... 5,880 bytes left out ...]\n")


@pytest.mark.parametrize("length", [0, 59, 60, 61, 119, 120])
def test_a_limited_capture_marks_nothing_when_nothing_is_missing(length: int) -> None:
    capture = Capture(60, 60)
    capture.write(b"x" * length)
    assert capture.text() == "x" * length


def test_a_cut_never_goes_through_a_character() -> None:
    capture = Capture(4, 4)
    capture.write("ab€€€€cd".encode())  # € is three bytes: ab| 12 bytes |cd
    assert capture.text() == "ab\n[... 12 bytes left out ...]\ncd"


def test_a_capture_is_bounded_while_it_grows() -> None:
    capture = Capture(1000, 1000)
    for _ in range(1000):
        capture.write(b"x" * 1000)
        assert len(capture._head) + len(capture._tail) <= 4000


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"WARNING: deprecated flag"], id="at-once"),
        pytest.param([b"...WARNING: depre", b"cated flag..."], id="in-two"),
        pytest.param([b"%c" % byte for byte in b"WARNING: deprecated flag"], id="byte-by-byte"),
    ],
)
def test_a_text_is_found_across_pieces(pieces) -> None:
    finder = Finder(["no such text", "deprecated flag"])
    for piece in pieces:
        finder.write(piece)
    assert finder.found == "deprecated flag"


def test_a_text_that_is_not_there_is_not_found() -> None:
    finder = Finder(["deprecated flag", "µ", "x"])
    for piece in (b"deprecated ", b"deprecated", b"flag \xc2"):
        finder.write(piece)
    assert finder.found is None


def test_the_last_lines_are_short_and_not_blank() -> None:
    text = "\n".join(f"step {i}\n" for i in range(100)) + "y" * 5_000 + "\n\n"
    assert last_lines(text, count=3) == ["step 98", "step 99", "y" * 500 + "..."]
