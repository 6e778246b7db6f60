import pytest

from pycemrg.models import ModelManager
from pycemrg.models.manifest import Manifest
from pycemrg.models.manifest_problems import problems_of

SUM, OTHER = "ab" * 32, "cd" * 32
PTH = f"url: 'https://example.com/a.pth', sha256: {SUM}"


@pytest.fixture
def problems(tmp_path):
    """Return the findings in a manifest as (code, severity, line, column, message)."""

    def find(text):
        path = tmp_path / "models.yaml"
        path.write_text(text)
        found = problems_of(Manifest(path))
        assert {problem.place.file for problem in found} <= {str(path)}
        return [(each.code, each.severity, *each.place[1:], each.message) for each in found]

    return find


@pytest.fixture
def codes(problems):
    return lambda text: [found[0] for found in problems(text)]


def version(fields):
    """One model with one version, whose fields begin at line 3, column 14."""
    return f"seg:\n  default: v1\n  versions: {{v1: {{{fields}}}}}\n"


def test_a_good_manifest_has_no_problems(tmp_path, problems):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/a.pth").touch()
    text = f"""
seg:
  default: v2
  versions:
    v1: {{{PTH}, mirrors: ['https://example.org/a.pth?download=1'], licence: MIT, size: 3}}
    v2: {{url: 'https://example.com/a.zip', sha256: {OTHER}, unzipped_target_path: a.pth}}
    v3: {{url: 'file://weights/a.pth'}}
    v4: {{url: 'file:///nowhere/on/this/machine.pth', sha256: null}}
other:
  description: nothing
  default: 1.10
  versions:
    1.10: {{{PTH}}}
"""
    assert problems(text) == []
    assert problems("") == []


def test_all_problems_come_at_once_in_the_order_of_the_file(problems):
    text = f"""\
late:
  default: v9
  versions:
    v1:
      url: ftp://example.com/a.zip
      archive: rar
      sha256: {SUM[:-1]}
      mirrors: []
    v2:
      url: https://example.com/b.zip
      unzipped_target_path: ../b
    v3: https://example.com/c.zip
broken: [1]
empty: {{versions: {{}}}}
"""
    assert [found[:4] for found in problems(text)] == [
        ("unknown-default", "error", 2, 12),
        ("faulty-url", "error", 5, 12),
        ("faulty-archive", "error", 6, 16),
        ("faulty-sha256", "error", 7, 15),
        ("faulty-mirrors", "error", 8, 16),
        ("no-sha256", "warning", 9, 5),
        ("faulty-unzipped-target-path", "error", 11, 29),
        ("faulty-version", "error", 12, 9),
        ("faulty-model", "error", 13, 9),
        ("no-versions", "error", 14, 1),
        ("no-default", "warning", 14, 1),
    ]


UNUSABLE = {
    "model as text": "seg: v1",
    "no versions": "seg: {default: v1}",
    "null versions": "seg: {default: v1, versions: }",
    "versions as list": "seg: {default: v1, versions: [v1]}",
    "version as text": "seg: {default: v1, versions: {v1: a.zip}}",
    "version as null": "seg: {default: v1, versions: {v1: }}",
    "no url": version(f"sha256: {SUM}"),
    "url as list": version(f"url: [a], sha256: {SUM}"),
    "no scheme": version(f"url: a.pth, sha256: {SUM}"),
    "port in letters": version(f"url: 'https://example.com:port/a.pth', sha256: {SUM}"),
    "no sha256": version("url: 'https://example.com/a.pth', sha256: abc"),
    "zip without path": version(f"url: 'https://example.com/a.zip', sha256: {SUM}"),
    "tar without path": version(f"{PTH}, archive: tar"),
    "path that leads out": version(f"{PTH}, archive: tar, unzipped_target_path: ../x"),
    "unknown archive": version(f"{PTH}, archive: rar"),
    "mirror that is local": version(f"{PTH}, mirrors: ['file:///mnt/a.pth']"),
    "mirrors of a local file": version(
        f"url: 'file:///a.pth', sha256: {SUM}, mirrors: ['https://example.org/a.pth']"
    ),
    "default as list": f"seg: {{default: [v1], versions: {{v1: {{{PTH}}}}}}}",
    "unknown default": f"seg: {{default: v2, versions: {{v1: {{{PTH}}}}}}}",
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
def test_an_error_says_what_asking_for_the_version_would_raise(tmp_path, text):
    path = tmp_path / "models.yaml"
    path.write_text(text)
    with pytest.raises((ValueError, KeyError)) as caught:
        Manifest(path).entry("seg")
    (found,) = problems_of(Manifest(path))
    assert found.severity == "error"
    assert str(found) == caught.value.args[0]


def test_a_fault_in_one_field_hides_none_in_another(problems):
    both = problems(version("url: 'https://example.com/a.zip', sha256: short"))
    assert [found[0] for found in both] == ["faulty-unzipped-target-path", "faulty-sha256"]
    # A sha256 that is malformed is there, so the mirrors are not to blame.
    one = problems(
        version("url: 'https://example.com/a.pth', sha256: x, mirrors: ['https://b.org/']")
    )
    assert [found[0] for found in one] == ["faulty-sha256"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ("url: a.zip", "faulty-url"),
        (f"url: a.zip, sha256: {SUM}", "faulty-url"),
        (f"{PTH}, archive: rar", "faulty-archive"),
        ("url: 'https://example.com/a.zip', sha256: x, unzipped_target_path: x", "faulty-sha256"),
    ],
)
def test_a_faulty_field_is_compared_with_nothing(codes, fields, code):
    text = f"""
seg:
  default: v1
  versions:
    v1: {{url: 'https://example.com/a.tgz', sha256: {SUM}, unzipped_target_path: x}}
    v2: {{{fields}}}
    v3: {{url: 'https://example.com/c.pth', sha256: '{"0" * 64}'}}
"""
    assert codes(text) == [code]


