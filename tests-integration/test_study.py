"""The study that `pycemrg init` makes, run as its user runs it and counted again by other means.

Nothing here calls pycemrg to find out what is right: volumes are read byte by byte, manifests with
plain PyYAML, meshes with numpy and awk.
"""

import collections
import contextlib
import csv
import gzip
import importlib.util
import logging
import os
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import yaml

from pycemrg.files import project
from pycemrg.system import CommandRunner

STANDARDS = ("clinical", "atlas", "simulation")

# As meshtool turns an openCARP hexahedron into a VTK one (perm_con_carp_to_vtk in vtk_utils.cpp),
# and the faces that it gives it, each clockwise seen from outside (insert_surf_hex in
# mesh_utils.cpp), counted from 0.
CARP_TO_VTK = [5, 6, 7, 4, 3, 2, 1, 0]
CARP_FACES = [[0, 1, 2, 3], [2, 1, 7, 6], [3, 2, 6, 5], [0, 3, 5, 4], [1, 0, 4, 7], [5, 6, 7, 4]]
VTK_CORNERS = [
    [0, 0, 0],
    [1, 0, 0],
    [1, 1, 0],
    [0, 1, 0],
    [0, 0, 1],
    [1, 0, 1],
    [1, 1, 1],
    [0, 1, 1],
]

NO_NETWORK = """
import socket

def refuse(*args, **kwargs):
    raise AssertionError("a case went to the network")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
"""


@pytest.fixture(scope="session")
def surroundings(tmp_path_factory):
    """An environment without a network and with an empty home."""
    home = tmp_path_factory.mktemp("home")
    hooks = tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(NO_NETWORK)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYCEMRG_")}
    return kept | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "PYTHONPATH": str(hooks),
        "PYTHONWARNINGS": "error",
        "MPLCONFIGDIR": str(tmp_path_factory.mktemp("matplotlib")),
    }


@pytest.fixture(scope="session")
def run(surroundings):
    """Runs a script of a study with this Python, in a folder that is none of the study's."""

    def run_script(study, script, *arguments, **variables):
        command = [sys.executable, study / "scripts" / script, *arguments]
        return subprocess.run(
            command,
            cwd=surroundings["HOME"],
            env=surroundings | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )

    return run_script


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A study as it is made."""
    return project.ProjectScaffolder().create_project("demo", tmp_path_factory.mktemp("studies"))


@pytest.fixture(scope="session")
def labels(made):
    """The labels of each standard, by name."""
    manifests = {name: made / f"config/{name}_labels.yaml" for name in STANDARDS}
    return {name: yaml.safe_load(path.read_text())["labels"] for name, path in manifests.items()}


@pytest.fixture(scope="session")
def demo(made, labels, run):
    """A case as it runs without an argument."""
    study = made
    done = run(study, "run_case.py")
    assert done.returncode == 0, done.stderr
    base = study / "outputs/ideal_heart"
    volumes = {name: read_volume(Path(f"{base}_{name}.nii.gz")) for name in STANDARDS}
    return SimpleNamespace(
        study=study,
        done=done,
        base=base,
        log=Path(f"{base}.log").read_text(),
        labels=labels,
        volumes={name: volume for name, (volume, _) in volumes.items()},
        affine=volumes["clinical"][1],
        table=read_table(Path(f"{base}_structures.csv")),
        mesh=read_mesh(Path(f"{base}_mesh")),
    )


@pytest.fixture(scope="session")
def scripts(made):
    """The scripts of the study as modules, to call what costs a process too much."""
    return SimpleNamespace(
        **{path.stem: load_module(path) for path in (made / "scripts").iterdir()}
    )


@pytest.fixture
def mesh_voxels(scripts, monkeypatch, capsys):
    """Runs mesh_voxels.py here; returns its exit code, stdout and stderr."""

    def run_main(*arguments):
        monkeypatch.setattr(sys, "argv", ["mesh_voxels.py", *map(str, arguments)])
        return (scripts.mesh_voxels.main(), *capsys.readouterr())

    return run_main


def load_module(path):
    spec = importlib.util.spec_from_file_location(f"study_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_volume(path):
    """Read a little-endian NIfTI-1 file as its standard describes it."""
    data = gzip.decompress(path.read_bytes())
    assert data[344:348] == b"n+1\0"
    shape = struct.unpack_from("<8h", data, 40)
    assert shape[0] == 3
    dtype = {2: "<u1", 4: "<i2", 8: "<i4"}[struct.unpack_from("<h", data, 70)[0]]
    start = int(struct.unpack_from("<f", data, 108)[0])
    assert struct.unpack_from("<h", data, 254)[0] > 0  # sform_code
    affine = np.vstack(
        [np.array(struct.unpack_from("<12f", data, 280)).reshape(3, 4), [0, 0, 0, 1]]
    )
    count = int(np.prod(shape[1:4]))
    flat = np.frombuffer(data, dtype, count, start)
    return flat.reshape(shape[1:4], order="F"), affine


def read_mesh(base):
    points = np.fromfile(f"{base}.pts", sep=" ")
    elements = Path(f"{base}.elem").read_bytes().replace(b"Hx ", b"")
    rows = np.fromstring(elements, np.int64, sep=" ")
    assert (len(points) - 1, len(rows) - 1) == (3 * points[0], 9 * rows[0])
    rows = rows[1:].reshape(-1, 9)
    return SimpleNamespace(points=points[1:].reshape(-1, 3), nodes=rows[:, :8], tags=rows[:, 8])


def read_table(path):
    with path.open(newline="") as file:
        return {row["structure"]: row for row in csv.DictReader(file)}


def relabelled(volume, source, target):
    """Look each voxel up in a dictionary."""
    names = {value: name for name, value in source.items()}
    table = {value: target[name] for value, name in names.items()}
    return np.array([table[v] for v in volume.ravel().tolist()]).reshape(volume.shape)


def volumes_of(mesh):
    """Return each element's volume, from its faces by the divergence theorem."""
    corners = mesh.points[mesh.nodes]
    total = np.zeros(len(corners))
    for face in CARP_FACES:
        a, b, c, d = (corners[:, node] - corners[:, 0] for node in face[::-1])
        total += np.einsum("ij,ij->i", a, np.cross(b, c)) + np.einsum("ij,ij->i", a, np.cross(c, d))
    return total / 6


