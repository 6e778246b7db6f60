"""Relabelled volumes and meshes as other libraries read them; a kill at any time."""

import gzip
import json
import os
import re
import struct
import subprocess
import sys
from collections import Counter

import meshio
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st

from pycemrg.data import LabelManager, LabelMapper
from pycemrg.data.formats import elem
from pycemrg.data.meshes import count_tags, relabel_mesh
from pycemrg.data.volumes import read_labels, relabel_volume


def mapper_of(mapping):
    """Return a mapper with labels named after their source value."""
    source = {f"was_{value}": value for value in mapping}
    target = {f"was_{value}": result for value, result in mapping.items()}
    return LabelMapper(
        LabelManager.from_dict({"labels": source}), LabelManager.from_dict({"labels": target})
    )


def one_by_one(array, mapping):
    flat = [mapping.get(int(value), int(value)) for value in np.ravel(array)]
    return np.array(flat, dtype=object).reshape(np.shape(array))


# NIfTI


@pytest.fixture
def labels():
    """A volume of the labels 0 to 5."""
    return np.random.default_rng(11).integers(0, 6, size=(5, 4, 3))


def write_nifti(path, array, kind=nibabel.Nifti1Image, endian="<", scaling=None):
    header = kind.header_class(endianness=endian)
    header.set_data_dtype(array.dtype)
    image = kind(array, None, header)
    image.set_sform(
        np.array([[-2, 0, 0, 90], [0, 1.5, 0.1, -126], [0, 0, 3, -72], [0, 0, 0, 1]]), 4
    )
    image.set_qform(np.diag([2.0, 1.5, 3.0, 1.0]), 1)
    image.header.set_xyzt_units("mm", "msec")
    image.header.set_intent("label", name="parts")
    image.header["descrip"] = b"a segmentation"
    image.header["cal_max"] = 5
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"drawn by hand"))
    image.to_filename(path)
    if scaling is not None:
        write_scaling(path, *scaling)


