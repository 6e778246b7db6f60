"""Every documented error of every entry point: class, message, exit code, and nothing lost."""

import hashlib
import io
import logging
import os
import re
import socket
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycemrg.data import LabelManager, LabelMapper
from pycemrg.files import ConfigScaffolder, OutputManager
from pycemrg.models import ModelManager
from pycemrg.system import (
    CarpEnvironmentError,
    CarpRunner,
    CommandExecutionError,
    CommandRunner,
)

PYTHON = sys.executable


def message_of(error):
    """What a person reads: `str` of a KeyError would put it in quotes."""
    return error.args[0] if isinstance(error, KeyError) else str(error)


@pytest.fixture
def refused(study, contents):
    """Makes a call that must fail, and looks at its error and at every file of the study."""

    def check(call, error_class, fragments=()):
        before = contents(study)
        with pytest.raises(error_class) as caught:
            call()
        message = message_of(caught.value)
        for fragment in fragments:
            assert re.search(fragment, message), f"{fragment!r} is not in {message!r}"
        assert contents(study) == before
        return caught.value

    return check


def open_labels(path):
    return LabelManager(path)


def open_models(path):
    return ModelManager(path, path.parent.parent / "cache").get_model_path("good")


# Manifests of either kind

ALIASES = "base: &v 1\n" + "".join(f"n{number}: *v\n" for number in range(1001))

MANIFESTS = [
    pytest.param("- LV\n- RV\n", r"x\.yaml:1:1", id="a list"),
    pytest.param("LV\n", r"x\.yaml:1:1", id="a word"),
    pytest.param("a: 71\nb: 72\na: 73\n", r"x\.yaml:3:1", id="a key twice"),
    pytest.param('a: 71\n"a": 72\n', r"x\.yaml:2:1", id="a key twice, once in quotes"),
    pytest.param("o:\n  p:\n    a: 1\n    a: 2\n", r"x\.yaml:4:5", id="a key twice, further in"),
    pytest.param("o: [{a: 1, a: 2}]\n", r"x\.yaml:1:12", id="a key twice, in a list"),
    pytest.param("a: {b: 1\n", r"x\.yaml:\d+:\d+", id="a brace that is not closed"),
    pytest.param("a:\n\tb: 1\n", r"x\.yaml:2:\d+", id="a tab"),
    pytest.param("a: b: c\n", r"x\.yaml:1:\d+", id="two colons"),
    pytest.param("a: 1\nb: *nothing\n", r"x\.yaml:2:\d+", id="an alias of nothing"),
    pytest.param('a: "\\q"\n', r"x\.yaml:1:\d+", id="an unknown escape"),
    pytest.param("a: &a {<<: *a}\n", r"x\.yaml:1:\d+", id="a merge with itself"),
    pytest.param("<<: 5\n", r"x\.yaml:1:\d+", id="a merge with a number"),
    pytest.param("a: &a {b: 1}\nc: {<<: [*a, 5]}\n", r"x\.yaml:2:\d+", id="a merge in part"),
    pytest.param("a: " + "[" * 120 + "]" * 120, r"x\.yaml", id="nested too deeply"),
    pytest.param("{a: " * 50_000, r"x\.yaml", id="nested absurdly deeply"),
    pytest.param("- " * 50_000, r"x\.yaml", id="nested absurdly deeply, in blocks"),
    pytest.param(ALIASES, r"x\.yaml", id="1,001 aliases"),
    pytest.param("a: 1\n" + "#" * 11 * 2**20, r"x\.yaml", id="11 MiB"),
    pytest.param(b"a: \xff\xfe\n", r"x\.yaml", id="bytes that are no text"),
    pytest.param(b"a: \x00\n", r"x\.yaml", id="a null byte"),
]


@pytest.mark.parametrize("load", [open_labels, open_models])
@pytest.mark.parametrize(("content", "place"), MANIFESTS)
def test_a_manifest_that_cannot_be_read_is_refused(load, content, place, study, refused):
    path = study / "x.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: load(path), ValueError, [place])


def test_the_line_of_the_first_of_two_equal_keys_is_told(study, refused):
    path = study / "x.yaml"
    path.write_text("labels:\n  LV: 71\n  RV: 72\n\n  LV: 73\n", encoding="utf-8")
    error = refused(lambda: LabelManager(path), ValueError, [r"x\.yaml:5:3", "LV"])
    assert re.search(r"\b2\b", str(error).replace(str(study), ""))


@pytest.mark.parametrize("load", [open_labels, open_models])
@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x]\n" + "".join(f"a{n}: &a [*a, *a, *a, *a]\n" for n in range(40)),
        "a: &a {x: 1}\n" + "".join(f"a{n}: &a {{<<: [*a, *a, *a, *a]}}\n" for n in range(40)),
    ],
    ids=["lists", "merges"],
)
def test_a_manifest_of_exponential_size_is_read_or_refused_soon(load, text, run_program, study):
    (study / "x.yaml").write_text(text, encoding="utf-8")
    opened = (
        "LabelManager(path)" if load is open_labels else "ModelManager(path).get_model_path('')"
    )
    done = run_program(
        f"""
        from pycemrg.data import LabelManager
        from pycemrg.models import ModelManager
        path = "x.yaml"
        try:
            {opened}
        except (KeyError, ValueError):
            pass
        print("soon")
        """
    )
    assert done.stdout == "soon\n"