def assert_is_the_mesh_of(mesh, volume, affine):
    """Check that each element is one voxel, the right way round, with its label, and the points."""
    to_voxels, origin = np.linalg.inv(affine[:3, :3]).T, affine[:3, 3]

    def indices_of(micrometres, offset):
        found = (micrometres / 1000 - origin) @ to_voxels + offset
        np.testing.assert_allclose(found, np.rint(found), rtol=0, atol=1e-3)
        return np.rint(found).astype(int)

    voxels = indices_of(mesh.points[mesh.nodes].mean(axis=1), 0.0)
    assert len(np.unique(voxels, axis=0)) == len(voxels) == np.count_nonzero(volume)
    np.testing.assert_array_equal(volume[tuple(voxels.T)], mesh.tags)
    voxel_um3 = abs(np.linalg.det(affine[:3, :3])) * 1e9
    np.testing.assert_allclose(volumes_of(mesh), voxel_um3, rtol=1e-4)

    shape = np.array(volume.shape) + 1  # of the corners; corner (i, j, k) is the low one of voxel
    labelled = np.argwhere(volume)
    corners = [np.ravel_multi_index((labelled + s).T, shape) for s in np.ndindex(2, 2, 2)]
    points = np.ravel_multi_index(indices_of(mesh.points, 0.5).T, shape)
    np.testing.assert_array_equal(np.sort(points), np.unique(corners))


def test_the_table_agrees_with_a_count_of_the_voxels(demo):
    names = {value: name for name, value in demo.labels["clinical"].items()}
    values, counts = np.unique(demo.volumes["clinical"], return_counts=True)
    voxels = {names[v]: n for v, n in zip(values.tolist(), counts.tolist(), strict=True) if v}
    assert {name: int(row["elements"]) for name, row in demo.table.items()} == voxels
    assert abs(np.linalg.det(demo.affine)) == 1.0
    assert {name: float(row["ml"]) for name, row in demo.table.items()} == {
        name: pytest.approx(count / 1000) for name, count in voxels.items()
    }


def test_the_table_names_the_label_of_each_standard(demo):
    for name, row in demo.table.items():
        assert {s: int(row[s]) for s in STANDARDS} == {s: demo.labels[s][name] for s in STANDARDS}
    assert set(demo.table) == set(demo.labels["clinical"]) - {"background"}