def write_scaling(path, slope, inter):
    """Set scl_slope and scl_inter, at bytes 112 and 116 of a NIfTI-1 header."""
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", slope, inter)
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("endian", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_a_nifti_image_keeps_its_type_and_all_of_its_header(
    tmp_path, labels, suffix, endian, kind, dtype
):
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write_nifti(source, labels.astype(dtype), kind, endian)
    assert relabel_volume(source, target, mapper_of({1: 2, 2: 3, 3: 1})) == target

    before, after = nibabel.load(source), nibabel.load(target)
    assert (np.asarray(after.dataobj) == one_by_one(labels, {1: 2, 2: 3, 3: 1})).all()
    assert whole_header(target) == whole_header(source)
    assert after.get_sform(coded=True)[1] == 4
    assert after.get_qform(coded=True)[1] == 1
    assert after.header.extensions[0].get_content() == b"drawn by hand"
    assert (before.affine == after.affine).all()


def whole_header(path):
    """Return the bytes up to the voxels."""
    content = (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes())
    return content[: int(nibabel.load(path).dataobj.offset)]


@pytest.mark.parametrize(
    ("raw", "slope", "inter", "expected"),
    [
        pytest.param([0, 100000, 299999], 1e-5, 0, [0, 1, 3], id="2.99999"),
        pytest.param([0, 10, 30], 0.1, 0, [0, 1, 3], id="a tenth in single precision"),
        pytest.param([-5, -4, -2], 1, 5, [0, 1, 3], id="shifted"),
        pytest.param([0, 1, 3], 100, 0, [0, 100, 300], id="steps of 100"),
        pytest.param([0, 36, 109], 7 / 255, 0, [0, 1, 3], id="in 255 steps"),
        pytest.param([0, 1, 3], 0, 7, [0, 1, 3], id="slope 0 means none"),
        pytest.param([0, 1, 3], float("nan"), 0, [0, 1, 3], id="no number means none"),
    ],
)
def test_scaled_labels_are_rounded_and_written_without_scaling(
    tmp_path, raw, slope, inter, expected
):
    source = tmp_path / "in.nii"
    write_nifti(source, np.array(raw, "i4").reshape(3, 1, 1), scaling=(slope, inter))
    assert read_labels(source).array.ravel().tolist() == expected
    relabel_volume(source, source, mapper_of({3: 4}), overwrite=True)
    image = nibabel.load(source)
    assert struct.unpack("<ff", source.read_bytes()[112:120]) == (1, 0)
    assert image.get_data_dtype() == np.dtype("i4")
    assert np.asarray(image.dataobj).ravel().tolist() == [4 if v == 3 else v for v in expected]


@pytest.mark.parametrize(
    ("raw", "slope", "made"),
    [
        pytest.param([0, 5], 0.5, "make 2.5", id="halves"),
        pytest.param([0, 29], 0.1, "make 2.9", id="tenths"),
        pytest.param([0, 3], 0.9, "make 2.7", id="nine tenths"),
    ],
)
def test_scaled_values_that_are_not_integral_are_refused(tmp_path, raw, slope, made):
    source = tmp_path / "in.nii"
    write_nifti(source, np.array(raw, "i4").reshape(2, 1, 1), scaling=(slope, 0))
    with pytest.raises(ValueError, match=re.escape(made)) as caught:
        relabel_volume(source, tmp_path / "out.nii", mapper_of({3: 4}))
    assert str(caught.value).startswith(f"{source}: a label must be integral")
    assert [path.name for path in tmp_path.iterdir()] == ["in.nii"]


@pytest.mark.parametrize("value", [2.5, 2.99999, float("nan"), float("inf")])
def test_a_float_image_must_be_integral(tmp_path, value):
    source = tmp_path / "in.nii.gz"
    write_nifti(source, np.array([0, 1, value], "f4").reshape(3, 1, 1))
    with pytest.raises(ValueError, match=r"in\.nii\.gz: a label must be integral, and"):
        relabel_volume(source, tmp_path / "out.nii.gz", mapper_of({3: 4}))


@pytest.mark.parametrize(
    ("before", "after"),
    [("u1", "u2"), ("i1", "i2"), ("i2", "i2"), (">u1", "u2"), ("f4", "f4")],
)
def test_a_value_above_255_widens_the_type_as_apply_does(tmp_path, labels, before, after):
    source, target = tmp_path / "in.nii.gz", tmp_path / "out.nii.gz"
    write_nifti(source, labels.astype(before), endian=">" if before[0] == ">" else "<")
    mapper = mapper_of({5: 300})
    relabel_volume(source, target, mapper)
    image = nibabel.load(target)
    assert image.get_data_dtype().newbyteorder("=") == np.dtype(after)
    assert mapper.apply(labels.astype(before)).dtype == np.dtype(after)
    assert (np.asarray(image.dataobj) == one_by_one(labels, {5: 300})).all()
    with pytest.raises(OverflowError, match=r"in\.nii\.gz: 5 \(was_5\)"):
        relabel_volume(source, target, mapper, dtype="u1", overwrite=True)
    with pytest.raises(ValueError, match=r"NIfTI has no type float16"):
        relabel_volume(source, target, mapper, dtype="f2", overwrite=True)


def test_a_refused_image_leaves_the_old_file(tmp_path, labels):
    source, target = tmp_path / "in.nii", tmp_path / "out.nii"
    write_nifti(source, labels.astype("u1"))
    target.write_text("the old file")
    count = np.count_nonzero(labels == 2)
    with pytest.raises(ValueError, match=f"in.nii: .* 2, present {count} times, which is was_1"):
        relabel_volume(source, target, mapper_of({1: 2}), overwrite=True)
    assert target.read_text() == "the old file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.nii", "out.nii"]


def test_an_image_is_relabelled_in_place_only_when_asked(tmp_path, labels):
    path = tmp_path / "seg.nii"
    write_nifti(path, labels.astype("i2"))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        relabel_volume(path, path, mapper_of({1: 2, 2: 1}))
    relabel_volume(path, path, mapper_of({1: 2, 2: 1}), overwrite=True)
    expected = one_by_one(labels, {1: 2, 2: 1})
    assert (np.asarray(nibabel.load(path).dataobj) == expected).all()


