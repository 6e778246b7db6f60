import pytest

from pycemrg.data import LabelManager

HEART = """\
labels:
  background: 0
  LV_myo: 2
  RV_myo: 3
  LA_wall: 4
  RA_wall: 5
groups:
  ventricles:
    - LV_myo
    - RV_myo
  atria:
    - LA_wall
    - RA_wall
  all_chambers:
    - ventricles
    - atria
"""


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """Make managers of a file labels.yaml in the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(text=HEART):
        (tmp_path / "labels.yaml").write_text(text)
        return LabelManager("labels.yaml")

    return make


def test_names_become_values_and_values_names(manager):
    labels = manager()
    assert labels.get_value("LV_myo") == 2
    assert labels.get_name(2) == "LV_myo"


def test_a_repeated_value_gives_the_last_name(manager):
    assert manager("labels: {old: 1, other: 2, new: 1}").get_name(1) == "new"


def test_negative_and_hexadecimal_values_are_labels(manager):
    labels = manager("labels: {outside: -1, probe: 0x10}")
    assert (labels.get_name(-1), labels.get_value("probe")) == ("outside", 16)


def test_names_that_yaml_would_change_stay_as_typed(manager):
    labels = manager("labels: {NO: 3, on: 4, 010: 5, 1.10: 6, null: 7}")
    assert [labels.get_name(value) for value in (3, 4, 5, 6, 7)] == [
        "NO",
        "on",
        "010",
        "1.10",
        "null",
    ]


@pytest.mark.parametrize("value_type", ["int8", "uint16", "int64", "uint64"])
def test_numpy_integers_have_names(manager, value_type):
    np = pytest.importorskip("numpy")
    labels = manager()
    present = np.unique(np.array([3, 2, 2], dtype=value_type))
    assert [labels.get_name(value) for value in present] == ["LV_myo", "RV_myo"]


@pytest.mark.parametrize(
    ("names", "values"),
    [
        pytest.param(["ventricles", "LA_wall", "0"], [0, 2, 3, 4], id="label, group and number"),
        pytest.param(["all_chambers"], [2, 3, 4, 5], id="group of groups"),
        pytest.param(["RA_wall", "LV_myo", "RA_wall", "ventricles"], [2, 3, 5], id="distinct"),
        pytest.param(["-7", "+12", "007"], [-7, 7, 12], id="signed numbers"),
        pytest.param([], [], id="nothing"),
        pytest.param(("LV_myo",), [2], id="tuple"),
        pytest.param([5, "LV_myo"], [2, 5], id="integers that are no text"),
    ],
)
def test_names_groups_and_numbers_become_sorted_distinct_values(manager, names, values):
    assert manager().get_values_from_names(names) == values


def test_a_name_is_a_label_before_a_group_and_a_group_before_a_number(manager):
    labels = manager(
        "labels: {LV: 1, RV: 2, '7': 70}\ngroups: {LV: [RV], '8': [RV], members: ['8', '7', 9]}"
    )
    assert labels.get_values_from_names(["LV"]) == [1]
    assert labels.get_values_from_names(["7"]) == [70]
    assert labels.get_values_from_names(["8"]) == [2]
    assert labels.get_values_from_names(["members"]) == [2, 9, 70]


def test_a_label_inside_a_group_of_the_same_name_is_no_cycle(manager):
    labels = manager("labels: {LV: 1, LV_pap: 2}\ngroups: {LV: [LV, LV_pap], left: [LV]}")
    assert labels.get_values_from_names(["left"]) == [1]


def test_a_diamond_of_groups_is_no_cycle(manager):
    labels = manager(
        "labels: {a: 1}\ngroups: {top: [left, right], left: [low], right: [low], low: [a]}"
    )
    assert labels.get_values_from_names(["top", "left"]) == [1]


@pytest.mark.parametrize(
    ("groups", "path"),
    [
        pytest.param("{a: [a]}", "a -> a", id="itself"),
        pytest.param("{a: [b], b: [LV, c], c: [a]}", "a -> b -> c -> a", id="three groups"),
        pytest.param("{a: [b], b: [c], c: [b]}", "b -> c -> b", id="not from the start"),
    ],
)
def test_a_group_that_contains_itself_is_a_value_error_with_the_path(manager, groups, path):
    labels = manager(f"labels: {{LV: 1}}\ngroups: {groups}")
    with pytest.raises(ValueError, match=rf"^labels\.yaml:2:\d+: .*: {path}$"):
        labels.get_values_from_names(["a"])


def test_a_wide_and_deep_graph_of_groups_is_opened_once_a_group(manager):
    # 3 ** 60 paths lead through this graph; only a walk that opens each group once ever returns.
    levels = [f"  g{n}: [g{n + 1}, g{n + 1}, h{n + 1}]\n  h{n}: [g{n + 1}]" for n in range(60)]
    text = "labels: {LV: 1}\ngroups:\n" + "\n".join(levels) + "\n  g60: [LV]\n  h60: [LV]\n"
    assert manager(text).get_values_from_names(["g0", "h0"]) == [1]


def test_a_chain_of_ten_thousand_groups_is_resolved(manager):
    chain = "".join(f"  g{n}: [g{n + 1}]\n" for n in range(10_000))
    text = f"labels: {{LV: 1}}\ngroups:\n{chain}  g10000: [LV]\n"
    assert manager(text).get_values_from_names(["g0"]) == [1]


def test_tags_are_joined_for_command_lines(manager):
    labels = manager()
    assert labels.get_tags_string(["ventricles", "atria"]) == "2,3,4,5"
    assert labels.get_tags_string(["LV_myo", "RV_myo"], separator=":") == "2:3"
    assert labels.get_tags_string(["RA_wall", ["ventricles"], ("0",)]) == "0,2,3,5"


def test_bytes_in_place_of_a_list_are_a_type_error(manager):
    with pytest.raises(TypeError, match="must be a list"):
        manager().get_values_from_names(b"LV")


def test_one_text_in_place_of_a_list_is_a_type_error(manager):
    for method in "get_values_from_names", "get_tags_string":
        with pytest.raises(TypeError, match=r"must be a list such as \['LV_myo'\]"):
            getattr(manager(), method)("LV_myo")


def test_an_unknown_name_lists_the_labels_and_offers_a_near_one(manager):
    with pytest.raises(KeyError) as caught:
        manager().get_value("LV_mio")
    assert caught.value.args[0] == (
        "labels.yaml: no label named 'LV_mio' (did you mean 'LV_myo'?); "
        "the labels are: background, LV_myo, RV_myo, LA_wall, RA_wall"
    )


def test_an_unknown_value_lists_the_values(manager):
    with pytest.raises(KeyError) as caught:
        manager("labels: {LV: 1, RV: 2}").get_name(3)
    assert (
        caught.value.args[0] == "labels.yaml: no label has the value 3; there are: 1 (LV), 2 (RV)"
    )


def test_an_unknown_name_in_a_list_lists_labels_and_groups(manager):
    with pytest.raises(KeyError) as caught:
        manager().get_values_from_names(["LV_myo", "ventricle"])
    message = caught.value.args[0]
    assert message.startswith("labels.yaml: no label or group named 'ventricle' (did you mean")
    for name in ("'ventricles'", "background", "LV_myo", "RA_wall", "atria", "all_chambers"):
        assert name in message


def test_an_undefined_member_is_reported_with_its_place_when_resolved(manager):
    labels = manager("labels: {LV: 1, RV: 2}\ngroups:\n  atria:\n    - LA\n")
    assert labels.get_values_from_names(["LV"]) == [1]
    with pytest.raises(KeyError) as caught:
        labels.get_values_from_names(["atria"])
    assert caught.value.args[0] == (
        "labels.yaml:4:7: no label or group named 'LA' in group 'atria'; "
        "the manifest has labels: LV, RV; groups: atria"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "labels: {LV: 1, LV: 2}", r"1:17: 'LV' is already defined", id="repeated name"
        ),
        pytest.param(
            "labels:\n  LV: one", r"2:7: expected an integer for 'LV', got 'one'", id="text value"
        ),
        pytest.param("labels:\n  LV: [1]", r"2:7: the value of 'LV' must be an", id="list value"),
        pytest.param("labels: [LV]", r"1:9: 'labels' must be a mapping", id="labels as list"),
        pytest.param("labels: LV", r"1:9: 'labels' must be a mapping", id="labels as text"),
        pytest.param("groups: [LV]", r"1:9: 'groups' must be a mapping", id="groups as list"),
        pytest.param("groups:\n  g: LV", r"2:6: group 'g' must be a list", id="group as text"),
        pytest.param("groups:\n  g: {LV: 1}", r"2:6: group 'g' must be a list", id="group as map"),
        pytest.param("groups:\n  g: [[LV]]", r"2:7: a member of 'g' must be a name", id="nested"),
        pytest.param("groups:\n  g: [LV, ]\n  h: [~]", r"3:7: a member of 'h'", id="null member"),
    ],
)
def test_a_faulty_manifest_is_refused_when_loaded(manager, text, message):
    with pytest.raises(ValueError, match=rf"^labels\.yaml:{message}"):
        manager(text)


@pytest.mark.parametrize(
    "text", ["", "labels:", "groups:", "name: my heart", "labels: {}\ngroups: ~"]
)
def test_missing_sections_are_empty(manager, text):
    labels = manager(text)
    assert labels.get_values_from_names([]) == []
    with pytest.raises(KeyError, match="the labels are: none"):
        labels.get_value("LV")


def test_a_group_without_members_is_empty(manager):
    labels = manager("groups:\n  later:\n  none: []\n")
    assert labels.get_values_from_names(["later", "none"]) == []


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no manifest at .*heart_labels\.yaml"):
        LabelManager(tmp_path / "heart_labels.yaml")


def test_problems_lists_everything_at_once_in_the_order_of_the_file(manager):
    text = """\
