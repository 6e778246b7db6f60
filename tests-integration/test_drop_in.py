"""Programs written for pycemrg 0.1.x run unchanged, but for the differences that are meant."""

import importlib
import io
import logging
import os
import pickle
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from pycemrg.assets import AssetManager
from pycemrg.data import LabelManager, LabelMapper
from pycemrg.files import ConfigScaffolder, OutputManager
from pycemrg.models import ModelManager
from pycemrg.system import CarpRunner, CommandExecutionError, CommandRunner

PYTHON = sys.executable


def labels_of(folder: Path, text: str, name: str = "labels.yaml") -> LabelManager:
    (folder / name).write_text(text, encoding="utf-8")
    return LabelManager(folder / name)


def one_model(folder: Path, version: str) -> Path:
    """A manifest with model m; `version` is what its one version holds, as YAML."""
    path = folder / "models.yaml"
    path.write_text(f"m:\n  default: v1\n  versions:\n    v1: {version}\n", encoding="utf-8")
    return path


# Import paths


@pytest.mark.parametrize(
    ("module", "name", "documented"),
    [
        ("pycemrg.core.logs", "setup_logging", "pycemrg.core"),
        ("pycemrg.data.labels", "LabelManager", "pycemrg.data"),
        ("pycemrg.data.labels", "LabelMapper", "pycemrg.data"),
        ("pycemrg.files.output", "OutputManager", "pycemrg.files"),
        ("pycemrg.files.scaffold", "ConfigScaffolder", "pycemrg.files"),
        ("pycemrg.files.project", "ProjectScaffolder", "pycemrg.files"),
        ("pycemrg.models.manager", "ModelManager", "pycemrg.models"),
        ("pycemrg.assets.manager", "AssetManager", "pycemrg.assets"),
        ("pycemrg.system.runner", "CommandRunner", "pycemrg.system"),
        ("pycemrg.system.runner", "CommandExecutionError", "pycemrg.system"),
        ("pycemrg.system.carp_runner", "CarpRunner", "pycemrg.system"),
        ("pycemrg.system.carp_runner", "CarpEnvironmentError", "pycemrg.system"),
    ],
)
def test_an_import_path_of_0_1_gives_the_documented_object(module, name, documented):
    deep = getattr(importlib.import_module(module), name)
    assert deep is getattr(importlib.import_module(documented), name)
    assert name in importlib.import_module(documented).__all__


# Attributes and hooks that 0.1.x programs reach for


def test_the_labels_attribute_maps_names_to_values(tmp_path):
    labels = labels_of(tmp_path, "labels: {background: 0, LV: 2, RV: 3}\n")
    assert labels._labels["LV"] == 2
    assert "RV" in labels._labels
    assert list(labels._labels.items()) == [("background", 0), ("LV", 2), ("RV", 3)]
    assert {value: name for name, value in labels._labels.items()}[3] == "RV"


def test_output_manager_shows_its_folder_and_prefix(tmp_path):
    mgr = OutputManager(str(tmp_path / "out"), "case_01")
    assert mgr.output_dir == tmp_path / "out"
    assert isinstance(mgr.output_dir, Path)
    assert mgr.prefix == "case_01"


class SimulationScaffolder(ConfigScaffolder):
    """What a public consumer does: one more manifest, through the inherited writer."""

    def create_simulation_manifest(self, output_path="simulation.yaml", overwrite=False):
        self._write_file(Path(output_path), "physics: {}\n", overwrite)


def test_a_subclass_of_the_scaffolder_writes_through_write_file(tmp_path):
    path = tmp_path / "config/simulation.yaml"
    scaffolder = SimulationScaffolder()
    scaffolder.create_simulation_manifest(path)
    assert path.read_text(encoding="utf-8") == "physics: {}\n"
    path.write_text("mine\n", encoding="utf-8")
    with pytest.raises(FileExistsError):
        scaffolder.create_simulation_manifest(path)
    assert path.read_text(encoding="utf-8") == "mine\n"
    scaffolder.create_simulation_manifest(path, overwrite=True)
    assert path.read_text(encoding="utf-8") == "physics: {}\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["simulation.yaml"]


def test_a_command_execution_error_is_built_positionally_and_pickles():
    error = CommandExecutionError("the solver failed", 3, "step 1", "no licence")
    assert isinstance(error, RuntimeError)
    for same in (error, pickle.loads(pickle.dumps(error))):
        assert type(same) is CommandExecutionError
        assert "the solver failed" in str(same)
        assert (same.returncode, same.stdout, same.stderr) == (3, "step 1", "no licence")


def test_an_error_of_a_real_command_comes_back_from_a_pickle():
    with pytest.raises(CommandExecutionError) as caught:
        CommandRunner().run([PYTHON, "-c", "import sys; print('out'); sys.exit('err')"])
    same = pickle.loads(pickle.dumps(caught.value))
    assert type(same) is type(caught.value)
    assert str(same) == str(caught.value)
    assert (same.returncode, same.stdout, same.stderr) == (1, "out\n", "err\n")


