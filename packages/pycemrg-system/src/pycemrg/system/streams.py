"""What is done with a command's output as it flows: kept, searched, cut into lines."""

import codecs
import os
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

StreamName = Literal["stdout", "stderr"]
LONGEST_LINE = 1_048_576
"""Characters after which an unfinished line is handed out, so that no line can fill the memory."""


class Sink(Protocol):
    """Takes the bytes of a stream in the order in which they come."""

    def write(self, data: bytes, /) -> object:
        """Take what comes next."""
        ...


class OutputLine(str):
    """A line that a command has written, without its end.

    Attributes:
        stream: ``"stdout"`` or ``"stderr"``.

    Example:
        >>> line = OutputLine("iteration 3", "stderr")
        >>> print(line, line.stream, sep=" from ")
        iteration 3 from stderr
    """

    stream: StreamName

    def __new__(cls, text: str, stream: StreamName = "stdout") -> "OutputLine":
        """Make a line of `text` from `stream`."""
        line = super().__new__(cls, text)
        line.stream = stream
        return line


class Tee:
    """Passes what it is given on to several sinks."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)

    def write(self, data: bytes) -> None:
        """Pass on what comes next."""
        for sink in self._sinks:
            sink.write(data)


class Echo:
    """Passes a stream on to a file descriptor, byte by byte, with nothing held back.

    Args:
        descriptor: 1 or 2, of this process.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Write what comes next.

        Raises:
            BrokenPipeError: If nobody reads any more.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


class Capture:
    r"""Keeps a stream, all of it or no more than its beginning and its end.

    Args:
        first: How many bytes of its beginning are kept; None for all of it.
        last: How many bytes of its end are kept.

    Example:
        >>> capture = Capture(4, 4)
        >>> capture.write(b"head, a long middle, tail")
        >>> capture.text()
        'head\n[... 17 bytes left out ...]\ntail'
    """

    def __init__(self, first: int | None = None, last: int = 0) -> None:
        self._first = first
        self._last = last
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def write(self, data: bytes) -> None:
        """Keep what comes next."""
        if self._first is None:
            self._head += data
            return
        room = self._first - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._last:
            self._shorten()

    def text(self) -> str:
        r"""Return what was kept as text; bytes that are not UTF-8 appear as ``\xNN``."""
        if self._first is None:
            return self._head.decode("utf-8", "backslashreplace")
        if len(self._tail) > self._last:
            self._shorten()
        if not self._left_out:
            return (self._head + self._tail).decode("utf-8", "backslashreplace")
        # An unfinished decoder holds back the character that the cut went through.
        decoder = _decoder()
        head = decoder.decode(bytes(self._head), final=False)
        start = _first_whole_character(self._tail)
        tail = self._tail[start:].decode("utf-8", "backslashreplace")
        left_out = self._left_out + len(decoder.getstate()[0]) + start
        return f"{head}\n[... {left_out:,} bytes left out ...]\n{tail}"

    def _shorten(self) -> None:
        surplus = len(self._tail) - self._last
        del self._tail[:surplus]
        self._left_out += surplus


class Finder:
    """Looks for any of some texts in a stream; `found` is the first one seen, or None."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.found: str | None = None
        self._wanted = {text: text.encode("utf-8", "backslashreplace") for text in texts}
        self._overlap = max((len(text) for text in self._wanted.values()), default=1) - 1
        self._last = b""

    def write(self, data: bytes) -> None:
        """Search what comes next, also across the edge to what came before."""
        if self.found is not None or not self._wanted:
            return
        window = self._last + data
        self.found = next((text for text, sought in self._wanted.items() if sought in window), None)
        self._last = window[-self._overlap :] if self._overlap else b""


class Lines:
    r"""Cuts a stream into lines and hands each one over as soon as it is whole.

    ``\n``, ``\r\n`` and ``\r`` end a line, so that each step of a progress bar is one.

    Example:
        >>> lines = Lines("stdout", print)
        >>> lines.write(b"mesh\r\n 50 %\r100 %\rdo")
        mesh
         50 %
        100 %
        >>> lines.close()
        do
    """

    def __init__(self, stream: StreamName, receive: Callable[[OutputLine], object]) -> None:
        self._stream = stream
        self._receive = receive
        self._decoder = _decoder()
        self._begun: list[str] = []
        self._begun_length = 0
        self._ended_with_return = False

    def write(self, data: bytes) -> None:
        """Cut what comes next."""
        self._add(self._decoder.decode(data))

    def close(self) -> None:
        """Hand over a last line that has no end."""
        self._add(self._decoder.decode(b"", final=True))
        if self._begun:
            self._hand_over()

    def _add(self, text: str) -> None:
        if not text:
            return
        if self._ended_with_return:
            text = text.removeprefix("\n")
        self._ended_with_return = text.endswith("\r")
        *whole, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in whole:
            self._begin(line)
            self._hand_over()
        if rest:
            self._begin(rest)
        if self._begun_length >= LONGEST_LINE:
            self._hand_over()

    def _begin(self, text: str) -> None:
        self._begun.append(text)
        self._begun_length += len(text)

    def _hand_over(self) -> None:
        line = OutputLine("".join(self._begun), self._stream)
        self._begun.clear()
        self._begun_length = 0
        self._receive(line)


def last_lines(text: str, count: int = 20, longest: int = 500) -> list[str]:
    r"""Return the last lines of `text` that are not blank, each cut to `longest` characters.

    Example:
        >>> last_lines("reading\n\nno such mesh\n", count=1)
        ['no such mesh']
    """
    lines = text[-count * longest * 4 :].replace("\r", "\n").split("\n")
    kept = [line.rstrip() for line in lines if line.strip()][-count:]
    return [line if len(line) <= longest else f"{line[:longest]}..." for line in kept]


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("backslashreplace")


def _first_whole_character(data: bytearray) -> int:
    """Return where the first character starts; in UTF-8 ``10xxxxxx`` continues one."""
    return next((i for i, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