def test_a_manifest_cannot_run_code(study):
    path = study / "x.yaml"
    code = "!!python/object/apply:os.mkdir [owned]"
    path.write_text(f"labels:\n  LV: {code}\ngood: {code}\n", encoding="utf-8")
    for load in (open_labels, open_models):
        with pytest.raises(ValueError, match=r"x\.yaml:\d"):
            load(path)
    assert [entry.name for entry in study.iterdir()] == ["x.yaml"]


YAML_PIECES = st.sampled_from(
    [
        *("labels", "groups", "good", "versions", "default", "url", "sha256", "LV", "<<", "NO"),
        *(": ", ":", "- ", "[", "]", "{", "}", ", ", "? ", "&a ", "*a", "|", ">", "---", "..."),
        *("\n", "\n  ", "\n    ", "\t", "#", "'", '"', "\\", "!!int ", "!!set ", "!", "%", "@"),
        *("1", "0x1", "08", "1.0", "true", "null", "~", "=", "\ufeff", "\u0663", "\x85", "\u2028"),
        *("!!binary ", "!!timestamp ", "2001-01-01", "\U0001f9e0", "9" * 5000),
    ]
)


@settings(max_examples=300, deadline=None, database=None)
@given(content=st.lists(YAML_PIECES, max_size=25).map("".join).map(str.encode) | st.binary())
def test_whatever_the_bytes_only_documented_errors_come_out(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "x.yaml"
    path.write_bytes(content)
    try:
        labels = LabelManager(path)
        labels.get_values_from_names(["LV", "groups"])
    except (KeyError, ValueError):
        pass
    for version in ("default", "NO"):
        try:
            ModelManager(path, path.parent / "cache").get_model_path("good", version)
        except (KeyError, ValueError, FileNotFoundError, RuntimeError) as error:
            assert not isinstance(error, RecursionError)  # noqa: PT017


# Label manifests and LabelManager

NO_INTEGERS = ["true", "NO", "1.0", '"2"', "'2'", "08", "010", "1:30", "1_000", "0o10", "0b1"]
NO_INTEGERS += ["1e3", ".inf", "null", "~", "0x", "0xZ", "--1", "one", "\u0663", "2001-01-01"]


@pytest.mark.parametrize("value", NO_INTEGERS)
def test_a_label_value_that_is_no_integer_is_refused(value, study, refused):
    path = study / "labels.yaml"
    path.write_text(f"labels:\n  background: 0\n  LV: {value}\n", encoding="utf-8")
    shown = "nothing|null" if value in ("null", "~") else re.escape(value.strip("'\""))
    fragments = [r"labels\.yaml:3:7", r"\bLV\b", shown, "integer"]
    refused(lambda: LabelManager(path), ValueError, fragments)


@pytest.mark.parametrize(
    ("value", "reason"),
    [("010", "zero|octal"), ("08", "zero|octal"), ('"2"', "quot|text"), ("1:30", "sexagesimal|60")],
)
def test_the_reason_is_told_where_a_value_looks_like_an_integer(value, reason, study):
    path = study / "labels.yaml"
    path.write_text(f"labels:\n  LV: {value}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"labels\.yaml:2:7") as caught:
        LabelManager(path)
    told = str(caught.value).partition("labels.yaml:2:7")[2].replace(value.strip('"'), "")
    assert re.search(reason, told.lstrip(":"), re.IGNORECASE)


LABEL_SHAPES = [
    pytest.param("labels:\n  LV:\n", r":2:\d+", id="no value"),
    pytest.param("labels:\n  LV: [1]\n", ":2:7", id="a list as value"),
    pytest.param("labels:\n  LV: {a: 1}\n", ":2:7", id="a mapping as value"),
    pytest.param("labels: [LV, RV]\n", ":1:9", id="labels are a list"),
    pytest.param("labels: LV\n", ":1:9", id="labels are a word"),
    pytest.param("labels:\n  ? [a, b]\n  : 1\n", r":2:\d+", id="a list as name"),
    pytest.param("labels: {LV: 1}\ngroups: [LV]\n", ":2:9", id="groups are a list"),
    pytest.param("labels: {L: 1, V: 2}\ngroups:\n  g: LV\n", ":3:6", id="a group is a word"),
    pytest.param("labels: {LV: 1}\ngroups:\n  g: {LV: 1}\n", ":3:6", id="a group is a mapping"),
    pytest.param("labels: {LV: 1}\ngroups:\n  g: [LV, [LV]]\n", ":3:11", id="a list in a group"),
    pytest.param("groups:\n  g: [a]\n  h: [a]\n  g: [b]\n", ":4:3", id="a group twice"),
    pytest.param("labels: {a: 1}\ngroups: {}\nlabels: {b: 2}\n", ":3:1", id="labels twice"),
]


@pytest.mark.parametrize(("text", "place"), LABEL_SHAPES)
def test_a_label_manifest_of_the_wrong_shape_is_refused(text, place, study, refused):
    path = study / "labels.yaml"
    path.write_text(text, encoding="utf-8")
    refused(lambda: LabelManager(path), ValueError, [r"labels\.yaml" + place + r"\b"])


LABELS = """\
labels:
  LV_myo: 1
  RV_myo: 2
groups:
  atria:
    - LV_myo
    - LA_wall
  loop:
    - ring
  ring:
    - loop
  self: [self]
"""
AVAILABLE = ["LV_myo", "RV_myo", "atria", "loop", "ring"]


def mapper_of(labels):
    return LabelMapper(labels, labels)


LABEL_CALLS = [
    pytest.param(
        lambda labels: labels.get_value("LVmyo"),
        KeyError,
        [r"labels\.yaml", "'LVmyo'", "LV_myo"],
        id="get_value of an unknown name",
    ),
    pytest.param(
        lambda labels: labels.get_value("atria"),
        KeyError,
        [r"labels\.yaml", "'atria'", "LV_myo"],
        id="get_value of a group",
    ),
    pytest.param(
        lambda labels: labels.get_name(99),
        KeyError,
        [r"labels\.yaml", "99"],
        id="get_name of an unknown value",
    ),
    pytest.param(
        lambda labels: labels.get_values_from_names(["LV_myo", "LVmyo"]),
        KeyError,
        [r"labels\.yaml", "'LVmyo'", *AVAILABLE, r"(?s)LV_myo.*LV_myo"],
        id="an unknown name, with what there is and what is near",
    ),
    pytest.param(
        lambda labels: labels.get_tags_string(["LX"]),
        KeyError,
        ["'LX'", *AVAILABLE],
        id="get_tags_string of an unknown name",
    ),
    pytest.param(
        lambda labels: mapper_of(labels).get_source_tags(["LX"]),
        KeyError,
        ["'LX'", *AVAILABLE],
        id="get_source_tags of an unknown name",
    ),
    pytest.param(
        lambda labels: mapper_of(labels).get_target_tags(["LX"]),
        KeyError,
        ["'LX'", *AVAILABLE],
        id="get_target_tags of an unknown name",
    ),
    pytest.param(
        lambda labels: labels.get_values_from_names(["atria"]),
        KeyError,
        [r"labels\.yaml:7\b", "'LA_wall'", "'atria'", "LV_myo", "RV_myo"],
        id="a group member that does not exist",
    ),
    pytest.param(
        lambda labels: labels.get_values_from_names(["loop"]),
        ValueError,
        [r"labels\.yaml:\d+", "loop", "ring"],
        id="groups that contain each other",
    ),
    pytest.param(
        lambda labels: labels.get_values_from_names(["self"]),
        ValueError,
        [r"labels\.yaml:12\b", "self"],
        id="a group that contains itself",
    ),
    pytest.param(
        lambda labels: labels.get_values_from_names("LV_myo"),
        TypeError,
        ["'LV_myo'", "list"],
        id="a string in place of a list",
    ),
    pytest.param(
        lambda labels: labels.get_tags_string("LV_myo"),
        TypeError,
        ["'LV_myo'", "list"],
        id="a string in place of a list of tags",
    ),
    *(
        pytest.param(
            lambda labels, name=name: labels.get_values_from_names([name]),
            KeyError,
            [re.escape(repr(name))],
            id=f"no number: {name!a}",
        )
        for name in ["2.0", " 2", "2 ", "", "1e3", "0x10", "2_0", "\u0663", "--2", "+"]
    ),
]


@pytest.mark.parametrize(("call", "error_class", "fragments"), LABEL_CALLS)
def test_a_wrong_question_about_labels(call, error_class, fragments, study, refused):
    (study / "labels.yaml").write_text(LABELS, encoding="utf-8")
    labels = LabelManager("labels.yaml")
    refused(lambda: call(labels), error_class, fragments)
    assert labels.get_value("LV_myo") == 1


def test_a_label_manifest_that_is_not_there(refused):
    refused(lambda: LabelManager("config/labels.yaml"), FileNotFoundError, [r"config.labels\.yaml"])


# Model manifests and ModelManager

GOOD_MODEL = "good:\n  default: v1\n  versions:\n    v1: {url: 'file://net.pth'}\n"
SHA = "0123456789abcdef" * 4

# What follows `bad:` in a manifest; the name of the field that the message must hold.
MALFORMED = [
    pytest.param(" {default: v1}", "versions", id="no versions"),
    pytest.param(" {default: v1, versions: }", "versions", id="versions are nothing"),
    pytest.param(" {default: v1, versions: [v1]}", "versions", id="versions are a list"),
    pytest.param(" {default: v1, versions: v1}", "versions", id="versions are a word"),
    pytest.param(" 5", "bad", id="a number"),
    pytest.param("", "bad", id="nothing"),
    pytest.param(" [v1]", "bad", id="a list"),
    pytest.param(" {versions: {v1: {url: 'file://net.pth'}}}", "default", id="no default"),
    pytest.param(
        " {default: [v1], versions: {v1: {url: 'file://net.pth'}}}", "default", id="a list default"
    ),
    pytest.param(" {default: v1, versions: {v1: 'file://net.pth'}}", "v1", id="a bare address"),
    pytest.param(" {default: v1, versions: {v1: }}", "v1", id="an empty version"),
    *(
        pytest.param(f" {{default: v1, versions: {{v1: {{{version}}}}}}}", field, id=label)
        for label, field, version in [
            ("no url", "url", f"sha256: {SHA}"),
            ("an empty url", "url", "url: "),
            ("a list of urls", "url", "url: ['file://net.pth']"),
            ("a url without text", "url", "url: ''"),
            ("a sha256 with 63 digits", "sha256", f"url: 'file://net.pth', sha256: {SHA[1:]}"),
            ("a sha256 that is no hex", "sha256", f"url: 'file://net.pth', sha256: g{SHA[1:]}"),
            ("an ellipsis", "sha256", "url: 'file://net.pth', sha256: abc123def456..."),
            ("a list of sha256", "sha256", f"url: 'file://net.pth', sha256: [{SHA}]"),
            ("an archive without target", "unzipped_target_path", "url: 'file://m.zip'"),
            ("a tar without target", "unzipped_target_path", "url: 'https://h.invalid/m.tar.gz'"),
            (
                "an archive with an empty target",
                "unzipped_target_path",
                "url: 'file://m.zip', unzipped_target_path: ",
            ),
            (
                "a target outside",
                "unzipped_target_path",
                "url: 'file://m.zip', unzipped_target_path: ../net.pth",
            ),
            (
                "a target outside, further in",
                "unzipped_target_path",
                "url: 'file://m.zip', unzipped_target_path: a/../../net.pth",
            ),
            (
                "an absolute target",
                "unzipped_target_path",
                "url: 'file://m.zip', unzipped_target_path: /etc/passwd",
            ),
            (
                "a list of targets",
                "unzipped_target_path",
                "url: 'file://m.zip', unzipped_target_path: [net.pth]",
            ),
        ]
    ),
]


@pytest.fixture
def model_files(study, zip_up):
    (study / "net.pth").write_bytes(b"weights")
    zip_up(study / "m.zip", {"net.pth": b"weights"})
    return study


@pytest.mark.parametrize(("entry", "field"), MALFORMED)
def test_a_malformed_model_is_refused_and_the_others_work(entry, field, model_files, refused):
    path = model_files / "models.yaml"
    path.write_text(f"{GOOD_MODEL}bad:{entry}\n", encoding="utf-8")
    manager = ModelManager(path, model_files.parent / "cache")
    assert manager.get_model_path("good") == model_files / "net.pth"
    fragments = [r"models\.yaml:[56](:\d+)?\b", rf"\b{field}\b"]
    refused(lambda: manager.get_model_path("bad"), ValueError, fragments)
    assert manager.get_model_path("good") == model_files / "net.pth"


def test_a_model_without_default_works_when_its_version_is_asked_for(model_files):
    path = model_files / "models.yaml"
    path.write_text("m: {versions: {v1: {url: 'file://net.pth'}}}\n", encoding="utf-8")
    assert ModelManager(path).get_model_path("m", "v1") == model_files / "net.pth"


UNKNOWN_MODELS = [
    pytest.param(("sag",), ["'sag'", "good", "other"], id="model"),
    pytest.param(("good", "v9"), ["'v9'", "good", "v1"], id="version"),
    pytest.param(("other",), ["'v3'", "other", "v2"], id="version named by default"),
]


@pytest.mark.parametrize(("question", "fragments"), UNKNOWN_MODELS)
def test_an_unknown_model_or_version(question, fragments, model_files, refused):
    path = model_files / "models.yaml"
    path.write_text(
        f"{GOOD_MODEL}other: {{default: v3, versions: {{v2: {{url: 'file://net.pth'}}}}}}\n",
        encoding="utf-8",
    )
    manager = ModelManager(path, model_files.parent / "cache")
    refused(lambda: manager.get_model_path(*question), KeyError, [r"models\.yaml", *fragments])


def test_a_model_manifest_that_is_not_there(study, refused):
    def ask():
        ModelManager("config/models.yaml", study.parent / "cache").get_model_path("m")

    refused(ask, FileNotFoundError, [r"config.models\.yaml"])


def ask_for(version, study, cache=None):
    """Asks for the one version of the one model of a manifest, written as YAML."""
    text = f"m:\n  default: v1\n  versions:\n    v1: {version}\n"
    (study / "models.yaml").write_text(text, encoding="utf-8")
    manager = ModelManager(study / "models.yaml", cache or study.parent / "cache")
    return lambda: manager.get_model_path("m")


@pytest.mark.parametrize("name", ["gone.zip", "gone.pth"])
def test_a_local_file_that_is_not_there(name, study, refused):
    version = f"{{url: 'file://local/{name}', unzipped_target_path: net.pth}}"
    refused(ask_for(version, study), FileNotFoundError, [re.escape(f"local/{name}")])


@pytest.mark.parametrize("name", ["m.zip", "net.pth"])
@pytest.mark.parametrize("scheme", ["file", "http"])
def test_a_wrong_sha256(scheme, name, model_files, website, refused, contents):
    payload = (model_files / name).read_bytes()
    (website.folder / name).write_bytes(payload)
    url = f"file://{name}" if scheme == "file" else f"{website.url}/{name}"
    version = f"{{url: '{url}', sha256: {SHA}, unzipped_target_path: net.pth}}"
    actual = hashlib.sha256(payload).hexdigest()
    fragments = [re.escape(name), SHA, actual]
    error = refused(ask_for(version, model_files), OSError, fragments)
    assert isinstance(error, RuntimeError)
    assert not isinstance(error, FileNotFoundError)
    kept = contents(model_files.parent / "cache") if scheme == "http" else {}
    assert not any(b"weights" in (content or b"") for content in kept.values())
    refused(ask_for(version, model_files), OSError, fragments)


def write_tar(path, member, link="", kind=tarfile.SYMTYPE):
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(member)
        if link:
            entry.type, entry.linkname = kind, link
        archive.addfile(entry, io.BytesIO())


def write_zip_with_link(path, member, link):
    entry = zipfile.ZipInfo(member)
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, link)


def write_zip(path, *members):
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, b"evil")


