"""The documented API, example by example, as near to its text as a test can be."""

import inspect
import logging
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pycemrg.core import setup_logging
from pycemrg.data import LabelManager, LabelMapper
from pycemrg.files import ConfigScaffolder, OutputManager
from pycemrg.models import ModelManager
from pycemrg.system import (
    CarpEnvironmentError,
    CarpRunner,
    CommandExecutionError,
    CommandRunner,
)

REQUIRED = inspect.Parameter.empty
OPTIONAL = object()

RUN = [("cmd", REQUIRED), ("expected_outputs", None), ("cwd", None), ("ignore_errors", None)]

SIGNATURES = [
    (setup_logging, [("log_level", logging.INFO), ("log_file", None)]),
    (ConfigScaffolder, []),
    (
        ConfigScaffolder.create_models_manifest,
        [("output_path", "models.yaml"), ("overwrite", False)],
    ),
    (
        ConfigScaffolder.create_labels_manifest,
        [
            ("output_path", "labels.yaml"),
            ("overwrite", False),
            ("num_labels", 3),
            ("num_groups", 1),
        ],
    ),
    (OutputManager, [("output_dir", REQUIRED), ("output_prefix", REQUIRED)]),
    (OutputManager.get_path, [("suffix", REQUIRED)]),
    (ModelManager, [("manifest_path", REQUIRED), ("cache_dir", OPTIONAL)]),
    (ModelManager.get_model_path, [("model_name", REQUIRED), ("version", "default")]),
    (LabelManager, [("config_path", REQUIRED)]),
    (LabelManager.get_value, [("name", REQUIRED)]),
    (LabelManager.get_name, [("value", REQUIRED)]),
    (LabelManager.get_values_from_names, [("names", REQUIRED)]),
    (LabelManager.get_tags_string, [("names", REQUIRED), ("separator", ",")]),
    (LabelMapper, [("source", REQUIRED), ("target", REQUIRED)]),
    (LabelMapper.get_source_to_target_mapping, []),
    (LabelMapper.get_source_tags, [("names", REQUIRED)]),
    (LabelMapper.get_target_tags, [("names", REQUIRED)]),
    (CommandRunner, [("logger", OPTIONAL)]),
    (CommandRunner.run, [*RUN, ("env", None)]),
    (CarpRunner, [("runner", REQUIRED), ("carp_config_path", REQUIRED)]),
    (CarpRunner.run, RUN),
    (CarpRunner.reload_environment, []),
    (CarpRunner.get_carp_path, [("relative_path", "")]),
    (CarpRunner.validate_command_exists, [("command", REQUIRED)]),
    (CarpRunner.get_carputils_settings_path, []),
    (CarpRunner.get_license_path, []),
    (CarpRunner.find_installation, [("search_paths", None)]),
]


@pytest.mark.parametrize(
    ("function", "documented"),
    [pytest.param(*row, id=row[0].__qualname__) for row in SIGNATURES],
)
def test_a_signature_is_the_documented_one_and_what_is_added_is_keyword_only(
    function: Any, documented: list[tuple[str, object]]
) -> None:
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    first, added = parameters[: len(documented)], parameters[len(documented) :]
    assert [p.name for p in first] == [name for name, _ in documented]
    assert {p.kind for p in first} <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    for parameter, (_, default) in zip(first, documented, strict=True):
        if default is OPTIONAL:
            assert parameter.default is not REQUIRED
        else:
            assert parameter.default is default or parameter.default == default
    for parameter in added:
        assert parameter.kind in (
            inspect.Parameter.KEYWORD_ONLY,
            inspect.Parameter.VAR_KEYWORD,
        ), parameter
        assert parameter.kind is inspect.Parameter.VAR_KEYWORD or parameter.default is not REQUIRED


@pytest.mark.parametrize("name", ["carp_env", "installation_root"])
def test_a_documented_property_is_a_property_that_cannot_be_set(name, make_carpentry, tmp_path):
    assert isinstance(inspect.getattr_static(CarpRunner, name), property)
    carp = CarpRunner(CommandRunner(), make_carpentry(tmp_path / "carpentry_bundle"))
    with pytest.raises(AttributeError):
        setattr(carp, name, None)


def test_find_installation_is_a_classmethod():
    assert isinstance(inspect.getattr_static(CarpRunner, "find_installation"), classmethod)


def test_the_documented_exceptions_are_runtime_errors():
    assert issubclass(CommandExecutionError, RuntimeError)
    assert issubclass(CarpEnvironmentError, RuntimeError)


def test_the_quick_reference_of_imports(run_program):
    run_program(
        """
        # Configuration
        from pycemrg.files import ConfigScaffolder, OutputManager

        # Data Management
        from pycemrg.data import LabelManager, LabelMapper
        from pycemrg.models import ModelManager

        # System Execution
        from pycemrg.system import CommandRunner, CarpRunner
        from pycemrg.system import CommandExecutionError, CarpEnvironmentError

        # Logging
        from pycemrg.core import setup_logging
        """
    )