def test_the_table_is_printed(demo):
    *lines, blank, picture = demo.done.stdout.splitlines()
    assert (blank, picture) == ("", f"picture: {demo.base}_slices.png")
    printed = [line.split() for line in lines]
    stored = [[field for field in row.values() if field] for row in demo.table.values()]
    assert printed == [list(next(iter(demo.table.values()))), *stored]


@pytest.mark.skipif(not shutil.which("awk"), reason="no awk here")
def test_awk_counts_the_same_elements_and_the_same_bounding_box(demo):
    count = 'NR == 1 {said = $1} NR > 1 {n[$10]++; if ($1 != "Hx" || NF != 10) exit 1}'
    end = 'END {print "said", said; for (tag in n) print tag, n[tag]}'
    lines = subprocess.check_output(["awk", count + end, f"{demo.base}_mesh.elem"], text=True)
    counted = {key: int(value) for key, value in map(str.split, lines.splitlines())}
    assert counted.pop("said") == sum(counted.values())
    assert counted == {row["simulation"]: int(row["elements"]) for row in demo.table.values()}

    bounds = """NR == 1 {said = $1; next}
        {for (i = 1; i <= 3; i++) {
            if (NR == 2 || $i < low[i]) low[i] = $i; if (NR == 2 || $i > high[i]) high[i] = $i}}
        END {print said, NR - 1; print low[1], low[2], low[3]; print high[1], high[2], high[3]}"""
    command = ["awk", bounds, f"{demo.base}_mesh.pts"]
    lines = subprocess.check_output(command, text=True).splitlines()
    assert len(set(lines[0].split())) == 1
    labelled = np.argwhere(demo.volumes["clinical"])
    origin = demo.affine[:3, 3]
    low = (labelled.min(axis=0) - 0.5 + origin) * 1000
    high = (labelled.max(axis=0) + 0.5 + origin) * 1000
    assert [float(x) for x in lines[1].split()] == low.tolist()
    assert [float(x) for x in lines[2].split()] == high.tolist()


def test_every_voxel_is_one_hexahedron_with_its_label_and_a_positive_volume(demo):
    assert_is_the_mesh_of(demo.mesh, demo.volumes["simulation"], demo.affine)


def test_the_nodes_stand_in_the_order_of_opencarp(demo):
    corners = demo.mesh.points[demo.mesh.nodes][:, CARP_TO_VTK]
    origin, steps = corners[:, :1], corners[:, [1, 3, 4]] - corners[:, :1]
    np.testing.assert_array_equal(corners, origin + np.array(VTK_CORNERS) @ steps)
    assert (np.linalg.det(steps) > 0).all()


def test_fibres_are_a_placeholder_for_each_element(demo):
    lines = Path(f"{demo.base}_mesh.lon").read_text().splitlines()
    assert lines[0] == "1"
    assert collections.Counter(lines[1:]) == {"1 0 0": len(demo.mesh.tags)}


@pytest.mark.parametrize(("source", "target"), [STANDARDS[:2], STANDARDS[1:], STANDARDS[::2]])
def test_relabelling_agrees_with_a_dictionary_voxel_by_voxel(source, target, demo):
    expected = relabelled(demo.volumes[source], demo.labels[source], demo.labels[target])
    np.testing.assert_array_equal(demo.volumes[target], expected)
    assert demo.volumes[target].dtype == np.uint8


@pytest.mark.parametrize(("source", "target"), [STANDARDS[:2], STANDARDS[1:]])
def test_replacing_one_label_after_another_would_have_gone_wrong(source, target, demo):
    naive = demo.volumes[source].copy()
    for name, value in demo.labels[source].items():
        naive[naive == value] = demo.labels[target][name]
    wrong = np.count_nonzero(naive != demo.volumes[target])
    assert wrong > np.count_nonzero(naive) / 2


def test_the_heart_has_the_volumes_of_an_adult(demo):
    verdicts = {name: row["verdict"] for name, row in demo.table.items() if row["adults_ml"]}
    assert verdicts == dict.fromkeys(["LV_myo", "LV_bp", "RV_bp", "LA_bp"], "plausible")
    assert 85 <= float(demo.table["RA_bp"]["ml"]) <= 110
    assert 30 <= float(demo.table["RV_myo"]["ml"]) <= 70