def test_expected_outputs_may_be_strings_in_second_position(study):
    runner, touch = CommandRunner(), [PYTHON, "-c", "open('out.vtk', 'w').close()"]
    assert runner.run(touch, ["out.vtk"]) == ""
    assert runner.run(touch, [str(study / "out.vtk"), Path("out.vtk")]) == ""
    with pytest.raises(FileNotFoundError, match=r"other\.vtk"):
        runner.run(touch, ["other.vtk"])


def test_the_other_arguments_of_run_are_positional_too(tmp_path):
    program = "import os, sys; open('x', 'w').close(); sys.exit('only ' + os.environ['WHY'])"
    environment = {**os.environ, "WHY": "a warning"}
    output = CommandRunner().run(
        [PYTHON, "-c", program], ["x"], tmp_path, ["only a warning"], environment
    )
    assert output == ""
    assert (tmp_path / "x").exists()


def test_log_level_is_positional(run_program):
    done = run_program(
        """
        import logging
        from pycemrg.core import setup_logging
        setup_logging(logging.WARNING)
        logging.getLogger("study").info("not shown")
        logging.getLogger("study").warning("shown")
        """
    )
    assert done.stderr == "[study] shown\n"


@pytest.mark.parametrize("integer", [np.int64, np.int16, np.uint8, int])
def test_get_name_takes_what_numpy_unique_hands_out(integer, tmp_path):
    labels = labels_of(tmp_path, "labels: {background: 0, LV: 2}\n")
    found = np.unique(np.array([2, 0, 2], dtype=integer))
    assert [labels.get_name(value) for value in found] == ["background", "LV"]


def test_setup_logging_may_be_called_while_a_module_is_imported(run_program, tmp_path):
    program = tmp_path / "program"
    program.mkdir()
    (program / "segmentation.py").write_text(
        "import logging\n"
        "from pycemrg.core.logs import setup_logging\n"
        "setup_logging(logging.INFO, 'logs/segmentation.log')\n"
        "logger = logging.getLogger(__name__)\n",
        encoding="utf-8",
    )
    done = run_program(
        """
        import logging
        from pycemrg.core.logs import setup_logging
        setup_logging()
        import segmentation
        segmentation.logger.info("once")
        """
    )
    assert done.stderr == "[segmentation] once\n"


# Errors that 0.1.x programs catch


def test_a_missing_program_is_an_os_error():
    with pytest.raises(OSError, match="no-such-solver") as caught:
        CommandRunner().run(["no-such-solver", "+F", "sim.par"])
    assert isinstance(caught.value, FileNotFoundError)


def test_a_missing_program_passes_the_documented_retry_handler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        CommandRunner().run(["process_case", "input"])
    except CommandExecutionError as error:
        text = error.stderr.lower()
    except FileNotFoundError as error:
        text = str(error)
    assert "out of memory" not in text


def test_a_program_is_looked_up_on_the_path_of_the_given_environment(make_tool, tmp_path):
    tool = make_tool("only-there", "echo found")
    environment = {**os.environ, "PATH": "/nowhere"}
    with pytest.raises(OSError, match="only-there"):
        CommandRunner().run(["only-there"], env=environment)
    environment["PATH"] = f"/nowhere:{tool.parent}"
    assert CommandRunner().run(["only-there"], env=environment) == "found\n"


@pytest.mark.parametrize("documented", [OSError, RuntimeError], ids=["documented", "0.1.x"])
def test_a_hash_mismatch_is_caught_under_both_its_names(documented, study, zip_up):
    zip_up(study / "model.zip", {"model.pth": b"weights"})
    manifest = one_model(
        study, f"{{url: 'file://model.zip', sha256: {'0' * 64}, unzipped_target_path: model.pth}}"
    )
    with pytest.raises(documented, match=r"model\.zip"):
        ModelManager(manifest, study / "cache").get_model_path("m")


# Names that were there besides the documented ones


def test_dry_run_says_what_it_would_do_and_does_nothing(study, caplog):
    caplog.set_level(logging.INFO)
    touch = [PYTHON, "-c", "open('out.vtk', 'w').close()"]
    assert CommandRunner().run(touch, ["out.vtk"], dry_run=True) == ""
    assert list(study.iterdir()) == []
    assert "out.vtk" in caplog.text


def test_carp_runner_passes_dry_run_on(make_carpentry, study):
    carp = CarpRunner(CommandRunner(), make_carpentry(study / "carpentry_bundle"))
    assert carp.run(["openCARP", "+F", "sim.par"], ["sim_vm.igb"], study, dry_run=True) == ""
    assert not (study / "sim_vm.igb").exists()


