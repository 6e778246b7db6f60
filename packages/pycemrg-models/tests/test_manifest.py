import re
import textwrap
import traceback
from pathlib import Path

import pytest

from pycemrg.models.manifest import Manifest, file_name, public_url

SUM = "0123456789abcdef" * 4
PASSWORD = "hunter2"


def load(tmp_path, text):
    path = tmp_path / "models.yaml"
    path.write_text(textwrap.dedent(text))
    return Manifest(path)


def one(tmp_path, version, **more):
    """Return the entry of a manifest with one version, given as YAML in one line."""
    return load(tmp_path, f"seg: {{default: v1, versions: {{v1: {version}}}}}").entry("seg")


def test_an_entry_holds_what_the_manifest_says(tmp_path):
    entry = load(
        tmp_path,
        f"""
        seg:
          default: v2.1
          versions:
            v2.1:
              url: "https://example.com/models/seg_v2.1.zip"
              sha256: "{SUM.upper()}"
              unzipped_target_path: "checkpoints/model.pth"
        """,
    ).entry("seg")
    assert (entry.model, entry.version, entry.archive) == ("seg", "v2.1", "zip")
    assert entry.url == "https://example.com/models/seg_v2.1.zip"
    assert entry.sha256 == SUM
    assert entry.target == "checkpoints/model.pth"
    assert str(entry.place) == f"{tmp_path}/models.yaml:5:5"


def test_a_version_is_a_text_and_not_a_number(tmp_path):
    models = load(
        tmp_path,
        """
        seg:
          default: 1.10
          versions:
            1.1: {url: 'https://example.com/old.pth'}
            1.10: {url: 'https://example.com/new.pth'}
        """,
    )
    assert models.entry("seg").url == "https://example.com/new.pth"
    assert models.entry("seg", "1.1").url == "https://example.com/old.pth"


@pytest.mark.parametrize("value", ["null", "~", "", '""', "'  '"])
def test_an_empty_sha256_is_no_sha256(tmp_path, value):
    models = load(
        tmp_path, f"seg: {{default: v, versions: {{v: {{url: file://a.pth, sha256: {value}}}}}}}"
    )
    assert models.entry("seg").sha256 is None


@pytest.mark.parametrize(
    ("url", "archive"),
    [
        pytest.param("https://example.com/a.zip", "zip", id="zip"),
        pytest.param("https://example.com/a.ZIP", "zip", id="upper-case"),
        pytest.param("https://example.com/a.tar.gz", "tar", id="tar.gz"),
        pytest.param("https://example.com/a.tgz", "tar", id="tgz"),
        pytest.param("https://example.com/a.tar", "tar", id="tar"),
        pytest.param("https://example.com/a.tar.bz2", "tar", id="tar.bz2"),
        pytest.param("https://example.com/a.tbz2", "tar", id="tbz2"),
        pytest.param("https://example.com/a.tar.xz", "tar", id="tar.xz"),
        pytest.param("https://example.com/a.txz", "tar", id="txz"),
        pytest.param("https://example.com/a.zip?download=1", "zip", id="query"),
        pytest.param("https://example.com/get?file=a.zip", None, id="suffix-in-the-query-only"),
        pytest.param("https://example.com/a.pth", None, id="pth-although-a-zip-inside"),
        pytest.param("https://example.com/a.gz", None, id="gz-is-no-archive"),
        pytest.param("https://example.com/zip", None, id="no-suffix"),
        pytest.param("file://weights/a.zip", "zip", id="local-zip"),
        pytest.param("file://weights/a.pth", None, id="local-pth"),
    ],
)
def test_the_suffix_of_the_path_says_what_is_an_archive(tmp_path, url, archive):
    entry = one(tmp_path, f"{{url: '{url}', unzipped_target_path: x}}")
    assert entry.archive == archive


@pytest.mark.parametrize(
    ("field", "archive"), [("zip", "zip"), ("tar", "tar"), ("none", None), ("null", "zip")]
)
def test_archive_overrules_the_suffix(tmp_path, field, archive):
    text = f"{{url: 'https://example.com/a.zip', archive: {field}, unzipped_target_path: x}}"
    assert one(tmp_path, text).archive == archive


@pytest.mark.parametrize(
    ("url", "paths"),
    [
        pytest.param("file://weights/a.pth", ["{folder}/weights/a.pth"], id="relative"),
        pytest.param("file://../a.pth", ["{folder}/../a.pth"], id="above"),
        pytest.param("file:///data/a.pth", ["/data/a.pth"], id="absolute"),
        pytest.param("file:/data/a.pth", ["/data/a.pth"], id="one-slash"),
        pytest.param("FILE:///data/a.pth", ["/data/a.pth"], id="upper-case"),
        pytest.param("file:///a%20b.pth", ["/a%20b.pth", "/a b.pth"], id="percent"),
        pytest.param("file:///a b#1?.pth", ["/a b#1?.pth"], id="no-query-in-a-file-name"),
        pytest.param(
            "file://localhost/data/a.pth",
            ["{folder}/localhost/data/a.pth", "/data/a.pth"],
            id="localhost",
        ),
    ],
)
def test_a_file_url_is_read_from_the_folder_of_the_manifest(tmp_path, url, paths):
    entry = one(tmp_path, f"{{url: '{url}'}}")
    assert [str(path) for path in entry.local] == [path.format(folder=tmp_path) for path in paths]


