"""A program that writes a flood of lines to stdout and stderr at once: ``floods.py SIZE``.

And what tests need to know of it: each megabyte of the flood.
"""

import os
import sys
import threading

MB = 1_000_000
LINES = (b"0.1234 -4.5678e-09\n" * 52_632)[-999_986:]


def block(stream: str, number: int) -> bytes:
    """Return a megabyte; no two are alike, so that none can be lost or come twice unseen."""
    return f"{stream} {number:06}\n".encode() + LINES


def write(fd: int, stream: str, size: int) -> None:
    for number in range(size // MB):
        rest = memoryview(block(stream, number))
        while rest:
            rest = rest[os.write(fd, rest) :]


if __name__ == "__main__":
    threads = [
        threading.Thread(target=write, args=(fd, stream, int(sys.argv[1])))
        for fd, stream in ((1, "stdout"), (2, "stderr"))
    ]
    for thread in threads:
        thread.start()
