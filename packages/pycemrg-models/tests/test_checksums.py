import copy
import io
import pickle

import pytest

from pycemrg.models import HashMismatchError
from pycemrg.models.checksums import digest, digest_of

# FIPS 180-4, appendix B.1 and the empty message.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_the_sha256_of_the_standard(tmp_path):
    assert digest(io.BytesIO(b"abc")) == (ABC, 3)
    (tmp_path / "empty").touch()
    assert digest_of(tmp_path / "empty") == (EMPTY, 0)


def test_a_digest_hands_on_every_byte_of_a_long_source():
    content = bytes(range(256)) * 10_000
    copied = io.BytesIO()
    assert digest(io.BytesIO(content), copied.write).size == 2_560_000
    assert copied.getvalue() == content


def test_a_mismatch_is_caught_as_both_documented_errors():
    for caught_as in (OSError, RuntimeError):
        with pytest.raises(caught_as, match=f"seg.zip: expected the sha256 {ABC}, got {EMPTY}"):
            raise HashMismatchError("seg.zip", ABC, EMPTY)
    assert "kept" not in str(HashMismatchError("seg.zip", ABC, EMPTY))


@pytest.mark.parametrize(
    "passed_on",
    [lambda error: pickle.loads(pickle.dumps(error)), copy.copy],
    ids=["pickle", "copy"],
)
def test_a_mismatch_reaches_another_process_with_all_it_knows(passed_on):
    error = HashMismatchError("seg.zip", ABC, EMPTY, " (0 bytes)")
    other = passed_on(error)
    assert type(other) is HashMismatchError
    assert str(other) == str(error)
    assert (other.what, other.expected, other.actual) == ("seg.zip", ABC, EMPTY)