# ConfigScaffolder


def test_create_models_manifest_example(study):
    scaffolder = ConfigScaffolder()
    result = scaffolder.create_models_manifest(output_path="config/models.yaml", overwrite=True)
    assert result is None
    text = (study / "config/models.yaml").read_text(encoding="utf-8")
    assert "#" in text, "the starter file explains itself"
    for word in ("default:", "versions:", "url:", "sha256:", "unzipped_target_path:"):
        assert word in text


def test_create_models_manifest_writes_models_yaml_here_by_default(study):
    assert ConfigScaffolder().create_models_manifest() is None
    assert [path.name for path in study.iterdir()] == ["models.yaml"]


def test_a_starter_models_manifest_loads_as_it_is(study):
    ConfigScaffolder().create_models_manifest()
    with pytest.raises(KeyError):
        ModelManager("models.yaml", study / "cache").get_model_path("a name that it cannot hold")


def test_create_labels_manifest_example(study):
    scaffolder = ConfigScaffolder()
    result = scaffolder.create_labels_manifest(
        output_path="config/labels.yaml", num_labels=10, num_groups=3, overwrite=True
    )
    assert result is None
    written = yaml.safe_load((study / "config/labels.yaml").read_text(encoding="utf-8"))
    assert written["labels"] == {
        "background": 0,
        **{f"structure_{number}": number for number in range(1, 11)},
    }
    assert written["groups"] == {
        "group_a": ["structure_1", "structure_2", "structure_3", "structure_4"],
        "group_b": ["structure_5", "structure_6", "structure_7"],
        "group_c": ["structure_8", "structure_9", "structure_10"],
    }


def test_the_generated_structure_of_three_labels_in_two_groups(study):
    ConfigScaffolder().create_labels_manifest(num_labels=3, num_groups=2)
    written = yaml.safe_load((study / "labels.yaml").read_text(encoding="utf-8"))
    assert written["labels"] == {
        "background": 0,
        "structure_1": 1,
        "structure_2": 2,
        "structure_3": 3,
    }
    assert written["groups"] == {
        "group_a": ["structure_1", "structure_2"],
        "group_b": ["structure_3"],
    }


def test_create_labels_manifest_makes_three_labels_in_one_group_by_default(study):
    ConfigScaffolder().create_labels_manifest()
    labels = LabelManager("labels.yaml")
    assert labels.get_values_from_names(["group_a"]) == [1, 2, 3]
    assert labels.get_name(0) == "background"


@pytest.mark.parametrize("method", ["create_models_manifest", "create_labels_manifest"])
@pytest.mark.parametrize("as_type", [str, Path])
def test_overwrite_replaces_an_existing_manifest(method, as_type, study):
    path = study / "manifest.yaml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError):
        getattr(ConfigScaffolder(), method)(as_type(path))
    assert path.read_text(encoding="utf-8") == "mine"
    getattr(ConfigScaffolder(), method)(as_type(path), True)
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


# OutputManager


def test_output_manager_example(tmp_path):
    results = tmp_path / "data/results"
    mgr = OutputManager(str(results), "patient_042")
    assert results.is_dir(), "the folder is made on initialization"

    seg_path = mgr.get_path("_segmentation.nii.gz")
    assert seg_path == results / "patient_042_segmentation.nii.gz"

    mesh_path = mgr.get_path("_heart_mesh.vtk")
    assert mesh_path == results / "patient_042_heart_mesh.vtk"
    assert isinstance(mesh_path, Path)
    assert list(results.iterdir()) == [], "a path is made, no file"


def test_output_manager_takes_its_documented_keywords_and_an_existing_folder(tmp_path):
    mgr = OutputManager(output_dir=tmp_path, output_prefix="case_01")
    assert mgr.get_path("_mesh.vtk") == tmp_path / "case_01_mesh.vtk"


def test_output_paths_are_absolute_and_stay_where_the_folder_was_made(study, monkeypatch):
    mgr = OutputManager("results", "case_01")
    monkeypatch.chdir(study.parent)
    assert mgr.get_path(".vtk") == study / "results" / "case_01.vtk"


@pytest.mark.parametrize("suffix", ["", None, 5, b"_mesh.vtk", Path("_mesh.vtk")])
def test_get_path_refuses_a_suffix_that_is_empty_or_no_string(suffix, tmp_path):
    with pytest.raises(ValueError, match="suffix"):
        OutputManager(tmp_path, "case_01").get_path(suffix)


# ModelManager


