"""`pycemrg labels` on files: relabel, check, convert and draw, as a user calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.image import imread

from pycemrg.data import LabelManager
from pycemrg.data.drawing import draw_slices
from pycemrg.data.tables import write_table
from pycemrg.data.volumes import LabelVolume

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


IMPATIENT = """
from pycemrg.cli import label_progress
from pycemrg.cli.app import main
label_progress.PATIENCE = 0
main()
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize("name", ["seg.nii.gz", "large.elem"])
def test_long_work_shows_a_bar_on_a_terminal_and_nowhere_else(name):
    Path("large.elem").write_text("30000\n" + 30_000 * "Tr 7 8 9 1\n")
    command = ["labels", "relabel", name, name, *STANDARDS, "--unmapped", "zero", "--force"]
    ours, theirs = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, *command], stdin=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while piece := read_terminal(ours):
        shown += piece
    os.close(ours)
    assert child.wait() == 0, shown
    assert b"relabelling  [" in shown
    assert shown.index(b"LV_myo: 1 -> 2") < shown.index(b"relabelling") < shown.rindex(b"100%")
    done = subprocess.run([sys.executable, "-c", IMPATIENT, *command], capture_output=True)
    assert done.returncode == 0
    assert b"relabelling" not in done.stdout + done.stderr


def read_terminal(descriptor):
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux says that nobody is at the other end
        return b""


@pytest.mark.parametrize("word", ["drop", "1_0", "1.5", "9" * 30])
def test_a_wrong_word_for_unmapped_is_wrong_usage(word):
    done = run("relabel", "seg.nii.gz", "new.nii.gz", *STANDARDS, "--unmapped", word)
    assert done.returncode == 2
    assert f"'{word}' is not one of keep, zero, error or an integer" in done.stderr


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


def test_convert_tells_of_what_a_manifest_has_besides_a_standard():
    Path("rich.YAML").write_text("author: me\nlabels: {LV: 1}\ncolors: {LV: '#a1005c'}\n")
    done = run("convert", "rich.YAML", "plain.yaml")
    assert done.stderr.startswith("lost: other parts of the manifest are left out: 'author'\n")
    assert Path("plain.yaml").read_text() == "labels:\n  LV: 1\ncolors:\n  LV: '#a1005c'\n"
    assert "'author'" in run("convert", "rich.YAML", "heart.ctbl").stderr


def test_convert_believes_the_format_that_it_is_told():
    Path("table.yaml").write_text('1 161 0 92 1 1 1 "LV"\n')
    assert run("convert", "table.yaml", "a.yml", "--from", "itksnap").returncode == 0
    assert Path("a.yml").read_text() == "labels:\n  LV: 1\ncolors:\n  LV: '#a1005c'\n"
    assert run("convert", "a.yml", "b.yml", "--to", "itksnap").returncode == 0
    assert '"LV"' in Path("b.yml").read_text()
    for target in ("a.txt", "a.json"):
        done = run("convert", "a.yml", target)
        assert done.returncode == 1
        assert "pass --from or --to one of: " in done.stderr


def test_convert_reads_the_class_map_of_a_task():
    Path("maps.py").write_text('class_map = {"a": {1: "LV"}, "b": {1: "RV"}}\n')
    refused = run("convert", "maps.py", "a.yaml")
    assert "no class map of the task 'total'; pass --task one of: a, b" in refused.stderr
    assert run("convert", "maps.py", "b.yaml", "--task", "b").returncode == 0
    assert Path("b.yaml").read_text() == "labels:\n  RV: 1\n"