def test_compression_may_change_and_the_result_is_reproducible(tmp_path, labels):
    write_nifti(tmp_path / "in.nii", labels.astype("u1"))
    for name in ("a.nii.gz", "b.nii.gz"):
        relabel_volume(tmp_path / "in.nii", tmp_path / name, mapper_of({1: 2, 2: 1}))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert (np.asarray(image.dataobj) == one_by_one(labels, {1: 2, 2: 1})).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "this is no NIfTI image", id="empty"),
        pytest.param(b"no image" * 100, "this is no NIfTI image", id="text"),
        pytest.param(None, "damaged", id="cut off"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_no_whole_image_is_a_value_error(tmp_path, suffix, content, said):
    source = tmp_path / f"in{suffix}"
    write_nifti(source, np.random.default_rng(1).integers(0, 2**15, (9, 9, 9), "i2"))
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) * 3 // 4] if content is None else content)
    with pytest.raises(ValueError, match=rf"in{suffix}: .*{said}"):
        relabel_volume(source, tmp_path / f"out{suffix}", mapper_of({1: 2}))


def test_a_changed_byte_is_found_by_the_checksum(tmp_path):
    source = tmp_path / "in.nii.gz"
    write_nifti(source, np.random.default_rng(2).integers(0, 256, (20, 20, 20), "u1"))
    whole, said = source.read_bytes(), r"in\.nii\.gz: this is no NIfTI image, or it is damaged"
    for at in np.linspace(700, len(whole) - 9, 25).astype(int):
        source.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match=said):
            read_labels(source)
    source.write_bytes(whole[:-6])  # all voxels are there, and the checksum is not
    with pytest.raises(ValueError, match=said):
        relabel_volume(source, tmp_path / "out.nii.gz", mapper_of({1: 2}))


HEADER_FAULTS = [
    pytest.param(40, "<8h", (3, -2, 2, 2, 1, 1, 1, 1), "no voxels", id="negative size"),
    pytest.param(40, "<8h", (0, 2, 2, 2, 1, 1, 1, 1), "no voxels", id="no axis"),
    pytest.param(40, "<8h", (7, *[30_000] * 7), "does not fit the memory", id="too large"),
    pytest.param(40, "<8h", (3, 99, 99, 99, 1, 1, 1, 1), "damaged or cut off", id="too few voxels"),
    pytest.param(108, "<f", (float("inf"),), "damaged", id="endless offset"),
    pytest.param(108, "<f", (1e30,), "damaged", id="far offset"),
]


@pytest.mark.parametrize(("at", "form", "values", "said"), HEADER_FAULTS)
def test_a_header_that_cannot_be_true_is_a_value_error(tmp_path, at, form, values, said):
    for suffix in (".nii", ".nii.gz"):
        source = tmp_path / f"in{suffix}"
        write_nifti(source, np.zeros((2, 2, 2), "u1"))
        gz = suffix == ".nii.gz"
        content = bytearray(gzip.decompress(source.read_bytes()) if gz else source.read_bytes())
        content[at : at + struct.calcsize(form)] = struct.pack(form, *values)
        source.write_bytes(gzip.compress(content) if gz else content)
        with pytest.raises(ValueError, match=rf"in{suffix}: .*{said}"):
            read_labels(source)


def test_a_unit_that_is_not_known_is_a_millimetre(tmp_path, labels):
    write_nifti(tmp_path / "in.nii", labels.astype("u1"))
    content = bytearray((tmp_path / "in.nii").read_bytes())
    content[123] = 7
    (tmp_path / "in.nii").write_bytes(content)
    assert read_labels(tmp_path / "in.nii").voxel_ml == pytest.approx(2 * 1.5 * 3 / 1000)


