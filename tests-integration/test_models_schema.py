"""The JSON Schema and the loader agree about model manifests."""

import json
from importlib.resources import files

import jsonschema
import pytest
import yaml

from pycemrg.models.manifest import Manifest

SCHEMA = json.loads(
    files("pycemrg.models").joinpath("schema/models.schema.json").read_text(encoding="utf-8")
)
SUM = "0123456789abcdef" * 4
ZIP = "url: 'https://example.com/a.zip'"
PTH = "url: 'https://example.com/a.pth'"
SUMMED = f"{PTH}, sha256: {SUM}"
MIRROR = "https://example.org/a.pth"


def version(fields):
    return f"seg: {{default: v1, versions: {{v1: {{{fields}}}}}}}"


GOOD = {
    "empty": "",
    "plain file": version(PTH),
    "no default": f"seg: {{versions: {{v1: {{{PTH}}}}}}}",
    "number as version": f"seg: {{default: 1.10, versions: {{1.10: {{{PTH}}}}}}}",
    "two models": f"a: {{versions: {{v: {{{PTH}}}}}}}\nb: {{versions: {{v: {{{PTH}}}}}}}",
    "unknown keys": f"seg: {{title: 1, versions: {{v1: {{{PTH}, licence: [MIT], size: 3}}}}}}",
    "http": version("url: 'http://me:pw@example.com:8080/a.pth?x=1#y'"),
    "upper-case scheme": version("url: 'HTTPS://example.com/a.pth'"),
    "spaces around a url": version("url: ' https://example.com/a.pth '"),
    "host alone": version("url: 'https://example.zip'"),
    "relative file": version("url: 'file://weights/a.pth'"),
    "absolute file": version("url: 'file:///weights/a.pth'"),
    "file with one slash": version("url: 'File:/weights/a b.pth'"),
    "file that is named like a query": version("url: 'file://a.zip?x=1'"),
    "sha256": version(f"{PTH}, sha256: {SUM}"),
    "sha256 in upper case": version(f"{PTH}, sha256: '{SUM.upper()}'"),
    "sha256 null": version(f"{PTH}, sha256: null"),
    "sha256 missing": version(f"{PTH}, sha256: "),
    "sha256 blank": version(f"{PTH}, sha256: ' '"),
    "zip": version(f"{ZIP}, unzipped_target_path: checkpoints/model.pth"),
    "all of a zip": version(f"{ZIP}, unzipped_target_path: ."),
    "folder of a zip": version(f"{ZIP}, unzipped_target_path: ' ./checkpoints/ '"),
    "dots in a name": version(f"{ZIP}, unzipped_target_path: ..a/b../c..d"),
    "number as a path": version(f"{ZIP}, unzipped_target_path: 2024"),
    "zip used as it is": version(f"{ZIP}, archive: none"),
    "zip in a query": version("url: 'https://example.com/get?file=a.zip'"),
    "archive zip": version(f"{PTH}, archive: zip, unzipped_target_path: x"),
    "archive null": version(f"{PTH}, archive: null"),
    "archive blank": version(f"{PTH}, archive: ' '"),
    "path of a plain file": version(f"{PTH}, unzipped_target_path: /nobody/looks"),
    "mirror": version(f"{SUMMED}, mirrors: ['{MIRROR}']"),
    "mirrors": version(f"{SUMMED}, mirrors: ['{MIRROR}', ' HTTP://example.net/b?x=1 ']"),
    "mirrors of a zip": version(
        f"{ZIP}, sha256: {SUM}, unzipped_target_path: x, mirrors: ['{MIRROR}']"
    ),
    "mirrors null": version(f"{PTH}, mirrors: null"),
    "mirrors missing": version("url: 'file://a.pth', mirrors: "),
}
BAD = {
    "list at the top": "[seg]",
    "text at the top": "seg",
    "model as text": "seg: v1",
    "model as null": "seg:",
    "no versions": "seg: {default: v1}",
    "null versions": "seg: {default: v1, versions: }",
    "empty versions": "seg: {versions: {}}",
    "versions as list": "seg: {versions: [v1]}",
    "default as list": f"seg: {{default: [v1], versions: {{v1: {{{PTH}}}}}}}",
    "default null": f"seg: {{default: , versions: {{v1: {{{PTH}}}}}}}",
    "version as text": "seg: {versions: {v1: a.zip}}",
    "version as null": "seg: {versions: {v1: }}",
    "no url": version("sha256: null"),
    "null url": version("url: "),
    "blank url": version("url: ' '"),
    "number as url": version("url: 5"),
    "url as list": version("url: ['https://example.com/a.pth']"),
    "no scheme": version("url: weights/a.pth"),
    "other scheme": version("url: 'ftp://example.com/a.pth'"),
    "no host": version("url: 'https:///a.pth'"),
    "no slashes": version("url: 'https:example.com/a.pth'"),
    "no file": version("url: 'file://'"),
    "line break in a url": version('url: "https://example.com/a\\nb.pth"'),
    "short sha256": version(f"{PTH}, sha256: abc123"),
    "sha256 of other letters": version(f"{PTH}, sha256: {'g' * 64}"),
    "sha256 as list": version(f"{PTH}, sha256: [{SUM}]"),
    "sha256 true": version(f"{PTH}, sha256: true"),
    "unknown archive": version(f"{PTH}, archive: rar"),
    "archive in upper case": version(f"{ZIP}, archive: NONE, unzipped_target_path: x"),
    "archive as list": version(f"{PTH}, archive: [zip]"),
    "archive false": version(f"{PTH}, archive: false"),
    "zip without path": version(ZIP),
    "zip with a query without path": version("url: 'https://example.com/a.ZIP?x=1'"),
    "local zip without path": version("url: 'file://a.zip'"),
    "tar.gz without path": version("url: 'https://example.com/a.tar.gz'"),
    "txz without path": version("url: 'https://example.com/a.txz', archive: "),
    "archive zip without path": version(f"{PTH}, archive: zip"),
    "null path": version(f"{ZIP}, unzipped_target_path: ~"),
    "blank path": version(f"{ZIP}, unzipped_target_path: ''"),
    "path as list": version(f"{ZIP}, unzipped_target_path: [a, b]"),
    "absolute path": version(f"{ZIP}, unzipped_target_path: ' /etc/x'"),
    "path above": version(f"{ZIP}, unzipped_target_path: a/../../x"),
    "path that ends above": version(f"{ZIP}, unzipped_target_path: 'a/.. '"),
    "backslash": version(f"{ZIP}, unzipped_target_path: 'a\\b'"),
    "drive": version(f"{ZIP}, unzipped_target_path: 'C:/x'"),
    "control character": version(f'{ZIP}, unzipped_target_path: "a\\tb"'),
    "mirrors without sha256": version(f"{PTH}, mirrors: ['{MIRROR}']"),
    "mirrors with sha256 null": version(f"{PTH}, sha256: , mirrors: ['{MIRROR}']"),
    "mirrors with sha256 blank": version(f"{PTH}, sha256: ' ', mirrors: ['{MIRROR}']"),
    "mirrors of a local file": version(
        f"url: 'file://a.pth', sha256: {SUM}, mirrors: ['{MIRROR}']"
    ),
    "no mirrors": version(f"{SUMMED}, mirrors: []"),
    "mirrors as text": version(f"{SUMMED}, mirrors: '{MIRROR}'"),
    "mirrors blank": version(f"{SUMMED}, mirrors: ' '"),
    "mirrors as mapping": version(f"{SUMMED}, mirrors: {{a: '{MIRROR}'}}"),
    "mirror null": version(f"{SUMMED}, mirrors: ['{MIRROR}', ~]"),
    "mirror blank": version(f"{SUMMED}, mirrors: [' ']"),
    "mirror as number": version(f"{SUMMED}, mirrors: [5]"),
    "mirror as list": version(f"{SUMMED}, mirrors: [['{MIRROR}']]"),
    "local mirror": version(f"{SUMMED}, mirrors: ['file:///mnt/a.pth']"),
    "mirror without host": version(f"{SUMMED}, mirrors: ['https:///a.pth']"),
    "mirror with other scheme": version(f"{SUMMED}, mirrors: ['ftp://example.org/a.pth']"),
    "line break in a mirror": version(f'{SUMMED}, mirrors: ["https://example.org/a\\nb"]'),
}
LOADER_ALONE_REFUSES = {
    "version twice": f"seg: {{versions: {{v: {{{PTH}}}, v: {{{PTH}}}}}}}",
    "unknown default": f"seg: {{default: v2, versions: {{v1: {{{PTH}}}}}}}",
    "port in letters": version("url: 'https://example.com:port/a.pth'"),
    "broken address": version("url: 'https://[::1/a.pth'"),
}
LOADER_ALONE_ACCEPTS = {
    "sha256 of digits without quotes": version(f"{PTH}, sha256: {'1234567890123456' * 4}"),
    "date as default": f"seg: {{default: 2024-01-31, versions: {{2024-01-31: {{{PTH}}}}}}}",
}


