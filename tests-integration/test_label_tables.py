"""Any standard through any table format, and any file into any reader."""

import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pycemrg.data import LabelManager
from pycemrg.data.tables import FORMATS, nnunet, read_table, write_table

NAMES = st.one_of(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        ["", "1", "NO", "n/a", "(none)", "a b", "a_b", 'a"b', "a'b", "'a'", "#a", "\n"]
    ),
)
VALUES = st.one_of(
    st.integers(0, 20),
    st.integers(-(10**6), 10**6),
    st.integers(2**15, 2**33),
    st.integers(-(10**20), 10**20),
)
COLORS = st.from_regex(r"#[0-9a-f]{6}([0-9a-f]{2})?", fullmatch=True, alphabet="#0123456789abcdef")
WORDS = st.from_regex(r"[A-Za-z0-9.-]{1,10}", fullmatch=True)
DIGITS = st.from_regex(r"[0-9]{1,20}", fullmatch=True, alphabet="0123456789")
CODES = st.fixed_dictionaries(
    {
        "scheme": st.just("BIDS") | WORDS | NAMES,
        "value": WORDS | DIGITS | NAMES,
        "meaning": NAMES,
    }
)

FORMAT = pytest.mark.parametrize("name", FORMATS)
SUFFIXES = {name: known.suffixes[0] for name, known in FORMATS.items()}

SAMPLES = {
    "slicer_color": b"# Color table file\n0 background 0 0 0 0\n1 LV 161 0 92 255\n",
    "slicer_csv": b'LabelValue,Name,Color_R,Color_G,Color_B,Color_A\n1,"LV, left",161,0,92,255\n',
    "itksnap": b'# IDX\n 0 0 0 0 0 0 0 "Clear Label"\n 1 161 0 92 0.5 1 1 "LV"\n',
    "freesurfer": b"#No. Label Name: R G B A\n0 Unknown 0 0 0 0\n1 LV 161 0 92 0 2 # x\n",
    "bids": b"index\tname\tabbr\tcolor\tmapping\n1\tLV\tl\t#a1005c\t2\n2\tRV\tn/a\tn/a\tn/a\n",
    "nnunet": b'{"labels": {"background": 0, "LV": 1, "RV": 2, "both": [1, 2]}, "n": 1e5}',
    "totalsegmentator": b'{"tasks": {"total": {"classes": {"1": "LV", "2": "RV"}}}}',
    "python": b'class_map = {\n    "total": {1: "LV", 2: "RV"},  # x\n    "b": {1: f"{x}"},\n}\n',
}
SIGNS = "\n\r\t '\",:{}[]#-1\0\\"
MARKS = [b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"9" * 30, b"\\ud800", b"nan", b"LV", b"f'"]
PIECES = st.sampled_from([*(sign.encode() for sign in SIGNS), *MARKS])


@st.composite
def standards(draw):
    """Draw a standard; half of those that come out can be held by every format as they are."""
    names = NAMES if draw(st.booleans()) else WORDS
    values = VALUES if draw(st.booleans()) else st.integers(0, 200)
    labels = draw(st.dictionaries(names, values, max_size=6))
    every = draw(st.booleans())
    data = {"labels": labels, "colors": draw(of_labels(labels, COLORS, every))}
    if draw(st.booleans()):
        data["codes"] = draw(of_labels(labels, CODES))
        data["aliases"] = draw(of_labels(labels, st.lists(NAMES, min_size=1, max_size=2)))
        members = st.lists(st.sampled_from(list(labels)), max_size=3) if labels else st.just([])
        data["groups"] = draw(st.dictionaries(WORDS.filter(lambda n: n not in labels), members))
    if draw(st.integers(0, 9)) == 0:
        data["colors"] |= draw(st.dictionaries(NAMES, COLORS, max_size=1))
    return LabelManager.from_dict(data)


def of_labels(labels, values, every=False):
    if every:
        return st.fixed_dictionaries(dict.fromkeys(labels, values))
    return st.fixed_dictionaries({}, optional=dict.fromkeys(labels, values))


def content(labels):
    """What a standard says, independent of how its colours are written."""
    data = labels.to_dict()
    opaque = {n: c[:7] if c[7:] == "ff" else c for n, c in data.pop("colors", {}).items()}
    return data | ({"colors": opaque} if opaque else {})


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def written(labels, path, name):
    """Write a standard; None if a name would become another."""
    try:
        return write_table(labels, path, name, overwrite=True)
    except ValueError as error:
        if "which stands for" in str(error):
            return None
        raise


@FORMAT
@settings(max_examples=60, deadline=None)
@given(labels=standards())
def test_what_is_not_reported_as_lost_comes_back(folder, name, labels):
    path = folder / f"any{SUFFIXES[name]}"
    if name == "nnunet":
        labels = nnunet.consecutive(labels)
    losses = written(labels, path, name)
    assume(losses is not None and path.read_text() != "{}\n")  # {} is no class map
    again = read_table(path, name)
    assert losses or content(again) == content(labels)
    assert all(loss and "\n" not in loss for loss in losses)
    for label in set(again) & set(labels):
        assert again.get_value(label) == labels.get_value(label)
    assert written(again, path, name) == []
    assert content(read_table(path, name)) == content(again)


@settings(max_examples=60, deadline=None)
@given(labels=standards())
def test_regions_come_back_as_groups(folder, labels):
    path = folder / "dataset.json"
    dense = nnunet.consecutive(labels)
    nnunet.write(dense, path, overwrite=True, regions=True)
    again = nnunet.read(path)
    for group in again.groups:
        values = dense.get_values_from_names([group])
        assert again.get_values_from_names([group]) == values


@st.composite
def mutations(draw, sample):
    data = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 4)))
        data[start:end] = draw(PIECES | st.binary(max_size=3))
    return bytes(data)


@pytest.mark.parametrize("sample", SAMPLES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_bytes_are_a_table_or_a_value_error_with_a_place(folder, sample, data):
    name = "totalsegmentator" if sample == "python" else sample
    path = folder / f"mutated{'.py' if sample == 'python' else SUFFIXES[name]}"
    path.write_bytes(data.draw(mutations(SAMPLES[sample]) | st.binary(max_size=60)))
    for format in (name, None):
        labels, error = outcome(path, format)
        if labels is not None:
            labels.to_yaml()
        else:
            assert re.match(rf"{re.escape(os.fspath(path))}(:\d+)*[: ]", str(error))


@pytest.mark.parametrize("sample", SAMPLES)
@example(text="1 " * 2000)
@example(text="{" * 3000)
@example(text="(" * 3000)
@example(text="-" * 3000 + "1")
@example(text="{1:" * 3000)
@settings(max_examples=100, deadline=None)
@given(text=st.text())
def test_any_text_is_a_table_or_a_value_error(folder, sample, text):
    name = "totalsegmentator" if sample == "python" else sample
    path = folder / f"text{'.py' if sample == 'python' else SUFFIXES[name]}"
    path.write_text(text, encoding="utf-8", errors="replace")
    outcome(path, name)


def outcome(path, format):
    """Read a table; a UnicodeError is a ValueError too, but none that names a line."""
    try:
        return read_table(path, format), None
    except UnicodeError:
        raise
    except ValueError as error:
        return None, error