def test_labels_become_consecutive_for_nnunet_and_images_follow():
    Path("few.yaml").write_text("labels: {background: 0, LV: 1, RV: 3, vein: 7, bp: 2}\n")
    refused = run("convert", "few.yaml", "dataset.json", "--to", "nnunet")
    assert refused.returncode == 1
    assert "must be consecutive, and no label has the value 4; convert with" in refused.stderr
    for target in ("dataset.json", "dense.yaml"):
        to = [] if target == "dense.yaml" else ["--to", "nnunet"]
        assert run("convert", "few.yaml", target, "--consecutive", *to).returncode == 0
    dense = {"background": 0, "LV": 1, "RV": 3, "vein": 4, "bp": 2}
    assert json.loads(Path("dataset.json").read_text())["labels"] == dense
    standards = ["--from", "few.yaml", "--to", "dense.yaml"]
    assert run("relabel", "seg.nii.gz", "new.nii.gz", *standards).returncode == 0
    assert values_in("new.nii.gz") == {0: 10, 1: 6, 2: 5, 3: 2, 4: 1}


def test_an_overflow_is_an_error_like_others():
    image = nibabel.Nifti1Image(np.array([[[0, 1]]], "u8"), np.eye(4), dtype="u8")
    nibabel.save(image, "wide.nii")
    Path("low.yaml").write_text("labels: {LV_myo: -5}\n")
    done = run("relabel", "wide.nii", "new.nii", "--from", "clinical.yaml", "--to", "low.yaml")
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("Error: wide.nii: no integer type holds both -5 and 184467440737095516")


def test_a_drawing_shows_each_label_in_the_colour_of_its_standard():
    colors = "colors: {LV_myo: '#a1005c', LV_bp: '#00ff00', RV_bp: '#0000ff', vein: '#ffff00'}\n"
    Path("clinical.yaml").write_text(CLINICAL + colors)
    done = run("show", "clinical.yaml", "--image", "seg.nii.gz", "-o", "seg.png")
    assert done.returncode == 0, done.stderr
    picture = np.round(imread("seg.png")[..., :3] * 255).astype(int).reshape(-1, 3)
    present = {tuple(color) for color in np.unique(picture, axis=0)}
    assert {(161, 0, 92), (0, 255, 0), (0, 0, 255), (255, 255, 0)} <= present


def test_names_are_drawn_as_they_are_and_without_colours_that_are_none():
    names = [r"$\frac$", "$x_1$", "_c", "é"]
    labels = {"labels": {name: n for n, name in enumerate(names, 1)}, "colors": ["red"]}
    volume = LabelVolume(np.arange(8).reshape(2, 2, 2) % 5, np.eye(4))
    with rc_context({"svg.fonttype": "none"}):
        draw_slices(volume, LabelManager.from_dict(labels), "seg.svg")
    drawn = Path("seg.svg").read_text(encoding="utf-8")
    assert [name for name in names if f"{name}  0.0 ml</text>" in drawn] == names


def test_a_label_without_a_colour_has_the_same_in_a_picture_and_in_a_table(tmp_path):
    volume = LabelVolume(np.full((4, 4, 4), 7), np.eye(4))
    labels = LabelManager.from_dict({"labels": {"LV": 7}})
    draw_slices(volume, labels, tmp_path / "seg.png")
    write_table(labels, tmp_path / "heart.ctbl")
    row = (tmp_path / "heart.ctbl").read_text().splitlines()[-1]
    picture = np.round(imread(tmp_path / "seg.png")[..., :3] * 255).astype(int)
    assert (picture == [int(word) for word in row.split()[2:5]]).all(axis=2).any()


def test_a_drawing_has_room_for_hundreds_of_names(tmp_path):
    labels = {f"a_rather_long_name_{n}": n for n in range(300)}
    volume = LabelVolume(np.arange(300).reshape(10, 10, 3), np.eye(4))
    draw_slices(volume, LabelManager.from_dict({"labels": labels}), tmp_path / "many.png")
    picture = imread(tmp_path / "many.png")[..., :3]
    # The left half shows slices: colours and the white around them, and no letters over them.
    assert (picture[:, : picture.shape[1] // 3].min(axis=2) < 0.05).mean() < 0.02


def test_an_image_without_an_output_is_wrong_usage():
    done = run("show", "clinical.yaml", "--image", "seg.nii.gz")
    assert done.returncode == 2
    assert "--image and --output go together" in done.stderr
