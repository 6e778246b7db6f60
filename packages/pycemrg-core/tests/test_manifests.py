import subprocess
import sys

import pytest

from pycemrg.core import manifests
from pycemrg.core.manifests import Mapping, Scalar, Sequence, from_data, load, parse


def data(node):
    """Turn nodes into plain data, with scalars as they were typed."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [data(item) for item in node.items]
    return {key.text: data(value) for key, value in node}


def test_names_and_versions_stay_as_typed():
    text = "NO: on\n010: 1.10\n'yes': ~\n1.10: 0x1F\n"
    assert data(parse(text)) == {"NO": "on", "010": "1.10", "yes": "~", "1.10": "0x1F"}


def test_every_node_knows_its_line_and_column():
    manifest = parse("# comment\nlabels:\n  LV: 1\n  RV:   2\n", "heart.yaml")
    section = manifest.section("labels")
    assert [str(key.place) for key, _ in section] == ["heart.yaml:3:3", "heart.yaml:4:3"]
    assert [str(value.place) for _, value in section] == ["heart.yaml:3:7", "heart.yaml:4:9"]


@pytest.mark.parametrize(
    ("typed", "value"),
    [("0", 0), ("7", 7), ("-3", -3), ("0x1F", 31), ("-0x10", -16), ("18446744073709551616", 2**64)],
)
def test_integers_are_read(typed, value):
    assert parse(f"LV: {typed}").entries["LV"].value.integer() == value


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        pytest.param("true", "'true'", id="boolean"),
        pytest.param("1.0", "'1.0'", id="float"),
        pytest.param('"2"', "the text '2' (remove the quotes)", id="quoted"),
        pytest.param("!!int 2", "the text '2' (remove the tag)", id="tagged"),
        pytest.param("|\n  2", "the text '2' (remove the block sign |)", id="block"),
        pytest.param("08", "08 (octal in YAML 1.1", id="leading zero"),
        pytest.param("010", "010 (octal in YAML 1.1", id="octal"),
        pytest.param("0o17", "'0o17'", id="octal of YAML 1.2"),
        pytest.param("1:30", "1:30 (a number in base 60", id="sexagesimal"),
        pytest.param("1_000", "'1_000'", id="underscore"),
        pytest.param("+1", "'+1'", id="plus"),
        pytest.param("1e3", "'1e3'", id="exponent"),
        pytest.param("\u0661", "'\u0661'", id="digit of another script"),
        pytest.param("", "nothing", id="empty"),
        pytest.param("null", "nothing", id="null"),
        pytest.param("LV", "'LV'", id="name"),
    ],
)
def test_what_is_not_an_integer_is_refused_with_place_and_reason(typed, reason):
    value = parse(f"RV: 1\nLV: {typed}", "a.yaml").entries["LV"].value
    with pytest.raises(ValueError, match=r"^a\.yaml:2:\d+: expected an integer, got ") as caught:
        value.integer()
    assert reason in str(caught.value)


def test_an_integer_with_more_digits_than_python_converts_is_a_value_error():
    with pytest.raises(ValueError, match=r"a\.yaml:1:5: an integer of 5000 digits"):
        parse(f"LV: {'9' * 5000}", "a.yaml").entries["LV"].value.integer()


@pytest.mark.parametrize("typed", ["", "~", "null", "Null", "NULL"])
def test_nulls_are_missing_values(typed):
    assert parse(f"labels: {typed}").get("labels") is None
    assert data(parse(f"labels: {typed}").section("labels")) == {}


@pytest.mark.parametrize("typed", ["''", '"null"', "none", "'~'"])
def test_quoted_nulls_are_text(typed):
    assert parse(f"url: {typed}").get("url") is not None


@pytest.mark.parametrize("text", ["", "---\n", "# only a comment\n", "~", "null"])
def test_an_empty_manifest_is_an_empty_mapping(text):
    assert data(parse(text)) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("LV: 1\nRV: 2\nLV: 3", "3:1: 'LV' is already defined at line 1", id="key"),
        pytest.param("NO: 1\n'NO': 3", "2:1: 'NO' is already defined at line 1", id="quoted key"),
        pytest.param("a: {b: 1, b: 2}", "1:11: 'b' is already defined at line 1", id="nested key"),
        pytest.param("- LV\n- RV", "1:1: expected a mapping (key: value), not a list", id="list"),
        pytest.param("LV", "1:1: expected a mapping (key: value), not a single value", id="text"),
        pytest.param("a: 1\n---\nb: 2", "3:1: a second document", id="two documents"),
        pytest.param("a: [1", "2:1: not valid YAML: while parsing a flow", id="open bracket"),
        pytest.param("a: 1\n\tb: 2", "2:1: not valid YAML", id="tab"),
        pytest.param("? [a]\n: b", "1:3: a key must be a name, not a list", id="list as key"),
        pytest.param("? {a: b}\n: c", "1:3: a key must be a name, not a mapping", id="map as key"),
        pytest.param("a: *b", "1:4: no anchor &b before this alias", id="unknown alias"),
        pytest.param("a: &a [*a]", "1:8: *a contains itself", id="recursive list"),
        pytest.param("a: &a {b: *a}", "1:11: *a contains itself", id="recursive mapping"),
        pytest.param("a: !include b", "1:4: the tag !include has no meaning", id="tag"),
        pytest.param("a: !!python/name:os.system x", "1:4: the tag tag:yaml.org", id="python tag"),
        pytest.param("<<: LV", "1:5: '<<' merges mappings, not a single value", id="merge"),
        pytest.param("a: \x07", "1:1: not valid YAML: control characters", id="control"),
    ],
)
def test_a_faulty_manifest_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError, match="heart") as caught:
        parse(text, "heart.yaml")
    assert str(caught.value).startswith(f"heart.yaml:{message}")


def test_bytes_that_are_not_utf8_are_refused_with_their_line():
    with pytest.raises(ValueError, match=r"^a\.yaml:2:1: not valid YAML: .*UTF-8"):
        parse(b"LV: 1\nRV: \xff\n", "a.yaml")


def test_aliases_stand_for_their_anchor_and_may_be_redefined():
    assert data(parse("a: &x [1]\nb: *x\nc: &x [2]\nd: *x")) == {
        "a": ["1"],
        "b": ["1"],
        "c": ["2"],
        "d": ["2"],
    }


def test_explicit_keys_win_over_merged_ones_and_the_first_merged_mapping_over_later_ones():
    text = """
