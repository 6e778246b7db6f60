import binascii
import io
import struct
import threading
import zipfile
import zlib

import pytest

from pycemrg.models import zip_contents
from pycemrg.models.zip_contents import pieces, reader_of

TEXT = b"left atrium, " * 50_000  # in several pieces, and dense enough for many out of one


def packed(content, method, name="model.pth"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, content)
    return stream


def made(raw, size, content=b"", *, method=zipfile.ZIP_DEFLATED, crc=None):
    """Return a source with a member of the given compressed bytes, and its entry."""
    header = struct.pack("<4s22xHH", b"PK\x03\x04", 1, 0) + b"a"
    member = zipfile.ZipInfo("a")
    member.header_offset, member.compress_type = 0, method
    member.compress_size, member.file_size = len(raw), size
    member.CRC = binascii.crc32(content) if crc is None else crc
    return io.BytesIO(header + raw), member


def deflated(content, end=zlib.Z_FINISH):
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeezer.compress(content) + squeezer.flush(end)


def read(source, member, end=None):
    if end is None:
        end = source.seek(0, 2)
    return b"".join(bytes(piece) for piece in pieces(reader_of(source), member, end))


def entry(source):
    with zipfile.ZipFile(source) as archive:
        return archive.infolist()[0]


@pytest.fixture(params=["on-disk", "in-memory"])
def opened(request, tmp_path):
    """Hand a source over as it is, or as a file on the disk."""
    files = []

    def give(source):
        if request.param == "in-memory":
            return source
        (tmp_path / "a.zip").write_bytes(source.getvalue())
        files.append((tmp_path / "a.zip").open("rb"))
        return files[-1]

    yield give
    for file in files:
        file.close()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("content", [b"", b"x", TEXT, bytes(3 << 20)], ids=len)
def test_a_member_is_read_as_it_was_packed(opened, method, content):
    source = packed(content, method)
    assert read(opened(source), entry(source)) == content


def test_a_member_that_zip_wrote_to_a_pipe_is_read(opened):
    class Pipe(io.BytesIO):  # sizes and checksum follow the content, where nothing can go back
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

        tell = seek

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.pth", TEXT)
    source = io.BytesIO(pipe.getvalue())
    assert entry(source).flag_bits & 8
    assert read(opened(source), entry(source)) == TEXT


@pytest.mark.parametrize("name", ["Vorhöfe/ä.pth", "注.onnx", "é" * 300])
def test_a_name_in_any_script_is_the_same_in_both_headers(opened, name):
    source = packed(b"x", zipfile.ZIP_STORED, name)
    assert read(opened(source), entry(source)) == b"x"


def test_what_stands_before_the_archive_is_skipped(opened):
    source = io.BytesIO(b"#!/bin/sh\n" + packed(TEXT, zipfile.ZIP_DEFLATED).getvalue())
    assert read(opened(source), entry(source)) == TEXT


def test_threads_read_side_by_side(opened):
    stream = io.BytesIO()
    contents = {str(number): bytes([number]) * 500_000 for number in range(8)}
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    source, found = opened(stream), {}
    read_at, end = reader_of(source), len(stream.getvalue())
    meeting = threading.Barrier(8)

    def take(member):
        meeting.wait(30)
        found[member.filename] = b"".join(bytes(p) for p in pieces(read_at, member, end))

    with zipfile.ZipFile(stream) as archive:
        threads = [threading.Thread(target=take, args=(each,)) for each in archive.infolist()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == contents


def test_no_piece_is_large_however_dense_the_member_is():
    zeros = bytes(50 << 20)
    source, member = made(deflated(zeros), len(zeros), zeros)
    sizes = [len(piece) for piece in pieces(reader_of(source), member, 1 << 30)]
    assert sum(sizes) == len(zeros)
    assert max(sizes) <= zip_contents.PIECE


def test_threads_that_share_a_position_take_turns():
    class Busy(io.BytesIO):
        def __init__(self, content):
            super().__init__(content)
            self.moved = threading.Lock()

        def seek(self, *arguments):
            assert self.moved.acquire(blocking=False), "moved by two threads"
            threading.Event().wait(0.002)  # in which the others come, if nothing holds them back
            return super().seek(*arguments)

        def read(self, *arguments):
            content = super().read(*arguments)
            self.moved.release()
            return content

    read_at, errors = reader_of(Busy(bytes(100))), []

    def take():
        try:
            read_at(memoryview(bytearray(10)), 5)
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=take) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_checksum_is_told_with_both(method):
    source = packed(TEXT, method)
    member = entry(source)
    member.CRC ^= 1
    right = binascii.crc32(TEXT)
    with pytest.raises(
        zipfile.BadZipFile, match=f"CRC-32 is {right:08x}, expected {right ^ 1:08x}"
    ):
        read(source, member)