def test_the_folder_of_a_relative_manifest_is_fixed_when_it_is_read(tmp_path, monkeypatch):
    load(tmp_path, "seg: {default: v, versions: {v: {url: 'file://a.pth'}}}")
    monkeypatch.chdir(tmp_path)
    models = Manifest("models.yaml")
    monkeypatch.chdir("/")
    assert models.entry("seg").local == (tmp_path / "a.pth",)


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("checkpoints/model.pth", "checkpoints/model.pth"),
        ("./checkpoints//model.pth", "checkpoints/model.pth"),
        ("checkpoints/", "checkpoints"),
        (".", ""),
    ],
)
def test_a_target_is_a_relative_path(tmp_path, target, meant):
    text = f"{{url: 'https://example.com/a.zip', unzipped_target_path: '{target}'}}"
    assert one(tmp_path, text).target == meant


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        pytest.param("seg: 3", 1, 6, "must be a mapping with 'versions'", id="model-is-a-number"),
        pytest.param("seg:\n  default: v1\n", 1, 1, "has no 'versions'", id="no-versions"),
        pytest.param(
            "seg:\n  default: v1\n  versions: {}\n", 1, 1, "has no 'versions'", id="empty-versions"
        ),
        pytest.param(
            "seg:\n  default: v1\n  versions: [v1]\n", 3, 13, "not a list", id="list-of-versions"
        ),
        pytest.param(
            "seg:\n  versions: {v1: {url: 'file://x'}}\n", 1, 1, "'default'", id="default"
        ),
        pytest.param(
            "seg:\n  default: [v1]\n  versions: {v1: {url: 'file://x'}}\n",
            2,
            12,
            "name of a version",
            id="default-is-a-list",
        ),
        pytest.param(
            "seg:\n  default: v1\n  versions:\n    v1: x.zip\n",
            4,
            9,
            "must be a mapping with 'url'",
            id="version-is-a-text",
        ),
        pytest.param(
            "seg:\n  default: v1\n  versions:\n    v1: {sha256: null}\n", 4, 5, "no 'url'", id="url"
        ),
    ],
)
def test_a_malformed_model_is_refused_with_its_place(tmp_path, text, line, column, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(tmp_path, text).entry("seg")
    assert str(caught.value).startswith(f"{tmp_path}/models.yaml:{line}:{column}: ")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        pytest.param("sha256: abc123", "64 hexadecimal digits", id="short-sha256"),
        pytest.param(f"sha256: {'g' * 64}", "64 hexadecimal digits", id="sha256-of-other-letters"),
        pytest.param(f"sha256: [{SUM}]", "must be a text, not a list", id="sha256-in-a-list"),
        pytest.param("archive: rar", "must be zip, tar or none", id="archive"),
        pytest.param("unzipped_target_path: /etc/x", "inside the archive", id="absolute-target"),
        pytest.param("unzipped_target_path: a/../../x", "inside the archive", id="target-above"),
        pytest.param(r"unzipped_target_path: a\x", "with '/'", id="backslash"),
        pytest.param("unzipped_target_path: 'C:/x'", "inside the archive", id="drive"),
    ],
)
def test_a_malformed_field_is_refused_with_its_place(tmp_path, field, message):
    text = "seg:\n  default: v1\n  versions:\n    v1:\n      url: https://x.org/a.zip\n"
    text += f"      {field}\n"
    if "target" not in field:
        text += "      unzipped_target_path: x\n"
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(tmp_path, text).entry("seg")
    column = 7 + len(field.partition(": ")[0]) + 2
    assert str(caught.value).startswith(f"{tmp_path}/models.yaml:6:{column}: ")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("weights/a.pth", id="no-scheme"),
        pytest.param("ftp://example.com/a.pth", id="ftp"),
        pytest.param("https:///a.pth", id="no-host"),
        pytest.param("http://[::1/a.pth", id="broken-ipv6"),
        pytest.param("http://example.com:port/a.pth", id="port-in-letters"),
        pytest.param("file://", id="no-file"),
        pytest.param('"https://example.com/a\\nb.pth"', id="line-break"),
    ],
)
def test_what_is_no_address_is_refused(tmp_path, url):
    text = url if url.startswith('"') else f"'{url}'"
    with pytest.raises(ValueError, match=r"models\.yaml:1:\d+: 'url' "):
        one(tmp_path, f"{{url: {text}}}")


