import bz2
import gzip
import re
import sys

import pytest

np = pytest.importorskip("numpy")

from pycemrg.data import LabelManager, LabelMapper  # noqa: E402
from pycemrg.data.volumes import read_labels, relabel_volume  # noqa: E402

LABELS = [[[0, 1, 2], [2, 2, 7]], [[1, 0, 0], [7, 1, 1]]]
CODECS = {
    "raw": (bytes, bytes),
    "gzip": (gzip.compress, gzip.decompress),
    "gz": (gzip.compress, gzip.decompress),
    "bzip2": (bz2.compress, bz2.decompress),
}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def mapper_of(mapping):
    """Return a mapper with labels named after their source value."""
    source = {f"was_{value}": value for value in mapping}
    target = {f"was_{value}": result for value, result in mapping.items()}
    return LabelMapper(
        LabelManager.from_dict({"labels": source}), LabelManager.from_dict({"labels": target})
    )


def header(*more, type="unsigned char", sizes=(2, 2, 3), encoding="raw"):
    lines = [
        "NRRD0005",
        "# Complete NRRD file format specification at:",
        f"type:  {type}",
        f"dimension: {len(sizes)}",
        f"sizes: {' '.join(map(str, sizes))}",
        f"encoding: {encoding}",
        "space: left-posterior-superior",
        "space directions: (0,2,0) (0,0,-3) (4,0,0)",
        "space origin: (-10,20,30)",
        'space units: "mm" "mm" "mm"',
        "kinds: domain domain domain",
        "content: a colon: and an equals sign:=here",
        *more,
    ]
    return "\n".join(lines).encode() + b"\n"


def volume(head, values, dtype="u1", encoding="raw"):
    data = np.array(values, dtype).tobytes(order="F")
    return head + b"\n" + CODECS[encoding][0](data)


@pytest.fixture
def relabelled(tmp_path):
    """Relabels the bytes of a volume and returns the lines and the data of the result."""

    def run(content, mapping, **options):
        (tmp_path / "in.nrrd").write_bytes(content)
        target = relabel_volume(
            tmp_path / "in.nrrd", tmp_path / "out.nrrd", mapper_of(mapping), **options
        )
        assert target == tmp_path / "out.nrrd"
        lines, data = target.read_bytes().split(b"\n\n", 1)
        return lines + b"\n", data

    return run


def one_by_one(mapping, dtype="u1"):
    flat = [mapping.get(value, value) for value in np.ravel(LABELS)]
    return np.array(flat, dtype).reshape(np.shape(LABELS)).tobytes(order="F")


@pytest.mark.parametrize("encoding", [*CODECS])
@pytest.mark.parametrize(
    ("name", "dtype", "more"),
    [
        pytest.param("uchar", "u1", [], id="uchar"),
        pytest.param("signed char", "i1", [], id="signed char"),
        pytest.param("short", "<i2", ["endian: little"], id="short"),
        pytest.param("unsigned short int", ">u2", ["endian: big"], id="big-endian unsigned"),
        pytest.param("int", "<i4", ["endian: little"], id="int"),
        pytest.param("long long int", "<i8", ["endian: little"], id="long"),
        pytest.param("float", "<f4", ["endian: little"], id="integral float"),
    ],
)
def test_labels_change_and_every_line_of_the_header_stays(relabelled, encoding, name, dtype, more):
    head = header(*more, "key:=any text := and: more", type=name, encoding=encoding)
    lines, data = relabelled(volume(head, LABELS, dtype, encoding), {1: 2, 2: 1})
    assert lines == head
    assert CODECS[encoding][1](data) == one_by_one({1: 2, 2: 1}, dtype)


def test_labels_that_are_written_out_change_in_their_place(relabelled):
    head = header(type="short", sizes=(3, 2), encoding="ascii")
    lines, data = relabelled(head + b"\n1  2\n10\t-4 2\n1\n", {1: 100, 2: 1, -4: 2})
    assert lines == head
    assert data == b"100  1\n10\t2 1\n100\n"


@pytest.mark.parametrize(
    ("more", "dtype", "expected"),
    [
        pytest.param([], "<u2", "endian: little\n", id="order not given"),
        pytest.param(["endian: big"], ">u2", "", id="order given"),
    ],
)
def test_a_value_that_does_not_fit_widens_the_type(relabelled, more, dtype, expected):
    lines, data = relabelled(volume(header(*more), LABELS), {7: 300})
    assert lines == header(*more, type="uint16").replace(b"type:  ", b"type: ") + expected.encode()
    assert data == one_by_one({7: 300}, dtype)


