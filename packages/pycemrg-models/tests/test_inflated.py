import gzip
import io

import pytest

from pycemrg.models.inflated import Inflated


def packed(size):
    return gzip.compress(bytes(size), mtime=0)


def read_all(content, most=1 << 30):
    stream = Inflated(gzip.GzipFile(fileobj=io.BytesIO(content)), most, "a.gz")
    total = 0
    while chunk := stream.read(1 << 20):
        total += len(chunk)
    return total


def test_a_stream_in_proportion_is_read_to_its_end():
    assert read_all(packed(20 << 20)) == 20 << 20


def test_a_bomb_is_stopped():
    with pytest.raises(RuntimeError, match=r"a\.gz: inflates to more than 33,554,432 bytes"):
        read_all(packed(40 << 20), most=32 << 20)


def test_more_may_come_where_somebody_else_has_checked_it():
    stream = Inflated(io.BytesIO(bytes(100)), 10, "a.tar")
    stream.allow(30)
    assert len(stream.read(40)) == 40
    with pytest.raises(RuntimeError, match=r"a\.tar: inflates to more than 40 bytes"):
        stream.read(1)


def test_what_is_skipped_counts_too():
    stream = Inflated(io.BytesIO(bytes(100)), 10, "a.tar")
    assert stream.seek(10) == 10
    with pytest.raises(RuntimeError, match="inflates to more than 10 bytes"):
        stream.seek(11)


@pytest.mark.parametrize("size", [-1, 1 << 30])
def test_a_single_read_cannot_fill_the_memory(size):
    stream = Inflated(io.BytesIO(b"x" * 100), 100, "a.tar")
    with pytest.raises(RuntimeError, match="header"):
        stream.read(size)
