import pytest

from pycemrg.core.manifests import Place
from pycemrg.data import Code
from pycemrg.data.colors import RGBA
from pycemrg.data.tables.standard import Standard


def test_labels_and_what_is_known_of_them_become_a_standard():
    standard = Standard("heart.csv")
    code = Code("SCT", "87878005", "Left ventricle")
    standard.add(
        Place("x", 2), "LV", 1, color=RGBA(161, 0, 92, 128), code=code, aliases=["left ventricle"]
    )
    standard.add(Place("x", 3), "NO", -2)
    standard.add_group(Place("x", 4), "all", ["LV", "NO"])
    labels = standard.manager()
    assert labels.to_dict() == {
        "labels": {"LV": 1, "NO": -2},
        "groups": {"all": ["LV", "NO"]},
        "colors": {"LV": "#a1005c80"},
        "codes": {"LV": {"scheme": "SCT", "value": "87878005", "meaning": "Left ventricle"}},
        "aliases": {"LV": ["left ventricle"]},
    }
    with pytest.raises(KeyError, match=r"heart\.csv: no label named 'RV'"):
        labels.get_value("RV")


@pytest.mark.parametrize("kind", ["label", "group"])
def test_a_name_that_stands_twice_is_refused_with_both_lines(kind):
    standard = Standard("heart.csv")
    standard.add(Place("heart.csv", 2, 1), "LV", 1)
    again = {"label": lambda: standard.add(Place("heart.csv", 9, 4), "LV", 1)}
    again["group"] = lambda: standard.add_group(Place("heart.csv", 9, 4), "LV", [])
    with pytest.raises(ValueError, match=r"^heart.csv:9:4: the name 'LV' already .* line 2"):
        again[kind]()


def test_a_value_that_stands_twice_is_kept_with_both_names():
    standard = Standard("heart.csv")
    standard.add(Place("x", 1), "old", 1)
    standard.add(Place("x", 2), "new", 1)
    labels = standard.manager()
    assert dict(labels.labels) == {"old": 1, "new": 1}
    assert [problem.code for problem in labels.problems()] == ["repeated-value"]


def test_half_a_character_is_no_name():
    with pytest.raises(ValueError, match=r"^x:1:2: .* half a character"):
        Standard("x").add(Place("x", 1, 2), "LV\ud800", 1)
