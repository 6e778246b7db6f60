import json

import pytest

from pycemrg.data import LabelMapper
from pycemrg.data.tables import nnunet

# As in documentation/dataset_format.md and region_based_training.md of nnU-Net.
VERSION_1 = '{"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "LA"}, "numTraining": 9}'
VERSION_2 = '{"channel_names": {"0": "T2"}, "labels": {"background": 0, "PZ": 1, "TZ": 2}}'
REGIONS = {
    "labels": {
        "background": 0,
        "whole_tumor": [1, 2, 3],
        "tumor_core": [2, 3],
        "enhancing_tumor": 3,
        "ignore": 4,
    },
    "regions_class_order": [1, 2, 3],
}


@pytest.fixture
def read(table):
    return lambda text: nnunet.read(table(text, "dataset.json"))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        pytest.param(VERSION_1, {"background": 0, "LA": 1}, id="version 1"),
        pytest.param(VERSION_2, {"background": 0, "PZ": 1, "TZ": 2}, id="version 2"),
        pytest.param(
            VERSION_2.replace(", ", ",\r\n\t"), {"background": 0, "PZ": 1, "TZ": 2}, id="CRLF"
        ),
        pytest.param("\ufeff" + VERSION_1, {"background": 0, "LA": 1}, id="byte order mark"),
        pytest.param('{"labels": {"a": "0", "b": [1]}}', {"a": 0, "b": 1}, id="text, list of one"),
        pytest.param('{"labels": {"0": 0, "1": 1}}', {"0": 0, "1": 1}, id="names of digits"),
        pytest.param('{"labels": {}}', {}, id="none"),
    ],
)
def test_labels_of_both_versions_are_read(read, text, labels):
    assert read(text).to_dict() == {"labels": labels}


def test_a_region_is_a_group_of_labels_or_values(read):
    labels = read(json.dumps(REGIONS))
    assert dict(labels.labels) == {"background": 0, "enhancing_tumor": 3, "ignore": 4}
    assert dict(labels.groups) == {
        "whole_tumor": ("1", "2", "enhancing_tumor"),
        "tumor_core": ("2", "enhancing_tumor"),
    }
    assert labels.get_values_from_names(["whole_tumor"]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[]", r":1:1: expected an object with .labels.", id="list"),
        pytest.param('{"label": {}}', r":1:1: expected an object with", id="no labels"),
        pytest.param('{"labels": [1]}', r":1:1: expected an object with", id="list of labels"),
        pytest.param('{"labels": {"LV": 1.0}}', r":1:19: expected a label .* got '1.0'", id="1.0"),
        pytest.param('{"labels": {"LV": true}}', r":1:19: expected a label as an int", id="true"),
        pytest.param('{"labels": {"LV": null}}', r":1:19: expected a label as an int", id="null"),
        pytest.param('{"labels": {"LV": {}}}', r":1:19: expected an integer or a list", id="map"),
        pytest.param('{"labels": {"LV": [[1]]}}', r":1:20: expected an integer or a", id="nested"),
        pytest.param(
            '{"labels": {"0": "a", "x": "b"}}', r":1:18: expected a label .*'a'", id="mix"
        ),
        pytest.param(
            '{"labels": {"0": "a",\n "1": "a"}}', r":2:2: the name 'a' .* at line 1", id="v1 twice"
        ),
        pytest.param(
            '{"labels": {"a": 0,\n "a": 1}}', r":2:2: 'a' is already defined at line 1", id="twice"
        ),
        pytest.param(
            '{"labels": {"1": 5, "g": [1, 5]}}',
            r":1:21: 1 in 'g' is a value and a name",
            id="digits",
        ),
        pytest.param('{"labels": {"a": 0}', r":1:20: not valid JSON", id="open"),
    ],
)
def test_a_malformed_dataset_is_refused_with_file_and_place(read, text, message):
    with pytest.raises(ValueError, match=f"^dataset.json{message}"):
        read(text)


def test_labels_are_written_as_version_2(standard, out):
    labels = standard({"RV": 2, "background": 0, "": 1, "ignore": 3})
    assert nnunet.write(labels, out(".json")) == []
    content = json.loads(out(".json").read_text())
    assert content == {"labels": {"background": 0, "RV": 2, "": 1, "ignore": 3}}


def test_several_names_of_a_value_can_be_held(standard, out):
    labels = standard({"background": 0, "LV": 1, "left ventricle": 1})
    assert nnunet.write(labels, out(".json")) == []
    assert nnunet.read(out(".json")).to_dict() == labels.to_dict()


def test_what_a_dataset_has_not_is_reported(standard, out):
    labels = standard(
        {"Clear Label": 0, "LV": 1, "RV": 2},
        groups={"ventricles": ["LV", "RV"]},
        colors={"LV": "#a1005c"},
        codes={"LV": {"scheme": "SCT", "value": "87878005"}},
        aliases={"RV": ["right"]},
    )
    assert nnunet.write(labels, out(".json")) == [
        "an nnU-Net dataset has no colours: lost for 'LV'",
        "an nnU-Net dataset has no terminology codes: lost for 'LV'",
        "an nnU-Net dataset has no aliases: lost for 'RV'",
        "groups are written with regions=True only: lost are 'ventricles'",
        "nnU-Net calls the value 0 'background': 'Clear Label' not written",
    ]
    assert nnunet.read(out(".json")).to_dict() == {"labels": {"background": 0, "LV": 1, "RV": 2}}


