"""The least that a correct client has to do, with no HTTP library."""

import hashlib
import os
import socket
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHUNK = 1 << 20  # bytes, as in the tuned peer
LOCAL_HEADER = 30  # bytes, before the name; APPNOTE.TXT 4.3.7


def fetch(url: str, sha256: str, folder: Path, *, list_files: bool = False) -> Path:
    """Receive a stored zip, sum it up and write it; then unpack it and check each CRC-32.

    Args:
        url: An ``http://`` address that answers with 200 and a Content-Length.
        sha256: What the archive must have.
        folder: Where to put archive and files. Nothing is forced to the disk.
        list_files: Whether to sum up each file as well, as who keeps a listing has to.

    Returns:
        The folder with the files.

    Raises:
        ValueError: If the sha256 or a CRC-32 is wrong.
        ConnectionError: If the transfer breaks off.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = memoryview(bytearray(CHUNK))
    if _download(url, folder / "archive.zip", buffer) != sha256:
        raise ValueError(f"{url} does not have the sha256 {sha256}")
    _unpack(folder / "archive.zip", folder / "tree", buffer, hashlib.sha256 if list_files else None)
    return folder / "tree"


def _download(url: str, path: Path, buffer: memoryview) -> str:
    parts = urlsplit(url)
    total = hashlib.sha256()
    with (
        socket.create_connection((parts.hostname, parts.port)) as connection,
        path.open("wb", buffering=0) as file,
    ):
        connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        left = _length(connection)
        while left:
            got = connection.recv_into(buffer)
            if not got:
                raise ConnectionError(f"{url} breaks off {left:,} bytes before its end")
            total.update(buffer[:got])
            _write(file, buffer[:got])
            left -= got
    return total.hexdigest()


def _length(connection: socket.socket) -> int:
    """Read the head of the response, up to the first byte of the body."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError(f"the server says nothing but {head!r}")
        head += byte
    (length,) = (line[15:] for line in head.splitlines() if line[:15] == b"Content-Length:")
    return int(length)


def _unpack(archive: Path, tree: Path, buffer: memoryview, listed: Any) -> None:
    with archive.open("rb", buffering=0) as source, zipfile.ZipFile(archive) as directory:
        for member in directory.infolist():
            if member.is_dir():
                continue
            path = tree / member.filename
            path.parent.mkdir(parents=True, exist_ok=True)
            source.seek(member.header_offset)
            header = source.read(LOCAL_HEADER)
            source.seek(sum(struct.unpack_from("<HH", header, 26)), os.SEEK_CUR)
            with path.open("wb", buffering=0) as file:
                if _copy(source, file, member.file_size, buffer, listed and listed()) != member.CRC:
                    raise ValueError(f"{member.filename} does not have the CRC-32 of the archive")


def _copy(source: Any, file: Any, size: int, buffer: memoryview, total: Any) -> int:
    crc = 0
    while size:
        got = source.readinto(buffer[: min(size, CHUNK)])
        part = buffer[:got]
        crc = zlib.crc32(part, crc)
        if total is not None:
            total.update(part)
        _write(file, part)
        size -= got
    return crc


def _write(file: Any, part: memoryview) -> None:
    while part:
        part = part[file.write(part) :]
