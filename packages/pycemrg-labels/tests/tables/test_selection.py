import re

import pytest

from pycemrg.data import Code
from pycemrg.data.colors import RGBA
from pycemrg.data.tables.selection import Capacity, Row, listing, select

EVERYTHING = frozenset({"groups", "colors", "codes", "aliases"})


def test_a_format_that_can_hold_everything_loses_nothing(heart):
    rows, losses = select(heart, Capacity("a list", EVERYTHING, needs_one_name=False))
    assert losses == []
    assert rows == [
        Row("background", "background", 0, RGBA(0, 0, 0, 0), None, ()),
        Row(
            "LV",
            "LV",
            1,
            RGBA(161, 0, 92),
            Code("SCT", "87878005", "Left ventricle"),
            ("LV_label", "left_ventricle"),
        ),
        Row("RV", "RV", 2, RGBA(10, 20, 30, 128), None, ()),
        Row("left atrium", "left atrium", 5, None, None, ()),
    ]


def test_what_a_format_has_not_is_reported_in_a_sentence_each(heart):
    assert select(heart, Capacity("a list")).losses == [
        "a list has no groups: lost are 'ventricles'",
        "a list has no colours: lost for 'background', 'LV', 'RV'",
        "a list has no terminology codes: lost for 'LV'",
        "a list has no aliases: lost for 'LV'",
    ]


def test_what_is_said_of_no_label_is_reported(standard):
    labels = standard(
        {"LV": 1}, colors={"ghost": "#000000"}, aliases={"all": ["each"]}, author="me", version=2
    )
    assert select(labels, Capacity("a list", EVERYTHING)).losses == [
        "annotations of names that are no label are left out: 'ghost', 'all'",
        "other parts of the manifest are left out: 'author', 'version'",
    ]


def test_values_of_more_digits_than_can_be_read_are_left_out(standard):
    rows, losses = select(standard({"LV": 10**18 - 1, "far": 10**18}), Capacity("a list"))
    assert [row.name for row in rows] == ["LV"]
    assert len(losses) == 1
    assert losses[0].endswith("'far' (1000000000000000000) left out")


def test_values_out_of_range_are_left_out(standard):
    labels = standard({"outside": -1, "LV": 1, "far": 300}, colors={"far": "#000000"})
    rows, losses = select(labels, Capacity("a list", values=range(256)))
    assert [row.name for row in rows] == ["LV"]
    assert losses == ["a list has values from 0 to 255 only: 'outside' (-1), 'far' (300) left out"]


def test_of_several_names_of_a_value_the_last_is_kept(standard):
    labels = standard({"old": 1, "RV": 2, "new": 1})
    rows, losses = select(labels, Capacity("a list"))
    assert [(row.name, row.value) for row in rows] == [("RV", 2), ("new", 1)]
    assert losses == ["a list has one name for a value, the last is written: 'old' left out"]


def test_names_are_spelled_as_the_format_can(standard):
    labels = standard({"left atrium": 1, "-": 2, "RV": 3})
    capacity = Capacity("a list", spell=lambda name: name.replace(" ", "_").strip("-") or None)
    rows, losses = select(labels, capacity)
    assert [(row.name, row.written) for row in rows] == [
        ("left atrium", "left_atrium"),
        ("RV",) * 2,
    ]
    assert losses == [
        "a list has no way to write the name '-': left out",
        "a list cannot hold every character of a name: 'left atrium' as 'left_atrium'",
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param({"a b": 1, "a_b": 2}, "'a b' as 'a_b', which stands for 'a_b'", id="there"),
        pytest.param({"a b": 1, "a\tb": 2}, "'a\\tb' as 'a_b', which stands for 'a b'", id="both"),
        pytest.param(
            {"a b": 1, "a_b": -2}, "'a b' as 'a_b', which stands for 'a_b'", id="left out"
        ),
        pytest.param({"a b": 1, "a_b": 3, "c": 3}, "'a b' as 'a_b', which", id="left out for c"),
    ],
)
def test_no_name_is_changed_into_another_one(standard, labels, message):
    capacity = Capacity(
        "a list", values=range(9), spell=lambda name: name.replace(" ", "_").replace("\t", "_")
    )
    with pytest.raises(ValueError, match=rf"^a list would write {re.escape(message)}"):
        select(standard(labels), capacity)


def test_a_colour_is_made_up_where_the_format_demands_one(standard):
    labels = standard({"LV": 1, "RV": 2}, colors={"RV": "#0a141e"})
    capacity = Capacity("a list", frozenset({"colors"}), needs_color=True)
    rows, losses = select(labels, capacity)
    assert all(row.color is not None for row in rows)
    assert rows[1].color == RGBA(10, 20, 30)
    assert losses == ["a list has a colour for every label: made up for 'LV'"]


def test_a_long_list_of_names_is_cut():
    assert listing(f"L{i}" for i in range(11)).endswith("'L6', 'L7' and 3 more")