ARCHIVES = [
    pytest.param("m.zip", lambda path: path.write_bytes(b"<html>"), id="no zip"),
    pytest.param("m.tar.gz", lambda path: path.write_bytes(b"<html>"), id="no tar"),
    pytest.param("m.zip", lambda path: path.write_bytes(b""), id="an empty file"),
    pytest.param("m.zip", lambda path: write_zip(path, "net.pth", "../evil"), id="zip, .."),
    pytest.param("m.zip", lambda path: write_zip(path, "net.pth", "/tmp/evil"), id="zip, absolute"),
    pytest.param("m.zip", lambda path: write_zip(path, "net.pth", "a\\evil"), id="zip, backslash"),
    pytest.param("m.zip", lambda path: write_zip(path, "net.pth", "NET.pth"), id="zip, case"),
    pytest.param(
        "m.zip", lambda path: write_zip_with_link(path, "net.pth", "../../x"), id="zip, link up"
    ),
    pytest.param(
        "m.zip", lambda path: write_zip_with_link(path, "net.pth", "/etc/passwd"), id="zip, link"
    ),
    pytest.param("m.tar.gz", lambda path: write_tar(path, "../evil"), id="tar, .."),
    pytest.param("m.tar.gz", lambda path: write_tar(path, "/evil"), id="tar, absolute"),
    pytest.param(
        "m.tar.gz", lambda path: write_tar(path, "net.pth", "/etc/passwd"), id="tar, link"
    ),
    pytest.param("m.tar.gz", lambda path: write_tar(path, "net.pth", "../../x"), id="tar, link up"),
    pytest.param(
        "m.tar.gz",
        lambda path: write_tar(path, "net.pth", "../../models.yaml", tarfile.LNKTYPE),
        id="tar, hard link up",
    ),
    pytest.param(
        "m.tar.gz", lambda path: write_tar(path, "net.pth", "x", tarfile.CHRTYPE), id="tar, device"
    ),
]