def test_scaled_labels_are_rounded_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("pycemrg.data.chunks.SIZE", 4)
    raw = np.random.default_rng(4).integers(0, 300, (5, 4, 3)) * 10
    write_nifti(tmp_path / "in.nii", raw.astype("i2"), scaling=(0.1, 0))
    found = read_labels(tmp_path / "in.nii").array
    assert found.dtype == np.int16
    assert (found == raw // 10).all()


@pytest.mark.parametrize("name", ["seg.nii", "seg.nii.gz"])
def test_progress_of_an_image_goes_from_the_first_voxel_to_the_last(
    tmp_path, monkeypatch, labels, name
):
    monkeypatch.setattr("pycemrg.data.formats.voxels.PIECE", 16)
    path, told = tmp_path / name, []
    write_nifti(path, labels.astype("i2"))
    read_labels(path, progress=lambda *steps: told.append(steps))
    assert told == [(min(8 * n, 60), 60) for n in range(1, 9)]
    told.clear()
    relabel_volume(
        path, path, mapper_of({1: 9}), overwrite=True, progress=lambda *steps: told.append(steps)
    )
    assert told == [(min(8 * n, 60) + done, 120) for done in (0, 60) for n in range(1, 9)]


def test_labels_are_read_with_their_place(tmp_path, labels):
    source = tmp_path / "in.nii.gz"
    write_nifti(source, labels.astype("u1"))
    found = read_labels(source)
    assert (found.array == labels).all()
    assert (found.affine == nibabel.load(source).affine).all()
    assert found.voxel_ml == pytest.approx(2 * 1.5 * 3 / 1000)


# NRRD


def write_nrrd(path, array, *, compress, **keys):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 1.5, 3.25)[: image.GetDimension()])
    image.SetOrigin((-10.125, 20.5, 33.0)[: image.GetDimension()])
    turn = np.array([[0, 0.6, -0.8], [1, 0, 0], [0, -0.8, -0.6]])
    image.SetDirection(turn.ravel().tolist())
    for key, value in keys.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, path, useCompression=compress)


SEGMENTS = {
    "Segment0_ID": "LV",
    "Segment0_LabelValue": "1",
    "Segment0_Tags": "TerminologyEntry:Segmentation category and type~SCT^85756007^Tissue|",
    "Segment1_ID": "RV",
    "Segment1_LabelValue": "2",
    "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
    "subject": "case 07",
}


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "gzip"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8"])
def test_simpleitk_reads_a_nrrd_volume_with_its_place_and_all_of_its_keys(
    tmp_path, labels, dtype, compress
):
    source, target = tmp_path / "in.seg.nrrd", tmp_path / "out.seg.nrrd"
    write_nrrd(source, labels.astype(dtype), compress=compress, **SEGMENTS)
    relabel_volume(source, target, mapper_of({1: 2, 2: 100}))

    before, after = sitk.ReadImage(source), sitk.ReadImage(target)
    expected = one_by_one(labels, {1: 2, 2: 100})
    assert (sitk.GetArrayFromImage(after) == expected).all()
    assert after.GetPixelID() == before.GetPixelID()
    assert after.GetSpacing() == before.GetSpacing()
    assert after.GetOrigin() == before.GetOrigin()
    assert after.GetDirection() == before.GetDirection()
    keys = {key: before.GetMetaData(key) for key in before.GetMetaDataKeys()}
    assert SEGMENTS.items() <= keys.items()
    keys |= {"Segment0_LabelValue": "2", "Segment1_LabelValue": "100"}
    assert {key: after.GetMetaData(key) for key in after.GetMetaDataKeys()} == keys


def test_simpleitk_reads_a_nrrd_volume_of_a_wider_type(tmp_path, labels):
    source = tmp_path / "seg.nrrd"
    write_nrrd(source, labels.astype("u1"), compress=True)
    relabel_volume(source, source, mapper_of({5: 70_000}), overwrite=True)
    image = sitk.ReadImage(source)
    assert image.GetPixelID() == sitk.sitkUInt32
    assert (sitk.GetArrayFromImage(image) == one_by_one(labels, {5: 70_000})).all()


