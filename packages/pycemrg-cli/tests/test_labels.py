import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("pycemrg.data", reason="pycemrg-labels is not installed")

HEART = """\
labels:
  background: 0
  LV_myo: 2
  RV_myo: 3
groups:
  ventricles: [LV_myo, RV_myo]
  none: []
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heart.yaml").write_text(HEART)
    (tmp_path / "mesh.yaml").write_text("labels: {background: 0, RV_myo: 2, LV: 5}\n")
    return tmp_path


def run(*arguments, env=None):
    return subprocess.run(
        [sys.executable, "-m", "pycemrg.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
    )


def test_show_lists_labels_and_groups():
    assert run("labels", "show", "heart.yaml").stdout == (
        "background       0\nLV_myo           2\nRV_myo           3\nventricles  2,3\nnone\n"
    )


def test_show_prints_the_standard_as_json():
    shown = json.loads(run("labels", "show", "heart.yaml", "--json").stdout)
    assert shown["labels"] == {"background": 0, "LV_myo": 2, "RV_myo": 3}
    assert shown["groups"]["ventricles"] == ["LV_myo", "RV_myo"]


def test_show_does_without_colours_that_are_none(folder):
    (folder / "colors.yaml").write_text("labels: {LV: 1, RV: 2}\ncolors: [red, blue]\n")
    done = run("labels", "show", "colors.yaml")
    assert (done.returncode, done.stdout) == (0, "LV       1\nRV       2\n")


def test_tags_prints_just_the_values():
    assert run("labels", "tags", "heart.yaml", "ventricles", "0").stdout == "0,2,3\n"
    separated = run("labels", "tags", "heart.yaml", "ventricles", "--separator", ":")
    assert separated.stdout == "2:3\n"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(["LV_mio"], "did you mean 'LV_myo'", id="unknown"),
        pytest.param(["none"], "a group without members has no values", id="empty"),
    ],
)
def test_tags_of_nothing_are_an_error_and_not_an_empty_argument(names, message):
    done = run("labels", "tags", "heart.yaml", *names)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_lint_prints_every_problem_and_fails_on_errors_only(folder):
    (folder / "bad.yaml").write_text("labels: {a: 1, b: 1}\ngroups: {g: [ghost]}\n")
    (folder / "worse.yaml").write_text("labels:\n  a: one\n")
    done = run("labels", "lint", "heart.yaml", "bad.yaml", "worse.yaml")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("heart.yaml:7:3: warning: group 'none' has no members")
    assert lines[1].startswith("bad.yaml:1:16: warning: 'b' has the value 1, as 'a' has")
    assert lines[2].startswith("bad.yaml:2:14: error: no label or group named 'ghost'")
    assert lines[3] == (
        "worse.yaml:2:6: error: expected an integer for 'a', got 'one' [not-loadable]"
    )
    assert done.stderr == "2 errors, 2 warnings\n"
    assert run("labels", "lint", "heart.yaml").returncode == 0


def test_lint_goes_on_after_a_manifest_that_is_not_there(folder):
    (folder / "bad.yaml").write_text("groups: {g: [ghost]}\n")
    done = run("labels", "lint", "missing.yaml", "bad.yaml")
    assert done.returncode == 1
    assert done.stdout.startswith("missing.yaml:1:1: error: no manifest at missing.yaml [not-l")
    assert "\nbad.yaml:1:14: error: no label or group named 'ghost'" in done.stdout


def test_lint_prints_annotations_and_json(folder):
    (folder / "bad.yaml").write_text("groups: {g: [ghost]}\n")
    annotation = run("labels", "lint", "bad.yaml", "--format", "github").stdout
    assert annotation.startswith("::error file=bad.yaml,line=1,col=14,title=undefined-member::no ")
    (finding,) = json.loads(run("labels", "lint", "bad.yaml", "--format", "json").stdout)
    assert (finding["line"], finding["column"], finding["code"]) == (1, 14, "undefined-member")


def test_diff_lists_what_two_standards_do_not_share():
    assert run("labels", "diff", "heart.yaml", "mesh.yaml").stdout.splitlines() == [
        "- LV_myo: 2",
        "+ LV: 5",
        "! RV_myo: 3 -> 2",
    ]


def test_map_prints_the_report_or_the_mapping():
    assert run("labels", "map", "heart.yaml", "mesh.yaml").stdout.splitlines() == [
        "2 labels matched: 1 change, 1 stay",
        "  RV_myo: 3 -> 2",
        "1 labels only in the source:",
        "  LV_myo: 2",
        "1 labels only in the target:",
        "  LV",
        "collision: LV_myo would keep 2, which is RV_myo in the target",
    ]
    paired = run("labels", "map", "heart.yaml", "mesh.yaml", "--pair", "LV_myo=LV", "--json")
    assert json.loads(paired.stdout) == {"0": 0, "2": 5, "3": 2}


def test_a_pair_without_an_equals_sign_is_wrong_usage():
    done = run("labels", "map", "heart.yaml", "mesh.yaml", "--pair", "LV_myo")
    assert done.returncode == 2
    assert "SOURCE=TARGET" in done.stderr


def test_a_label_that_is_paired_twice_is_wrong_usage():
    pairs = ["--pair", "LV_myo=LV", "--pair", "RV_myo=LV", "--pair", "LV_myo=RV_myo"]
    done = run("labels", "map", "heart.yaml", "mesh.yaml", *pairs)
    assert done.returncode == 2
    assert "--pair joins LV_myo more than once" in done.stderr


def test_the_schema_is_printed_as_json():
    printed = json.loads(run("labels", "schema").stdout)
    assert printed["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert "labels" in printed["properties"]


def test_a_missing_manifest_is_named():
    done = run("labels", "show", "ghost.yaml")
    assert (done.returncode, done.stderr) == (1, "Error: no manifest at ghost.yaml\n")


def complete(line):
    """Return what bash is offered at the end of a line of words with a blank between each two."""
    words = line.split(" ")
    environment = {
        "_PYCEMRG_COMPLETE": "bash_complete",
        "COMP_WORDS": f"pycemrg labels {line}",
        "COMP_CWORD": str(len(words) + 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from pycemrg.cli.app import main; main()"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.stderr == ""
    return [item.removeprefix("plain,") for item in done.stdout.splitlines() if item]


def test_the_shell_completes_names_of_the_manifest(folder, monkeypatch):
    names = ["background", "LV_myo", "RV_myo", "ventricles", "none"]
    assert complete("tags heart.yaml ") == names
    assert complete("tags heart.yaml RV_myo v") == ["ventricles"]
    assert complete("tags ghost.yaml ") == []
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("STANDARD", "heart")
    monkeypatch.chdir("/")
    assert complete("tags ~/heart.yaml LV") == ["LV_myo"]
    assert complete("tags $HOME/$STANDARD.yaml LV") == ["LV_myo"]


def test_the_shell_is_offered_one_name_in_a_line(folder):
    (folder / "odd.yaml").write_text('labels: {"a\\nb": 1, left atrium: 2}\n')
    assert complete("tags odd.yaml ") == ["left atrium"]


def test_the_shell_completes_pairs_of_what_does_not_match():
    assert complete("map heart.yaml mesh.yaml --pair ") == ["LV_myo=LV"]
    assert complete("map heart.yaml mesh.yaml --pair LV_myo=L") == ["LV_myo=LV"]
    assert complete("relabel --from heart.yaml --to mesh.yaml --pair L") == ["LV_myo=LV"]
    assert complete("relabel --from heart.yaml --pair ") == []


def test_the_shell_completes_formats_and_words():
    assert complete("convert heart.yaml out.txt --to i") == ["itksnap"]
    assert "freesurfer" in complete("convert lut.txt --from ")
    assert complete("relabel --unmapped ") == ["keep", "zero", "error"]