@pytest.mark.parametrize(("name", "write"), ARCHIVES)
def test_an_archive_that_cannot_be_extracted(name, write, study, refused, contents):
    write(study / name)
    version = f"{{url: 'file://{name}', unzipped_target_path: net.pth}}"
    error = refused(ask_for(version, study), RuntimeError, [re.escape(name)])
    assert not isinstance(error, OSError), "it would read as a hash mismatch"
    left = contents(study.parent)
    assert [path for path in left if path.endswith(("evil", "net.pth"))] == []


def test_an_archive_without_its_target_names_what_is_near(study, zip_up, refused):
    zip_up(study / "m.zip", {"checkpoints/model.pth": b"weights", "README": b"text"})
    version = "{url: 'file://m.zip', unzipped_target_path: checkpoint/model.pth}"
    fragments = ["checkpoint/model.pth", "checkpoints/model.pth", r"m\.zip"]
    error = refused(ask_for(version, study), RuntimeError, fragments)
    assert not isinstance(error, OSError)


def test_an_address_that_is_not_found(study, website, refused):
    version = f"{{url: '{website.url}/gone.zip?token=secret', unzipped_target_path: net.pth}}"
    error = refused(ask_for(version, study), RuntimeError, ["404", r"gone\.zip"])
    assert not isinstance(error, OSError), "it would read as a hash mismatch"
    assert "secret" not in str(error)


