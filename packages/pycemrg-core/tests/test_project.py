import ast
import hashlib
import keyword
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from pycemrg.core import manifests
from pycemrg.files import project
from pycemrg.files.project import ProjectScaffolder

STUDY = [
    ".gitignore",
    "README.md",
    "config/archives/adult_reference_volumes.zip",
    "config/atlas_labels.yaml",
    "config/clinical_labels.yaml",
    "config/models.yaml",
    "config/simulation_labels.yaml",
    "outputs/.gitignore",
    "pyproject.toml",
    "scripts/make_heart.py",
    "scripts/mesh_voxels.py",
    "scripts/report_case.py",
    "scripts/run_case.py",
]
STEPS = [("clinical", "atlas"), ("atlas", "simulation")]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return ProjectScaffolder().create_project("my-study", tmp_path_factory.mktemp("parent"))


def files_of(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def contents_of(folder):
    return {name: (folder / name).read_bytes() for name in files_of(folder)}


def labels_of(study, standard):
    manifest = manifests.load(study / f"config/{standard}_labels.yaml")
    return {key.text: value.integer() for key, value in manifest.section("labels")}


def models_of(study):
    manifest = manifests.load(study / "config/models.yaml")
    entry = manifest.section("adult_reference_volumes")
    version = entry.section("versions").section(entry.get("default").text)
    return {key.text: value.text for key, value in version}


def test_a_study_holds_these_files_and_no_others(study):
    assert files_of(study) == STUDY


def test_every_template_is_part_of_a_study():
    stored = {*project.STUDY_FILES.values(), *project.ARCHIVE_FILES.values(), project.PACKAGE_FILE}
    folder = Path(project.__file__).parent / "templates/study"
    found = {name for name in files_of(folder) if "__pycache__" not in name}
    assert found == stored


def test_scripts_are_copied_as_they_are(study):
    stored = Path(project.__file__).parent / "templates/study/scripts"
    for script in (study / "scripts").iterdir():
        assert script.read_bytes() == (stored / script.name).read_bytes()


def test_the_same_study_is_made_every_time(study, tmp_path):
    assert contents_of(ProjectScaffolder().create_project("my-study", tmp_path)) == contents_of(
        study
    )


def test_the_path_of_the_study_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = ProjectScaffolder().create_project("my-study")
    assert made == tmp_path / "my-study"
    assert ProjectScaffolder().create_project("other", Path("a", "b")) == tmp_path / "a/b/other"


def test_nothing_but_the_study_is_left_beside_it(study):
    assert [path.name for path in study.parent.iterdir()] == ["my-study"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        made = ProjectScaffolder().create_project("my-study", tmp_path)
    finally:
        os.umask(before)
    assert [oct(made.stat().st_mode & 0o777), oct((made / "scripts").stat().st_mode & 0o777)] == [
        "0o750",
        "0o750",
    ]
    assert oct((made / "scripts/run_case.py").stat().st_mode & 0o777) == "0o640"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param(" ", id="blank"),
        pytest.param(".", id="this folder"),
        pytest.param("..", id="the folder above"),
        pytest.param("a/b", id="slash"),
        pytest.param("/study", id="absolute"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("-rf", id="an option"),
        pytest.param("study ", id="blank at the end"),
        pytest.param("study\n", id="newline"),
        pytest.param("stu\0dy", id="NUL"),
        pytest.param("stu\x1b[2Jdy", id="escape sequence"),
    ],
)
def test_a_name_that_is_not_one_plain_folder_name_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"expected (one|a name) such as 'my-study'") as caught:
        ProjectScaffolder().create_project(name, tmp_path)
    assert repr(name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_becomes_the_study(tmp_path):
    (tmp_path / "my-study").mkdir()
    assert files_of(ProjectScaffolder().create_project("my-study", tmp_path)) == STUDY


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "my-study").mkdir()
    (tmp_path / "my-study/notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"my-study already exists.*overwrite=True"):
        ProjectScaffolder().create_project("my-study", tmp_path)
    assert contents_of(tmp_path) == {"my-study/notes.txt": b"mine"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_of_that_name_is_never_replaced(overwrite, tmp_path):
    (tmp_path / "my-study").write_text("mine")
    with pytest.raises(FileExistsError, match="is not a folder"):
        ProjectScaffolder().create_project("my-study", tmp_path, overwrite=overwrite)
    assert contents_of(tmp_path) == {"my-study": b"mine"}


def test_overwrite_writes_the_files_of_the_study_again_and_spares_all_others(study, tmp_path):
    made = ProjectScaffolder().create_project("my-study", tmp_path)
    (made / "scripts/run_case.py").write_text("broken")
    (made / "config/models.yaml").unlink()
    (made / "config/archives/adult_reference_volumes.zip").write_bytes(b"broken")
    (made / "outputs/case_01_mesh.pts").write_text("0\n")
    (made / "scripts/my_own.py").write_text("mine")
    assert ProjectScaffolder().create_project("my-study", tmp_path, overwrite=True) == made
    others = {
        "outputs/case_01_mesh.pts": b"0\n",
        "scripts/my_own.py": b"mine",
    }
    assert contents_of(made) == contents_of(study) | others


@pytest.mark.parametrize("fails_at", [0, 5, 12])
def test_a_study_that_cannot_be_finished_leaves_nothing(fails_at, tmp_path, monkeypatch):
    written = []

    def write_until_full(path, content, **options):
        if len(written) == fails_at:
            raise OSError(28, "No space left on device")
        written.append(path)
        write_whole(path, content, **options)

    def archive_until_full(path):
        raise OSError(28, "No space left on device")

    write_whole = project.write_whole
    monkeypatch.setattr(project, "write_whole", write_until_full)
    monkeypatch.setattr(project, "_write_archive", archive_until_full)
    (tmp_path / "my-study").mkdir()
    with pytest.raises(OSError, match="No space left"):
        ProjectScaffolder().create_project("my-study", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["my-study"]


def test_a_study_that_somebody_else_makes_meanwhile_is_left_alone(tmp_path, monkeypatch):
    def write_and_be_overtaken(*arguments):
        write_files(*arguments)
        (tmp_path / "my-study").mkdir()
        (tmp_path / "my-study/notes.txt").write_text("theirs")

    write_files = project._write_files
    monkeypatch.setattr(project, "_write_files", write_and_be_overtaken)
    with pytest.raises(FileExistsError, match="my-study"):
        ProjectScaffolder().create_project("my-study", tmp_path)
    assert contents_of(tmp_path) == {"my-study/notes.txt": b"theirs"}


def test_pyproject_requires_pycemrg_1(study):
    settings = tomllib.loads((study / "pyproject.toml").read_text())
    required = {item.split(">=")[0]: item for item in settings["project"]["dependencies"]}
    assert sorted(required) == ["matplotlib", "nibabel", "numpy", "pycemrg"]
    assert required["pycemrg"] == "pycemrg>=1.0,<2"
    assert settings["project"]["name"] == "my-study"
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"] == {"bypass-selection": True}


def test_the_readme_installs_what_the_study_needs_before_it_runs_a_case(study):
    lines = (study / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line.strip() for line in lines if line.startswith("    ")]
    assert commands[:2] == ["python -m pip install -e .", "python scripts/run_case.py"]


def test_with_src_adds_a_package_that_can_be_imported(study, tmp_path):
    made = ProjectScaffolder().create_project("my-study", tmp_path, with_src=True)
    assert set(files_of(made)) - set(STUDY) == {"src/my_study/__init__.py"}
    settings = tomllib.loads((made / "pyproject.toml").read_text())
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/my_study"]}
    subprocess.run(
        [sys.executable, "-c", "import my_study; assert 'my-study' in my_study.__doc__"],
        env=os.environ | {"PYTHONPATH": str(made / "src")},
        check=True,
    )


@pytest.mark.parametrize(
    ("name", "package"),
    [
        pytest.param("My Study 2", "my_study_2", id="blanks and capitals"),
        pytest.param("2024-trial", "study_2024_trial", id="begins with a digit"),
        pytest.param("class", "study_class", id="a keyword"),
        pytest.param("json", "study_json", id="a module of Python"),
        pytest.param("pycemrg", "study_pycemrg", id="pycemrg itself"),
        pytest.param("NumPy", "study_numpy", id="what it requires"),
        pytest.param("心臓", "study", id="no letter of ASCII"),
        pytest.param("a.b", "a_b", id="dot"),
    ],
)
def test_the_package_of_a_study_shadows_nothing(name, package, tmp_path):
    made = ProjectScaffolder().create_project(name, tmp_path, with_src=True)
    assert [path.name for path in (made / "src").iterdir()] == [package]
    assert package.isidentifier()
    assert not keyword.iskeyword(package)
    settings = tomllib.loads((made / "pyproject.toml").read_text())
    assert settings["project"]["name"] == package.replace("_", "-")
    assert name in (made / "README.md").read_text(encoding="utf-8")


def test_what_a_case_leaves_is_not_for_version_control(study):
    assert (study / "outputs/.gitignore").read_text() == "*\n!.gitignore\n"
    assert "/cache/" in (study / ".gitignore").read_text().splitlines()


def test_the_archive_has_the_checksum_that_the_manifest_states(study):
    model = models_of(study)
    assert model["url"].startswith("file://archives/")
    archive = study / "config" / model["url"].removeprefix("file://")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == model["sha256"]
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert model["unzipped_target_path"] in opened.namelist()


def test_the_archive_is_the_same_from_a_checkout_with_crlf(study, tmp_path, monkeypatch):
    stored = Path(project.__file__).parent / "templates"
    for name in files_of(stored):
        if "__pycache__" not in name:
            copy = tmp_path / "templates" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((stored / name).read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(project, "_TEMPLATES", tmp_path / "templates/study")
    made = ProjectScaffolder().create_project("my-study", tmp_path)
    assert contents_of(made) == contents_of(study)


def test_reference_ranges_come_from_the_published_means_and_deviations(study):
    with zipfile.ZipFile(study / "config/archives/adult_reference_volumes.zip") as archive:
        table = archive.read("adult_reference_volumes/volumes_ml.csv").decode()
        sources = archive.read("adult_reference_volumes/SOURCES.md").decode()
    stated = {row.split(",")[0]: row.split(",")[1:3] for row in table.splitlines()[1:]}
    published = {  # mean and SD of women, of men; LV mass in g, at 1.05 g/ml
        "LV_bp": (135, 26, 160, 29, 1.0),
        "RV_bp": (148, 35, 190, 33, 1.0),
        "LA_bp": (89, 21, 103, 30, 1.0),
        "LV_myo": (98, 21, 134, 21, 1.05),
    }
    assert stated == {
        name: [
            f"{(women - 1.96 * women_sd) / density:.0f}",
            f"{(men + 1.96 * men_sd) / density:.0f}",
        ]
        for name, (women, women_sd, men, men_sd, density) in published.items()
    }
    assert "doi:10.1080/10976640500295516" in sources
    assert "doi:10.1186/s12968-015-0111-7" in sources


def test_the_three_standards_name_the_same_structures(study):
    clinical, atlas, simulation = (
        labels_of(study, name) for name in ("clinical", "atlas", "simulation")
    )
    assert set(clinical) == set(atlas) == set(simulation)
    for labels in (clinical, atlas, simulation):
        assert len(set(labels.values())) == len(labels) == 13
        assert labels["background"] == 0


@pytest.mark.parametrize("step", STEPS, ids=" to ".join)
def test_replacing_one_label_after_another_would_corrupt_the_heart(step, study):
    source, target = (labels_of(study, name) for name in step)
    right = {name: target[name] for name in source}
    naive = {}
    for name, value in source.items():
        for other in source:
            if value == source[other]:
                value = target[other]
        naive[name] = value
    wrong = [name for name in source if naive[name] != right[name]]
    assert len(wrong) >= 4
    assert {"LV_bp", "RV_bp"} & set(wrong)


def test_the_first_step_holds_a_swap_and_a_cycle(study):
    source, target = labels_of(study, "clinical"), labels_of(study, "atlas")
    mapping = {source[name]: target[name] for name in source}
    assert (mapping[1], mapping[2]) == (2, 1)
    assert [mapping[3], mapping[4], mapping[5], mapping[6]] == [4, 5, 6, 3]


@pytest.mark.parametrize("standard", ["clinical", "atlas", "simulation"])
def test_the_group_heart_holds_every_structure(standard, study):
    groups = manifests.load(study / f"config/{standard}_labels.yaml").section("groups")
    members = {key.text: [item.text for item in value.items] for key, value in groups}
    found, waiting = set(), ["heart"]
    while waiting:
        name = waiting.pop()
        if name in members:
            waiting += members[name]
        else:
            found.add(name)
    assert found == set(labels_of(study, standard)) - {"background"}


@pytest.mark.parametrize("script", ["make_heart", "mesh_voxels", "report_case", "run_case"])
def test_a_script_is_short_and_stands_on_public_names(script, study):
    text = (study / f"scripts/{script}.py").read_text()
    assert len(text.splitlines()) < 150
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
        elif isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
    ours = {name for name in imported if name.split(".")[0] == "pycemrg"}
    public = {f"pycemrg.{part}" for part in ("core", "data", "files", "models", "system")}
    public |= {"pycemrg.core.whole_files", "pycemrg.data.meshes", "pycemrg.data.volumes"}
    assert ours <= public
    others = {name.split(".")[0] for name in imported - ours}
    assert others <= sys.stdlib_module_names | {"matplotlib", "nibabel", "numpy"}
