import pytest
import yaml

from pycemrg.core import manifests
from pycemrg.models.manifest import Manifest
from pycemrg.models.new_entry import NewEntry

SHA256 = "0123456789" * 6 + "abcd"


@pytest.fixture
def loaded(tmp_path):
    """Loads the lines of an entry as a manifest."""

    def load(entry):
        path = tmp_path / "models.yaml"
        path.write_text(entry.to_yaml(), encoding="utf-8")
        return Manifest(path)

    return load


@pytest.mark.parametrize(
    "name",
    ["seg", "1.10", "NO", "~", "null", "<<", "a: b", "#1", "é", "- x", "{a", "a b", "'", "0x1"],
)
def test_names_are_read_back_as_they_are_by_us_and_by_any_yaml(loaded, name):
    entry = NewEntry(name, name, "https://example.com/seg.pth", SHA256, 3)
    assert loaded(entry).entry(name).version == name
    others = yaml.safe_load(entry.to_yaml())
    assert others[name]["default"] == name
    assert list(others[name]["versions"]) == [name]


def test_all_fields_are_read_back(loaded):
    url = "https://example.com/seg%20v2?download=1&name=a: b #c"
    entry = NewEntry("seg", "v1", url, SHA256, 3, "zip", "checkpoints/best: 1.pth")
    read = loaded(entry).entry("seg")
    assert (read.url, read.sha256, read.archive) == (url, SHA256, "zip")
    assert read.target == "checkpoints/best: 1.pth"


def test_an_entry_without_a_choice_lists_the_members_and_does_not_load(loaded):
    members = ("a.pth", "b\u2028c: evil", *(f"{number}.txt" for number in range(30)))
    entry = NewEntry("seg", "v1", "https://example.com/seg.zip", SHA256, 3, members=members)
    assert not entry.is_complete
    comment = [line for line in entry.to_yaml().splitlines() if line.startswith("        # ")]
    assert comment[0].strip() == "# Choose one of the 32 files, a folder of them, or . for all:"
    assert comment[1:3] == ['        # "a.pth"', '        # "b\\Lc: evil"']
    assert comment[-1].strip() == "# ... and 12 more"
    assert len(comment) == 22
    with pytest.raises(ValueError, match="an archive needs 'unzipped_target_path'"):
        loaded(entry).entry("seg")


def test_the_comment_can_be_pasted_as_a_value():
    entry = NewEntry("seg", "v1", "https://example.com/a.zip", SHA256, 3, members=('a" \\: .pth',))
    text = entry.to_yaml().replace("unzipped_target_path:", "", 1)
    pasted = text.replace("        # Choose", "      # Choose").replace(
        '        # "', '      unzipped_target_path: "'
    )
    version = manifests.parse(pasted).section("seg").section("versions").section("v1")
    assert version.get("unzipped_target_path").text == 'a" \\: .pth'