def test_a_server_that_does_not_answer(study, website, refused):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        version = f"{{url: 'http://127.0.0.1:{port}/m.zip', unzipped_target_path: net.pth}}"
        error = refused(ask_for(version, study), RuntimeError, [r"m\.zip"])
    assert not isinstance(error, OSError), "it would read as a hash mismatch"


def test_a_cache_that_cannot_be_written(model_files, refused):
    (model_files / "cache").write_bytes(b"a file, not a folder")
    version = "{url: 'file://m.zip', unzipped_target_path: net.pth}"
    refused(ask_for(version, model_files, model_files / "cache"), RuntimeError, ["cache"])


# ConfigScaffolder and OutputManager

MODELS, LABELS_STARTER = "create_models_manifest", "create_labels_manifest"

SCAFFOLDS = [
    pytest.param(MODELS, ["mine.yaml"], {}, FileExistsError, "mine.yaml", id="models, existing"),
    pytest.param(
        LABELS_STARTER, ["mine.yaml"], {}, FileExistsError, "mine.yaml", id="labels, existing"
    ),
    pytest.param(
        LABELS_STARTER, ["x.yaml"], {"num_labels": 0}, ValueError, "num_labels.*0", id="no labels"
    ),
    pytest.param(
        LABELS_STARTER, ["x.yaml"], {"num_labels": -3}, ValueError, "num_labels.*-3", id="-3 labels"
    ),
    pytest.param(
        LABELS_STARTER, ["x.yaml"], {"num_groups": 0}, ValueError, "num_groups.*0", id="no groups"
    ),
    pytest.param(
        LABELS_STARTER,
        ["x.yaml"],
        {"num_groups": 4},
        ValueError,
        "num_groups.*4",
        id="4 groups of 3",
    ),
    pytest.param(
        LABELS_STARTER,
        ["mine.yaml", True],
        {"num_labels": 0},
        ValueError,
        "num_labels",
        id="no labels, in place of an existing file",
    ),
    pytest.param(MODELS, ["mine.yaml/x.yaml"], {}, OSError, "mine.yaml", id="models, in a file"),
    pytest.param(
        LABELS_STARTER, ["mine.yaml/x.yaml"], {}, OSError, "mine.yaml", id="labels, in a file"
    ),
    pytest.param(MODELS, ["folder", True], {}, OSError, "folder", id="models, over a folder"),
    pytest.param(
        LABELS_STARTER, ["folder", True], {}, OSError, "folder", id="labels, over a folder"
    ),
]


@pytest.mark.parametrize(("method", "arguments", "options", "error_class", "named"), SCAFFOLDS)
def test_a_starter_manifest_that_is_not_written(
    method, arguments, options, error_class, named, study, refused
):
    (study / "mine.yaml").write_bytes(b"mine\r\n")
    (study / "folder").mkdir()
    (study / "folder/mine.txt").write_bytes(b"mine")
    fragments = [named]
    if error_class is FileExistsError:
        fragments.append("overwrite=True")
    scaffolder = ConfigScaffolder()
    refused(lambda: getattr(scaffolder, method)(*arguments, **options), error_class, fragments)