@pytest.fixture
def segmentation_models(study, zip_up, website):
    """The manifest of the document: one archive on the web, one beside the manifest."""
    on_the_web = zip_up(website.folder / "models/seg_v2.1.zip", {"checkpoints/model.pth": b"v2.1"})
    local = zip_up(study / "local/path/to/seg_v2.0.zip", {"model.pth": b"v2.0"})
    path = study / "models.yaml"
    path.write_text(
        f"""\
segmentation_model:
  default: v2.1
  versions:
    v2.1:
      url: "{website.url}/models/seg_v2.1.zip"
      sha256: "{on_the_web}"
      unzipped_target_path: "checkpoints/model.pth"
    v2.0:
      url: "file://local/path/to/seg_v2.0.zip"
      sha256: "{local}"
      unzipped_target_path: "model.pth"
""",
        encoding="utf-8",
    )
    return path


def test_get_model_path_example(segmentation_models, website, tmp_path):
    manager = ModelManager("models.yaml")

    model_path = manager.get_model_path("segmentation_model")
    assert model_path.is_relative_to(tmp_path / "home/.cache/pycemrg")
    assert model_path.parts[-2:] == ("checkpoints", "model.pth")
    assert model_path.is_absolute()
    assert model_path == model_path.resolve()
    assert model_path.read_bytes() == b"v2.1"
    assert website.seen == ["/models/seg_v2.1.zip"]

    # Subsequent calls: Returns cached path immediately
    assert manager.get_model_path("segmentation_model") == model_path
    assert ModelManager("models.yaml").get_model_path("segmentation_model") == model_path
    assert manager.get_model_path("segmentation_model", "v2.1") == model_path
    assert website.seen == ["/models/seg_v2.1.zip"]

    # Get specific version
    legacy_path = manager.get_model_path("segmentation_model", version="v2.0")
    assert legacy_path.name == "model.pth"
    assert legacy_path.read_bytes() == b"v2.0"


def test_a_custom_cache_directory_holds_everything_that_is_downloaded(
    segmentation_models, tmp_path, contents
):
    cache = tmp_path / "my-app-cache"
    model_manager = ModelManager(manifest_path=segmentation_models, cache_dir=cache)
    assert model_manager.get_model_path("segmentation_model").is_relative_to(cache)
    assert contents(tmp_path / "home") == {}


def test_models_are_never_updated_by_themselves(study, website, zip_up):
    archive = website.folder / "model.zip"
    zip_up(archive, {"model.pth": b"the first"})
    (study / "models.yaml").write_text(
        "m:\n  default: v1\n  versions:\n    v1:\n"
        f"      url: {website.url}/model.zip\n      unzipped_target_path: model.pth\n",
        encoding="utf-8",
    )
    first = ModelManager("models.yaml", study / "cache").get_model_path("m")
    zip_up(archive, {"model.pth": b"the second"})
    again = ModelManager("models.yaml", study / "cache").get_model_path("m")
    assert again == first
    assert again.read_bytes() == b"the first"
    assert len(website.seen) == 1


def test_a_single_file_is_fetched_from_the_web_and_returned(study, website):
    (website.folder / "net.onnx").write_bytes(b"weights")
    (study / "models.yaml").write_text(
        f"m:\n  default: v1\n  versions:\n    v1:\n      url: {website.url}/net.onnx\n",
        encoding="utf-8",
    )
    path = ModelManager("models.yaml", study / "cache").get_model_path("m")
    assert (path.name, path.read_bytes()) == ("net.onnx", b"weights")


# LabelManager and LabelMapper


@pytest.fixture
def label_manager(study):
    (study / "labels.yaml").write_text(
        """\
labels:
  background: 0
  LV_myo: 2
  RV_myo: 3
  LA_wall: 4
  RA_wall: 5

groups:
  ventricles:
    - LV_myo
    - RV_myo
  atria:
    - LA_wall
    - RA_wall
  all_chambers:
    - ventricles  # Groups can reference other groups
    - atria
""",
        encoding="utf-8",
    )
    return LabelManager(config_path=Path("labels.yaml"))


def test_get_value_and_get_name_examples(label_manager):
    lv_value = label_manager.get_value("LV_myo")
    assert lv_value == 2
    assert type(lv_value) is int
    name = label_manager.get_name(2)
    assert name == "LV_myo"
    assert type(name) is str


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["ventricles", "LA_wall", "0"], [0, 2, 3, 4], id="a mix"),
        pytest.param(["all_chambers"], [2, 3, 4, 5], id="groups of groups"),
        pytest.param(["ventricles", "LA_wall", "5"], [2, 3, 4, 5], id="a number"),
        pytest.param(["RA_wall", "LV_myo", "ventricles", "2"], [2, 3, 5], id="sorted and unique"),
        pytest.param(["77"], [77], id="a number that no label has"),
        pytest.param([], [], id="nothing"),
    ],
)
def test_get_values_from_names_examples(names, expected, label_manager):
    values = label_manager.get_values_from_names(names)
    assert values == expected
    assert type(values) is list
    assert {type(value) for value in values} <= {int}


def test_get_tags_string_examples(label_manager):
    assert label_manager.get_tags_string(["ventricles", "atria"]) == "2,3,4,5"
    assert label_manager.get_tags_string(["LV_myo", "RV_myo"], separator=":") == "2:3"
    assert label_manager.get_tags_string(["LV_myo", "RV_myo"], " ") == "2 3"


