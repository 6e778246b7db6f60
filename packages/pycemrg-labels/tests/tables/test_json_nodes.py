import pytest

from pycemrg.core.manifests import Mapping, Scalar, Sequence
from pycemrg.data.tables.json_nodes import parse


def plain(node):
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return (node.text, node.plain)


def test_values_stay_as_they_were_typed():
    text = '{"a": [1, -2.50, true, null, "1\\u00e4\\n"], "b": {}, "c": [], "\\ud83e\\udec0": 1e400}'
    assert plain(parse(text, "x")) == {
        "a": [("1", True), ("-2.50", True), ("true", True), ("null", True), ("1ä\n", False)],
        "b": {},
        "c": [],
        "\N{ANATOMICAL HEART}": ("1e400", True),
    }


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_a_node_knows_its_place(end):
    root = parse(end.join(["{", '\t"a":', '  [7, "ä",   8]', "}"]), "x")
    (entry,) = root
    places = [entry.key.place, entry.value.place, *(item.place for item in entry.value.items)]
    assert [str(place) for place in places] == ["x:2:2", "x:3:3", "x:3:4", "x:3:7", "x:3:14"]


def test_endless_numbers_are_text():
    node = parse("9" * 5000, "x")
    assert isinstance(node, Scalar)
    assert len(node.text) == 5000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "x:1:1: not valid JSON: Expecting value", id="empty"),
        pytest.param("{} {}", "x:1:4: not valid JSON: something follows", id="two"),
        pytest.param('{"a": 1', "x:1:8: not valid JSON: expected ',' or '}'", id="open object"),
        pytest.param("[1", "x:1:3: not valid JSON: expected ',' or ']'", id="open list"),
        pytest.param("[1 2]", "x:1:4: not valid JSON: expected ','", id="no comma"),
        pytest.param("[1,]", "x:1:4: not valid JSON: Expecting value", id="comma at the end"),
        pytest.param("{1: 2}", "x:1:2: not valid JSON: expected a key in double", id="bare key"),
        pytest.param('{"a" 1}', "x:1:6: not valid JSON: expected ':'", id="no colon"),
        pytest.param('{"a": 1,}', "x:1:9: not valid JSON: expected a key", id="key missing"),
        pytest.param('["\\q"]', "x:1:3: not valid JSON: Invalid .escape", id="bad escape"),
        pytest.param('["a\nb"]', "x:1:4: not valid JSON: Invalid control", id="bare line end"),
        pytest.param("[01]", "x:1:3: not valid JSON: expected ','", id="leading zero"),
        pytest.param("[NO]", "x:1:2: not valid JSON: Expecting value", id="a word"),
        pytest.param('{"a": 1,\n "a": 2}', "x:2:2: 'a' is already defined at line 1", id="twice"),
        pytest.param("[" * 101, "x:1:101: nested deeper than 100 levels", id="101 levels"),
        pytest.param("[" + "1," * 200_000, "x:1:400000: more than 200,000 values", id="endless"),
        pytest.param('{"a":' * 10**6, "x:1:501: nested deeper", id="a million levels"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        parse(text, "x")


def test_a_hundred_levels_are_read_and_any_number_side_by_side():
    deep = "[" * 99 + "]" * 99
    root = parse(f"[{deep}, {deep}, {', '.join(['{}'] * 200)}]", "x")
    assert isinstance(root, Sequence)
    assert len(root.items) == 202