OUTPUTS = [
    pytest.param("case", "", "suffix", id="an empty suffix"),
    pytest.param("case", None, "None", id="no suffix"),
    pytest.param("case", 7, "7", id="a number"),
    pytest.param("case", b".vtk", "vtk", id="bytes"),
    pytest.param("../case", ".vtk", r"\.\./case", id="a prefix that leaves the folder"),
    pytest.param("case", "/../../x.vtk", r"x\.vtk", id="a suffix that leaves the folder"),
]


@pytest.mark.parametrize(("prefix", "suffix", "fragment"), OUTPUTS)
def test_an_output_path_that_is_not_made(prefix, suffix, fragment, study, refused):
    (study / "out").mkdir()
    refused(lambda: OutputManager("out", prefix).get_path(suffix), ValueError, [fragment])


def test_an_output_folder_that_is_a_file(study, refused):
    (study / "out").write_bytes(b"mine")
    refused(lambda: OutputManager("out", "case"), OSError, ["out"])


# CommandRunner


def failing(program, *arguments):
    return [PYTHON, "-c", program, *arguments]


SAYS_NO = "import sys; print('step 1'); sys.exit('no licence')"

COMMANDS = [
    pytest.param(
        lambda run: run(failing(SAYS_NO, "two words")),
        CommandExecutionError,
        ["exit code 1", "'two words'", "no licence"],
        id="a failure",
    ),
    pytest.param(
        lambda run: run(failing(SAYS_NO), ignore_errors=["another text", "step 1"]),
        CommandExecutionError,
        ["no licence"],
        id="a failure that is not the one to ignore",
    ),
    pytest.param(
        lambda run: run(failing(SAYS_NO), ["out.vtk"]),
        CommandExecutionError,
        ["no licence"],
        id="a failure without its outputs",
    ),
    pytest.param(
        lambda run: run(failing("import os; os.kill(os.getpid(), 15)")),
        CommandExecutionError,
        ["SIGTERM"],
        id="a signal",
    ),
    pytest.param(
        lambda run: run(failing(""), [Path("a.vtk"), Path("mine.txt"), Path("b.vtk")]),
        FileNotFoundError,
        [r"a\.vtk", r"b\.vtk"],
        id="two missing outputs",
    ),
    pytest.param(
        lambda run: run(failing(SAYS_NO), [Path("a.vtk")], ignore_errors=["no licence"]),
        FileNotFoundError,
        [r"a\.vtk"],
        id="a missing output of an ignored failure",
    ),
    pytest.param(
        lambda run: run(["no-such-solver"]),
        FileNotFoundError,
        ["no-such-solver", "PATH"],
        id="a missing program",
    ),
    pytest.param(
        lambda run: run(failing(""), cwd=Path("no-such-folder")),
        OSError,
        ["no-such-folder"],
        id="a missing working directory",
    ),
    pytest.param(
        lambda run: run("ls -la"), TypeError, ["'ls -la'", "list|sequence"], id="a string"
    ),
    pytest.param(
        lambda run: run(failing(SAYS_NO), ignore_errors="no licence"),
        TypeError,
        ["ignore_errors"],
        id="a string to ignore",
    ),
    pytest.param(
        lambda run: run(failing(SAYS_NO), ignore_errors=[""]),
        ValueError,
        ["ignore_errors"],
        id="an empty string to ignore",
    ),
]


@pytest.mark.parametrize(("call", "error_class", "fragments"), COMMANDS)
def test_a_command_that_fails(call, error_class, fragments, study, refused):
    (study / "mine.txt").write_bytes(b"mine")
    error = refused(lambda: call(CommandRunner().run), error_class, fragments)
    if error_class is CommandExecutionError:
        assert type(error) is CommandExecutionError
        assert (type(error.returncode), type(error.stdout), type(error.stderr)) == (int, str, str)


def test_what_a_failed_command_leaves_to_its_caller(refused):
    error = refused(lambda: CommandRunner().run(failing(SAYS_NO)), CommandExecutionError)
    assert (error.returncode, error.stdout, error.stderr) == (1, "step 1\n", "no licence\n")
    program = "import os; os.kill(os.getpid(), 15)"
    error = refused(lambda: CommandRunner().run(failing(program)), CommandExecutionError)
    assert error.returncode == -15


def test_a_missing_output_is_no_failed_command(refused):
    error = refused(lambda: CommandRunner().run(failing(""), ["out.vtk"]), FileNotFoundError)
    assert not isinstance(error, CommandExecutionError)


def test_the_message_ends_with_the_last_20_lines_of_stderr(refused):
    program = "import sys; sys.exit('\\n'.join(f'line {n} of 50' for n in range(1, 51)))"
    error = refused(lambda: CommandRunner().run(failing(program)), CommandExecutionError)
    assert re.findall(r"line (\d+) of 50\b", str(error)) == [str(n) for n in range(31, 51)]
    assert error.stderr.count("\n") == 50


def test_an_ignored_failure_is_a_warning(caplog):
    output = CommandRunner().run(failing(SAYS_NO), ignore_errors=["no licence"])
    assert output == "step 1\n"
    assert [r.levelno for r in caplog.records if r.levelno >= logging.WARNING] == [logging.WARNING]


# CarpRunner

REQUIRED_VARIABLES = ["PATH", "LD_LIBRARY_PATH", "CARPENTRY_LICENSE", "CARPUTILS_SETTINGS"]

