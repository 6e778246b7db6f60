"""`pycemrg labels` on files: relabel, check, convert and draw, as a user calls them."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from matplotlib.image import imread

CLINICAL = "labels: {background: 0, LV_myo: 1, LV_bp: 2, RV_bp: 3, vein: 7}\n"
SIMULATION = "labels: {background: 0, LV_myo: 2, LV_bp: 1, RV_bp: 7}\n"
VOXELS = {0: 10, 1: 6, 2: 5, 3: 2, 7: 1}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("clinical.yaml").write_text(CLINICAL)
    Path("simulation.yaml").write_text(SIMULATION)
    array = np.repeat(list(VOXELS), list(VOXELS.values())).astype(np.uint8).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 1.0, 5.0, 1.0])), "seg.nii.gz")
    Path("heart.elem").write_text("3\nTt 0 1 2 3 1\nTt 1 2 3 4 2\nTr 0 1 2 2\n")
    return tmp_path


def run(*arguments):
    command = [sys.executable, "-m", "pycemrg.cli", "labels", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def values_in(path):
    values, counts = np.unique(np.asarray(nibabel.load(path).dataobj), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


STANDARDS = ["--from", "clinical.yaml", "--to", "simulation.yaml"]


def test_relabel_prints_the_report_and_refuses_a_collision_without_writing():
    done = run("relabel", "seg.nii.gz", "new.nii.gz", *STANDARDS)
    assert done.returncode == 1
    assert "collision: vein would keep 7, which is RV_bp in the target" in done.stderr
    assert "Error: seg.nii.gz: " in done.stderr
    assert "7 (vein), present 1 times, which is RV_bp in the target" in done.stderr
    assert "map them too with --pair, or use --unmapped zero or --allow-collisions" in done.stderr
    assert not Path("new.nii.gz").exists()


def test_a_missing_image_is_called_missing():
    done = run("check", "nothere.nii.gz", "clinical.yaml")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert "damaged" not in done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--allow-collisions"], {0: 10, 1: 5, 2: 6, 7: 3}),
        (["--unmapped", "zero"], {0: 11, 1: 5, 2: 6, 7: 2}),
        (["--unmapped", "99"], {0: 10, 1: 5, 2: 6, 7: 2, 99: 1}),
    ],
)
def test_relabel_does_as_it_is_told(options, expected):
    done = run("relabel", "seg.nii.gz", "new.nii.gz", *STANDARDS, *options)
    assert done.returncode == 0, done.stderr
    assert values_in("new.nii.gz") == expected
    assert values_in("seg.nii.gz") == VOXELS


def test_relabel_replaces_a_file_in_place_with_force_only():
    refused = run("relabel", "seg.nii.gz", "seg.nii.gz", *STANDARDS, "--unmapped", "zero")
    assert refused.returncode == 1
    assert "use --force" in refused.stderr
    assert values_in("seg.nii.gz") == VOXELS
    done = run("relabel", "seg.nii.gz", "seg.nii.gz", *STANDARDS, "--unmapped", "zero", "--force")
    assert done.returncode == 0, done.stderr
    assert values_in("seg.nii.gz") == {0: 11, 1: 5, 2: 6, 7: 2}


def test_relabel_takes_a_mesh():
    assert run("relabel", "heart.elem", "new.elem", *STANDARDS).returncode == 0
    assert Path("new.elem").read_text() == "3\nTt 0 1 2 3 2\nTt 1 2 3 4 1\nTr 0 1 2 1\n"


def test_a_wrong_word_for_unmapped_is_wrong_usage():
    done = run("relabel", "seg.nii.gz", "new.nii.gz", *STANDARDS, "--unmapped", "drop")
    assert done.returncode == 2
    assert "'drop' is not one of keep, zero, error or an integer" in done.stderr


def test_check_counts_voxels_and_millilitres_by_name():
    done = run("check", "seg.nii.gz", "clinical.yaml", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    names = {"background": 0, "LV_myo": 1, "LV_bp": 2, "RV_bp": 3, "vein": 7}
    assert found["named"] == {name: VOXELS[value] for name, value in names.items()}
    assert found["voxel_ml"] == pytest.approx(2 * 1 * 5 / 1000)
    assert found["unnamed"] == {}
    row = next(
        line
        for line in run("check", "seg.nii.gz", "clinical.yaml").stdout.splitlines()
        if "LV_myo" in line
    )
    assert row.split() == ["1", "LV_myo", "6", "0.060", "ml"]


def test_check_fails_on_a_value_without_a_name_and_lists_names_without_a_voxel():
    Path("part.yaml").write_text("labels: {LV_myo: 1, LV_bp: 2, RV_bp: 3, aorta: 4}\n")
    done = run("check", "seg.nii.gz", "part.yaml")
    assert done.returncode == 1
    assert "values without a name in part.yaml: 7" in done.stderr
    assert "without a voxel: aorta" in done.stdout


def test_check_counts_the_elements_of_a_mesh():
    found = json.loads(run("check", "heart.elem", "clinical.yaml", "--json").stdout)
    assert (found["named"]["LV_myo"], found["named"]["LV_bp"]) == (1, 2)
    assert found["voxel_ml"] is None


def test_convert_goes_to_a_table_and_back_and_lists_what_is_lost():
    Path("rich.yaml").write_text(
        "labels: {LV: 1, RV: 2}\ngroups: {all: [LV, RV]}\ncolors: {LV: '#a1005c', RV: '#00ff00'}\n"
    )
    there = run("convert", "rich.yaml", "heart.ctbl")
    assert there.returncode == 0, there.stderr
    assert "lost: " in there.stderr
    assert "group" in there.stderr
    lines = [line.split() for line in Path("heart.ctbl").read_text().splitlines()]
    assert ["1", "LV", "161", "0", "92", "255"] in lines
    assert run("convert", "heart.ctbl", "back.yaml").returncode == 0
    shown = json.loads(run("show", "back.yaml", "--json").stdout)
    assert {"LV": 1, "RV": 2}.items() <= shown["labels"].items()


def test_a_drawing_shows_each_label_in_the_colour_of_its_standard():
    colors = "colors: {LV_myo: '#a1005c', LV_bp: '#00ff00', RV_bp: '#0000ff', vein: '#ffff00'}\n"
    Path("clinical.yaml").write_text(CLINICAL + colors)
    done = run("show", "clinical.yaml", "--image", "seg.nii.gz", "-o", "seg.png")
    assert done.returncode == 0, done.stderr
    picture = np.round(imread("seg.png")[..., :3] * 255).astype(int).reshape(-1, 3)
    present = {tuple(color) for color in np.unique(picture, axis=0)}
    assert {(161, 0, 92), (0, 255, 0), (0, 0, 255), (255, 255, 0)} <= present


def test_an_image_without_an_output_is_wrong_usage():
    done = run("show", "clinical.yaml", "--image", "seg.nii.gz")
    assert done.returncode == 2
    assert "--image and --output go together" in done.stderr