def test_a_missing_background_is_added(standard, out):
    losses = nnunet.write(standard({"LV": 1}), out(".json"))
    assert losses == ["nnU-Net demands a label 'background': added with the value 0"]
    assert dict(nnunet.read(out(".json")).labels) == {"background": 0, "LV": 1}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param({"background": 0, "LV": 1, "RV": 3}, "no label has the value 2", id="a gap"),
        pytest.param({"background": 0, "LV": 205}, "no label has the value 1", id="far"),
        pytest.param({"outside": -1, "LV": 1}, "no label has the value 2", id="negative"),
        pytest.param({"background": 1, "LV": 2}, "must be 0 for 'background', not 1", id="not 0"),
        pytest.param({"ignore": 1, "LV": 2}, "must be highest for 'ignore', not 1", id="ignore"),
    ],
)
def test_values_that_are_not_consecutive_are_refused_with_the_way_out(
    standard, out, labels, message
):
    labels = standard(labels)
    with pytest.raises(ValueError, match=rf"{message}; write .*nnunet\.consecutive\(labels\)"):
        nnunet.write(labels, out(".json"))
    assert not out(".json").exists()
    nnunet.write(nnunet.consecutive(labels), out(".json"))


@pytest.mark.parametrize(
    ("labels", "dense"),
    [
        pytest.param(
            {"background": 0, "b": 9, "a": 4}, {"background": 0, "b": 2, "a": 1}, id="gaps"
        ),
        pytest.param({"LV": 205, "RV": 600}, {"LV": 1, "RV": 2}, id="no background"),
        pytest.param({"air": 0, "LV": 5}, {"air": 0, "LV": 1}, id="0 by another name"),
        pytest.param(
            {"air": 0, "background": 5, "LV": 3}, {"air": 1, "background": 0, "LV": 2}, id="swap"
        ),
        pytest.param({"out": -7, "LV": 2, "x": 2}, {"out": 1, "LV": 2, "x": 2}, id="shared value"),
        pytest.param(
            {"ignore": 1, "LV": 2, "background": 0},
            {"ignore": 2, "LV": 1, "background": 0},
            id="ignore last",
        ),
        pytest.param({"background": 0, "LV": 1}, {"background": 0, "LV": 1}, id="as it is"),
    ],
)
def test_consecutive_numbers_from_1_in_the_order_of_the_values(standard, labels, dense):
    assert dict(nnunet.consecutive(standard(labels)).labels) == dense


def test_consecutive_keeps_everything_else(heart):
    dense = nnunet.consecutive(heart)
    assert dense.to_dict() == heart.to_dict() | {
        "labels": {"background": 0, "LV": 1, "RV": 2, "left atrium": 3}
    }
    assert dense.source == "heart.yaml, consecutive"


def test_numbers_in_groups_are_renumbered_too(standard):
    labels = standard(
        {"LV": 20, "RV": 10, "0010": 3}, groups={"a": ["LV", "10", "0010"], "b": ["a"]}
    )
    assert dict(nnunet.consecutive(labels).groups) == {"a": ("LV", "2", "0010"), "b": ("a",)}


@pytest.mark.parametrize("member", ["7", "LA"])
def test_a_member_without_a_label_cannot_be_renumbered(standard, member):
    labels = standard({"LV": 20}, groups={"a": [member]})
    with pytest.raises(
        ValueError, match=f"group 'a' has the member '{member}', .* give it a label"
    ):
        nnunet.consecutive(labels)


def test_data_is_mapped_to_the_consecutive_standard(standard):
    labels = standard({"background": 0, "LV": 2, "RV": 5, "LA": 1})
    mapper = LabelMapper(labels, nnunet.consecutive(labels))
    # LA 1 stays, LV 2 stays, RV 5 becomes 3.
    assert mapper.apply([0, 1, 2, 5]).tolist() == [0, 1, 2, 3]


def test_groups_are_written_as_regions_when_asked_for(standard, out):
    labels = standard(
        {"RV": 2, "background": 0, "LV": 1, "LA": 3, "ignore": 4},
        groups={"ventricles": ["LV", "RV"], "heart": ["ventricles", "LA"]},
    )
    assert nnunet.write(labels, out(".json"), regions=True) == []
    assert json.loads(out(".json").read_text()) == {
        "labels": {
            "background": 0,
            "heart": [1, 2, 3],
            "ventricles": [1, 2],
            "RV": 2,
            "LV": 1,
            "LA": 3,
            "ignore": 4,
        },
        "regions_class_order": [1, 1, 2, 1, 3],
    }


def test_the_regions_of_a_dataset_come_back_with_their_order(read, out):
    labels = read(json.dumps(REGIONS))
    assert nnunet.write(labels, out(".json"), regions=True) == []
    content = json.loads(out(".json").read_text())
    assert content == REGIONS
    assert list(content["labels"]) == list(REGIONS["labels"])
    assert nnunet.read(out(".json")).to_dict() == labels.to_dict()


def test_a_file_that_is_replaced_keeps_what_it_says_besides_labels(standard, out):
    path = out(".json")
    path.write_text(json.dumps(REGIONS | {"channel_names": {"0": "MR"}, "numTraining": 20}))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        nnunet.write(standard({"background": 0, "LV": 1}), path)
    nnunet.write(standard({"background": 0, "LV": 1}), path, overwrite=True)
    assert json.loads(path.read_text()) == {
        "channel_names": {"0": "MR"},
        "numTraining": 20,
        "labels": {"background": 0, "LV": 1},
    }


@pytest.mark.parametrize(
    "content", ["not json", "[1]", "[" * 100_000], ids=["text", "list", "deep"]
)
def test_a_file_that_is_no_dataset_is_replaced_whole(standard, out, content):
    out(".json").write_text(content)
    nnunet.write(standard({"background": 0, "Vorhof-ä": 1}), out(".json"), overwrite=True)
    text = out(".json").read_text(encoding="utf-8")
    assert json.loads(text) == {"labels": {"background": 0, "Vorhof-ä": 1}}
    assert "ä" in text