def test_a_fault_that_versions_share_is_reported_once(codes):
    text = """
seg:
  default: v1
  versions:
    v1: &first {url: 'https://example.com/a.pth', sha256: short}
    v2: {<<: *first, licence: MIT}
"""
    assert codes(text) == ["faulty-sha256"]


def test_a_model_without_default_is_a_warning(problems):
    (found,) = problems(f"seg: {{versions: {{v1: {{{PTH}}}}}}}")
    assert found[:4] == ("no-default", "warning", 1, 1)


def test_a_version_named_default_can_only_be_the_default(problems, codes):
    (found,) = problems(
        f"seg: {{default: v1, versions: {{v1: {{{PTH}}}, default: {{archive: none, {PTH}}}}}}}"
    )
    assert found[:2] == ("version-named-default", "warning")
    assert codes(f"seg: {{default: default, versions: {{default: {{{PTH}}}}}}}") == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://example.com/a.pth", "no-sha256"),
        ("HTTP://example.com/a.pth", "http-without-sha256"),
    ],
)
@pytest.mark.parametrize("none", ["", ", sha256: ", ", sha256: null", ", sha256: ' '"])
def test_what_comes_from_the_network_needs_a_sha256(problems, url, code, none):
    (found,) = problems(version(f"url: '{url}'{none}"))
    assert found[:4] == (code, "warning", 3, 14)
    assert "example.com/a.pth has no 'sha256'" in found[4]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sha265", "sha256"),
        ("SHA256", "sha256"),
        ("sha-256", "sha256"),
        ("mirror", "mirrors"),
        ("unziped_target_path", "unzipped_target_path"),
        ("Archive", "archive"),
    ],
)
def test_a_misspelt_field_of_a_version_is_noticed(problems, written, meant):
    fields = f"url: 'file:///a.pth', {written}: x"
    (found,) = problems(version(fields))
    assert found[:4] == ("unknown-field", "warning", 3, 19 + len("url: 'file:///a.pth', "))
    assert f"{written!r} is not known (did you mean {meant!r}?)" in found[4]


@pytest.mark.parametrize("field", ["size", "title", "license", "md5", "date", "sha256_of_tree"])
def test_other_fields_may_mean_something_to_others(codes, field):
    assert codes(version(f"{PTH}, {field}: x")) == []


def test_a_misspelt_field_of_a_model_is_noticed(problems):
    found = problems(f"seg:\n  defualt: v1\n  version: {{v1: {{{PTH}}}}}\n  title: x\n")
    assert [each[:4] for each in found] == [
        ("no-versions", "error", 1, 1),
        ("no-default", "warning", 1, 1),
        ("unknown-field", "warning", 2, 3),
        ("unknown-field", "warning", 3, 3),
    ]
    assert "did you mean 'default'?" in found[2][4]
    assert "did you mean 'versions'?" in found[3][4]


SECRET = "hunter2hunter2"
SECRETS = [
    f"https://me:{SECRET}@example.com/a.pth",
    f"https://{SECRET}@example.com/a.pth",
    f"https://example.com/a.pth?token={SECRET}",
    f"https://example.com/a.pth?download=1&access_token={SECRET}",
    f"https://example.com/a.pth?X-Amz-Expires=60&X-Amz-Signature={SECRET}",
    f"https://example.com/a.pth?sv=2024&sig={SECRET}",
    f"https://example.com/a.pth?AWSAccessKeyId={SECRET}",
    f"https://example.com/a.pth?APIKEY={SECRET}",
    f"https://example.com/a.pth?x=hf_{SECRET}",
    f"https://example.com/a.pth?ghp_{SECRET}",
    f"https://example.com/a.pth?token_{SECRET}=1",
]


