import io
import logging

import pytest

from pycemrg.models import meters


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with meters.meter("seg@v2", "download", None) as tell:
        assert terminal.getvalue() == ""
        tell(5_000_000, 10_000_000)
        tell(10_000_000, 10_000_000)
    shown = terminal.getvalue()
    assert "seg@v2: download" in shown
    assert "50%" in shown
    assert "10.0M" in shown
    assert shown.rstrip(" \r").endswith("\r") or shown.endswith("\r")


def test_without_a_terminal_there_is_a_line_every_ten_seconds(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    monkeypatch.setattr(meters.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with meters.meter("seg@v2", "unpack", None) as tell:
        for second in range(31):
            now[0] = float(second)
            tell(second * 1_000_000, 40_000_000 if second < 20 else None)
    assert caplog.messages == [
        "seg@v2: unpack: 10 of 40 MB so far",
        "seg@v2: unpack: 20 MB so far",
        "seg@v2: unpack: 30 MB so far",
    ]


@pytest.mark.parametrize("stderr", [None, io.StringIO()])
def test_nothing_is_printed_where_nobody_looks(monkeypatch, capsys, stderr):
    monkeypatch.setattr("sys.stderr", stderr)
    with meters.meter("seg@v2", "download", None) as tell:
        tell(1, 2)
    assert capsys.readouterr().out == ""
    assert stderr is None or stderr.getvalue() == ""