def test_asset_manager_is_the_model_manager_under_its_general_name(study, zip_up):
    zip_up(study / "atlas.zip", {"mesh/heart.pts": b"0\n"})
    manifest = one_model(study, "{url: 'file://atlas.zip', unzipped_target_path: mesh}")
    path = AssetManager(manifest, study / "cache").get_asset_path("m")
    assert (path / "heart.pts").read_bytes() == b"0\n"
    assert path == ModelManager(manifest, study / "cache").get_model_path("m")


# Logging


def test_logging_goes_to_the_console_at_its_level_and_to_the_file_in_full(run_program, study):
    done = run_program(
        """
        import logging
        from pycemrg.core import setup_logging
        setup_logging(log_file="logs/deep/run.log")
        logger = logging.getLogger("study.mesh")
        logger.debug("details")
        logger.info("three elements")
        """
    )
    assert (done.stdout, done.stderr) == ("", "[study.mesh] three elements\n")
    lines = (study / "logs/deep/run.log").read_text(encoding="utf-8").splitlines()
    ours = [line for line in lines if "study.mesh" in line]
    assert len(ours) == 2
    assert "DEBUG" in ours[0]
    assert ours[0].endswith("details")
    assert "INFO" in ours[1]
    assert ours[1].endswith("three elements")


def test_a_second_call_replaces_what_the_first_one_installed(run_program, study):
    done = run_program(
        """
        import logging
        from pycemrg.core import setup_logging
        setup_logging(log_file="first.log")
        setup_logging(log_file="second.log")
        setup_logging(logging.WARNING)
        logging.getLogger("study").warning("once")
        """
    )
    assert done.stderr == "[study] once\n"
    for name in ("first.log", "second.log"):
        assert "once" not in (study / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_plain_console_handler_is_replaced_so_that_no_line_doubles(stream, run_program):
    done = run_program(
        f"""
        import logging, sys
        from pycemrg.core import setup_logging
        logging.basicConfig(stream=sys.{stream}, level=logging.INFO)
        setup_logging()
        logging.getLogger("study").info("once")
        """
    )
    assert (done.stdout, done.stderr) == ("", "[study] once\n")


def test_other_handlers_stay_and_do_not_start_to_print_debug(run_program, study):
    done = run_program(
        """
        import io, logging
        from pycemrg.core import setup_logging
        own_file = logging.FileHandler("own.log")
        memory = io.StringIO()
        logging.getLogger().addHandler(own_file)
        logging.getLogger().addHandler(logging.StreamHandler(memory))
        setup_logging(log_file="run.log")
        logging.getLogger("study").debug("details")
        logging.getLogger("study").warning("careful")
        print(memory.getvalue(), end="")
        """
    )
    assert done.stdout == "careful\n"
    assert (study / "own.log").read_text(encoding="utf-8") == "careful\n"
    assert "details" in (study / "run.log").read_text(encoding="utf-8")


# Differences that are meant


def test_the_standard_input_of_a_child_is_empty(run_program):
    done = run_program(
        """
        import sys
        from pycemrg.system import CommandRunner
        print(repr(CommandRunner().run(["cat"])), sys.stdin.read())
        """,
        stdin="what the program itself was given",
    )
    assert done.stdout == "'' what the program itself was given\n"


def test_input_and_stdin_give_a_child_something_to_read(study):
    assert CommandRunner().run(["cat"], input="2\n0 0 0\n") == "2\n0 0 0\n"
    (study / "points.txt").write_bytes(b"from a file\n")
    with (study / "points.txt").open("rb") as points:
        assert CommandRunner().run(["cat"], stdin=points) == "from a file\n"


def test_a_child_has_a_session_of_its_own_and_no_terminal():
    program = "import os; print(os.getsid(0) == os.getpid())\nopen('/dev/tty')"
    with pytest.raises(CommandExecutionError) as caught:
        CommandRunner().run([PYTHON, "-c", program])
    assert caught.value.stdout == "True\n"
    assert "/dev/tty" in caught.value.stderr


def test_an_output_that_the_command_did_not_touch_is_noticed(study, caplog):
    (study / "old.vtk").write_bytes(b"yesterday")
    CommandRunner().run([PYTHON, "-c", "open('new' + '.vtk', 'w').close()"], ["old.vtk", "new.vtk"])
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "old.vtk" in warnings[0]
    assert "new.vtk" not in warnings[0]


def test_a_rewritten_output_is_no_reason_to_warn(study, caplog):
    (study / "old.vtk").write_bytes(b"yesterday")
    CommandRunner().run([PYTHON, "-c", "open('old.vtk', 'w').write('today')"], ["old.vtk"])
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_equal_pairs_are_in_the_mapping(tmp_path):
    source = labels_of(tmp_path, "labels: {background: 0, LV: 2, RV: 3}\n", "a.yaml")
    target = labels_of(tmp_path, "labels: {background: 0, LV: 2, RV: 4}\n", "b.yaml")
    assert LabelMapper(source, target).get_source_to_target_mapping() == {0: 0, 2: 2, 3: 4}


def test_a_command_line_failure_exits_with_1(run_cli, study):
    (study / "labels.yaml").write_text("mine\n", encoding="utf-8")
    assert run_cli("init-labels").returncode == 1
    assert (study / "labels.yaml").read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize("text", ["labels: {LV: 1, LV: 2}", "labels: {LV: one}"])
def test_what_yaml_would_take_in_silence_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match=r"labels\.yaml:1:\d+"):
        labels_of(tmp_path, text)