def test_the_chambers_are_closed(demo):
    """Blood touches background nowhere: walls and valves stand between them."""
    blood = [demo.labels["clinical"][f"{chamber}_bp"] for chamber in ("LV", "RV", "LA", "RA")]
    volume = np.pad(demo.volumes["clinical"], 1)
    is_blood, is_background = np.isin(volume, blood), volume == 0
    for axis in range(3):
        for step in (1, -1):
            assert not (is_blood & np.roll(is_background, step, axis)).any()


def test_the_left_ventricle_lies_on_the_left_and_the_atria_above(demo):
    def centre(name):
        voxels = np.argwhere(demo.volumes["clinical"] == demo.labels["clinical"][name])
        return voxels.mean(axis=0) + demo.affine[:3, 3]

    assert centre("LV_bp")[0] < centre("RV_bp")[0]  # RAS: x grows to the patient's right
    assert centre("LA_bp")[2] > centre("mitral_valve")[2] > centre("LV_bp")[2]
    assert centre("RA_bp")[2] > centre("tricuspid_valve")[2] > centre("RV_bp")[2]


def test_the_picture_is_a_png_of_some_size(demo):
    picture = Path(f"{demo.base}_slices.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack_from(">2I", picture, 16)
    assert (width, height) == (1650, 990)


def test_progress_is_on_the_console_and_all_of_it_in_the_log(demo):
    for step in range(1, 7):
        assert f"[run_case] {step}/6 " in demo.done.stderr
        assert f"INFO run_case: {step}/6 " in demo.log
    assert "elements: 100,000 of " in demo.done.stderr
    assert "the myocardium is 1,2,3,4" in demo.log
    assert "no CARPentry installation found" in demo.log


def test_a_case_leaves_nothing_outside_its_study_and_no_drafts_in_it(demo, surroundings):
    assert list(Path(surroundings["HOME"]).iterdir()) == []
    left = {path.name.removeprefix("ideal_heart") for path in (demo.study / "outputs").iterdir()}
    meshes = {"_mesh.pts", "_mesh.elem", "_mesh.lon"}
    images = {"_clinical.nii.gz", "_atlas.nii.gz", "_simulation.nii.gz", "_slices.png"}
    assert left == {".gitignore", ".log", "_structures.csv"} | meshes | images
    assert {path.name for path in demo.study.iterdir()} == {
        *(".gitignore", "README.md", "cache", "config", "outputs", "pyproject.toml", "scripts")
    }


def test_the_archive_is_fetched_into_the_study(demo):
    found = list((demo.study / "cache").rglob("volumes_ml.csv"))
    with zipfile.ZipFile(demo.study / project.ARCHIVE) as archive:
        expected = archive.read("adult_reference_volumes/volumes_ml.csv")
    assert [path.read_bytes() for path in found] == [expected]


def test_two_runs_leave_the_same_bytes(demo, run, tmp_path):
    again = run(demo.study, "run_case.py", "--output-dir", tmp_path)
    assert again.returncode == 0, again.stderr
    tables = [done.stdout.partition("\npicture: ")[0] for done in (again, demo.done)]
    assert tables[0] == tables[1]
    first = {path.name: path.read_bytes() for path in (demo.study / "outputs").iterdir()}
    second = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in (".gitignore", "ideal_heart.log"):
        first.pop(name)
    second.pop("ideal_heart.log")
    assert second == first


@pytest.mark.parametrize(
    ("script", "missing"),
    [
        *((script, "nibabel") for script in ("make_heart", "mesh_voxels", "report_case")),
        *(("run_case", library) for library in ("numpy", "nibabel", "pycemrg.data.volumes")),
        ("report_case", "matplotlib"),
    ],
)
def test_a_library_that_is_missing_is_named_with_what_installs_it(
    script, missing, made, run, tmp_path
):
    hook = f"import sys\nsys.modules[{missing!r}] = None  # what import finds for it: nothing\n"
    (tmp_path / "sitecustomize.py").write_text(hook)
    done = run(made, f"{script}.py", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"this script needs {missing}; install what the study needs: "
        f'python -m pip install -e "{made}"\n'
    )


ORIGIN = [10.5, -20.25, 300.0]
AFFINES = {
    "right-handed": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "x flipped, as radiologists store it": [[-1.5, 0, 0], [0, 1.5, 0], [0, 0, 2]],
    "all flipped": [[-0.7, 0, 0], [0, -0.7, 0], [0, 0, -3]],
    "axes exchanged": [[0, 0, 1.25], [1.25, 0, 0], [0, 1.25, 0]],
    "axes exchanged, left-handed": [[0, 1.25, 0], [1.25, 0, 0], [0, 0, 1.25]],
    "oblique": [[0.8, -0.6, 0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]],
    "oblique, left-handed": [[-0.8, -0.6, 0], [-0.48, 0.64, -0.6], [-0.36, 0.48, 0.8]],
}


def small_heart(labels, dtype):
    """A few structures without symmetry, some only a voxel, one hole, touching the border."""
    volume = np.zeros((7, 6, 5), dtype)
    volume[0:4, 1:5, 0:3] = labels["LV_myo"]
    volume[1:3, 2:4, 1:3] = labels["LV_bp"]
    volume[4:7, 1:3, 0:4] = labels["RV_bp"]
    volume[6, 5, 4] = labels["pulmonary_valve"]
    volume[5, 1, 1] = 0
    return volume


def affine_of(name):
    affine = np.eye(4)
    affine[:3, :3] = AFFINES[name]
    affine[:3, 3] = ORIGIN
    return affine


def save(path, volume, affine, **header):
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    for field, value in header.items():
        image.header[field] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("name", AFFINES)
def test_a_mesh_is_right_whatever_the_affine(name, labels, mesh_voxels, tmp_path):
    volume, affine = small_heart(labels["simulation"], np.int16), affine_of(name)
    given = save(tmp_path / "labels.nii", volume, affine)
    code, _, stderr = mesh_voxels(given, tmp_path / "small")
    assert (code, stderr) == (0, "")
    assert_is_the_mesh_of(read_mesh(tmp_path / "small"), volume, affine)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("labels.nii", "small.pts", "small.elem", "small.lon")
    }