@pytest.mark.parametrize("url", SECRETS)
@pytest.mark.parametrize("total", [f", sha256: {SUM}", "", ", sha256: short"])
def test_a_secret_in_a_url_is_noticed_and_not_repeated(problems, url, total):
    found = problems(version(f"url: '{url}'{total}"))
    (secret,) = [each for each in found if each[0] == "secret-in-url"]
    assert secret[1:4] == ("warning", 3, 24)
    assert "~/.netrc" in secret[4]
    assert SECRET not in str(found)


@pytest.mark.parametrize("url", SECRETS)
def test_a_secret_in_a_mirror_is_noticed_and_not_repeated(problems, url):
    (found,) = problems(version(f"{PTH}, mirrors: ['https://example.org/a.pth', '{url}']"))
    assert found[0] == "secret-in-url"
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    "url",
    [
        "https://zenodo.org/records/1/files/a.pth?download=1",
        "https://example.com/get?file=keys.pth&version=2",
        "https://example.com/get?keyboard=1&monkey=2&rlkey=3",
        "https://example.com/a.pth?token=",
        "https://example.com/a@b.pth",
        "https://[::1/a.pth",
        "file:///a.pth?token=1",
    ],
)
def test_other_addresses_hold_no_secret(codes, url):
    assert "secret-in-url" not in codes(version(f"url: '{url}', sha256: {SUM}"))


def test_a_url_cannot_have_two_sha256(problems):
    url = "https://example.com/a.pth?token=hunter2"
    text = f"""\
a:
  default: v1
  versions:
    v1: {{url: '{url}', sha256: {SUM}}}
    v2: {{url: '{url}', sha256: {SUM.upper()}}}
    v3: {{url: '{url}x', sha256: {OTHER}}}
b:
  default: v1
  versions:
    v1: {{url: '{url}', sha256: {OTHER}}}
    v2: {{url: '{url}'}}
    v3: {{url: '{url}', sha256: short}}
"""
    (found,) = [each for each in problems(text) if each[0] == "conflicting-sha256"]
    assert found[1:4] == ("warning", 10, 5)
    assert "a@v1 (line 4)" in found[4]
    assert "hunter2" not in str(found)


def test_the_same_bytes_are_one_kind_of_archive(problems):
    text = f"""\
seg:
  default: v1
  versions:
    v1: {{url: 'https://example.com/a.zip', sha256: {SUM}, unzipped_target_path: x}}
    v2: {{url: 'https://example.com/a.tgz', sha256: {SUM}, unzipped_target_path: x}}
    v3: {{url: 'https://example.com/b.zip', sha256: {SUM}, unzipped_target_path: y}}
    v4: {{url: 'https://example.com/c.zip', sha256: {SUM}, archive: none}}
    v5: {{url: 'https://example.com/d.tgz', sha256: {OTHER}, unzipped_target_path: x}}
"""
    found = problems(text)
    assert [each[:3] for each in found] == [
        ("conflicting-archive", "warning", 5),
        ("conflicting-archive", "warning", 7),
    ]
    assert "seg@v1 (line 4), which is read as a zip archive" in found[0][4]
    assert "where this is read as a tar archive" in found[0][4]
    assert "where this is read as a plain file" in found[1][4]


def test_a_relative_file_that_is_not_there_is_noticed(tmp_path, problems):
    (tmp_path / "a b.pth").touch()
    text = """\
seg:
  default: v1
  versions:
    v1: {url: 'file://a%20b.pth'}
    v2: {url: 'file://weights/b.zip', unzipped_target_path: x}
    v3: {url: 'file:c.pth'}
    v4: {url: 'file:///nowhere/d.pth'}
    v5: {url: 'file://localhost/nowhere/e.pth'}
    v6: {url: 'file:/nowhere/f.pth'}
"""
    found = problems(text)
    assert [each[:4] for each in found] == [
        ("missing-file", "warning", 5, 15),
        ("missing-file", "warning", 6, 15),
    ]
    assert str(tmp_path / "weights/b.zip") in found[0][4]


def test_a_file_behind_a_barred_folder_may_be_there_for_others(codes, monkeypatch):
    from pycemrg.models import local

    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(local.os, "stat", denied)
    assert codes(version("url: 'file://barred/a.pth'")) == []


def test_a_manager_reports_the_problems_of_its_manifest(tmp_path):
    (tmp_path / "models.yaml").write_text(f"seg: {{versions: {{v1: {{{PTH}}}}}}}\n")
    (found,) = ModelManager(tmp_path / "models.yaml").problems()
    assert str(found).startswith(f"{tmp_path}/models.yaml:1:1: model 'seg' has no 'default'")