labels:
  LV: 1
  RV: 1
  both: 3
groups:
  both: [LV]
  empty:
  atria: [LA, LV, RA]
  a: [b]
  b: [a, atria]
"""
    found = [
        (problem.code, problem.severity, problem.place.line, problem.place.column)
        for problem in manager(text).problems()
    ]
    assert found == [
        ("repeated-value", "warning", 3, 3),
        ("label-and-group", "warning", 6, 3),
        ("empty-group", "warning", 7, 3),
        ("undefined-member", "error", 8, 11),
        ("undefined-member", "error", 8, 19),
        ("group-cycle", "error", 10, 7),
    ]


def test_many_problems_are_found_soon_and_said_in_short(manager):
    labels = "".join(f"  structure_{n}: {n}\n" for n in range(500))
    groups = "".join(f"  group_{n}: [structura_{n}]\n" for n in range(500))
    with pytest.MonkeyPatch.context() as patch:
        asked = []
        patch.setattr("pycemrg.data.groups.did_you_mean", lambda *a: asked.append(a) or " (near?)")
        problems = manager(f"labels:\n{labels}groups:\n{groups}").problems()
    assert len(problems) == 500
    assert "(near?)" in problems[0].message
    assert "(near?)" not in problems[-1].message
    assert len(asked) * 1000 < 60_000
    assert problems[0].message.count("structure_") == 40
    assert "structure_39 and 460 more; groups: group_0" in problems[0].message


def test_a_faultless_manifest_has_no_problems(manager):
    assert manager().problems() == []


def test_labels_and_groups_can_be_listed_and_not_changed(manager):
    labels = manager()
    assert dict(labels.labels) == {
        "background": 0,
        "LV_myo": 2,
        "RV_myo": 3,
        "LA_wall": 4,
        "RA_wall": 5,
    }
    assert labels.groups["all_chambers"] == ("ventricles", "atria")
    assert (len(labels), "LV_myo" in labels, "ventricles" in labels) == (5, True, False)
    assert list(labels)[:2] == ["background", "LV_myo"]
    with pytest.raises(TypeError):
        labels.labels["LV_myo"] = 7


def test_colours_codes_and_aliases_stand_beside_the_labels(manager):
    labels = manager("""\