def test_the_place_of_a_nrrd_volume_is_that_of_simpleitk(tmp_path, labels):
    source = tmp_path / "seg.nrrd"
    write_nrrd(source, labels.astype("u1"), compress=False)
    image, found = sitk.ReadImage(source), read_labels(source)
    assert (found.array == sitk.GetArrayFromImage(image).T).all()
    for voxel in ((0, 0, 0), (1, 0, 0), (0, 2, 0), (2, 3, 4)):
        left, back, up = image.TransformIndexToPhysicalPoint(voxel)
        assert (found.affine @ [*voxel, 1])[:3] == pytest.approx([-left, -back, up])
    assert found.voxel_ml == pytest.approx(0.5 * 1.5 * 3.25 / 1000)


def test_a_detached_volume_of_simpleitk_becomes_an_attached_one(tmp_path, labels):
    write_nrrd(tmp_path / "in.nhdr", labels.astype("i2"), compress=True, subject="case 07")
    relabel_volume(tmp_path / "in.nhdr", tmp_path / "out.nrrd", mapper_of({1: 2, 2: 1}))
    image = sitk.ReadImage(tmp_path / "out.nrrd")
    assert (sitk.GetArrayFromImage(image) == one_by_one(labels, {1: 2, 2: 1})).all()
    assert image.GetOrigin() == (-10.125, 20.5, 33.0)
    assert image.GetMetaData("subject") == "case 07"


# VTK


POINTS = np.random.default_rng(5).random((9, 3))
CELLS = [
    ("tetra", np.array([[0, 1, 2, 3], [1, 2, 3, 4]])),
    ("hexahedron", np.array([[0, 1, 2, 3, 4, 5, 6, 7]])),
    ("triangle", np.array([[6, 7, 8], [0, 7, 8], [1, 2, 8]])),
]
TAGS = [[51, 118], [51], [7, 118, 51]]
WRITERS = {
    "4.2 text": ("vtk42", {"binary": False}, ".vtk"),
    "4.2 binary": ("vtk42", {"binary": True}, ".vtk"),
    "5.1 text": ("vtk51", {"binary": False}, ".vtk"),
    "5.1 binary": ("vtk51", {"binary": True}, ".vtk"),
    "latest text": ("vtk", {"binary": False}, ".vtk"),
    "latest binary": ("vtk", {"binary": True}, ".vtk"),
    "xml text": ("vtu", {"binary": False}, ".vtu"),
    "xml binary": ("vtu", {"binary": True, "compression": None}, ".vtu"),
    "xml zlib": ("vtu", {"binary": True, "compression": "zlib"}, ".vtu"),
    "xml lzma": ("vtu", {"binary": True, "compression": "lzma"}, ".vtu"),
}


def cell_values(mesh):
    return [int(value) for block in mesh.cell_data["elemTag"] for value in np.ravel(block)]


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("writer", WRITERS)
def test_meshio_reads_the_new_tags_and_everything_else_as_before(tmp_path, writer, dtype):
    form, options, suffix = WRITERS[writer]
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    rng = np.random.default_rng(6)
    meshio.Mesh(
        POINTS,
        CELLS,
        point_data={"elemTag": np.arange(9.0), "V_m": rng.random(9)},
        cell_data={
            "fibre": [rng.random((len(tags), 3)) for tags in TAGS],
            "elemTag": [np.array(tags, dtype) for tags in TAGS],
            "other": [np.array(tags, "i4") for tags in TAGS],
        },
    ).write(source, form, **options)
    relabel_mesh(source, target, mapper_of({51: 118, 118: 51, 7: 200}))

    before, after = meshio.read(source), meshio.read(target)
    assert cell_values(before) == [51, 118, 51, 7, 118, 51]
    assert cell_values(after) == [118, 51, 118, 200, 51, 118]
    before.cell_data["elemTag"] = after.cell_data["elemTag"]
    assert_same_mesh(before, after)
    assert count_tags(target) == {51: 2, 118: 3, 200: 1}


