import pytest

from pycemrg.data import LabelManager

HEART = {
    "labels": {"background": 0, "LV": 1, "RV": 2, "left atrium": 5},
    "groups": {"ventricles": ["LV", "RV"]},
    "colors": {"background": "#00000000", "LV": "#a1005c", "RV": "#0a141e80"},
    "codes": {"LV": {"scheme": "SCT", "value": "87878005", "meaning": "Left ventricle"}},
    "aliases": {"LV": ["LV_label", "left_ventricle"]},
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write a table in the current folder and return its name."""
    monkeypatch.chdir(tmp_path)

    def write(text, name):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return write


@pytest.fixture
def out(tmp_path):
    """A file to write to, of any suffix."""
    return lambda suffix: tmp_path / f"out{suffix}"


@pytest.fixture
def heart():
    """A standard with everything that one can have."""
    return LabelManager.from_dict(HEART, source="heart.yaml")


@pytest.fixture
def standard():
    """Make a standard of labels, and of other parts if given."""
    return lambda labels, **parts: LabelManager.from_dict({"labels": labels, **parts})