labels: {LV: 1, RV: 2}
colors: {LV: '#A1005C', RV: '#00ff0080'}
codes: {LV: {scheme: SCT, value: '87878005', meaning: Left ventricle}}
aliases: {LV: [LV_label, left_ventricle]}
""")
    assert labels.colors == {"LV": "#a1005c", "RV": "#00ff0080"}
    assert labels.codes == {"LV": ("SCT", "87878005", "Left ventricle")}
    assert labels.aliases == {"LV": ("LV_label", "left_ventricle")}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("colors: {LV: red}", r"2:14: a colour is '#rrggbb' in quotes, not 'red'"),
        ("colors: [red]", r"2:9: 'colors' must be a mapping, not a list"),
        ("colors: {LV: }", r"2:14: expected a text, got nothing"),
        ("codes: {LV: 1234}", r"2:13: a code is \{scheme: SCT"),
        ("aliases: {LV: left}", r"2:15: aliases are a list of names"),
    ],
)
def test_a_faulty_annotation_matters_only_to_who_asks_for_it(manager, section, message):
    labels = manager(f"labels: {{LV: 1}}\n{section}")
    assert labels.get_value("LV") == 1
    with pytest.raises(ValueError, match=rf"^labels\.yaml:{message}"):
        getattr(labels, section.split(":")[0])


def test_plain_data_and_yaml_give_the_same_standard(tmp_path):
    data = {
        "labels": {"NO": 1, "010": 2, "LV": -3},
        "groups": {"all": ["NO", "010", "7"]},
        "colors": {"LV": "#a1005c"},
        "codes": {"LV": {"scheme": "SCT", "value": "87878005", "meaning": "Left ventricle"}},
        "aliases": {"LV": ["null"]},
    }
    made = LabelManager.from_dict(data)
    assert made.to_dict() == data
    (tmp_path / "labels.yaml").write_text(made.to_yaml())
    assert LabelManager(tmp_path / "labels.yaml").to_dict() == data


def test_the_yaml_means_the_same_to_a_plain_yaml_reader():
    import yaml

    data = {"labels": {"NO": 1, "010": 2, "1.10": 3, "null": 4}, "groups": {"on": ["NO", "010"]}}
    assert yaml.safe_load(LabelManager.from_dict(data).to_yaml()) == data


def test_any_name_comes_back_from_yaml(tmp_path):
    names = [
        "NO",
        "<<",
        "=",
        "a: b",
        "\x85",
        "a\x85b",
        "\u2028",
        "\0",
        " x ",
        "\t",
        "-",
        "é",
        "x" * 2000,
    ]
    labels = LabelManager.from_dict({"labels": {name: n for n, name in enumerate(names)}})
    (tmp_path / "labels.yaml").write_bytes(labels.to_yaml().encode())
    assert dict(LabelManager(tmp_path / "labels.yaml").labels) == dict(labels.labels)
    assert "é" in LabelManager.from_dict({"labels": {"é": 1}}).to_yaml()


def test_top_level_keys_of_others_are_listed(manager):
    assert manager("labels: {LV: 1}\nauthor: me\ncolors: {}\nversion: 2\n").other_keys == (
        "author",
        "version",
    )


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"labels": {"LV": "1"}}, ValueError, "my labels.labels.LV: expected an integer for 'LV'"),
        ({"labels": {"LV": True}}, ValueError, "my labels.labels.LV: expected an integer for 'LV'"),
        ({"labels": {1: "LV"}}, TypeError, "my labels.labels: a key must be a text, not 1"),
        ({"groups": {"g": "LV"}}, ValueError, "my labels.groups.g: group 'g' must be a list"),
        ([], TypeError, "my labels: a standard is a dict"),
        ({"labels": {"L\ud800": 1}}, ValueError, r"my labels.labels: 'L\\ud800' holds half a"),
        (
            {"aliases": {"LV": ["\udc00"]}},
            ValueError,
            r"my labels.aliases.LV\[0\]: '\\udc00' holds",
        ),
    ],
)
def test_faulty_plain_data_is_refused_by_key(data, error, message):
    with pytest.raises(error, match=f"^{message}"):
        LabelManager.from_dict(data, source="my labels")


def test_a_manager_crosses_process_boundaries(manager):
    import pickle

    copy = pickle.loads(pickle.dumps(manager()))
    assert copy.get_values_from_names(["all_chambers"]) == [2, 3, 4, 5]


def test_problems_lists_faulty_annotations_and_annotations_of_no_label(manager):
    labels = manager("labels: {LV: 1}\ncolors: {LV: red}\naliases: {LV: [x], RV: [y]}\n")
    found = [(problem.code, problem.place.line) for problem in labels.problems()]
    assert found == [("faulty-colors", 2), ("unknown-label", 3)]
