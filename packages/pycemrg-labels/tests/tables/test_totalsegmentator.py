import json

import pytest

from pycemrg.data.tables import totalsegmentator

# The layout of totalsegmentator/map_to_binary.py.
PYTHON = '''\
"""Maps."""
import os

class_map = {

    # classes of version 2
    "total": {
        1: "spleen",
        2: "kidney_right",  # the right one
        79: 'spinal_cord',
    },
    "body": {
        1: "body_trunc", 2: "body_extremities" },
    "empty": {},
}

class_map["total_v3"] = class_map["total"].copy()
class_map["total_v3"][1] = "liver"
class_map["chambers"] = {1: "heart_myocardium"}
annotated: dict[int, str] = {4: "aorta"}

commercial_models = {
    "body": 301,
}

parts = {291: "organs"}

def f(x):
    return {k: v for k, v in x.items()}, {1: x}, f"{x!r}"
'''
TOTAL = {"spleen": 1, "kidney_right": 2, "spinal_cord": 79}


@pytest.fixture
def read(table):
    return lambda text, name, **options: totalsegmentator.read(table(text, name), **options)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PYTHON, id="plain"),
        pytest.param(PYTHON.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + PYTHON, id="byte order mark"),
    ],
)
def test_the_map_of_total_is_read_from_python(read, text):
    assert read(text, "maps.py").to_dict() == {"labels": TOTAL}


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("body", {"body_trunc": 1, "body_extremities": 2}),
        ("chambers", {"heart_myocardium": 1}),
        ("parts", {"organs": 291}),
        ("annotated", {"aorta": 4}),
    ],
)
def test_another_map_is_read_when_asked_for(read, task, labels):
    assert dict(read(PYTHON, "maps.py", task=task).labels) == labels


def test_python_is_not_run(read, tmp_path):
    text = "open('ran', 'w')\nraise SystemExit\nclass_map = {'total': {1: 'spleen'}}\n"
    assert list(read(text, "maps.py")) == ["spleen"]
    assert [path.name for path in tmp_path.iterdir()] == ["maps.py"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param('{"1": "spleen", "79": "cord"}', "a.json", id="totalseg_info of a task"),
        pytest.param(
            '{"version": "2", "tasks": {"body": {"classes": {"1": "x"}},'
            ' "total": {"modality": "CT", "classes": {"1": "spleen", "79": "cord"}}}}',
            "a.json",
            id="totalseg_info of all",
        ),
        pytest.param('{"total": {"1": "spleen", "79": "cord"}, "n": 1}', "a.json", id="by task"),
        pytest.param('{1: "spleen", 79: "cord"}\n', "a.txt", id="printed dictionary"),
        pytest.param("m = {1: r'spleen', 79: '''cord'''}\n", "a.py", id="one variable"),
    ],
)
def test_other_forms_of_a_map_are_read(read, text, name):
    assert read(text, name).to_dict() == {"labels": {"spleen": 1, "cord": 79}}


def test_a_class_without_a_name_is_passed_over(read):
    assert dict(read('{"1": "", "2": "x"}', "a.json").labels) == {"x": 2}


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        pytest.param("{}", "a.json", r": no class map here", id="empty JSON"),
        pytest.param("x = 1\n", "a.py", r": no class map here", id="no map in Python"),
        pytest.param('{"spleen": 1}', "a.json", r": no class map here", id="the other way round"),
        pytest.param('{"1": "a", "2": 3}', "a.json", r":1:17: expected the name", id="no name"),
        pytest.param('{"1": "a", "x": "b"}', "a.json", r":1:12: expected a class", id="no integer"),
        pytest.param('{"1": "a",\n"2": "a"}', "a.json", r":2:1: the name 'a' .* line 1", id="name"),
        pytest.param('{"1": "a", "1": "b"}', "a.json", r":1:12: '1' is already", id="value"),
        pytest.param("m = {1: 'a',\n 2: 3}", "a.py", r":2:2: expected an integer and a", id="3"),
        pytest.param(
            "m = {1: 'a',\n x: 'b'}", "a.py", r":2:2: .* got \"x : 'b'\"", id="a variable"
        ),
        pytest.param("m = {1: b'a'}", "a.py", r":1:6: expected an integer and a name", id="bytes"),
        pytest.param("m = {1.5: 'a'}", "a.py", r":1:6: expected a class as an int", id="fraction"),
        pytest.param("m = {1: 'a',\n 2: 'a'}", "a.py", r":2:2: the name 'a'", id="name in Python"),
        pytest.param("m = {1: 'a',\n", "a.py", r":\d+:\d+: not valid Python", id="open brace"),
        pytest.param("m = '''\n", "a.py", r":\d+:\d+: not valid Python", id="open string"),
        pytest.param("  m = 1\n n = 2\n", "a.py", r":2:\d+: not valid Python", id="indentation"),
        pytest.param("m = {1: '\\ud800'}", "a.py", r":1:6: .* half a character", id="surrogate"),
        pytest.param(
            "a = {1: 'a'}\nb = {1: 'b'}",
            "a.py",
            r": .* task 'total'; pass task= one of: a, b",
            id="2",
        ),
        pytest.param(
            "a = {1: 'a'}\na = {1: 'b'}",
            "a.py",
            r": the class map of 'a' .* lines 1 and 2",
            id="a a",
        ),
    ],
)
def test_a_malformed_map_is_refused_with_file_and_place(read, text, name, message):
    with pytest.raises(ValueError, match=f"^{name}{message}"):
        read(text, name)


