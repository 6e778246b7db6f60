from pathlib import Path

import pytest

from pycemrg.files import OutputManager


def test_the_path_is_folder_prefix_and_suffix(tmp_path):
    outputs = OutputManager(tmp_path / "results", "patient_042")
    expected = tmp_path / "results" / "patient_042_segmentation.nii.gz"
    assert outputs.get_path("_segmentation.nii.gz") == expected


def test_the_folder_is_made_and_may_exist(tmp_path):
    for _ in range(2):
        OutputManager(tmp_path / "a" / "b", "case")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_relative_folder_gives_absolute_paths_that_survive_a_change_of_folder(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    outputs = OutputManager(Path("results"), "case")
    monkeypatch.chdir("/")
    assert outputs.get_path("_mesh.vtk") == tmp_path / "results" / "case_mesh.vtk"


def test_folder_and_prefix_are_attributes(tmp_path):
    outputs = OutputManager(output_dir=str(tmp_path), output_prefix="case")
    assert (outputs.output_dir, outputs.prefix) == (tmp_path, "case")


@pytest.mark.parametrize("folder", ["../results", "a/../b", "."])
def test_a_folder_may_be_named_with_dots(tmp_path, monkeypatch, folder):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outputs = OutputManager(folder, "case_01")
    expected = {"../results": "results", "a/../b": "here/b", ".": "here"}[folder]
    path = outputs.get_path("_x.vtk")
    assert path.is_absolute()
    assert path.resolve() == tmp_path / expected / "case_01_x.vtk"
    with pytest.raises(ValueError, match="leads out of"):
        outputs.get_path("/../../x")


def test_a_suffix_may_hold_folders(tmp_path):
    path = OutputManager(tmp_path, "case").get_path("/meshes/heart.vtk")
    assert path == tmp_path / "case" / "meshes" / "heart.vtk"


@pytest.mark.parametrize("suffix", ["", None, 3, Path("_mesh.vtk")])
def test_a_suffix_that_is_empty_or_no_text_is_refused(tmp_path, suffix):
    with pytest.raises(ValueError, match="a suffix is a text"):
        OutputManager(tmp_path, "case").get_path(suffix)


@pytest.mark.parametrize("suffix", ["/../../x", "/../..", "/../../case_x", "_\0"])
def test_a_suffix_that_leads_out_of_the_folder_is_refused(tmp_path, suffix):
    with pytest.raises(ValueError, match="leads out of"):
        OutputManager(tmp_path / "results", "case").get_path(suffix)


@pytest.mark.parametrize("prefix", ["../case", "/etc/case", "a/../../case", ".."])
def test_a_prefix_that_leads_out_of_the_folder_is_refused_and_makes_nothing(tmp_path, prefix):
    with pytest.raises(ValueError, match="leads out of"):
        OutputManager(tmp_path / "results", prefix).get_path("/x")
    assert prefix == ".." or not (tmp_path / "results").exists()


def test_a_prefix_may_hold_a_folder(tmp_path):
    path = OutputManager(tmp_path, "site_a/case_1").get_path("_x")
    assert path == tmp_path / "site_a" / "case_1_x"