def test_a_type_that_is_asked_for_must_hold_the_values(relabelled, tmp_path):
    lines, data = relabelled(volume(header(), LABELS), {7: 5}, dtype="<i4", overwrite=True)
    assert b"type: int32\n" in lines
    assert data == one_by_one({7: 5}, "<i4")
    with pytest.raises(OverflowError, match=r"in\.nrrd: 7 \(was_7\).* becomes 300"):
        relabelled(volume(header(), LABELS), {7: 300}, dtype="u1", overwrite=True)
    with pytest.raises(ValueError, match="NRRD has no type float16"):
        relabelled(volume(header(), LABELS), {7: 5}, dtype="f2", overwrite=True)
    assert names_in(tmp_path) == ["in.nrrd", "out.nrrd"]


def test_carriage_returns_stay(tmp_path):
    head = header("Segment0_LabelValue:=7").replace(b"\n", b"\r\n")
    (tmp_path / "in.nrrd").write_bytes(head + b"\r\n" + volume(b"", LABELS)[1:])
    relabel_volume(tmp_path / "in.nrrd", tmp_path / "out.nrrd", mapper_of({7: 8}))
    expected = head.replace(b"LabelValue:=7", b"LabelValue:=8") + b"\r\n" + one_by_one({7: 8})
    assert (tmp_path / "out.nrrd").read_bytes() == expected


SEGMENTS = [
    "Segment0_ID:=Segment_1",
    "Segment0_LabelValue:=1",
    "Segment0_Layer:=0",
    "Segment0_Name:=LV LabelValue:=1",
    "Segment1_ID:=Segment_2",
    "Segment1_LabelValue:=2",
    "Segment10_LabelValue:=7",
    "Segment10_Tags:=a|b",
    "Segmentation_MasterRepresentation:=Binary labelmap",
]


def test_label_values_of_segments_change_with_the_voxels(relabelled):
    lines, _ = relabelled(volume(header(*SEGMENTS), LABELS), {1: 2, 2: 1, 7: 300})
    changed = [*SEGMENTS]
    changed[1], changed[5], changed[6] = (
        "Segment0_LabelValue:=2",
        "Segment1_LabelValue:=1",
        "Segment10_LabelValue:=300",
    )
    expected = header(*changed, type="uint16").replace(b"type:  ", b"type: ")
    assert lines == expected + b"endian: little\n"


def test_segments_that_become_background_are_left_out(relabelled):
    lines, data = relabelled(volume(header(*SEGMENTS), LABELS), {2: 5, 7: 6}, unmapped="zero")
    kept = [
        "Segment0_ID:=Segment_2",
        "Segment0_LabelValue:=5",
        "Segment1_LabelValue:=6",
        "Segment1_Tags:=a|b",
        "Segmentation_MasterRepresentation:=Binary labelmap",
    ]
    assert lines == header(*kept)
    assert data == one_by_one({1: 0, 2: 5, 7: 6})


def test_a_segment_without_voxels_must_not_take_the_value_of_another(relabelled):
    content = volume(header("Segment0_LabelValue:=9"), LABELS)
    with pytest.raises(ValueError, match="9, present 0 times, which is was_2 in the target"):
        relabelled(content, {2: 9})
    lines, _ = relabelled(content, {2: 9}, collisions="allow")
    assert lines == header("Segment0_LabelValue:=9")


def test_segments_in_layers_are_refused_with_the_reason(relabelled, tmp_path):
    layers = header("Segment0_Layer:=0", "Segment1_Layer:=1", sizes=(2, 2, 2, 3))
    content = volume(layers, [LABELS, LABELS])
    with pytest.raises(ValueError, match=r"in\.nrrd: the segments overlap .* in 2 layers"):
        relabelled(content, {1: 2})
    with pytest.raises(ValueError, match="export them to one label map first"):
        read_labels(tmp_path / "in.nrrd")
    assert names_in(tmp_path) == ["in.nrrd"]