def test_two_voxels_that_touch_share_the_points_of_their_face(mesh_voxels, tmp_path):
    volume = np.zeros((4, 4, 4), np.uint8)
    volume[1, 1, 1], volume[2, 1, 1] = 1, 2
    labels = save(tmp_path / "labels.nii.gz", volume, np.eye(4))
    assert mesh_voxels(labels, tmp_path / "two")[0] == 0
    assert (tmp_path / "two.pts").read_text().splitlines()[:3] == [
        "12",
        "500.000 500.000 500.000",
        "500.000 500.000 1500.000",
    ]
    assert (tmp_path / "two.elem").read_text().splitlines()[0] == "2"
    mesh = read_mesh(tmp_path / "two")
    assert len(set(mesh.nodes[0]) & set(mesh.nodes[1])) == 4


def test_a_segmentation_of_ones_own_goes_the_whole_way(made, labels, run, tmp_path):
    """int16, scaled as scanners do (2.99999 for 3), left-handed, with a fourth axis of one."""
    clinical, affine = labels["clinical"], affine_of("oblique, left-handed")
    truth = small_heart(clinical, np.int16)
    stored = (truth * 1000)[..., np.newaxis]
    given = tmp_path / "patient_042.nii.gz"
    save(given, stored, affine)
    data = bytearray(gzip.decompress(given.read_bytes()))
    struct.pack_into("<2f", data, 112, 0.00099999, 0.0)  # scl_slope, scl_inter
    given.write_bytes(gzip.compress(data, mtime=0))
    before = given.read_bytes()

    done = run(made, "run_case.py", "--segmentation", given, "--output-dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert given.read_bytes() == before
    base = tmp_path / "out/patient_042"
    for standard in STANDARDS:
        volume, found = read_volume(Path(f"{base}_{standard}.nii.gz"))
        np.testing.assert_array_equal(volume, relabelled(truth, clinical, labels[standard]))
        np.testing.assert_allclose(found, affine, atol=1e-4)
    assert_is_the_mesh_of(read_mesh(f"{base}_mesh"), volume, affine)
    counts = {name: np.count_nonzero(truth == value) for name, value in clinical.items() if value}
    table = read_table(Path(f"{base}_structures.csv"))
    assert {n: int(row["elements"]) for n, row in table.items()} == {
        name: count for name, count in counts.items() if count
    }
    voxel_ml = abs(np.linalg.det(affine)) / 1000
    for name, row in table.items():
        assert float(row["ml"]) == pytest.approx(counts[name] * voxel_ml, abs=1e-3)
    assert table["LV_bp"]["verdict"] == "LOOK AGAIN"
    assert Path(f"{base}_slices.png").stat().st_size > 10_000


def test_the_visits_of_a_patient_are_cases_of_their_own(made, labels, run, tmp_path):
    affine = affine_of("oblique")
    hearts = {name: small_heart(labels[name], np.uint8) for name in ("clinical", "simulation")}
    visits = {"baseline": 1, "followup": -1}  # the second heart is the first one, mirrored
    for visit, step in visits.items():
        given = tmp_path / f"p042.{visit}.nii.gz"
        save(given, hearts["clinical"][::step], affine)
        folder = tmp_path / "not there/../out"
        done = run(made, "run_case.py", "--segmentation", given, "--output-dir", folder)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2 * 9
    for visit, step in visits.items():
        mesh = read_mesh(tmp_path / f"out/p042.{visit}_mesh")
        assert_is_the_mesh_of(mesh, hearts["simulation"][::step], affine)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param("p042.nii", "p042", id="nii"),
        pytest.param("p042.v2.nii.gz", "p042.v2", id="nii.gz"),
        pytest.param("P042.NII.GZ", "P042", id="capitals"),
        pytest.param("p042.seg.nrrd", "p042.seg", id="nrrd"),
        pytest.param("p042.nii.new", "p042.nii.new", id="not at the end"),
    ],
)
def test_a_case_is_named_as_its_segmentation(name, case, scripts, tmp_path, monkeypatch):
    prefixes = []
    monkeypatch.setattr(
        scripts.run_case, "OutputManager", lambda _, prefix: prefixes.append(prefix)
    )
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["run_case.py", "--segmentation", str(tmp_path / name)])
    assert scripts.run_case.main() == 1  # for there are no outputs
    assert prefixes == [case]


