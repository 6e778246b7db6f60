"""The JSON Schema and the loader agree about label manifests."""

import json
from importlib.resources import files

import jsonschema
import pytest
import yaml

from pycemrg.core import manifests
from pycemrg.data import LabelManager

SCHEMA = json.loads(
    files("pycemrg.data").joinpath("schema/labels.schema.json").read_text(encoding="utf-8")
)

GOOD = {
    "empty": "",
    "labels": "labels: {background: 0, LV: -1, RV: 0x1F}",
    "null sections": "labels:\ngroups: ~",
    "groups": "labels: {LV: 1}\ngroups: {g: [LV, h, 7], h: [], i: }",
    "unknown key": "name: my heart\nlabels: {LV: 1}",
    "colour": "labels: {LV: 1}\ncolors: {LV: '#a1005c', RV: '#A1005C80'}",
    "code": "codes: {LV: {scheme: SCT, value: '87878005', meaning: Left ventricle}}",
    "aliases": "aliases: {LV: [LV_label, left]}",
}
BAD = {
    "text value": "labels: {LV: one}",
    "boolean value": "labels: {LV: true}",
    "quoted value": "labels: {LV: '2'}",
    "null value": "labels: {LV: }",
    "float value": "labels: {LV: 1.5}",
    "list value": "labels: {LV: [1]}",
    "labels as list": "labels: [LV]",
    "group as text": "groups: {g: LV}",
    "group as mapping": "groups: {g: {LV: 1}}",
    "null member": "groups: {g: [~]}",
    "list member": "groups: {g: [[LV]]}",
    "colour name": "colors: {LV: red}",
    "short colour": "colors: {LV: '#fff'}",
    "colours as list": "colors: [red]",
    "code without scheme": "codes: {LV: {value: '1'}}",
    "code as text": "codes: {LV: '1'}",
    "alias as text": "aliases: {LV: left}",
    "list at the top": "[LV]",
    "text at the top": "LV",
}


def schema_accepts(text):
    return jsonschema.Draft7Validator(SCHEMA).is_valid(yaml.safe_load(text))


def loader_accepts(text):
    try:
        manager = LabelManager.__new__(LabelManager)
        manager._load(manifests.parse(text), "labels.yaml")
        _ = manager.colors, manager.codes, manager.aliases
    except ValueError:
        return False
    return True


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_both_accept_a_good_manifest(text):
    assert (schema_accepts(text), loader_accepts(text)) == (True, True)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_both_refuse_a_bad_manifest(text):
    assert (schema_accepts(text), loader_accepts(text)) == (False, False)


@pytest.mark.parametrize(
    "text",
    ["labels: {LV: 1, LV: 2}", "labels: {LV: 010}", "labels: {LV: 1:30}", "labels: {LV: 1_0}"],
)
def test_the_loader_alone_sees_what_yaml_has_already_changed(text):
    assert schema_accepts(text)
    assert not loader_accepts(text)


def test_what_a_manager_writes_satisfies_the_schema():
    data = {
        "labels": {"NO": 1, "LV": 2},
        "groups": {"all": ["NO", "LV"]},
        "colors": {"LV": "#a1005c"},
        "codes": {"LV": {"scheme": "SCT", "value": "87878005", "meaning": "Left ventricle"}},
        "aliases": {"LV": ["left"]},
    }
    jsonschema.validate(yaml.safe_load(LabelManager.from_dict(data).to_yaml()), SCHEMA)