BROKEN_CONFIGS = [
    pytest.param("{config}if then\n", ["syntax error"], id="no bash"),
    pytest.param("echo no libraries >&2\nexit 3\n", ["no libraries"], id="exit"),
    pytest.param("echo no libraries >&2\nreturn 3\n", ["no libraries", "3"], id="return 3"),
    pytest.param("echo no libraries >&2\nreturn 1\n", ["no libraries"], id="return 1, early"),
    pytest.param("{config}return 2\n", ["2"], id="return 2, at the end"),
    pytest.param("{config}set -e\nls /no/such/module\n", ["/no/such/module"], id="set -e"),
    pytest.param("", REQUIRED_VARIABLES[1:], id="an empty file"),
    *(
        pytest.param(f"{{config}}unset {name}\n", [rf"\b{name}\b"], id=f"no {name}")
        for name in REQUIRED_VARIABLES
    ),
]

CARP_CALLS = [
    pytest.param(lambda carp: carp.carp_env, id="carp_env"),
    pytest.param(lambda carp: carp.run(["openCARP"]), id="run"),
    pytest.param(lambda carp: carp.reload_environment(), id="reload_environment"),
    pytest.param(lambda carp: carp.validate_command_exists("openCARP"), id="validate"),
    pytest.param(lambda carp: carp.get_license_path(), id="get_license_path"),
    pytest.param(lambda carp: carp.get_carputils_settings_path(), id="get_carputils_settings_path"),
]


@pytest.fixture
def bundle(make_carpentry, study):
    return make_carpentry(study / "carpentry_bundle")


@pytest.mark.parametrize(("text", "fragments"), BROKEN_CONFIGS)
def test_a_carpentry_environment_that_cannot_be_loaded(text, fragments, bundle, refused):
    bundle.write_text(text.replace("{config}", bundle.read_text()), encoding="utf-8")
    carp = CarpRunner(CommandRunner(), bundle)
    error = refused(lambda: carp.carp_env, CarpEnvironmentError, [r"config\.sh", *fragments])
    assert isinstance(error, RuntimeError)


def test_a_false_test_at_the_end_of_config_sh_is_a_warning(bundle, caplog):
    with bundle.open("a", encoding="utf-8") as config:
        config.write("echo no modules here >&2\nfalse\n")
    carp = CarpRunner(CommandRunner(), bundle)
    assert carp.run(["cusummary"]).startswith("settings: ")
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "no modules here" in warnings[0]


@pytest.mark.parametrize("call", CARP_CALLS)
def test_everything_that_needs_the_environment_says_that_it_is_broken(call, bundle, refused):
    bundle.write_text("exit 1\n", encoding="utf-8")
    carp = CarpRunner(CommandRunner(), bundle)
    refused(lambda: call(carp), CarpEnvironmentError, [r"config\.sh"])
    assert carp.get_carp_path("bin") == bundle.parent / "bin"


def test_a_failed_reload_keeps_nothing(bundle, refused):
    carp = CarpRunner(CommandRunner(), bundle)
    assert carp.carp_env["CARPENTRY_LICENSE"]
    good = bundle.read_bytes()
    bundle.write_text("exit 1\n", encoding="utf-8")
    refused(carp.reload_environment, CarpEnvironmentError)
    refused(lambda: carp.carp_env, CarpEnvironmentError)
    bundle.write_bytes(good)
    carp.reload_environment()
    assert carp.carp_env["CARPENTRY_LICENSE"]


@pytest.mark.parametrize("name", ["gone/config.sh", "gone.sh"])
def test_a_config_file_that_is_not_there(name, refused):
    refused(lambda: CarpRunner(CommandRunner(), name), FileNotFoundError, [re.escape(name)])


CARP_COMMANDS = [
    pytest.param(["openCARP", "--help"], [], CommandExecutionError, "exit code 1", id="a failure"),
    pytest.param(["meshtool"], ["out.vtk"], FileNotFoundError, r"out\.vtk", id="no output"),
    pytest.param(["bench"], [], FileNotFoundError, "bench", id="a missing program"),
    pytest.param("cusummary", [], TypeError, "'cusummary'", id="a string"),
]


@pytest.mark.parametrize(("command", "outputs", "error_class", "fragment"), CARP_COMMANDS)
def test_a_carpentry_command_that_fails(
    command, outputs, error_class, fragment, bundle, refused, study
):
    carp = CarpRunner(CommandRunner(), bundle)
    refused(lambda: carp.run(command, outputs, study), error_class, [fragment])


def test_no_installation_is_none_and_no_error(study, monkeypatch):
    (study / "a/config.sh").mkdir(parents=True)
    (study / "b").mkdir()
    assert CarpRunner.find_installation([study / "a", study / "b", study / "gone"]) is None
    if not any(Path(folder).exists() for folder in ("/opt", "/usr/local/carpentry_bundle")):
        assert CarpRunner.find_installation() is None


# The command line