def test_a_nrrd_segmentation_becomes_the_same_nifti(labels, scripts, tmp_path):
    volume = small_heart(labels["clinical"], np.uint8)
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 7 6 5\nencoding: raw\n"
        "space: left-posterior-superior\nspace origin: (-10.5,20.25,300)\n"
        "space directions: (1.5,0,0) (0,-1.5,0) (0,0,2)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + volume.tobytes(order="F"))
    image, found = scripts.run_case.load_labels(tmp_path / "a.nrrd")
    scripts.run_case.save(found, image, tmp_path / "a.nii.gz")
    stored, affine = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(stored, volume)
    np.testing.assert_array_equal(affine, affine_of("x flipped, as radiologists store it"))


SAVE_AGAIN_AND_AGAIN = """
import runpy, sys
from pathlib import Path

run_case = runpy.run_path(sys.argv[1])
image, labels = run_case["load_labels"](Path(sys.argv[2]))
for _ in range(40):
    run_case["save"](labels, image, Path(sys.argv[3]))
"""


def test_two_jobs_on_one_case_never_publish_a_broken_segmentation(made, tmp_path):
    noise = np.random.default_rng(0).integers(0, 13, (40, 40, 40), dtype=np.uint8)
    given = save(tmp_path / "given.nii.gz", noise, np.eye(4))
    (tmp_path / "out").mkdir()
    shared = shutil.copy(given, tmp_path / "out/shared_clinical.nii.gz")
    script = made / "scripts/run_case.py"
    command = [sys.executable, "-c", SAVE_AGAIN_AND_AGAIN, script, given, shared]
    jobs = [subprocess.Popen(command) for _ in range(2)]
    while any(job.poll() is None for job in jobs):
        np.testing.assert_array_equal(read_volume(shared)[0], noise)
    assert [job.returncode for job in jobs] == [0, 0]
    assert list(shared.parent.iterdir()) == [shared]


