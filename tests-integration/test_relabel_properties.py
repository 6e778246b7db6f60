"""Relabelling compared with a dictionary look-up of every element, over random maps and arrays."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycemrg.data.relabel import relabel

INTEGERS = [f"{order}{kind}{size}" for order in "<>" for kind in "iu" for size in (1, 2, 4, 8)]
DTYPES = [*INTEGERS, "bool", "<f4", ">f8"]


def limits(dtype):
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        return (-(2**24), 2**24) if dtype.itemsize == 4 else (-(2**53), 2**53)
    return np.iinfo(dtype).min, np.iinfo(dtype).max


@st.composite
def maps(draw, values):
    """Draw a map that mixes swaps, cycles, chains, merges and new values."""
    values = sorted(values)
    targets = draw(st.permutations(values)) if draw(st.booleans()) else None
    mapping = {}
    for index, value in enumerate(values):
        how = draw(st.sampled_from(["leave", "permute", "other", "new", "merge"]))
        if how == "permute" and targets:
            mapping[value] = targets[index]
        elif how == "other":
            mapping[value] = draw(st.sampled_from(values))
        elif how == "new":
            mapping[value] = draw(st.integers(-(2**31), 2**31 - 1))
        elif how == "merge" and mapping:
            mapping[value] = next(iter(mapping.values()))
    return mapping


@st.composite
def arrays(draw):
    """Draw an array of any type, order and strides that holds few different values."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    low, high = limits(dtype)
    near = st.integers(max(low, -300), min(high, 300))
    anywhere = st.integers(int(low), int(high))
    values = draw(st.lists(st.one_of(near, anywhere), min_size=1, max_size=12, unique=True))
    shape = tuple(draw(st.lists(st.integers(0, 7), min_size=0, max_size=3)))
    seed = draw(st.integers(0, 2**32 - 1))
    picks = np.random.default_rng(seed).integers(0, len(values), size=shape)
    array = np.array([values[pick] for pick in picks.ravel()], dtype).reshape(shape)
    layout = draw(st.sampled_from(["C", "F", "reversed", "every other", "transposed", "offset"]))
    if array.ndim == 0:
        return array, values
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "reversed":
        array = array[::-1]
    elif layout == "every other":
        array = np.repeat(array, 2, axis=-1)[..., ::2]
    elif layout == "transposed":
        array = np.ascontiguousarray(array.T).T
    elif layout == "offset":
        # One element into a buffer, so that pairs of bytes are not aligned.
        buffer = np.zeros(array.size + 1, array.dtype)
        view = buffer[1:].reshape(array.shape)
        view[...] = array
        array = view
    return array, values


def expected(array, mapping, unmapped):
    def one(value):
        if value in mapping:
            return mapping[value]
        return {"keep": value, "zero": 0}.get(unmapped, unmapped)

    results = [one(int(value)) for value in array.ravel().tolist()]
    return np.array(results, dtype=object).reshape(array.shape)


@settings(max_examples=600, deadline=None, print_blob=True)
@given(st.data())
def test_every_element_is_what_a_dictionary_says(data):
    array, values = data.draw(arrays())
    mapping = data.draw(maps(values))
    unmapped = data.draw(st.sampled_from(["keep", "zero", -7, 300]))
    threads = data.draw(st.sampled_from([1, 3]))
    before = array.copy()
    try:
        result = relabel(array, mapping, unmapped=unmapped, collisions="allow", threads=threads)
    except OverflowError:
        # Only where no type holds both a large unsigned or exact float value and a negative one.
        assert array.dtype.kind in "uf"
        assert array.dtype.itemsize == 8 or array.dtype.kind == "f"
        return
    assert result.shape == array.shape
    wanted = expected(array, mapping, unmapped)
    assert (result.astype(object) == wanted).all()
    assert (array == before).all()


@settings(max_examples=200, deadline=None, print_blob=True)
@given(st.data())
def test_a_refusal_names_exactly_a_present_colliding_value_or_there_is_none(data):
    array, values = data.draw(arrays())
    mapping = data.draw(maps(values))
    present = {int(value) for value in array.ravel().tolist()}
    colliding = {v for v in present if v not in mapping and v in set(mapping.values())}
    if not colliding:
        with contextlib.suppress(OverflowError):
            relabel(array, mapping)
        return
    with pytest.raises((ValueError, OverflowError)) as caught:
        relabel(array, mapping)
    if caught.type is ValueError:
        assert all(f"{value}, present" in str(caught.value) for value in colliding)


@settings(max_examples=150, deadline=None, print_blob=True)
@given(st.data())
def test_in_place_gives_the_same_as_a_copy(data):
    array, values = data.draw(arrays())
    mapping = data.draw(maps(values))
    low, high = limits(array.dtype)
    mapping = {value: target for value, target in mapping.items() if low <= target <= high}
    wanted = expected(array, mapping, "keep")
    result = relabel(array, mapping, collisions="allow", out=array)
    assert result is array
    assert (array.astype(object) == wanted).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint64"])
def test_an_array_of_many_pieces_and_threads_is_right(dtype):
    rng = np.random.default_rng(11)
    array = rng.integers(0, 31, size=700_001).astype(dtype)
    mapping = {value: (value * 7 + 3) % 31 for value in range(31)}
    wanted = np.array([mapping[value] for value in range(31)])[array]
    for threads in (1, 2, 5):
        assert (relabel(array, mapping, threads=threads) == wanted).all()