# Arguments, and what stderr must hold. `mine.yaml`, `models.yaml`, `labels.yaml`, the folder
# `folder` and the study `heart` exist and hold what must not be lost.
FAILURES = [
    pytest.param(["init-models"], ["models.yaml", "--force"], id="models.yaml exists"),
    pytest.param(["init-labels"], ["labels.yaml", "--force"], id="labels.yaml exists"),
    pytest.param(["init-models", "-o", "mine.yaml"], ["mine.yaml", "--force"], id="models, -o"),
    pytest.param(["init-labels", "-o", "mine.yaml"], ["mine.yaml", "--force"], id="labels, -o"),
    pytest.param(
        ["init-labels", "--output", "mine.yaml", "--num-labels", "10", "--num-groups", "3"],
        ["mine.yaml", "--force"],
        id="labels, all options but --force",
    ),
    pytest.param(["init-models", "-o", "mine.yaml/x.yaml"], ["mine.yaml"], id="models, in a file"),
    pytest.param(["init-labels", "-o", "mine.yaml/x.yaml"], ["mine.yaml"], id="labels, in a file"),
    pytest.param(["init", "heart"], ["heart", "--force"], id="the study exists"),
    pytest.param(["init", "mine.yaml"], ["mine.yaml"], id="the study is a file"),
]

WRONG_USAGE = [
    pytest.param(["init-labels", "--num-labels", "ten"], ["--num-labels", "ten"], id="ten labels"),
    pytest.param(["init-labels", "--num-groups", "1.5"], ["--num-groups", "1.5"], id="1.5 groups"),
    pytest.param(["init-labels", "--num-labels"], ["--num-labels"], id="no number"),
    pytest.param(["init-models", "--output"], ["--output"], id="no path"),
    pytest.param(["init-labels", "-o"], ["-o"], id="no path for -o"),
    pytest.param(["init-models", "--num-labels", "3"], ["--num-labels"], id="another's option"),
    pytest.param(["init-models", "--forced"], ["--forced"], id="an unknown option"),
    pytest.param(["init-models", "x.yaml"], ["x.yaml"], id="a stray argument, models"),
    pytest.param(["init-labels", "x.yaml"], ["x.yaml"], id="a stray argument, labels"),
    pytest.param(["init"], ["NAME"], id="a study without a name"),
    pytest.param(["init", "a", "b"], ["b"], id="a study with two names"),
    pytest.param(["init", "a", "--src"], ["--src"], id="an unknown option of init"),
    pytest.param(["init-model"], ["init-model"], id="an unknown command"),
    pytest.param(["--no-such-option"], ["--no-such-option"], id="an unknown option of all"),
]

# Whether these are wrong usage (2) or cannot be done (1) is a matter of taste.
EITHER = [
    pytest.param(["init-labels", "--num-labels", "0"], ["num.labels", r"\b0\b"], id="0 labels"),
    pytest.param(["init-labels", "--num-labels", "-2"], ["num.labels", "-2"], id="-2 labels"),
    pytest.param(["init-labels", "--num-groups", "0"], ["num.groups", r"\b0\b"], id="0 groups"),
    pytest.param(["init-labels", "--num-groups", "4"], ["num.groups", "4"], id="4 groups of 3"),
    pytest.param(["init-models", "-o", "folder"], ["folder"], id="models, a folder"),
    pytest.param(["init-labels", "-o", "folder"], ["folder"], id="labels, a folder"),
    pytest.param(
        ["init", "a", "--parent-dir", "mine.yaml"], [r"mine\.yaml"], id="parent is a file"
    ),
]


@pytest.fixture
def lived_in(study):
    (study / "folder").mkdir()
    (study / "heart/scripts").mkdir(parents=True)
    for name in (
        *("mine.yaml", "models.yaml", "labels.yaml", "folder/mine.txt"),
        *("heart/README.md", "heart/scripts/run_case.py", "heart/notes.txt"),
    ):
        (study / name).write_bytes(f"what is mine in {name}\r\n".encode())
    return study


@pytest.mark.parametrize(("arguments", "fragments"), FAILURES)
def test_what_cannot_be_done_exits_with_1(arguments, fragments, run_cli, lived_in, contents):
    before = contents(lived_in)
    done = run_cli(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for fragment in fragments:
        assert fragment in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(lived_in) == before


@pytest.mark.parametrize(("arguments", "fragments"), FAILURES)
def test_debug_shows_the_traceback(arguments, fragments, run_cli, lived_in, contents):
    before = contents(lived_in)
    done = run_cli("--debug", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback (most recent call last)" in done.stderr
    assert fragments[0] in done.stderr
    assert contents(lived_in) == before


@pytest.mark.parametrize(("arguments", "fragments"), WRONG_USAGE)
def test_wrong_usage_exits_with_2(arguments, fragments, run_cli, lived_in, contents):
    before = contents(lived_in)
    done = run_cli(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    for fragment in fragments:
        assert fragment in done.stderr
    assert contents(lived_in) == before


@pytest.mark.parametrize(("arguments", "fragments"), EITHER)
def test_a_wrong_value_of_an_option_is_refused(arguments, fragments, run_cli, lived_in, contents):
    before = contents(lived_in)
    for command in (arguments, [*arguments, "--force"]):
        done = run_cli(*command)
        assert done.returncode in (1, 2)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        for fragment in fragments:
            assert re.search(fragment, done.stderr), done.stderr
        assert contents(lived_in) == before


def test_force_replaces_the_own_files_of_a_study_and_keeps_all_others(run_cli, lived_in):
    done = run_cli("init", "heart", "--force")
    assert done.returncode == 0, done.stderr
    heart = lived_in / "heart"
    assert (heart / "notes.txt").read_bytes() == b"what is mine in heart/notes.txt\r\n"
    assert b"what is mine" not in (heart / "scripts/run_case.py").read_bytes()


@pytest.mark.parametrize("command", ["init-models", "init-labels"])
def test_a_folder_that_may_not_be_written(command, run_cli, study):
    locked = study / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):
        pytest.skip("root may write everywhere")
    done = run_cli(command, "-o", "locked/x.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "locked" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(locked.iterdir()) == []