def test_a_save_that_fails_leaves_the_file_before_it_and_no_draft(scripts, tmp_path, monkeypatch):
    def save_until_full(image, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    target = tmp_path / "a_clinical.nii.gz"
    target.write_bytes(b"before")
    monkeypatch.setattr(nib, "save", save_until_full)
    volume = np.ones((2, 2, 2), np.uint8)
    for write in (
        lambda: scripts.run_case.save(volume, nib.Nifti1Image(volume, np.eye(4)), target),
        lambda: scripts.make_heart.save(volume, target),
    ):
        with pytest.raises(OSError, match="No space left"):
            write()
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def cut_short(path):
    save(path, np.ones((9, 9, 9), np.uint8), np.eye(4))
    path.write_bytes(path.read_bytes()[:-20])


BAD_VOLUMES = [
    pytest.param("a.nii", lambda path: None, id="missing"),
    pytest.param("a.nii", lambda path: path.write_text("no image"), id="no image"),
    pytest.param("a.xyz", lambda path: path.write_text("no image"), id="unknown suffix"),
    pytest.param("a.nii", cut_short, id="cut short"),
    pytest.param("a.nii.gz", cut_short, id="compressed and cut short"),
    pytest.param(
        "a.nii",
        lambda path: save(path, np.full((3, 3, 3), 1.5, np.float32), np.eye(4)),
        id="fractions",
    ),
    pytest.param(
        "a.nii",
        lambda path: save(path, np.full((3, 3, 3), np.nan, np.float32), np.eye(4)),
        id="not a number",
    ),
    pytest.param(
        "a.nii", lambda path: save(path, np.ones((3, 3, 3, 2), np.uint8), np.eye(4)), id="4D"
    ),
]


@pytest.mark.parametrize(("name", "make"), BAD_VOLUMES)
def test_a_bad_segmentation_is_refused_by_name(name, make, scripts, tmp_path):
    make(tmp_path / name)
    with pytest.raises((OSError, ValueError), match=name):
        scripts.run_case.load_labels(tmp_path / name)


@pytest.mark.parametrize(("name", "make"), BAD_VOLUMES)
def test_a_bad_volume_gives_no_mesh(name, make, mesh_voxels, tmp_path):
    make(tmp_path / name)
    before = list(tmp_path.iterdir())
    code, stdout, stderr = mesh_voxels(tmp_path / name, tmp_path / "mesh")
    assert (code, stdout) == (1, "")
    assert stderr.startswith("mesh_voxels: ")
    assert str(tmp_path / name) in stderr
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("volume", "affine", "units", "complaint"),
    [
        pytest.param(np.zeros((3, 3, 3)), np.eye(4), "mm", "no voxel has a label", id="empty"),
        pytest.param(
            np.ones((3, 3, 3)), np.diag([1, 1, 0, 1]), "mm", "no volume", id="flat affine"
        ),
        pytest.param(np.ones((3, 3, 3)), np.eye(4), "meter", "expected mm", id="in metres"),
    ],
)
def test_a_volume_without_a_mesh_is_refused(
    volume, affine, units, complaint, mesh_voxels, tmp_path
):
    image = nib.Nifti1Image(volume.astype(np.uint8), np.eye(4))
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units(units)
    nib.save(image, tmp_path / "labels.nii")
    code, stdout, stderr = mesh_voxels(tmp_path / "labels.nii", tmp_path / "mesh")
    assert (code, stdout) == (1, "")
    assert complaint in stderr
    assert [path.name for path in tmp_path.iterdir()] == ["labels.nii"]


def test_a_label_that_the_clinical_standard_does_not_have_is_refused(made, labels, run, tmp_path):
    volume = small_heart(labels["clinical"], np.uint8)
    volume[0, 0, 0] = 77
    given = save(tmp_path / "odd.nii.gz", volume, np.eye(4))
    done = run(made, "run_case.py", "--segmentation", given, "--output-dir", tmp_path / "out")
    assert done.returncode == 1
    assert "77" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "Traceback" in (tmp_path / "out/odd.log").read_text()


def test_a_case_id_that_would_leave_the_folder_is_refused(made, run, tmp_path):
    done = run(made, "run_case.py", "--case-id", "../x", "--output-dir", tmp_path / "out")
    assert done.returncode == 1
    assert "'../x'" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["out"])