base: &base {LV: 1, RV: 2}
other: &other {RV: 20, LA: 30}
one: {<<: *base, RV: 9}
two: {<<: [*base, *other], RA: 4}
three: {'<<': text}
"""
    manifest = parse(text)
    assert data(manifest.section("one")) == {"LV": "1", "RV": "9"}
    assert data(manifest.section("two")) == {"LV": "1", "RV": "2", "LA": "30", "RA": "4"}
    assert data(manifest.section("three")) == {"<<": "text"}


def test_a_section_that_is_not_a_mapping_is_refused():
    with pytest.raises(ValueError, match=r"a\.yaml:1:9: 'labels' must be a mapping, not a list"):
        parse("labels: [LV]", "a.yaml").section("labels")


def test_a_byte_order_mark_and_utf16_are_understood():
    assert data(parse("\ufeffLV: 1")) == {"LV": "1"}
    assert data(parse("LV: ü".encode("utf-16"))) == {"LV": "ü"}


@pytest.mark.parametrize("depth", [99, 100])
def test_nesting_of_a_hundred_levels_is_read(depth):
    text = "{a: " * depth + "1" + "}" * depth
    node = parse(text)
    for _ in range(depth - 1):
        node = node.section("a")
    assert data(node) == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{a: " * 101 + "}" * 101, "nested deeper than 100 levels", id="101 levels"),
        pytest.param("[" * 10**6, "nested deeper than 100 levels", id="million open brackets"),
        pytest.param("- " * 10**5, "nested deeper than 100 levels", id="block sequences"),
        # Of both faults libyaml sees the depth first from 0.2.6 on, and the key before that.
        pytest.param("{" * 10**6, "<manifest>:1:", id="million open braces"),
        pytest.param(
            "a: &a 1\nb: [" + "*a, " * 1001 + "]", "more than 1,000 aliases", id="aliases"
        ),
        pytest.param("#" * (10_000_001), "larger than 10 MB", id="size"),
    ],
)
def test_hostile_input_is_refused_before_it_costs_anything(text, message):
    # In a child process: a parser that overflows the C stack takes its process with it.
    script = (
        "import sys\nfrom pycemrg.core.manifests import parse\n"
        "try: parse(sys.stdin.buffer.read())\nexcept ValueError as error: print(error)"
    )
    child = subprocess.run(
        [sys.executable, "-c", script], input=text.encode(), capture_output=True, timeout=60
    )
    assert child.returncode == 0
    assert message in child.stdout.decode()


def test_an_alias_bomb_is_not_expanded():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    manifest = parse("\n".join(levels))
    assert len(manifest.entries) == 30


def test_merges_that_multiply_are_refused():
    wide = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(2000)) + "}\n"
    merges = "".join(f"m{n}: {{<<: *a}}\n" for n in range(60))
    with pytest.raises(ValueError, match="brings in more than 100,000 keys"):
        parse(wide + merges)


def test_a_file_is_read_and_named_in_errors(tmp_path):
    path = tmp_path / "labels.yaml"
    path.write_text("LV: 1\nLV: 2\n")
    with pytest.raises(ValueError, match=r"labels\.yaml:2:1: 'LV' is already defined at line 1"):
        load(path)
    path.write_text("LV: 1\n")
    assert data(load(str(path))) == {"LV": "1"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no manifest at .*labels\.yaml"):
        load(tmp_path / "labels.yaml")


def test_a_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match=tmp_path.name):
        load(tmp_path)


def test_the_pure_python_parser_gives_the_same(monkeypatch):
    import yaml

    text = "labels: {NO: 0x10, LV: 'a'}\ngroups: &g [a, b]\nx: *g\n"
    with_c = data(parse(text))
    monkeypatch.setattr(manifests, "_LOADER", yaml.SafeLoader)
    assert data(parse(text)) == with_c
    assert parse(text).section("labels").entries["NO"].value.integer() == 16
    with pytest.raises(ValueError, match="nested deeper"):
        parse("[" * 200)


def test_a_mapping_iterates_in_the_order_of_the_file():
    manifest = parse("b: 1\na: 2\nc: 3")
    assert isinstance(manifest, Mapping)
    assert [key.text for key, _ in manifest] == ["b", "a", "c"]


def test_plain_data_becomes_the_nodes_that_its_yaml_would():
    plain = {"labels": {"LV": 1, "NO": -3}, "groups": {"v": ["LV", "NO"], "none": []}, "x": None}
    assert data(from_data(plain)) == {
        "labels": {"LV": "1", "NO": "-3"},
        "groups": {"v": ["LV", "NO"], "none": []},
        "x": "",
    }
    assert from_data(plain).get("x") is None


@pytest.mark.parametrize("value", ["2", 1.0, 0.0, True, False, None])
def test_plain_data_that_is_no_integer_is_refused_like_yaml(value):
    node = from_data({"LV": value}, "labels").entries["LV"].value
    with pytest.raises(ValueError, match=r"labels\.LV: expected an integer"):
        node.integer()


@pytest.mark.parametrize("value", [{"a": object()}, {1: "a"}, {"a": [b"bytes"]}])
def test_data_that_no_manifest_can_hold_is_a_type_error(value):
    with pytest.raises(TypeError, match="<data>"):
        from_data(value)


def test_data_that_contains_itself_is_refused():
    endless = {"labels": {}}
    endless["labels"]["again"] = endless
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        from_data(endless)