@pytest.fixture
def two_standards(study):
    source, target = study / "source_labels.yaml", study / "target_labels.yaml"
    source.write_text("labels:\n  LV_myo: 100\n  RV_myo: 101\n  LA_wall: 102\n", encoding="utf-8")
    target.write_text("labels:\n  LV_myo: 2\n  RV_myo: 3\n  LA_wall: 4\n", encoding="utf-8")
    return LabelManager("source_labels.yaml"), LabelManager("target_labels.yaml")


def test_get_source_to_target_mapping_example(two_standards):
    source_mgr, target_mgr = two_standards
    mapper = LabelMapper(source_mgr, target_mgr)
    mapping = mapper.get_source_to_target_mapping()
    assert mapping == {100: 2, 101: 3, 102: 4}
    assert type(mapping) is dict

    mesh_array = np.array([100, 0, 102, 101, 100])
    for source_val, target_val in mapping.items():
        mesh_array[mesh_array == source_val] = target_val
    assert mesh_array.tolist() == [2, 0, 4, 3, 2]


def test_get_source_tags_and_get_target_tags_examples(two_standards):
    source_mgr, target_mgr = two_standards
    mapper = LabelMapper(source=source_mgr, target=target_mgr)
    source_tags = mapper.get_source_tags(["LV_myo", "RV_myo"])
    assert source_tags == mapper.source.get_values_from_names(["LV_myo", "RV_myo"]) == [100, 101]
    target_tags = mapper.get_target_tags(["LV_myo", "RV_myo"])
    assert target_tags == mapper.target.get_values_from_names(["LV_myo", "RV_myo"]) == [2, 3]
    assert mapper.source is source_mgr
    assert mapper.target is target_mgr


def test_labels_of_one_standard_only_are_not_in_the_mapping(study, two_standards):
    source_mgr, _ = two_standards
    (study / "other.yaml").write_text("labels: {RV_myo: 3, aorta: 6}\n", encoding="utf-8")
    mapper = LabelMapper(source_mgr, LabelManager("other.yaml"))
    assert mapper.get_source_to_target_mapping() == {101: 3}


def test_label_mapping_between_three_standards(study):
    for name, values in {
        "clinical": {"LV_myo": 205, "RV_myo": 600, "aorta": 820, "coil": 990},
        "atlas": {"LV_myo": 11, "RV_myo": 12, "aorta": 13},
        "simulation": {"LV_myo": 1, "RV_myo": 2},
    }.items():
        text = yaml.safe_dump({"labels": values})
        (study / f"{name}_labels.yaml").write_text(text, encoding="utf-8")

    # Define three standards
    clinical_mgr = LabelManager("clinical_labels.yaml")  # Hospital PACS labels
    atlas_mgr = LabelManager("atlas_labels.yaml")  # Research atlas
    sim_mgr = LabelManager("simulation_labels.yaml")  # openCARP mesh tags

    # Create mappers for each transition
    clinical_to_atlas = LabelMapper(clinical_mgr, atlas_mgr)
    atlas_to_sim = LabelMapper(atlas_mgr, sim_mgr)

    seg = np.array([0, 205, 600, 820, 205, 990])
    atlas_mapping = clinical_to_atlas.get_source_to_target_mapping()
    for old_val, new_val in atlas_mapping.items():
        seg[seg == old_val] = new_val
    assert seg.tolist() == [0, 11, 12, 13, 11, 990]

    sim_mapping = atlas_to_sim.get_source_to_target_mapping()
    for old_val, new_val in sim_mapping.items():
        seg[seg == old_val] = new_val
    assert seg.tolist() == [0, 1, 2, 13, 1, 990]


# CommandRunner


def test_basic_execution_example():
    runner = CommandRunner()
    output = runner.run(["ls", "-la", "/tmp"])
    assert type(output) is str
    assert ".." in output


def test_every_part_of_a_command_becomes_a_string(tmp_path):
    output = CommandRunner().run([sys.executable, "-c", "import sys; print(sys.argv)", tmp_path, 5])
    assert output.splitlines() == [repr(["-c", str(tmp_path), "5"])]


def test_no_shell_reads_the_command(make_tool):
    make_tool("show", "printf '%s\\n' \"$@\"")
    words = ["$HOME", "`id`", "a; exit 3", "*", "> out"]
    assert CommandRunner().run(["show", *words]).splitlines() == words


def test_output_validation_example(study, make_tool):
    make_tool("convert", 'cp "$1" "$2"')
    (study / "input.nii").write_bytes(b"image")
    runner = CommandRunner()
    runner.run(cmd=["convert", "input.nii", "output.inr"], expected_outputs=[Path("output.inr")])
    assert (study / "output.inr").read_bytes() == b"image"