DIE_WHILE_ELEMENTS_ARE_WRITTEN = """
import builtins, os, runpy, signal, sys

def print(*args, **kwargs):
    if args[0].startswith("elements"):
        os.kill(os.getpid(), getattr(signal, name))

builtins.print = print
name, sys.argv = sys.argv[1], sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code", "drafts"), [("SIGKILL", -9, 3), ("SIGTERM", 143, 0)])
def test_a_mesher_that_is_ended_leaves_the_mesh_before_it(
    name, code, drafts, made, labels, tmp_path
):
    given = save(tmp_path / "a.nii", small_heart(labels["simulation"], np.uint8), np.eye(4))
    mesh = [tmp_path / f"mesh{suffix}" for suffix in (".pts", ".elem", ".lon")]
    for path in mesh:
        path.write_text("before")
    script = made / "scripts/mesh_voxels.py"
    command = [sys.executable, "-c", DIE_WHILE_ELEMENTS_ARE_WRITTEN, name, script]
    assert subprocess.run([*command, given, tmp_path / "mesh"]).returncode == code
    assert [path.read_text() for path in mesh] == ["before"] * 3
    assert set(tmp_path.iterdir()) - set(tmp_path.glob(".*")) == {given, *mesh}
    assert bool(list(tmp_path.glob(".*"))) == bool(drafts)


def test_a_mesher_that_cannot_write_leaves_no_drafts(scripts, mesh_voxels, tmp_path, monkeypatch):
    def text_until_full(*arguments):
        yield "1\n"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scripts.mesh_voxels, "text", text_until_full)
    given = save(tmp_path / "a.nii", np.ones((2, 2, 2), np.uint8), np.eye(4))
    code, _, stderr = mesh_voxels(given, tmp_path / "mesh")
    assert code == 1
    complaint = "mesh_voxels: [Errno 28] No space left on device"
    assert stderr.startswith(f"{complaint}: {str(tmp_path / 'mesh.pts')!r}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


STAND_IN_FOR_A_SOLVER = """
import os, sys
from pathlib import Path

Path(os.environ["STARTED"]).write_text(str(os.getpid()))
with open(os.environ["GO_ON"]) as pipe:
    pipe.readline()
sys.exit(3)
"""


@pytest.fixture
def case_at_work(made, surroundings, tmp_path):
    """Starts a case whose first command waits; returns its process and the command's process id."""
    study = shutil.copytree(made, tmp_path / "study")
    (study / "scripts/make_heart.py").write_text(STAND_IN_FOR_A_SOLVER)
    pipes = {name: str(tmp_path / name) for name in ("STARTED", "GO_ON")}
    for pipe in pipes.values():
        os.mkfifo(pipe)
    started = []

    def start(*prefix):
        command = [*prefix, sys.executable, study / "scripts/run_case.py"]
        case = subprocess.Popen(command, env=surroundings | pipes, stderr=subprocess.PIPE)
        child = int(Path(pipes["STARTED"]).read_text())
        started.extend([case, child])
        return case, child

    yield start
    case, child = started
    for end in (case.kill, lambda: os.kill(child, signal.SIGKILL)):
        with contextlib.suppress(ProcessLookupError):
            end()
    case.communicate()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_case_that_is_ended_takes_what_it_runs_along(name, code, case_at_work):
    case, child = case_at_work()
    case.send_signal(getattr(signal, name))
    _, stderr = case.communicate(timeout=60)
    assert case.returncode == code
    assert b"Traceback" not in stderr
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.skipif(not shutil.which("nohup"), reason="no nohup here")
def test_a_case_under_nohup_goes_on_after_a_hang_up(case_at_work, tmp_path):
    case, _ = case_at_work("nohup")
    case.send_signal(signal.SIGHUP)
    with os.fdopen(os.open(tmp_path / "GO_ON", os.O_RDWR), "wb", 0) as pipe:  # does not block
        pipe.write(b"\n")
        _, stderr = case.communicate(timeout=60)
    assert (case.returncode, b"exit code 3" in stderr) == (1, True)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for CARPentry is a bash script")
@pytest.mark.parametrize(
    ("cusummary", "logged"),
    [
        pytest.param("echo solver 17.2", "cusummary says\nsolver 17.2", id="works"),
        pytest.param(
            "echo no licence >&2; exit 3", "cusummary failed, the case goes on", id="fails"
        ),
        pytest.param(None, "cusummary failed, the case goes on", id="is missing"),
    ],
)
def test_cusummary_is_run_if_there_is_a_carpentry(
    cusummary, logged, scripts, tmp_path, monkeypatch, caplog
):
    bundle = tmp_path / "carpentry_bundle"
    (bundle / "bin").mkdir(parents=True)
    (bundle / "config.sh").write_text(
        "export CARPENTRY_LICENSE=/none CARPUTILS_SETTINGS=/none\n"
        f'export PATH="{bundle}/bin:$PATH" LD_LIBRARY_PATH="{bundle}/lib"\n'
    )
    if cusummary is not None:
        (bundle / "bin/cusummary").write_text(f"#!/bin/sh\n{cusummary}\n")
        (bundle / "bin/cusummary").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    with caplog.at_level(logging.INFO):
        scripts.run_case.ask_carpentry(CommandRunner(logger=logging.getLogger("run_case")))
    assert logged in caplog.text