def assert_same_mesh(before, after):
    assert (before.points == after.points).all()
    for one, other in zip(before.cells, after.cells, strict=True):
        assert one.type == other.type
        assert (one.data == other.data).all()
    for name in ("point_data", "cell_data", "field_data"):
        one, other = getattr(before, name), getattr(after, name)
        assert one.keys() == other.keys()
        for key in one:
            for mine, theirs in zip(one[key], other[key], strict=True):
                assert np.asarray(mine).dtype == np.asarray(theirs).dtype
                assert (mine == theirs).all()


# openCARP


NODES = {"Cx": 2, "Ln": 2, "Tr": 3, "Qd": 4, "Tt": 4, "Py": 5, "Pr": 6, "Hx": 8}
BLANKS = st.sampled_from([b" ", b"  ", b"\t", b" \t "])
WORDS = st.one_of(
    st.sampled_from([b"51", b"118", b"0", b"-7", b"007", b"+5", b"65536", b"12345678"]),
    st.sampled_from([b"Tt", b"x", b"5.1", b"", b"-", b"1" * 19]),
)
ELEMENTS = st.sampled_from([*NODES]).map(lambda name: [name.encode(), *[b"3"] * NODES[name]])


@st.composite
def element_lines(draw):
    if draw(st.booleans()):
        words = [*draw(ELEMENTS), draw(st.sampled_from([b"51", b"118", b"-7", b"65536", b"007"]))]
    else:
        words = [*draw(ELEMENTS), *draw(st.lists(WORDS, max_size=2))]
    gap = draw(BLANKS) if draw(st.booleans()) else b" "
    end = draw(st.sampled_from([b"", b"", b"", b" ", b"\r"]))
    return gap.join(word for word in words if word) + end


def by_the_book(lines, mapping):
    """Return the lines with new tags, or the number of the first that is no tagged element."""
    result = []
    for number, line in enumerate(lines, 2):
        name, *numbers = line.decode().split() or [None]
        if name is not None:
            tag = re.search(r"([+-]?[0-9]{1,18})\s*$", line.decode())
            if NODES.get(name) != len(numbers) - 1 or not tag or tag[1] != numbers[-1]:
                return number
            value = int(tag[1])
            if mapping.get(value, value) != value:
                line = line[: tag.start(1)] + b"%d" % mapping[value] + line[tag.end(1) :]
        result.append(line)
    return result


@given(
    lines=st.lists(element_lines(), max_size=12),
    newline=st.booleans(),
    block=st.integers(120, 400),
)
def test_any_element_file_is_relabelled_by_the_book_or_refused_at_the_right_line(
    tmp_path_factory, lines, newline, block
):
    folder = tmp_path_factory.mktemp("meshes")
    mesh, target = folder / "in.elem", folder / "out.elem"
    mapping = {51: 118, 118: 51, -7: 1000, 65536: 5}
    count = sum(1 for line in lines if line.split())
    head, tail = b"%d\n" % count, b"\n" if newline and lines else b""
    mesh.write_bytes(head + b"\n".join(lines) + tail)
    expected = by_the_book(lines, mapping)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elem, "BLOCK", block)
        try:
            relabel_mesh(mesh, target, mapper_of(mapping), collisions="allow")
            found = target.read_bytes()
        except ValueError as error:
            found = int(str(error).removeprefix(f"{mesh}:").split(":")[0])
    if not isinstance(expected, int):
        expected = head + b"\n".join(expected) + tail
    assert found == expected


# A kill at any time