def test_error_tolerance_example(make_tool, caplog):
    make_tool("legacy_tool", 'echo "did $1 $2"; echo "WARNING: deprecated flag" >&2; exit 1')
    runner = CommandRunner()
    output = runner.run(
        cmd=["legacy_tool", "--process", "data.txt"], ignore_errors=["WARNING: deprecated flag"]
    )
    assert output == "did --process data.txt\n"
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert any("legacy_tool" in record.getMessage() for record in warnings)


def test_custom_environment_example(study, make_tool):
    make_tool("python", f'exec "{sys.executable}" "$@"')
    program = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    (study / "train.py").write_text(program, encoding="utf-8")
    runner = CommandRunner()
    custom_env = os.environ.copy()
    custom_env["CUDA_VISIBLE_DEVICES"] = "0,1"
    assert runner.run(cmd=["python", "train.py"], env=custom_env) == "0,1\n"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_given_environment_replaces_the_whole_environment(monkeypatch):
    monkeypatch.setenv("FROM_THE_PARENT", "yes")
    show = [sys.executable, "-c", "import os; print('FROM_THE_PARENT' in os.environ)"]
    assert CommandRunner().run(show) == "True\n"
    assert CommandRunner().run(show, env={"ONLY": "this"}) == "False\n"


def test_cwd_is_where_the_command_runs(tmp_path):
    where = [sys.executable, "-c", "import os; print(os.getcwd())"]
    assert CommandRunner().run(where, cwd=tmp_path) == f"{tmp_path}\n"


def test_command_execution_error_example(make_tool):
    runner = CommandRunner()
    with pytest.raises(CommandExecutionError) as caught:
        runner.run(["false"])  # Command that always fails
    assert caught.value.returncode == 1
    assert caught.value.stdout == ""
    assert caught.value.stderr == ""

    make_tool("solver", "echo step 1; echo no licence >&2; exit 7")
    with pytest.raises(CommandExecutionError) as caught:
        runner.run(["solver"])
    error = caught.value
    assert (error.returncode, error.stdout, error.stderr) == (7, "step 1\n", "no licence\n")


def test_an_injected_logger_gets_what_the_runner_says(caplog):
    app_logger = logging.getLogger("my_application")
    caplog.set_level(logging.DEBUG)
    CommandRunner(logger=app_logger).run([sys.executable, "-c", ""])
    assert {record.name for record in caplog.records} == {"my_application"}


# CarpRunner


@pytest.fixture
def config_sh(make_carpentry, tmp_path):
    return make_carpentry(tmp_path / "carpentry_bundle")


@pytest.fixture
def carp(config_sh):
    return CarpRunner(runner=CommandRunner(), carp_config_path=str(config_sh))


def test_running_a_simulation_example(carp, study):
    case = study / "simulations/case_01"
    case.mkdir(parents=True)
    output = carp.run(
        cmd=["openCARP", "+F", "experiment.par"],
        expected_outputs=[Path("experiment_vm.igb")],
        cwd=case,
    )
    assert output == f"license: {carp.installation_root / 'license.bin'}\n"
    assert (case / "experiment_vm.igb").exists()

    output = carp.run(["meshtool", "extract", "surface", "-msh=heart", "-surf=epi"])
    assert output == "meshtool extract surface -msh=heart -surf=epi\n"


@pytest.mark.parametrize("name", ["carpentry_bundle", "CARPentry", "opencarp"])
def test_auto_discovery_example(name, make_carpentry, tmp_path):
    expected = make_carpentry(tmp_path / "home" / name)
    runner = CommandRunner()
    config_path = CarpRunner.find_installation()
    assert config_path == expected
    carp_runner = CarpRunner(runner=runner, carp_config_path=config_path)
    assert carp_runner.run(["cusummary"]).startswith("settings: ")


def test_the_first_common_location_wins(make_carpentry, tmp_path):
    make_carpentry(tmp_path / "home/opencarp")
    expected = make_carpentry(tmp_path / "home/carpentry_bundle")
    make_carpentry(tmp_path / "home/CARPentry")
    assert CarpRunner.find_installation() == expected


def test_find_installation_searches_the_locations_that_it_is_given(
    make_carpentry, tmp_path, study, monkeypatch
):
    make_carpentry(tmp_path / "home/carpentry_bundle")
    expected = make_carpentry(study / "shared/tools/opencarp")
    custom_paths = [study / "data/software/carpentry", study / "shared/tools/opencarp"]
    assert CarpRunner.find_installation(custom_paths) == expected
    assert CarpRunner.find_installation([Path("shared/tools/opencarp")]) == expected
    assert CarpRunner.find_installation(search_paths=[study / "data"]) is None
    assert CarpRunner.find_installation([]) is None


