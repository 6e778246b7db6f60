import subprocess
import sys

import pytest
import yaml


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "pycemrg.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
    )


def test_init_labels_writes_what_the_options_say(tmp_path):
    options = ["--output", "config/heart.yaml", "--num-labels", "10", "--num-groups", "3"]
    assert run("init-labels", *options, cwd=tmp_path).returncode == 0
    manifest = yaml.safe_load((tmp_path / "config" / "heart.yaml").read_text())
    assert len(manifest["labels"]) == 11
    assert [len(members) for members in manifest["groups"].values()] == [4, 3, 3]


def test_init_models_writes_models_yaml_by_default(tmp_path):
    done = run("init-models", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "segmentation_model" in yaml.safe_load((tmp_path / "models.yaml").read_text())


@pytest.mark.parametrize("command", ["init-labels", "init-models"])
def test_an_existing_file_is_kept_without_force_and_replaced_with_it(tmp_path, command):
    path = tmp_path / "mine.yaml"
    path.write_text("mine")
    refused = run(command, "-o", "mine.yaml", cwd=tmp_path)
    assert refused.returncode == 1
    assert path.read_text() == "mine"
    assert run(command, "-o", "mine.yaml", "--force", cwd=tmp_path).returncode == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    "options",
    [
        ["--num-labels", "0"],
        ["--num-groups", "0"],
        ["--num-labels", "2", "--num-groups", "3"],
    ],
)
def test_impossible_numbers_are_wrong_usage_and_write_nothing(tmp_path, options):
    done = run("init-labels", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert f"Invalid value for '{options[-2]}': {options[-1]}" in done.stderr
    assert list(tmp_path.iterdir()) == []