# Where the document is silent: files


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        pytest.param("../case_01", "_mesh.vtk", id="prefix"),
        pytest.param("case_01", "/../../mesh.vtk", id="suffix"),
        pytest.param("a/../../b", ".vtk", id="prefix, in the middle"),
        pytest.param("/etc/case_01", "_mesh.vtk", id="absolute prefix"),
        pytest.param(".", "./mesh.vtk", id="both together"),
    ],
)
def test_a_path_that_would_leave_the_output_folder_is_refused(prefix, suffix, tmp_path, contents):
    out = tmp_path / "out"
    out.mkdir()
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="out"):
        OutputManager(out, prefix).get_path(suffix)
    assert contents(tmp_path) == before


def test_a_prefix_may_name_a_folder_inside_the_output_folder(tmp_path):
    assert OutputManager(tmp_path, "sub/case").get_path("_x.vtk") == tmp_path / "sub/case_x.vtk"


@pytest.mark.parametrize(
    ("num_labels", "num_groups", "sizes"),
    [(3, 2, [2, 1]), (10, 3, [4, 3, 3]), (1, 1, [1]), (5, 5, [1] * 5), (11, 4, [3, 3, 3, 2])],
)
def test_larger_groups_come_first(num_labels, num_groups, sizes, tmp_path):
    path = tmp_path / "labels.yaml"
    ConfigScaffolder().create_labels_manifest(path, False, num_labels, num_groups)
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    assert [len(members) for members in groups.values()] == sizes
    spread = [name for members in groups.values() for name in members]
    assert spread == [f"structure_{number}" for number in range(1, num_labels + 1)]


def test_groups_are_called_a_to_z_then_aa_and_the_file_loads(tmp_path):
    path = tmp_path / "labels.yaml"
    ConfigScaffolder().create_labels_manifest(path, num_labels=80, num_groups=54)
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(f"a{letter}" for letter in letters), "ba", "bb"]
    assert list(groups) == [f"group_{name}" for name in names]
    assert LabelManager(path).get_values_from_names(["group_bb"]) == [80]


# Where the document is silent: manifests


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0),
        ("-5", -5),
        ("70000", 70000),
        ("0x1F", 31),
        ("-0", 0),
        ("99999999999999", 10**14 - 1),
    ],
)
def test_an_integer_is_an_integer(written, value, tmp_path):
    found = labels_of(tmp_path, f"labels: {{LV: {written}}}\n").get_value("LV")
    assert found == value
    assert type(found) is int


@pytest.mark.parametrize("name", ["NO", "on", "y", "010", "1.10", "null", "~", "true", "7", "1:30"])
def test_a_key_is_the_text_that_was_typed(name, tmp_path):
    labels = labels_of(tmp_path, f"labels:\n  {name}: 3\n")
    assert labels.get_value(name) == 3
    assert labels.get_name(3) == name
    assert labels.get_values_from_names([name]) == [3]


@pytest.mark.parametrize("name", ["NO", "on", "010", "1.10", "7"])
def test_a_group_finds_its_members_by_the_text_that_was_typed(name, tmp_path):
    labels = labels_of(tmp_path, f"labels: {{{name}: 3}}\ngroups: {{{name}s: [{name}]}}\n")
    assert labels.get_values_from_names([f"{name}s"]) == [3]


def test_names_that_yaml_would_confuse_are_different_names(tmp_path):
    text = "labels: {NO: 1, no: 2, false: 3, 8: 4, 010: 5, 1.10: 6, 1.1: 7}\n"
    names = ["NO", "no", "false", "8", "010", "1.10", "1.1"]
    labels = labels_of(tmp_path, text)
    assert [labels.get_value(name) for name in names] == [1, 2, 3, 4, 5, 6, 7]


def test_a_version_is_the_text_that_was_typed(study):
    for name in ("a", "b"):
        (study / f"{name}.pth").write_text(name, encoding="utf-8")
    (study / "models.yaml").write_text(
        "m:\n  default: 1.10\n  versions:\n"
        "    1.10: {url: 'file://a.pth'}\n    1.1: {url: 'file://b.pth'}\n",
        encoding="utf-8",
    )
    manager = ModelManager("models.yaml")
    assert manager.get_model_path("m") == study / "a.pth"
    assert manager.get_model_path("m", "1.10") == study / "a.pth"
    assert manager.get_model_path("m", "1.1") == study / "b.pth"


