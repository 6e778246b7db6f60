import pytest
import yaml

from pycemrg.files import ConfigScaffolder


def labels_of(path):
    return yaml.safe_load(path.read_text())


def test_the_labels_manifest_has_a_background_and_numbered_structures(tmp_path):
    ConfigScaffolder().create_labels_manifest(tmp_path / "labels.yaml")
    assert labels_of(tmp_path / "labels.yaml") == {
        "labels": {"background": 0, "structure_1": 1, "structure_2": 2, "structure_3": 3},
        "groups": {"group_a": ["structure_1", "structure_2", "structure_3"]},
    }


@pytest.mark.parametrize(
    ("num_labels", "num_groups", "sizes"),
    [(3, 2, [2, 1]), (10, 3, [4, 3, 3]), (1, 1, [1]), (4, 4, [1, 1, 1, 1])],
)
def test_larger_groups_come_first(tmp_path, num_labels, num_groups, sizes):
    path = tmp_path / "labels.yaml"
    ConfigScaffolder().create_labels_manifest(path, num_labels=num_labels, num_groups=num_groups)
    groups = labels_of(path)["groups"]
    assert [len(members) for members in groups.values()] == sizes
    in_order = [member for members in groups.values() for member in members]
    assert in_order == [f"structure_{n}" for n in range(1, num_labels + 1)]


def test_after_group_z_comes_group_aa(tmp_path):
    path = tmp_path / "labels.yaml"
    ConfigScaffolder().create_labels_manifest(path, num_labels=30, num_groups=28)
    assert list(labels_of(path)["groups"])[24:] == ["group_y", "group_z", "group_aa", "group_ab"]


@pytest.mark.parametrize(("num_labels", "num_groups"), [(0, 1), (-1, 1), (3, 0), (3, 4), (0, 0)])
def test_impossible_numbers_are_refused_and_nothing_is_written(tmp_path, num_labels, num_groups):
    path = tmp_path / "labels.yaml"
    with pytest.raises(ValueError, match="num_"):
        ConfigScaffolder().create_labels_manifest(
            path, num_labels=num_labels, num_groups=num_groups
        )
    assert not path.exists()


def test_the_models_manifest_is_yaml_with_urls_and_a_default(tmp_path):
    path = tmp_path / "config" / "models.yaml"
    ConfigScaffolder().create_models_manifest(path)
    model = yaml.safe_load(path.read_text())["segmentation_model"]
    assert model["default"] in model["versions"]
    assert all(version["url"] for version in model["versions"].values())


@pytest.mark.parametrize("method", ["create_labels_manifest", "create_models_manifest"])
def test_an_existing_file_is_kept_unless_overwritten(tmp_path, method):
    path = tmp_path / "manifest.yaml"
    path.write_text("mine")
    create = getattr(ConfigScaffolder(), method)
    with pytest.raises(FileExistsError, match="already exists; pass overwrite=True to replace it"):
        create(path)
    assert path.read_text() == "mine"
    create(path, True)
    assert path.read_text() != "mine"


def test_the_defaults_are_files_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ConfigScaffolder().create_labels_manifest()
    ConfigScaffolder().create_models_manifest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.yaml", "models.yaml"]


def test_a_subclass_may_write_its_own_file_with_positional_arguments(tmp_path):
    class Mine(ConfigScaffolder):
        def create(self, path):
            self._write_file(path, "x: 1\n", False)

    Mine().create(tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text() == "x: 1\n"