def test_carp_env_holds_the_key_variables(carp, config_sh):
    env = carp.carp_env
    root = config_sh.parent
    assert type(env) is dict
    assert env["PATH"].split(":")[:2] == [f"{root}/bin", f"{root}/openmpi/bin"]
    assert env["PYTHONPATH"].split(":")[0] == f"{root}/carputils"
    assert env["LD_LIBRARY_PATH"] == f"{root}/petsc/lib"
    assert env["CARPENTRY_LICENSE"] == f"{root}/license.bin"
    assert env["CARPUTILS_SETTINGS"] == f"{root}/settings.yaml"
    assert env["OPAL_PREFIX"] == f"{root}/openmpi"
    assert env["OPAL_BINDIR"] == f"{root}/openmpi/bin"
    assert env["OPAL_LIBDIR"] == f"{root}/openmpi/lib"
    assert env["VIRTUAL_ENV"] == f"{root}/venv"


def test_carp_env_cannot_be_spoiled_by_its_reader(carp):
    carp.carp_env["CARPENTRY_LICENSE"] = "elsewhere"
    assert carp.carp_env["CARPENTRY_LICENSE"].endswith("license.bin")


def test_the_own_environment_is_left_alone(carp):
    before = dict(os.environ)
    assert carp.carp_env["CARPENTRY_LICENSE"]
    assert dict(os.environ) == before


def test_installation_root_example(carp, config_sh):
    root = carp.installation_root
    assert isinstance(root, Path)
    assert root.is_absolute()
    assert root / "meshes" == config_sh.parent / "meshes"


def test_get_carp_path_example(carp, config_sh):
    assert carp.get_carp_path("bin") == config_sh.parent / "bin"
    assert carp.get_carp_path("petsc/lib") == config_sh.parent / "petsc/lib"
    assert carp.get_carp_path("meshes/torso/torso") == config_sh.parent / "meshes/torso/torso"
    assert carp.get_carp_path() == config_sh.parent
    assert carp.get_carp_path("bin").is_absolute()


def test_reload_environment_example(carp, study, config_sh):
    (study / "new_license.bin").write_bytes(b"new")
    shutil.copy("new_license.bin", carp.get_license_path())
    assert carp.reload_environment() is None
    assert (config_sh.parent / "license.bin").read_bytes() == b"new"


def test_validate_command_exists_example(carp, config_sh):
    assert carp.validate_command_exists("openCARP") is True
    assert carp.validate_command_exists("bench") is False
    (config_sh.parent / "bin/meshalyzer").write_text("not executable", encoding="utf-8")
    assert carp.validate_command_exists("meshalyzer") is False


def test_get_carputils_settings_path_example(carp):
    settings_path = carp.get_carputils_settings_path()
    assert isinstance(settings_path, Path)
    assert settings_path.exists()
    with settings_path.open() as f:
        config = yaml.safe_load(f)
    assert config == {"PYTHON_EXECUTABLE": "python3"}


def test_get_license_path_example(carp, config_sh):
    license_path = carp.get_license_path()
    assert license_path == config_sh.parent / "license.bin"
    assert isinstance(license_path, Path)
    assert license_path.exists()


@pytest.mark.parametrize(
    ("variable", "method"),
    [
        ("CARPENTRY_LICENSE", "get_license_path"),
        ("CARPUTILS_SETTINGS", "get_carputils_settings_path"),
    ],
)
def test_an_empty_variable_names_no_file(variable, method, config_sh):
    with config_sh.open("a", encoding="utf-8") as config:
        config.write(f"export {variable}=\n")
    assert getattr(CarpRunner(CommandRunner(), config_sh), method)() is None


def test_carp_environment_error_example(study):
    (study / "broken_config.sh").write_text("export PATH=(\nif then\n", encoding="utf-8")
    carp = CarpRunner(CommandRunner(), carp_config_path="broken_config.sh")
    with pytest.raises(CarpEnvironmentError, match=r"broken_config\.sh"):
        carp.reload_environment()
    with pytest.raises(CarpEnvironmentError, match=r"broken_config\.sh"):
        carp.run(["openCARP"])


# The command line


def test_init_models_example(run_cli, study):
    for _ in range(2):
        done = run_cli("init-models", "--output", "config/models.yaml", "--force")
        assert done.returncode == 0, done.stderr
    assert (study / "config/models.yaml").is_file()


def test_init_labels_example(run_cli, study):
    (study / "config").mkdir()
    (study / "config/labels.yaml").write_text("old", encoding="utf-8")
    done = run_cli(
        "init-labels",
        *("--output", "config/labels.yaml"),
        *("--num-labels", "10"),
        *("--num-groups", "3"),
        "--force",
    )
    assert done.returncode == 0, done.stderr
    labels = LabelManager(study / "config/labels.yaml")
    assert labels.get_values_from_names(["group_a"]) == [1, 2, 3, 4]
    assert labels.get_values_from_names(["group_c"]) == [8, 9, 10]


@pytest.mark.parametrize("option", ["-o", "--output"])
@pytest.mark.parametrize("command", ["init-models", "init-labels"])
def test_both_spellings_of_the_output_option(command, option, run_cli, study):
    assert run_cli(command, option, "x.yaml").returncode == 0
    assert [path.name for path in study.iterdir()] == ["x.yaml"]


