import io
import sys
from types import SimpleNamespace

import pytest

from pycemrg.cli.label_progress import progress_bar

HIDE_CURSOR = "\r\x1b[?25l"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when it is told."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("time.time", lambda: clock.now)
    return clock


def test_without_a_terminal_nothing_is_shown(capsys):
    with progress_bar("reading") as progress:
        assert progress is None
    assert capsys.readouterr().err == ""


def test_what_is_done_soon_shows_no_bar(monkeypatch, clock):
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    with progress_bar("reading") as progress:
        progress(10, 100)
        clock.now += 0.9
        progress(90, 100)
        clock.now += 5
        progress(100, 100)
    assert shown.getvalue() == ""


def test_a_bar_shows_how_far_long_work_is_and_what_is_left(monkeypatch, clock):
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    with progress_bar("reading") as progress:
        progress(10, 100)
        clock.now += 2
        progress(40, 100)
        words = shown.getvalue().removeprefix(HIDE_CURSOR).split()
        assert words == ["reading", "[##############----------------------]", "40%", "00:00:03"]
        clock.now += 3
        progress(100, 100)
    assert "100%" in shown.getvalue()
    assert shown.getvalue().endswith("\n")


def test_a_bar_ends_its_line_before_an_error_is_told(monkeypatch, clock):
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)

    def fail():
        with progress_bar("reading") as progress:
            clock.now += 2
            progress(40, 100)
            raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        fail()
    assert shown.getvalue().endswith("\n")