def test_a_sequence_of_label_maps_is_no_layered_segmentation(relabelled):
    sequence = header(sizes=(2, 2, 3, 2))
    content = volume(sequence, np.stack([LABELS, LABELS], axis=-1))
    assert relabelled(content, {7: 8})[1] == 2 * one_by_one({7: 8})


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        pytest.param(["encoding: raw"], bytes(range(12)), id="raw"),
        pytest.param(
            ["encoding: raw", "line skip: 2"], b"P5\n2 6\n" + bytes(range(12)), id="lines skipped"
        ),
        pytest.param(
            ["encoding: raw", "byte skip: 3"], b"abc" + bytes(range(12)), id="bytes skipped"
        ),
        pytest.param(
            ["encoding: raw", "byte skip: -1"], b"abc\n" + bytes(range(12)), id="from the end"
        ),
        pytest.param(
            ["encoding: gzip", "line skip: 1", "byte skip: 2"],
            b"line\n" + gzip.compress(b"ab" + bytes(range(12))),
            id="lines skipped before and bytes after gzip",
        ),
    ],
)
def test_a_detached_header_is_read_and_written_attached(tmp_path, fields, data):
    lines = ["NRRD0004", "type: uchar", "dimension: 3", "sizes: 3 2 2", *fields, "a:=b"]
    text = "\n".join([*lines, "data file: values.bin"])
    (tmp_path / "in.nhdr").write_text(text)
    (tmp_path / "values.bin").write_bytes(data)
    assert read_labels(tmp_path / "in.nhdr").array.ravel(order="F").tolist() == [*range(12)]

    relabel_volume(tmp_path / "in.nhdr", tmp_path / "out.nrrd", mapper_of({3: 30}))
    head, values = (tmp_path / "out.nrrd").read_bytes().split(b"\n\n", 1)
    assert head.decode().split("\n") == [line for line in lines if " skip" not in line]
    if "encoding: gzip" in fields:
        values = gzip.decompress(values)
    assert [*values] == [0, 1, 2, 30, *range(4, 12)]
    with pytest.raises(ValueError, match=r"must end in \.nrrd"):
        relabel_volume(tmp_path / "in.nhdr", tmp_path / "out.nhdr", mapper_of({3: 30}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "this is no NRRD file", id="empty"),
        pytest.param(b"\x1f\x8b\0\0", "this is no NRRD file", id="gzip"),
        pytest.param(b"NRRD0004\ntype: uchar\n\n", "must give dimension and sizes", id="no sizes"),
        pytest.param(
            b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 2 2 3\n\n",
            "the sizes (2, 2, 3) are not those of 2 dimensions",
            id="dimension",
        ),
        pytest.param(volume(header(type="block"), LABELS), "'block' holds no labels", id="type"),
        pytest.param(
            volume(header(encoding="hex"), LABELS), "the encoding 'hex' is not read", id="hex"
        ),
        pytest.param(volume(header(), LABELS)[:-1], "cut off: 11 bytes for 12 uint8", id="cut off"),
        pytest.param(
            volume(header(encoding="gzip"), LABELS, encoding="gzip")[:-9],
            "the data are damaged",
            id="gzip cut off",
        ),
        pytest.param(
            volume(header("Segment0_LabelValue:=one"), LABELS),
            "'Segment0_LabelValue' must be an integer, not 'one'",
            id="segment",
        ),
        pytest.param(
            volume(header("endian: little", type="float"), np.array(LABELS) + 0.5, "<f4"),
            "must be integral",
            id="fraction",
        ),
        pytest.param(
            header("data file: LIST") + b"a.raw\nb.raw\n", "the data are in several", id="list"
        ),
        pytest.param(
            header("data file: slice_%03d.raw 1 3 1"), "the data are in several", id="pattern"
        ),
        pytest.param(
            volume(header("byte skip: one"), LABELS), "'byte skip' must be an integer", id="skip"
        ),
        pytest.param(
            volume(header("byte skip: -1", encoding="gzip"), LABELS, encoding="gzip"),
            "a byte skip of -1 is for the encoding 'raw' only",
            id="from the end of compressed data",
        ),
        pytest.param(
            volume(header(sizes=(10**6, 10**6, 10**6)), LABELS),
            "does not fit the memory",
            id="too large",
        ),
        pytest.param(
            volume(header("line skip: 9999999999"), LABELS), "cut off: 0 bytes", id="lines missing"
        ),
    ],
)
def test_a_volume_that_cannot_be_relabelled_says_why(relabelled, tmp_path, content, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        relabelled(content, {1: 2}, collisions="allow")
    assert str(caught.value).startswith(f"{tmp_path / 'in.nrrd'}: ")
    assert names_in(tmp_path) == ["in.nrrd"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({}, "2, present 3 times, which is was_1 in the target", id="collision"),
        pytest.param({"unmapped": "error"}, "has no target for: 0, present 3", id="unmapped"),
    ],
)
def test_a_refusal_says_what_apply_says_and_leaves_the_old_file(tmp_path, options, said):
    mapper = mapper_of({1: 2})
    (tmp_path / "in.nrrd").write_bytes(volume(header(), LABELS))
    (tmp_path / "out.nrrd").write_text("the old file")
    with pytest.raises(ValueError, match=said) as refused:
        relabel_volume(
            tmp_path / "in.nrrd", tmp_path / "out.nrrd", mapper, overwrite=True, **options
        )
    with pytest.raises(ValueError, match=said) as expected:
        mapper.apply(LABELS, **options)
    assert str(refused.value) == f"{tmp_path / 'in.nrrd'}: {expected.value}"
    assert (tmp_path / "out.nrrd").read_text() == "the old file"
    assert names_in(tmp_path) == ["in.nrrd", "out.nrrd"]