def test_the_defaults_of_the_command_line_are_those_of_the_scaffolder(run_cli, study, tmp_path):
    assert run_cli("init-models").returncode == 0
    assert run_cli("init-labels").returncode == 0
    assert sorted(path.name for path in study.iterdir()) == ["labels.yaml", "models.yaml"]
    ConfigScaffolder().create_models_manifest(tmp_path / "models.yaml")
    ConfigScaffolder().create_labels_manifest(tmp_path / "labels.yaml")
    for name in ("labels.yaml", "models.yaml"):
        assert (study / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("command", [[], ["init-models"], ["init-labels"]])
def test_help_is_on_stdout(command, run_cli):
    done = run_cli(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: pycemrg" in done.stdout


# The patterns at the end of the document


def test_output_manager_pipeline(tmp_path):
    def step(*inputs, output):
        assert all(path.exists() for path in inputs)
        output.write_bytes(b"")

    def run_segmentation_pipeline(case_id: str, input_image: Path, output_dir: Path):
        mgr = OutputManager(output_dir=output_dir, output_prefix=case_id)

        raw_seg_path = mgr.get_path("_raw_segmentation.nii.gz")
        smooth_seg_path = mgr.get_path("_smooth_segmentation.nii.gz")
        mesh_path = mgr.get_path("_heart_mesh.vtk")
        fiber_path = mgr.get_path("_fibers.lon")

        step(input_image, output=raw_seg_path)
        step(raw_seg_path, output=smooth_seg_path)
        step(smooth_seg_path, output=mesh_path)
        step(mesh_path, output=fiber_path)

    image = tmp_path / "image.nii.gz"
    image.write_bytes(b"")
    run_segmentation_pipeline("patient_042", image, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "patient_042_fibers.lon",
        "patient_042_heart_mesh.vtk",
        "patient_042_raw_segmentation.nii.gz",
        "patient_042_smooth_segmentation.nii.gz",
    ]


@dataclass(frozen=True)
class CaseFiles:
    id: str
    input_path: Path
    output_path: Path


PROCESS_CASE = """
limit=8G
if [ "$1" = --memory-limit ]; then limit=$2; shift 2; fi
case "$1:$limit" in
  *big*:8G) echo "std::bad_alloc: Out Of Memory" >&2; exit 1 ;;
  *gpu*) echo "CUDA error 77" >&2; exit 2 ;;
  *empty*) exit 0 ;;
  *odd*) echo "segmentation fault in reader" >&2; exit 3 ;;
esac
: > "${1%.nii}.out"
"""


def case_files(folder, *names):
    return [CaseFiles(name, folder / f"{name}.nii", folder / f"{name}.out") for name in names]


def test_retryable_failures_and_fatal_errors_are_told_apart(study, make_tool):
    make_tool("process_case", PROCESS_CASE)
    runner = CommandRunner(logger=logging.getLogger(__name__))
    failed_cases = []
    retryable_cases = []
    for case in case_files(study, "fine", "big", "gpu", "empty"):
        try:
            runner.run(cmd=["process_case", case.input_path], expected_outputs=[case.output_path])
        except CommandExecutionError as e:
            # Check for known retryable errors
            if "out of memory" in e.stderr.lower():
                retryable_cases.append(case)
            elif "cuda" in e.stderr.lower():
                failed_cases.append((case.id, type(e)))
            else:
                raise
        except FileNotFoundError as e:
            # Tool ran but produced no output - likely data issue
            failed_cases.append((case.id, type(e)))

    assert [case.id for case in retryable_cases] == ["big"]
    assert failed_cases == [("gpu", CommandExecutionError), ("empty", FileNotFoundError)]
    for case in retryable_cases:
        runner.run(
            cmd=["process_case", "--memory-limit", "32G", case.input_path],
            expected_outputs=[case.output_path],
        )
    assert sorted(path.name for path in study.iterdir()) == ["big.out", "fine.out"]

    (odd,) = case_files(study, "odd")
    with pytest.raises(CommandExecutionError, match="segmentation fault in reader"):
        runner.run(cmd=["process_case", odd.input_path], expected_outputs=[odd.output_path])


def test_process_pool_pattern(run_program, study):
    (study / "labels.yaml").write_text("labels: {LV: 1, RV: 2}\n", encoding="utf-8")
    done = run_program(
        """
        import sys
        from concurrent.futures import ProcessPoolExecutor
        from pathlib import Path
        from pycemrg.data import LabelManager
        from pycemrg.system import CommandExecutionError, CommandRunner

        def process_case(case_id: str, labels_config: Path):
            # Each process gets its own instances
            runner = CommandRunner()
            label_mgr = LabelManager(labels_config)
            tags = label_mgr.get_tags_string(["LV", "RV"])
            code = "import sys; sys.exit(sys.argv[1] == 'bad')"
            runner.run([sys.executable, "-c", code, case_id])
            return f"{case_id} {tags}"

        if __name__ == "__main__":
            case_list = ["a", "bad", "b"]
            # Use process pool, not threads
            with ProcessPoolExecutor(max_workers=4) as executor:
                futures = [
                    executor.submit(process_case, case_id, Path("labels.yaml"))
                    for case_id in case_list
                ]
                for future in futures:
                    try:
                        print(future.result())
                    except CommandExecutionError as error:
                        print("failed with", error.returncode)
        """
    )
    assert done.stdout.splitlines() == ["a 1,2", "failed with 1", "b 1,2"]


def test_quick_start(run_program, study, make_tool):
    make_tool("segment", 'cp "$1" "$2"')
    make_tool("generate_mesh", 'cp "$1" "$2"; echo "tags $4" >> "$2"')
    (study / "config").mkdir()
    (study / "config/labels.yaml").write_text("labels: {myocardium: 2}\n", encoding="utf-8")
    (study / "data").mkdir()
    (study / "data/input.nii.gz").write_text("image\n", encoding="utf-8")
    done = run_program(
        """
        import logging
        from pathlib import Path
        from pycemrg.core import setup_logging
        from pycemrg.files import OutputManager
        from pycemrg.data import LabelManager
        from pycemrg.system import CommandRunner

        # 1. Setup
        setup_logging(log_level=logging.INFO, log_file=Path("pipeline.log"))
        logger = logging.getLogger(__name__)

        # 2. Initialize managers
        output_mgr = OutputManager(output_dir=Path("results"), output_prefix="case_01")
        label_mgr = LabelManager(config_path=Path("config/labels.yaml"))
        runner = CommandRunner(logger=logger)

        # 3. Define paths explicitly
        input_path = Path("data/input.nii.gz")
        seg_path = output_mgr.get_path("_segmentation.nii.gz")
        mesh_path = output_mgr.get_path("_mesh.vtk")

        # 4. Execute workflow with validation
        runner.run(
            cmd=['segment', str(input_path), str(seg_path)],
            expected_outputs=[seg_path]
        )

        tags = label_mgr.get_tags_string(["myocardium"])
        runner.run(
            cmd=['generate_mesh', str(seg_path), str(mesh_path), '--tags', tags],
            expected_outputs=[mesh_path]
        )

        logger.info("Pipeline completed successfully")
        """
    )
    assert (study / "results/case_01_segmentation.nii.gz").read_text() == "image\n"
    assert (study / "results/case_01_mesh.vtk").read_text() == "image\ntags 2\n"
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "[__main__] Pipeline completed successfully"
    last = (study / "pipeline.log").read_text(encoding="utf-8").splitlines()[-1]
    assert re.search(r"\d\d:\d\d:\d\d.*INFO.*__main__.*Pipeline completed successfully$", last)


def test_upfront_validation_of_inputs(study):
    input_path, config_path = study / "input.nii.gz", study / "labels.yaml"
    ConfigScaffolder().create_labels_manifest(config_path)
    required = [("input", input_path), ("config", config_path)]
    missing = [(name, p) for name, p in required if not p.exists()]
    assert missing == [("input", input_path)]


class DebugTemp:
    def __init__(self, prefix="debug"):
        self.dir = None
        self.prefix = prefix

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix=f"{self.prefix}_")
        return Path(self.dir)

    def __exit__(self, exc_type, *_):
        if exc_type is None:
            shutil.rmtree(self.dir)
        else:
            print(f"Debug files: {self.dir}")
        return False


def test_debug_temp_is_kept_when_a_command_in_it_fails(make_tool, capsys, tmp_path, monkeypatch):
    make_tool("solver", ': > "$1"; [ "$1" = good ]')
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with DebugTemp("heart") as folder:
        CommandRunner().run(["solver", "good"], expected_outputs=[folder / "good"], cwd=folder)
    assert not folder.exists()
    with pytest.raises(CommandExecutionError), DebugTemp("heart") as folder:
        CommandRunner().run(["solver", "bad"], cwd=folder)
    assert [path.name for path in folder.iterdir()] == ["bad"]
    assert capsys.readouterr().out == f"Debug files: {folder}\n"


def test_retry_with_a_smaller_batch(make_tool, caplog):
    make_tool(
        "train", '[ "${1#*=}" -le 8 ] || { echo "CUDA out of memory" >&2; exit 1; }; echo "$1"'
    )
    logger = logging.getLogger("training")
    runner = CommandRunner()
    output = None
    for batch_size in [32, 16, 8, 4]:
        try:
            output = runner.run(["train", f"--batch-size={batch_size}"])
            break
        except CommandExecutionError as e:
            if "out of memory" not in e.stderr.lower():
                raise
            logger.warning(f"OOM at batch_size={batch_size}, retrying smaller...")
    assert output == "--batch-size=8\n"
    ours = [record.getMessage() for record in caplog.records if record.name == "training"]
    assert ours == [f"OOM at batch_size={size}, retrying smaller..." for size in (32, 16)]