@pytest.mark.parametrize("size", [0, 1, len(TEXT) - 1])
def test_a_member_that_goes_on_after_what_it_claims_is_stopped(size):
    raw = deflated(TEXT)
    source, member = made(raw, size, TEXT[:size])
    with pytest.raises(zipfile.BadZipFile, match=f"holds more than the {size:,} bytes"):
        read(source, member)
    source, member = made(TEXT, size, TEXT[:size], method=zipfile.ZIP_STORED)
    with pytest.raises(zipfile.BadZipFile, match=f"holds more than the {size:,} bytes"):
        read(source, member)


def test_a_bomb_that_lies_is_stopped_after_one_piece():
    zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
    gigabytes = (zeros.compress(bytes(1 << 20)) + zeros.flush(zlib.Z_FULL_FLUSH)) * 4_096
    source, member = made(gigabytes, 10)
    read_at, taken = reader_of(source), []

    def counting(buffer, position):
        taken.append(read_at(buffer, position))
        return taken[-1]

    with pytest.raises(zipfile.BadZipFile, match="holds more than the 10 bytes"):
        list(pieces(counting, member, 1 << 30))
    assert sum(taken) < 2 * zip_contents.PIECE


def test_less_than_claimed_is_handed_out_for_the_receiver_to_see():
    source, member = made(deflated(b"weights"), 1_000, b"weights")
    assert read(source, member) == b"weights"


def test_what_the_last_bits_mean_is_not_lost():
    # Without the code that ends a block, zlib still holds what came last when the input is over.
    content = bytes(2 * zip_contents.PIECE)
    source, member = made(deflated(content, zlib.Z_SYNC_FLUSH), len(content), content)
    assert read(source, member) == content


def test_an_empty_member_needs_no_deflate_stream():
    source, member = made(b"", 0)
    assert read(source, member) == b""


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_reaches_into_what_follows_is_refused(method):
    source = packed(TEXT, method)
    member = entry(source)
    end = 30 + len("model.pth") + member.compress_size
    assert read(source, member, end) == TEXT
    with pytest.raises(zipfile.BadZipFile, match="overlaps what comes after it"):
        read(source, member, end - 1)


def test_an_extra_field_counts_when_overlaps_are_looked_for():
    source, member = made(b"x" * 10, 10, method=zipfile.ZIP_STORED)
    header = bytearray(source.getvalue())
    struct.pack_into("<H", header, 28, 5)  # so that 5 of the bytes are the extra field
    with pytest.raises(zipfile.BadZipFile, match="overlaps"):
        read(io.BytesIO(bytes(header)), member)


def test_a_member_whose_headers_disagree_about_its_name_is_refused():
    source = packed(b"x", zipfile.ZIP_STORED)
    member = entry(source)
    member.orig_filename = "other.pth"
    with pytest.raises(zipfile.BadZipFile, match=r"called 'model\.pth' in its own header"):
        read(source, member)


@pytest.mark.parametrize("cut", [0, 4, 29, 30, 35])
def test_a_header_that_is_not_all_there_is_refused(cut):
    source = packed(b"x", zipfile.ZIP_STORED)
    member = entry(source)
    with pytest.raises(zipfile.BadZipFile, match="the archive ends in its header"):
        read(io.BytesIO(source.getvalue()[:cut]), member, 1 << 20)


def test_an_entry_that_points_at_no_header_is_refused():
    source = packed(b"x" * 100, zipfile.ZIP_STORED)
    member = entry(source)
    member.header_offset += 1
    with pytest.raises(zipfile.BadZipFile, match="no header where the directory says"):
        read(source, member)


def test_a_damaged_stream_is_an_error_of_zlib():
    source, member = made(b"\xff" * 20, 100)
    with pytest.raises(zlib.error):
        read(source, member)