def schema_accepts(text):
    return jsonschema.Draft7Validator(SCHEMA).is_valid(yaml.safe_load(text))


@pytest.fixture
def loader_accepts(tmp_path):
    """Ask for every version of every model, and for the default where there is one."""

    def accepts(text):
        path = tmp_path / "models.yaml"
        path.write_text(text)
        try:
            manifest = Manifest(path)
            for model, fields in (yaml.load(text, yaml.BaseLoader) or {}).items():
                names = fields.get("versions") if isinstance(fields, dict) else None
                default = ["default"] if "default" in fields else []
                for asked in [*(names or ["any"]), *default]:
                    manifest.entry(model, asked)
        except (KeyError, ValueError):
            return False
        return True

    return accepts


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_both_accept_a_good_manifest(text, loader_accepts):
    assert (schema_accepts(text), loader_accepts(text)) == (True, True)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_both_refuse_a_bad_manifest(text, loader_accepts):
    assert (schema_accepts(text), loader_accepts(text)) == (False, False)


@pytest.mark.parametrize("text", LOADER_ALONE_REFUSES.values(), ids=LOADER_ALONE_REFUSES)
def test_the_loader_alone_sees_what_no_pattern_tells(text, loader_accepts):
    assert schema_accepts(text)
    assert not loader_accepts(text)


@pytest.mark.parametrize("text", LOADER_ALONE_ACCEPTS.values(), ids=LOADER_ALONE_ACCEPTS)
def test_the_loader_alone_takes_as_text_what_yaml_has_already_changed(text, loader_accepts):
    assert not schema_accepts(text)
    assert loader_accepts(text)
