import sys

import pytest

np = pytest.importorskip("numpy")

from pycemrg.data.relabel import relabel  # noqa: E402


def one_by_one(array, mapping):
    """Look every element up in the dictionary, which is what relabelling means."""
    flat = [mapping.get(int(value), int(value)) for value in np.asarray(array).ravel()]
    return np.array(flat, dtype=object).reshape(np.shape(array))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "int64", "uint64"])
@pytest.mark.parametrize(
    "mapping",
    [
        pytest.param({1: 2, 2: 1}, id="swap"),
        pytest.param({1: 2, 2: 3, 3: 4, 4: 1}, id="cycle"),
        pytest.param({1: 2, 2: 3, 3: 4, 4: 0}, id="chain"),
        pytest.param({1: 4, 2: 4, 3: 4, 4: 4}, id="merge"),
        pytest.param({}, id="empty"),
    ],
)
def test_the_result_is_that_of_a_dictionary_for_every_integer_type(dtype, mapping):
    array = np.random.default_rng(7).integers(0, 5, size=(6, 5, 4)).astype(dtype)
    result = relabel(array, mapping, collisions="allow")
    assert result.dtype == array.dtype
    assert (result == one_by_one(array, mapping)).all()


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda a: a[::2, ::-1], id="strided"),
        pytest.param(lambda a: a.T, id="Fortran order"),
        pytest.param(lambda a: a.astype(">i2"), id="big-endian"),
        pytest.param(lambda a: a[:0], id="empty"),
        pytest.param(lambda a: a[0, 0], id="scalar"),
        pytest.param(lambda a: a.astype(float), id="integral float"),
    ],
)
def test_layouts_do_not_matter(view):
    array = view(np.arange(12, dtype="int16").reshape(3, 4))
    result = relabel(array, {1: 2, 2: 1, 5: 9}, collisions="allow")
    assert result.shape == np.shape(array)
    assert (result == one_by_one(array, {1: 2, 2: 1, 5: 9})).all()


def test_the_input_is_not_changed():
    array = np.array([1, 2], dtype="uint8")
    relabel(array, {1: 2, 2: 1})
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("dtype", "target", "expected"),
    [
        ("uint8", 300, "uint16"),
        ("uint8", -1, "int16"),
        ("int8", 200, "int16"),
        ("int8", -129, "int16"),
        ("int16", 70_000, "int32"),
        ("uint16", 70_000, "uint32"),
        ("uint8", 2**32, "uint64"),
        ("uint8", 255, "uint8"),
    ],
)
def test_a_value_that_does_not_fit_widens_the_type_and_never_wraps(dtype, target, expected):
    result = relabel(np.array([1, 100], dtype=dtype), {1: target})
    assert result.tolist() == [target, 100]
    assert result.dtype == expected


def test_values_that_no_type_holds_are_an_overflow_error():
    with pytest.raises(OverflowError, match=r"holds both -1 and 18446744073709551615"):
        relabel(np.array([1, 2], dtype="uint64"), {1: -1})


def test_booleans_are_labels_zero_and_one():
    assert relabel(np.array([False, True]), {1: 7}).tolist() == [0, 7]


@pytest.mark.parametrize(
    ("unmapped", "expected"), [("keep", [5, 2]), ("zero", [5, 0]), (9, [5, 9]), (-1, [5, -1])]
)
def test_unmapped_values_are_kept_zeroed_or_filled(unmapped, expected):
    assert relabel([1, 2], {1: 5}, unmapped=unmapped).tolist() == expected


def test_unmapped_values_can_be_refused_with_their_counts():
    with pytest.raises(ValueError, match=r"no target for: 2, present 2 times; 3, present 1 times"):
        relabel([1, 2, 2, 3], {1: 5}, unmapped="error")


def test_a_kept_value_that_equals_a_target_is_refused_even_if_nothing_maps_to_it_here():
    with pytest.raises(ValueError, match=r"79, present 2 times, which is"):
        relabel([79, 79], {1: 79})


@pytest.mark.parametrize("value", [2.99999, float("nan"), float("inf")])
def test_values_that_are_not_integral_are_refused(value):
    with pytest.raises(ValueError, match=r"a label must be integral, and .* is not"):
        relabel([1.0, value], {1: 2})


def test_text_is_refused():
    with pytest.raises(ValueError, match="labels must be integers"):
        relabel(["LV"], {1: 2})


def test_without_numpy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.delitem(sys.modules, "pycemrg.data.relabel")
    with pytest.raises(ImportError, match=r"pip install 'pycemrg-labels\[arrays\]'"):
        __import__("pycemrg.data.relabel")


def every_value_used(dtype):
    """Return a map whose results take up all 256 values, so that none is left to mark a refusal."""
    limits = np.iinfo(dtype)
    values = range(limits.min, limits.max + 1)
    return {value: value for value in values if value != limits.max}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_refusal_is_found_also_where_every_result_is_taken(dtype):
    mapping = every_value_used(dtype)
    last = np.iinfo(dtype).max
    mapping[3] = last
    array = np.array([3, 4, last, 5], dtype=dtype)
    with pytest.raises(ValueError, match=rf"{last}, present 1 times"):
        relabel(array, mapping)
    assert relabel(array[:2], mapping).tolist() == [last, 4]


def test_a_refusal_in_place_leaves_the_array_as_it_was():
    array = np.array([1, 2, 3, 79], dtype="int16")
    with pytest.raises(ValueError, match="79, present 1 times"):
        relabel(array, {1: 2, 2: 79}, out=array)
    assert array.tolist() == [1, 2, 3, 79]


def test_shifted_views_of_one_memory_do_not_disturb_each_other():
    memory = np.array([1, 2, 3, 4, 5], dtype="uint8")
    relabel(memory[:-1], {1: 2, 2: 3, 3: 4, 4: 1}, out=memory[1:])
    assert memory.tolist() == [1, 2, 3, 4, 1]


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros(3, "uint8"), ValueError, r"out must have the shape \(2,\)"),
        (
            np.zeros(2, "uint8"),
            OverflowError,
            "1, present 1 times becomes 300, and the output holds",
        ),
    ],
)
def test_an_out_that_cannot_take_the_result_is_refused(out, error, message):
    with pytest.raises(error, match=message):
        relabel(np.array([1, 2], "uint8"), {1: 300}, out=out)
    assert not out.any()


def test_a_dtype_that_holds_all_that_is_present_will_do():
    assert relabel(np.array([1, 200], "int16"), {1: 7}, dtype="uint8").tolist() == [7, 200]
    with pytest.raises(OverflowError, match="300, present 2 times becomes 300"):
        relabel(np.array([1, 300, 300], "int16"), {1: 7}, dtype="uint8")


def test_large_values_are_searched_where_no_table_reaches():
    mapping = {614454277: 5, 5: -(2**40), -(2**40): 614454277}
    array = np.array([614454277, 5, -(2**40), 7], dtype="int64")
    assert relabel(array, mapping).tolist() == [5, -(2**40), 614454277, 7]