def test_a_task_that_is_not_there_is_refused_with_near_ones(read):
    with pytest.raises(
        ValueError, match=r"'boby' \(did you mean 'body'\?\); pass task= one of: tot"
    ):
        read(PYTHON, "maps.py", task="boby")


def test_a_dictionary_that_holds_another_one_is_no_class_map(read):
    assert dict(read("m = {1: 'a', 'total': {3: 'b'}}\n", "a.py").labels) == {"b": 3}


def test_a_file_of_braces_ends_soon(read):
    with pytest.raises(ValueError, match=r"^a\.py"):
        read("{" * 20_000 + "}" * 20_000, "a.py")


def test_odd_escapes_are_no_warning(read):
    assert list(read("m = {1: 'a\\d'}", "a.py")) == ["a\\d"]


def test_json_has_the_classes_only(standard, out):
    assert totalsegmentator.write(standard({"heart": 51, "Vorhof-ä": 2}), out(".json")) == []
    text = out(".json").read_text(encoding="utf-8")
    assert json.loads(text) == {"51": "heart", "2": "Vorhof-ä"}
    assert "ä" in text


def test_python_has_the_classes_of_a_task(standard, out):
    labels = standard({"heart": 51, 'a "b"\n': -2})
    assert totalsegmentator.write(labels, out(".py"), task="body") == []
    namespace = {}
    exec(out(".py").read_text(), namespace)
    assert namespace["class_map"] == {"body": {51: "heart", -2: 'a "b"\n'}}


@pytest.mark.parametrize("suffix", [".json", ".py"])
def test_a_round_trip_keeps_names_and_values(standard, out, suffix):
    labels = standard({"background": 0, "left atrium": 7, "outside": -2, "a\\'\"{b": 1})
    assert totalsegmentator.write(labels, out(suffix)) == []
    assert totalsegmentator.read(out(suffix)).to_dict() == labels.to_dict()


def test_what_a_map_has_not_is_reported(heart, out):
    title = "a TotalSegmentator class map"
    assert totalsegmentator.write(heart, out(".json")) == [
        f"{title} has no groups: lost are 'ventricles'",
        f"{title} has no colours: lost for 'background', 'LV', 'RV'",
        f"{title} has no terminology codes: lost for 'LV'",
        f"{title} has no aliases: lost for 'LV'",
    ]


def test_a_class_must_have_a_name(standard, out):
    losses = totalsegmentator.write(standard({"": 1, "x": 2}), out(".json"))
    assert json.loads(out(".json").read_text()) == {"2": "x"}
    title = "a TotalSegmentator class map"
    assert losses == [f"{title} has no way to write the name '': left out"]


def test_of_several_names_the_last_is_written_and_the_others_reported(standard, out):
    losses = totalsegmentator.write(standard({"old": 1, "new": 1}), out(".json"))
    assert json.loads(out(".json").read_text()) == {"1": "new"}
    assert losses == [
        "a TotalSegmentator class map has one name for a value, the last is written: 'old' left out"
    ]