def test_merge_keys_are_resolved_and_explicit_keys_win(tmp_path):
    text = "base: &base {LV: 1, RV: 2}\nlabels:\n  RV: 20\n  <<: *base\n  LA: 3\n"
    labels = labels_of(tmp_path, text)
    assert [labels.get_value(name) for name in ("LV", "RV", "LA")] == [1, 20, 3]


@pytest.mark.parametrize("empty", ["", "null", "~", "''", '""'])
def test_an_empty_sha256_means_that_there_is_none(empty, study):
    (study / "net.pth").write_bytes(b"weights")
    manifest = one_model(study, f"\n      url: file://net.pth\n      sha256: {empty}\n")
    assert ModelManager(manifest).get_model_path("m") == study / "net.pth"


def test_a_sha256_may_be_in_capitals(study, zip_up):
    digest = zip_up(study / "m.zip", {"m.pth": b"weights"}).upper()
    version = f"{{url: 'file://m.zip', sha256: '{digest}', unzipped_target_path: m.pth}}"
    manifest = one_model(study, version)
    path = ModelManager(manifest, study / "cache").get_model_path("m")
    assert path.read_bytes() == b"weights"


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "---\n", "labels:\ngroups:\n", "x: 1\n"]
)
def test_an_empty_label_manifest_has_no_labels(text, tmp_path):
    labels = labels_of(tmp_path, text)
    assert dict(labels._labels) == {}
    assert labels.get_values_from_names(["7"]) == [7]
    with pytest.raises(KeyError, match="LV"):
        labels.get_value("LV")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_model_manifest_has_no_models(text, study):
    (study / "models.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(KeyError, match="LV"):
        ModelManager("models.yaml").get_model_path("LV")


def test_unknown_top_level_keys_are_allowed(tmp_path):
    text = "colors: {LV: '#a1005c', RV: [1, 2.5, true]}\nlabels: {LV: 1}\nversion: 1.0\n"
    assert labels_of(tmp_path, text).get_value("LV") == 1


def test_the_limits_of_a_manifest_leave_room(tmp_path):
    deep = "[" * 90 + "]" * 90
    aliases = "".join(f"  n{number}: *v\n" for number in range(1000))
    comment = ("#" * 99 + "\n") * 90_000
    text = f"deep: {deep}\nlabels:\n  base: &v 7\n{aliases}{comment}"
    labels = labels_of(tmp_path, text)
    assert labels.get_value("n999") == 7


def test_a_group_that_is_never_asked_for_may_be_wrong(tmp_path):
    labels = labels_of(
        tmp_path,
        "labels: {LV: 1}\ngroups: {good: [LV], bad: [LX], loop: [ring], ring: [loop]}\n",
    )
    assert labels.get_values_from_names(["good"]) == [1]


def test_problems_are_told_all_at_once(tmp_path):
    labels = labels_of(
        tmp_path,
        "labels: {LV: 1}\ngroups: {good: [LV], bad: [LX], loop: [ring], ring: [loop]}\n",
    )
    told = " ".join(str(problem) for problem in labels.problems())
    for name in ("LX", "loop", "ring"):
        assert name in told
    assert list(labels_of(tmp_path, "labels: {LV: 1}\ngroups: {g: [LV]}\n").problems()) == []


# Where the document is silent: labels


def test_values_may_be_negative_and_may_repeat(tmp_path):
    labels = labels_of(tmp_path, "labels: {first: 2, outside: -1, last: 2}\n")
    assert labels.get_value("first") == labels.get_value("last") == 2
    assert labels.get_name(2) == "last"
    assert labels.get_name(-1) == "outside"


def test_a_label_comes_before_a_group_and_a_group_before_a_number(tmp_path):
    labels = labels_of(tmp_path, "labels: {LV: 1, 5: 50}\ngroups: {5: [LV], 6: [LV]}\n")
    assert labels.get_values_from_names(["5"]) == [50]
    assert labels.get_values_from_names(["6"]) == [1]
    assert labels.get_values_from_names(["7", "+8", "-9", "007"]) == [-9, 7, 8]


def test_names_may_be_any_sequence_but_a_string(tmp_path):
    labels = labels_of(tmp_path, "labels: {LV: 1, L: 2, V: 3}\n")
    assert labels.get_values_from_names(("LV", "V")) == [1, 3]


def test_get_tags_string_takes_one_level_of_nested_lists(tmp_path):
    labels = labels_of(tmp_path, "labels: {LV: 1, RV: 2, LA: 3}\ngroups: {atria: [LA]}\n")
    assert labels.get_tags_string(["LV", ["RV", "atria"], []]) == "1,2,3"


def test_a_conflicting_source_value_takes_the_last_name_and_warns(tmp_path, caplog):
    source = labels_of(tmp_path, "labels: {LV: 5, myocardium: 5, RV: 6}\n", "a.yaml")
    target = labels_of(tmp_path, "labels: {LV: 1, RV: 2, myocardium: 9}\n", "b.yaml")
    assert LabelMapper(source, target).get_source_to_target_mapping() == {5: 9, 6: 2}
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "5" in warnings[0]
    assert "myocardium" in warnings[0]


def test_two_names_with_one_target_are_no_conflict(tmp_path, caplog):
    source = labels_of(tmp_path, "labels: {LV: 5, myocardium: 5}\n", "a.yaml")
    target = labels_of(tmp_path, "labels: {LV: 1, myocardium: 1}\n", "b.yaml")
    assert LabelMapper(source, target).get_source_to_target_mapping() == {5: 1}
    assert caplog.records == []


def test_a_wide_and_deep_tree_of_groups_is_resolved(run_program, study):
    levels = "".join(f"  g{n}: [g{n + 1}, g{n + 1}, g{n + 1}]\n" for n in range(20))
    text = f"labels: {{LV: 1}}\ngroups:\n{levels}  g20: [LV]\n"
    (study / "labels.yaml").write_text(text, encoding="utf-8")
    done = run_program(
        "from pycemrg.data import LabelManager\n"
        "print(LabelManager('labels.yaml').get_values_from_names(['g0']))\n"
    )
    assert done.stdout == "[1]\n"


def test_a_long_chain_of_groups_is_resolved(tmp_path):
    levels = "".join(f"  g{n}: [g{n + 1}]\n" for n in range(5000))
    labels = labels_of(tmp_path, f"labels: {{LV: 1}}\ngroups:\n{levels}  g5000: [LV]\n")
    assert labels.get_values_from_names(["g0"]) == [1]


# Where the document is silent: models, commands, CARPentry


def test_relative_outputs_are_looked_up_where_the_command_ran(study):
    (study / "case").mkdir()
    touch = [PYTHON, "-c", "open('out.vtk', 'w').close()"]
    CommandRunner().run(touch, [Path("out.vtk")], cwd=Path("case"))
    CommandRunner().run(touch, [Path("out.vtk")], cwd=study / "case")
    assert (study / "case/out.vtk").exists()
    with pytest.raises(FileNotFoundError, match=r"case.out\.vtk"):
        CommandRunner().run(touch, [Path("case/out.vtk")], cwd=Path("case"))


def test_a_local_archive_is_extracted_and_a_replaced_one_is_seen(study, zip_up):
    zip_up(study / "m.zip", {"a/m.pth": b"the first"})
    manifest = one_model(study, "{url: 'file://m.zip', unzipped_target_path: a/m.pth}")
    first = ModelManager(manifest, study / "cache").get_model_path("m")
    assert (first.parts[-2:], first.read_bytes()) == (("a", "m.pth"), b"the first")
    zip_up(study / "m.zip", {"a/m.pth": b"a longer second"})
    assert ModelManager(manifest, study / "cache").get_model_path("m").read_bytes() == (
        b"a longer second"
    )


def test_an_absolute_file_url_works(study, zip_up):
    zip_up(study / "m.zip", {"m.pth": b"weights"})
    manifest = one_model(
        study, f"{{url: '{(study / 'm.zip').as_uri()}', unzipped_target_path: m.pth}}"
    )
    assert ModelManager(manifest, "cache").get_model_path("m").read_bytes() == b"weights"


@pytest.mark.parametrize("target", ["", ", unzipped_target_path: somewhere/else.pth"])
def test_a_plain_local_file_is_returned_whatever_its_target_says(target, study):
    (study / "net.pth").write_bytes(b"weights")
    manifest = one_model(study, f"{{url: 'file://net.pth'{target}}}")
    assert ModelManager(manifest).get_model_path("m") == study / "net.pth"


def test_a_solver_keeps_its_executable_bits_and_its_links(study):
    with tarfile.open(study / "solver.tar.gz", "w:gz") as archive:
        program = tarfile.TarInfo("carp/bin/openCARP")
        program.mode, program.size = 0o755, 18
        archive.addfile(program, io.BytesIO(b"#!/bin/sh\necho ok\n"))
        library = tarfile.TarInfo("carp/lib/libpetsc.so.3.18")
        library.mode, library.size = 0o644, 3
        archive.addfile(library, io.BytesIO(b"ELF"))
        link = tarfile.TarInfo("carp/lib/libpetsc.so")
        link.type, link.linkname = tarfile.SYMTYPE, "libpetsc.so.3.18"
        archive.addfile(link)
    manifest = one_model(study, "{url: 'file://solver.tar.gz', unzipped_target_path: carp}")
    carp = ModelManager(manifest, study / "cache").get_model_path("m")
    assert CommandRunner().run([carp / "bin/openCARP"]) == "ok\n"
    assert (carp / "lib/libpetsc.so").readlink() == Path("libpetsc.so.3.18")
    assert (carp / "lib/libpetsc.so").read_bytes() == b"ELF"
    assert not stat.S_IMODE((carp / "lib/libpetsc.so.3.18").stat().st_mode) & 0o111


def test_a_program_in_a_zip_keeps_its_executable_bit(study):
    program = zipfile.ZipInfo("bin/meshtool")
    program.create_system, program.external_attr = 3, (stat.S_IFREG | 0o755) << 16
    with zipfile.ZipFile(study / "tools.zip", "w") as archive:
        archive.writestr(program, "#!/bin/sh\necho ok\n")
        archive.writestr("bin/README", "text")
    manifest = one_model(study, "{url: 'file://tools.zip', unzipped_target_path: bin}")
    tools = ModelManager(manifest, study / "cache").get_model_path("m")
    assert CommandRunner().run([tools / "meshtool"]) == "ok\n"
    assert not stat.S_IMODE((tools / "README").stat().st_mode) & 0o111


def test_two_archives_of_one_file_name_are_two_models(study, website, zip_up):
    for name in ("atria", "ventricles"):
        zip_up(website.folder / name / "model.zip", {"m.pth": name.encode()})
    (study / "models.yaml").write_text(
        "".join(
            f"{name}:\n  default: v1\n  versions:\n    v1:\n"
            f"      url: {website.url}/{name}/model.zip?download=1\n"
            "      unzipped_target_path: m.pth\n"
            for name in ("atria", "ventricles")
        ),
        encoding="utf-8",
    )
    manager = ModelManager("models.yaml", study / "cache")
    for name in ("atria", "ventricles"):
        assert manager.get_model_path(name).read_text(encoding="utf-8") == name


def test_paths_are_absolute_although_everything_was_given_relative(
    study, zip_up, make_carpentry, monkeypatch
):
    zip_up(study / "m.zip", {"m.pth": b"weights"})
    (study / "net.pth").write_bytes(b"weights")
    (study / "models.yaml").write_text(
        "zip:\n  default: v1\n  versions:\n"
        "    v1: {url: 'file://m.zip', unzipped_target_path: m.pth}\n"
        "file:\n  default: v1\n  versions:\n    v1: {url: 'file://net.pth'}\n",
        encoding="utf-8",
    )
    make_carpentry(study / "carpentry_bundle")
    models = ModelManager("models.yaml", "cache")
    carp = CarpRunner(CommandRunner(), "carpentry_bundle/config.sh")
    paths = [
        models.get_model_path("zip"),
        models.get_model_path("file"),
        OutputManager("out", "case").get_path(".vtk"),
        carp.installation_root,
        carp.get_carp_path(),
        carp.get_carp_path("bin"),
        carp.get_license_path(),
        carp.get_carputils_settings_path(),
        CarpRunner.find_installation(["carpentry_bundle"]),
    ]
    assert [path for path in paths if not path.is_absolute()] == []
    monkeypatch.chdir(study.parent)
    assert models.get_model_path("file") == study / "net.pth"
    assert models.get_model_path("zip") == paths[0]
    assert carp.get_carp_path("bin") == study / "carpentry_bundle/bin"
    assert carp.run(["cusummary"]).startswith("settings: ")


def counting_config(make_carpentry, folder):
    """A CARPentry whose config.sh adds a line to a file each time that it is sourced."""
    config = make_carpentry(folder)
    with config.open("a", encoding="utf-8") as text:
        text.write('echo sourced >> "${CARPENTRY_ROOT}/count"\nexport EDITION=1\n')
    return config, folder / "count"


def test_config_sh_is_sourced_once_and_not_before_it_is_needed(make_carpentry, study):
    config, count = counting_config(make_carpentry, study / "carpentry_bundle")
    carp = CarpRunner(CommandRunner(), config)
    assert carp.installation_root == config.parent
    assert carp.get_carp_path("bin") == config.parent / "bin"
    assert not count.exists()
    carp.run(["openCARP", "+F", "sim.par"])
    assert carp.carp_env["EDITION"] == "1"
    assert carp.get_license_path() == config.parent / "license.bin"
    assert carp.validate_command_exists("openCARP")
    assert count.read_text(encoding="utf-8") == "sourced\n"


def test_an_edited_config_sh_is_seen_after_a_reload_only(make_carpentry, study, caplog):
    config, count = counting_config(make_carpentry, study / "carpentry_bundle")
    carp = CarpRunner(CommandRunner(), config)
    assert carp.carp_env["EDITION"] == "1"
    with config.open("a", encoding="utf-8") as text:
        text.write("export EDITION=2\n")
    caplog.clear()
    assert [carp.carp_env["EDITION"] for _ in range(3)] == ["1", "1", "1"]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "reload_environment" in warnings[0]
    carp.reload_environment()
    assert carp.carp_env["EDITION"] == "2"
    assert count.read_text(encoding="utf-8") == "sourced\nsourced\n"


# Whole programs in the manner of 0.1.x


def test_a_relabelling_script(run_program, study):
    (study / "clinical.yaml").write_text("labels: {LV: 1, RV: 2, coil: 9}\n", encoding="utf-8")
    (study / "simulation.yaml").write_text("labels: {LV: 11, RV: 12}\n", encoding="utf-8")
    done = run_program(
        """
        import logging
        import numpy as np
        from pycemrg.core.logs import setup_logging
        from pycemrg.data.labels import LabelManager, LabelMapper
        from pycemrg.files.output import OutputManager

        setup_logging(logging.INFO, "logs/relabel.log")
        logger = logging.getLogger("relabel")

        source = LabelManager("clinical.yaml")
        target = LabelManager("simulation.yaml")
        mapping = LabelMapper(source, target).get_source_to_target_mapping()
        seg = np.array([[0, 1], [2, 9]], dtype=np.int64)
        for value in np.unique(seg):
            if value in source._labels.values():
                logger.info("%s: %d", source.get_name(value), mapping.get(value, -1))
        for old, new in mapping.items():
            seg[seg == old] = new
        out = OutputManager("outputs", "case_01")
        np.save(out.get_path("_relabelled.npy"), seg)
        print(out.output_dir.name, out.prefix, seg.tolist())
        """
    )
    assert done.stdout == "outputs case_01 [[0, 11], [12, 9]]\n"
    assert done.stderr.splitlines() == [
        "[relabel] LV: 11",
        "[relabel] RV: 12",
        "[relabel] coil: -1",
    ]
    assert (study / "outputs/case_01_relabelled.npy").exists()


def test_a_solver_script(run_program, study, make_carpentry, tmp_path):
    make_carpentry(tmp_path / "home/carpentry_bundle")
    done = run_program(
        """
        import os, sys
        from pathlib import Path
        from pycemrg.system.carp_runner import CarpEnvironmentError, CarpRunner
        from pycemrg.system.runner import CommandExecutionError, CommandRunner

        class StimulusRunner:
            def __init__(self, carp):
                self.carp = carp

            def simulate(self, case):
                try:
                    return self.carp.run(["openCARP", "+F", f"{case}.par"], [f"{case}_vm.igb"])
                except CommandExecutionError as error:
                    raise CommandExecutionError(
                        f"case {case} failed", error.returncode, error.stdout, error.stderr
                    ) from error

        config = CarpRunner.find_installation()
        if config is None:
            sys.exit("no CARPentry")
        try:
            carp = CarpRunner(CommandRunner(), str(config))
            env = carp.carp_env
        except CarpEnvironmentError as error:
            sys.exit(str(error))
        assert os.access(carp.get_license_path(), os.R_OK)
        for tool in ("openCARP", "meshtool", "meshalyzer"):
            print(tool, carp.validate_command_exists(tool))
        StimulusRunner(carp).simulate("s1")
        try:
            carp.run(["openCARP", "--broken"])
        except (CommandExecutionError, OSError) as error:
            print(type(error).__name__, error.returncode)
        """
    )
    assert done.stdout.splitlines() == [
        "openCARP True",
        "meshtool True",
        "meshalyzer False",
        "CommandExecutionError 1",
    ]
    assert (study / "s1_vm.igb").exists()


def test_a_segmentation_script(run_program, study, website, zip_up, tmp_path):
    digest = zip_up(website.folder / "seg.zip", {"model/fold_0.pth": b"weights"})
    (study / "config").mkdir()
    (study / "config/models.yaml").write_text(
        "seg:\n  default: v2\n  versions:\n    v2:\n"
        f"      url: {website.url}/seg.zip\n      sha256: {digest}\n"
        "      unzipped_target_path: model/\n"
        "    v1:\n"
        f"      url: {website.url}/seg.zip?old\n      sha256: {'a' * 64}\n"
        "      unzipped_target_path: model/\n",
        encoding="utf-8",
    )
    done = run_program(
        """
        from pathlib import Path
        from pycemrg.models.manager import ModelManager

        HERE = Path("config")
        models = ModelManager(manifest_path=HERE / "models.yaml", cache_dir=Path("cache"))
        folder = models.get_model_path("seg")
        print(folder.is_dir(), sorted(path.name for path in folder.iterdir()))
        try:
            models.get_model_path("seg", "v1")
        except (RuntimeError, ValueError) as error:
            print("bad download:", isinstance(error, IOError))
        try:
            models.get_model_path("sag")
        except KeyError as error:
            print("seg" in error.args[0])
        """
    )
    assert done.stdout.splitlines() == ["True ['fold_0.pth']", "bad download: True", "True"]
