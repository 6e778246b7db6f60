import gzip
import io

import pytest

from pycemrg.models.inflated import Inflated


def packed(size):
    return gzip.compress(bytes(size), mtime=0)


def read_all(content):
    stream = Inflated(gzip.GzipFile(fileobj=io.BytesIO(content)), len(content), "a.gz")
    total = 0
    while chunk := stream.read(1 << 20):
        total += len(chunk)
    return total


def test_a_stream_in_proportion_is_read_to_its_end():
    assert read_all(packed(20 << 20)) == 20 << 20


def test_a_bomb_is_stopped():
    with pytest.raises(RuntimeError, match=r"a\.gz: inflates to more than 200 times its size"):
        read_all(packed(40 << 20))


@pytest.mark.parametrize("size", [-1, 1 << 30])
def test_a_single_read_cannot_fill_the_memory(size):
    stream = Inflated(io.BytesIO(b"x" * 100), 100, "a.tar")
    with pytest.raises(RuntimeError, match="header"):
        stream.read(size)