def test_a_volume_is_relabelled_in_place_only_when_asked(tmp_path):
    path = tmp_path / "seg.nrrd"
    path.write_bytes(volume(header(), LABELS))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        relabel_volume(path, path, mapper_of({1: 2, 2: 1}))
    relabel_volume(path, path, mapper_of({1: 2, 2: 1}), overwrite=True)
    assert path.read_bytes() == header() + b"\n" + one_by_one({1: 2, 2: 1})
    assert names_in(tmp_path) == ["seg.nrrd"]


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "text"])
def test_progress_goes_from_the_first_voxel_to_the_last(tmp_path, monkeypatch, encoding):
    monkeypatch.setattr("pycemrg.data.formats.voxels.PIECE", 10)
    path, told = tmp_path / "seg.nrrd", []
    head = header("endian: little", type="short", encoding=encoding)
    is_text = encoding == "text"
    path.write_bytes(
        head + b"\n0 1 2 2 2 7 1 0 0 7 1 1" if is_text else volume(head, LABELS, "<i2", encoding)
    )
    read_labels(path, progress=lambda *steps: told.append(steps))
    assert told == ([(12, 12)] if is_text else [(5, 12), (10, 12), (12, 12)])
    told.clear()
    relabel_volume(
        path, path, mapper_of({1: 9}), overwrite=True, progress=lambda *steps: told.append(steps)
    )
    assert told[-1] == (24, 24)
    assert len(told) == (2 if is_text else 6)
    assert told == sorted(told)


def test_the_formats_must_be_known_and_the_same(tmp_path):
    mapper = mapper_of({1: 2})
    with pytest.raises(
        ValueError, match=r"read from \.nii, \.nii\.gz, \.nrrd, \.nhdr, not '\.mha'"
    ):
        relabel_volume(tmp_path / "seg.mha", tmp_path / "out.mha", mapper)
    with pytest.raises(ValueError, match=r"must end in \.nrrd"):
        relabel_volume(tmp_path / "seg.nrrd", tmp_path / "out.nii.gz", mapper)
    with pytest.raises(ValueError, match=r"must end in \.nii or \.nii\.gz"):
        relabel_volume(tmp_path / "seg.nii.gz", tmp_path / "out.nrrd", mapper)
    with pytest.raises(FileNotFoundError):
        relabel_volume(tmp_path / "seg.nrrd", tmp_path / "out.nrrd", mapper)
    assert names_in(tmp_path) == []


def test_the_affine_leads_to_the_right_the_front_and_up(tmp_path):
    # The second voxel of the first axis is 2 mm towards posterior (the y axis of LPS), and so on.
    path = tmp_path / "seg.nrrd"
    path.write_bytes(volume(header(), LABELS))
    found = read_labels(path)
    assert found.array.tolist() == LABELS
    assert found.affine.tolist() == [
        [0, 0, -4, 10],
        [-2, 0, 0, -20],
        [0, -3, 0, 30],
        [0, 0, 0, 1],
    ]
    assert found.voxel_ml == pytest.approx(2 * 3 * 4 / 1000)


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        pytest.param("left-anterior-superior", (-1, 1, 1), id="LAS"),
        pytest.param("right-anterior-superior", (1, 1, 1), id="RAS"),
    ],
)
def test_other_spaces_are_turned_too(tmp_path, space, signs):
    path = tmp_path / "seg.nrrd"
    lines = header().replace(b"left-posterior-superior", space.encode())
    path.write_bytes(volume(lines, LABELS))
    expected = np.array([[0, 0, 4, -10], [2, 0, 0, 20], [0, -3, 0, 30]]) * np.c_[list(signs)]
    assert read_labels(path).affine[:3].tolist() == expected.tolist()


def test_without_a_space_the_spacings_scale(tmp_path):
    path = tmp_path / "seg.nrrd"
    lines = [line for line in header().split(b"\n") if not line.startswith(b"space")]
    path.write_bytes(volume(b"\n".join([*lines[:-1], b"spacings: 0.5 2 3", b""]), LABELS))
    assert np.diag(read_labels(path).affine).tolist() == [0.5, 2, 3, 1]


@pytest.mark.parametrize("name", ["seg.nrrd", "seg.nii"])
def test_without_numpy_and_nibabel_the_error_names_the_extra(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "numpy" if name == "seg.nrrd" else "nibabel", None)
    with pytest.raises(ImportError, match=r"pip install 'pycemrg-labels\[volumes\]'"):
        read_labels(tmp_path / name)