def test_a_password_in_a_broken_address_stays_out_of_the_traceback(tmp_path):
    with pytest.raises(ValueError, match="'url' is not an address") as caught:
        one(tmp_path, f"{{url: 'https://me:{PASSWORD}/x@host/a.zip'}}")
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_an_archive_without_target_is_refused_with_both_ways_out(tmp_path):
    with pytest.raises(ValueError, match=r"'unzipped_target_path'.*`archive: none`"):
        one(tmp_path, "{url: 'https://example.com/a.zip'}")


def test_a_malformed_entry_leaves_the_others_alone(tmp_path):
    models = load(
        tmp_path,
        """
        broken: 7
        seg:
          versions:
            bad: {sha256: x}
            good: {url: 'file://a.pth'}
        """,
    )
    assert models.entry("seg", "good").version == "good"


def test_an_unknown_model_is_answered_with_what_there_is(tmp_path):
    models = load(tmp_path, "segment_sax: {}\nsegment_lax: {}\ncomment: text\n")
    with pytest.raises(KeyError) as caught:
        models.entry("segment_sx")
    text = caught.value.args[0]
    assert "no model named 'segment_sx' (did you mean 'segment_sax'" in text
    assert text.endswith("there are: segment_sax, segment_lax")


def test_an_unknown_version_is_answered_with_what_there_is(tmp_path):
    models = load(tmp_path, "seg: {default: v2.0, versions: {v1.0: {}, v2.1: {}}}")
    with pytest.raises(KeyError) as caught:
        models.entry("seg", "v3")
    assert caught.value.args[0].endswith("there are: v1.0, v2.1")
    with pytest.raises(
        KeyError, match=r"models\.yaml:1:16: no version of model 'seg' named 'v2\.0'"
    ):
        models.entry("seg")


def test_versions_may_share_fields_through_yaml_merges(tmp_path):
    models = load(
        tmp_path,
        f"""
        common: &common
          url: https://example.com/tools.tar.gz
          sha256: {SUM}
        mesher:
          default: v1
          versions:
            v1: {{<<: *common, unzipped_target_path: bin/mesher}}
        """,
    )
    assert (models.entry("mesher").sha256, models.entry("mesher").target) == (SUM, "bin/mesher")


def test_the_shapes_of_manifests_in_use_are_understood(tmp_path):
    models = load(
        tmp_path,
        f"""
        reconstruction_3d:
          default: v0.1.0
          versions:
            v0.1.0:
              url: "https://example.com/download/v0.1.0-models/reconstruct_params.zip"
              sha256: {SUM}
            local_dev:
              url: "file://weights/reconstruct_params.pth"
              sha256: null # No hash verification needed for local files.
        mesher-linux-x86_64:
          default: "2.0.0"
          versions:
            "2.0.0":
              url: "https://example.com/mesher-2.0.0-linux-x86_64.tar.gz"
              sha256: "{SUM}"  # shared
              unzipped_target_path: "mesher-2.0.0-linux-x86_64/bin/mesher"
            "2.0.0-beta.2":
              url: "https://example.com/mesher-2.0.0-beta.2-linux-x86_64.tar.gz"
              sha256: "{SUM}"
              unzipped_target_path: "mesher-2.0.0-beta.2-linux-x86_64/bin/mesher"
        """,
    )
    local = models.entry("reconstruction_3d", "local_dev")
    assert local.local == (tmp_path / "weights/reconstruct_params.pth",)
    assert (local.sha256, local.archive) == (None, None)
    assert models.entry("mesher-linux-x86_64").archive == "tar"
    assert models.entry("mesher-linux-x86_64", "2.0.0-beta.2").target.endswith("bin/mesher")
    with pytest.raises(ValueError, match="unzipped_target_path"):
        models.entry("reconstruction_3d")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://zenodo.org/records/1/files/seg.zip?download=1", "seg.zip"),
        ("https://example.com/a%20b.pth#part", "a b.pth"),
        ("https://example.com/raw/weights%2Fmodel.pth", "model.pth"),
        ("https://example.com/%2e%2e", "file"),
        ("https://example.com/", "file"),
        ("https://example.com/a%00b.pth", "a_b.pth"),
        ("https://example.com/..%5C..%5Cx.pth", ".._.._x.pth"),
    ],
)
def test_a_file_name_comes_from_the_path_of_the_url(url, name):
    assert file_name(url) == name


def test_a_long_file_name_keeps_its_suffix_and_fits_a_folder(tmp_path):
    name = file_name(f"https://example.com/{'é' * 300}.onnx")
    assert name.endswith("é.onnx")
    Path(tmp_path, name).touch()


def test_a_public_url_has_no_secrets():
    url = "https://user:pass%40word@example.com:8443/a.zip?X-Amz-Signature=0f0f#frag"
    assert public_url(url) == "https://example.com:8443/a.zip"