KILLED = """
import json, os, signal, sys
from pathlib import Path
from pycemrg.data import LabelManager, LabelMapper
from pycemrg.data.meshes import relabel_mesh
from pycemrg.data.volumes import relabel_volume

path = Path(sys.argv[1])
old, new = (path.parents[1].joinpath(folder, path.name).read_bytes() for folder in ("old", "new"))
one, two = ({"labels": {"a": a, "b": b}} for a, b in ((1, 20), (20, 1)))
mapper = LabelMapper(LabelManager.from_dict(one), LabelManager.from_dict(two))
relabel = relabel_volume if ".n" in path.name else relabel_mesh

def killed_at(moment):
    "Relabel in place, in a child that is killed when it enters or leaves its nth C function."
    path.write_bytes(old)
    child = os.fork()
    if child == 0:
        reached = 0
        def strike(frame, event, what):
            nonlocal reached
            reached += event in ("c_call", "c_return")
            if moment and reached == moment:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.setprofile(strike)
        relabel(path, path, mapper, overwrite=True)
        sys.setprofile(None)
        print(reached, flush=True)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (-signal.SIGKILL if moment else 0), code
    found = path.read_bytes()
    for draft in set(path.parent.iterdir()) - {path}:
        draft.unlink()
    return "old" if found == old else "new" if found == new else "other"

relabel(path, path, mapper, overwrite=True)  # imports what it needs, once
if len(sys.argv) == 2:
    killed_at(0)
else:
    print(json.dumps([killed_at(int(moment)) for moment in sys.argv[2:]]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize(
    "name", ["heart.elem", "heart.vtk", "heart.vtu", "seg.nii", "seg.nii.gz", "seg.nrrd"]
)
def test_a_killed_process_leaves_the_old_file_or_the_new_one(tmp_path, labels, name):
    path = tmp_path / "data" / name
    for folder in ("old", "data"):
        (tmp_path / folder).mkdir()
    write_labels(tmp_path / "old" / name, labels)
    path.write_bytes((tmp_path / "old" / name).read_bytes())
    swapped, relabel = mapper_of({1: 20, 20: 1}), relabel_volume if ".n" in name else relabel_mesh
    assert path.read_bytes() != relabel(path, tmp_path / "new" / name, swapped).read_bytes()

    def run(*moments):
        command = [sys.executable, "-c", KILLED, path, *map(str, moments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    count = int(run())
    moments = sorted({*range(1, count, count // 80), *range(count - 80, count + 1)})
    left = json.loads(run(*moments))
    assert left == ["old"] * left.count("old") + ["new"] * left.count("new")
    assert min(left.count("old"), left.count("new")) > 5


def write_labels(path, labels):
    """Write a volume or a mesh in which 1 and 20 occur."""
    labels = np.where(labels == 0, 20, labels).astype("u1")
    if ".nii" in path.name:
        write_nifti(path, labels)
    elif path.suffix == ".nrrd":
        write_nrrd(path, labels, compress=True)
    elif path.suffix == ".elem":
        path.write_text("40000\n" + 20_000 * "Tr 7 8 9 1\nTr 8 9 7 20\n")
    else:
        form, options, _ = WRITERS["5.1 binary" if path.suffix == ".vtk" else "xml zlib"]
        tags = [np.array(tags) for tags in ([1, 20], [1], [20, 1, 1])]
        meshio.Mesh(POINTS, CELLS, cell_data={"elemTag": tags}).write(path, form, **options)


# Real data


def awk(program, path):
    done = subprocess.run(
        ["awk", program, path], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return done.stdout


CYCLE = {51: 118, 118: 119, 119: 120, 120: 121, 121: 122, 122: 123, 123: 51}


def test_a_real_mesh_relabelled_by_a_cycle_differs_in_its_tags_alone(real, tmp_path):
    source, target = real / "meshes" / "heart.elem", tmp_path / "heart.elem"
    relabel_mesh(source, target, mapper_of(CYCLE))
    counts = "NR > 1 { count[$NF]++ } END { for (tag in count) print tag, count[tag] }"
    before, after = (
        {int(tag): int(n) for tag, n in map(str.split, awk(counts, path).splitlines())}
        for path in (source, target)
    )
    assert sum(before.values()) == 110_344
    assert after == {CYCLE[tag]: count for tag, count in before.items()}
    assert count_tags(target) == after
    without_tags = 'NR == 1 { print; next } { sub(/[0-9]+$/, ""); print }'
    assert awk(without_tags, target) == awk(without_tags, source)
    tags = "NR > 1 { print $NF }"
    new = [CYCLE[int(tag)] for tag in awk(tags, source).split()]
    assert [int(tag) for tag in awk(tags, target).split()] == new
    back = relabel_mesh(target, target, mapper_of(CYCLE).inverse(), overwrite=True)
    assert back.read_bytes() == source.read_bytes()


@pytest.fixture
def releases(real):
    """The mapping between two releases of one public standard."""
    manifests = real / "manifests"
    return LabelMapper(
        LabelManager(manifests / "totalseg_v2.yaml"), LabelManager(manifests / "totalseg_v1.yaml")
    )


def test_a_real_volume_with_a_collision_is_refused(real, releases, tmp_path):
    source = real / "volumes" / "example_seg.nii.gz"
    voxels = np.asarray(nibabel.load(source).dataobj)
    count = np.count_nonzero(voxels == 79)
    with pytest.raises(ValueError, match="would be kept") as caught:
        relabel_volume(source, tmp_path / "out.nii.gz", releases)
    said = f"79 (spinal_cord), present {count:,} times, which is rib_right_10 in the target"
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "fill"),
    [({"collisions": "allow"}, None), ({"unmapped": "zero"}, 0)],
    ids=["collisions allowed", "unmapped to zero"],
)
def test_a_real_volume_equals_a_look_up_of_every_voxel(real, releases, tmp_path, options, fill):
    source, target = real / "volumes" / "example_seg.nii.gz", tmp_path / "out.nii.gz"
    relabel_volume(source, target, releases, **options)
    before, after = nibabel.load(source), nibabel.load(target)
    names = {value: name for name, value in releases.source.labels.items()}
    expected = []
    for value in np.asarray(before.dataobj).ravel().tolist():
        kept = value if fill is None else fill
        expected.append(releases.target.labels.get(names.get(value), kept))
    assert np.asarray(after.dataobj).ravel().tolist() == expected
    assert after.get_data_dtype() == np.dtype("u1")
    assert (before.affine == after.affine).all()


def test_a_real_nrrd_atlas_equals_a_look_up_of_every_value(real, tmp_path):
    source, target = real / "volumes" / "hncma-atlas.nrrd", tmp_path / "out.nrrd"
    manifests = real / "manifests"
    mapper = LabelMapper(
        LabelManager(manifests / "hncma_source.yaml"), LabelManager(manifests / "hncma_dense.yaml")
    )
    with pytest.raises(ValueError, match="1, present 1 times, which is"):
        relabel_volume(source, target, mapper)
    relabel_volume(source, target, mapper, unmapped="zero")
    before, after = sitk.ReadImage(source), sitk.ReadImage(target)
    assert before.GetDirection() == after.GetDirection()
    assert before.GetOrigin() == after.GetOrigin()
    old, new = sitk.GetArrayViewFromImage(before), sitk.GetArrayViewFromImage(after)
    dense = mapper.target.labels
    results = {value: dense[name] for name, value in mapper.source.labels.items() if name in dense}
    pairs = Counter(zip(old.ravel().tolist(), new.ravel().tolist(), strict=True))
    assert set(pairs) == {(value, results.get(value, 0)) for value, _ in pairs}
    assert len(pairs) == 313


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf")])
def test_a_float_image_that_is_not_integral_is_not_read_as_labels(tmp_path, value):
    array = np.array([[[0.0, 1.0, value]]], dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "seg.nii")
    with pytest.raises(ValueError, match="a label must be integral"):
        read_labels(tmp_path / "seg.nii")


@pytest.mark.parametrize(
    ("unit", "voxel_ml"), [("mm", 0.006), ("micron", 6e-12), ("meter", 6e6), ("unknown", 0.006)]
)
def test_the_unit_of_a_nifti_image_counts(tmp_path, unit, voxel_ml):
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([1.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units(xyz=unit, t="msec")  # the same byte holds both
    nibabel.save(image, tmp_path / "seg.nii")
    assert read_labels(tmp_path / "seg.nii").voxel_ml == pytest.approx(voxel_ml)
